"""Golden cases of encoders: weights, inputs and stage tensors of the official code, one folder a case.

Cases are read from the folder that PROSCALE_GOLDEN_ENCODERS names, or that lies beside the project, and from the one
that ships. Every case of an encoder is run, with the sizes and arguments that its `case.json` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

PROJECT = Path(__file__).parents[3]
SHIPPED = PROJECT / "tests" / "fixtures" / "golden" / "encoders"
VARIABLE = "PROSCALE_GOLDEN_ENCODERS"


@dataclass(frozen=True)
class GoldenCase:
    """One case of the official code, read when it is used."""

    folder: Path

    @cached_property
    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "case.json").read_text())
        return found

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        found: dict[str, Any] = self.info["arguments"]
        return found

    @property
    def runs(self) -> dict[str, Any]:
        """The facts of every run (batch, sizes), by its name."""
        found: dict[str, Any] = self.info["runs"]
        return found

    @property
    def tolerance(self) -> float:
        """The largest absolute difference allowed."""
        return float(self.info["tolerance"])

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The weights, by their official names."""
        return load_file(self.folder / "state_dict.safetensors")

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Inputs and outputs, by their full names."""
        return load_file(self.folder / "io.safetensors")

    def inputs(self, run: str) -> dict[str, Tensor]:
        """The inputs of a run: the backbone's features by level, or whatever `<run>.in.*` names."""
        return self._of(f"{run}.in.")

    def expected(self, run: str) -> dict[str, Tensor]:
        """The outputs of a run, by the names of `what_is_what` without the run."""
        return {name: tensor for name, tensor in self._of(f"{run}.").items() if not name.startswith("in.")}

    def _of(self, prefix: str) -> dict[str, Tensor]:
        found = {name.removeprefix(prefix): one for name, one in self.tensors.items() if name.startswith(prefix)}
        assert found, f"{self.folder}: no tensor is named {prefix}*"
        return found

    def check(self, actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        """Hold all expected tensors, of which there is at least one, against the actual ones of the same names.

        Infinities must coincide.
        """
        assert expected
        for name, tensor in expected.items():
            assert actual[name].shape == tensor.shape, name
            torch.testing.assert_close(
                actual[name],
                tensor,
                rtol=0,
                atol=self.tolerance,
                check_stride=False,
                msg=lambda text, n=name: f"{n}: {text}",
            )


def cases(encoder: str) -> list[Any]:
    """All cases of an encoder as parameters of a test, by the name that `case.json` gives it ("early_exit").

    Raises:
        FileNotFoundError: the folder that PROSCALE_GOLDEN_ENCODERS names has no case at all.
    """
    named = os.environ.get(VARIABLE)
    folders = [Path(named) if named else PROJECT.parent / "shared" / "golden" / "encoders", SHIPPED]
    files = [sorted(folder.rglob("case.json")) for folder in folders]
    if named and not files[0]:
        raise FileNotFoundError(f"{VARIABLE}={named}: no case.json below it")
    found = [file.parent for one in files for file in one if json.loads(file.read_text())["encoder"] == encoder]
    return [
        pytest.param(GoldenCase(folder), id=f"{'shipped' if SHIPPED in folder.parents else 'given'}-{folder.name}")
        for folder in found
    ]
