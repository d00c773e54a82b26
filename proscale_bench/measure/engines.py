"""Engines beside torch, as a session sees them: what they are called, and a model that one of them runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.models.running import device_name
from proscale_bench.results.profile import Execution
from proscale_bench.specs.model import ModelSpec
from proscale_bench.units import Size

OnStage = Callable[[str, float | None], None]  # what is being done; how much of it, 0 to 1, if that is known


@dataclass(frozen=True)
class Runtime:
    """An engine, and the number format of what it runs.

    Args:
        version: of the engine; None: not known yet, or torch's, which the environment names.
    """

    engine: EngineName = "torch"
    precision: ExportPrecision = "fp32"
    version: str | None = None

    def execution(self, in_torch: Execution, sampling: str) -> Execution:
        """The execution of a record, made of the one in torch.

        Args:
            sampling: that was asked for.
        """
        if self.engine == "torch":
            return in_torch
        told: dict[str, Any] = {
            "mode": "exported",
            "dtype": self.precision,
            "sampling": "gather" if sampling == "gather" else "grid_sample",
            "optimizations": True,
            "inference_engine": self.engine,
            "inference_engine_version": self.version,
            **device_of(self.engine),
        }
        return in_torch.model_copy(update=told)


TORCH = Runtime()


def device_of(engine: EngineName) -> dict[str, str]:
    """The device as an execution names it, of an engine that does not run on the CPU; nothing of the others."""
    if engine != "tensorrt":
        return {}
    name = device_name(torch.device("cuda")) if torch.cuda.is_available() else "NVIDIA GPU"  # torch may be the CPU's
    return {"device": "cuda", "device_name": name}


class EngineModel(Protocol):
    """A model that another engine than torch runs; `export.engines.ExportedModel` is one."""

    @property
    def bytes(self) -> int:
        """The size of its files."""

    @property
    def engine_version(self) -> str:
        """The version of what runs it."""

    @property
    def precision(self) -> ExportPrecision:
        """`fp32` or `int8`."""

    def run(self, images: NDArray[np.uint8]) -> object:
        """Predict from images [B, 3, H, W], RGB, 0 to 255."""


OpenModel = Callable[[ModelSpec, Runtime, int, Size, OnStage], EngineModel]  # of a batch size, at a size


@dataclass(frozen=True)
class EngineChoice:
    """The engines that models take turns in, and where their files are.

    Args:
        names: without repeats; `torch` runs the model itself, the others an exported file of it.
        precisions: of exported files.
        folder: where exported files are kept, and taken from; None: nowhere.
        file: a file of one of the models, which is timed and not exported again.
        trust: run machine code that lies in the folder, or is the file.
    """

    names: tuple[EngineName, ...] = ("torch",)
    precisions: tuple[ExportPrecision, ...] = ("fp32",)
    folder: Path | None = None
    file: Path | None = None
    trust: bool = False

    @property
    def runtimes(self) -> tuple[Runtime, ...]:
        """Every engine with every number format that it runs."""
        return tuple(
            Runtime(name, precision)
            for name in self.names
            for precision in (("fp32",) if name == "torch" else self.precisions)
        )

    @property
    def exports(self) -> bool:
        """An engine needs exported files."""
        return self.names != ("torch",)


IN_TORCH = EngineChoice()


@dataclass(frozen=True)
class Turn:
    """A model in an engine, or the reason why it cannot be run there."""

    spec: ModelSpec
    model: nn.Module | EngineModel | Exception
    execution: Execution

    @property
    def name(self) -> str:
        """The spelling, and the engine where it is not torch."""
        how = self.execution
        return self.spec.variant if how.inference_engine is None else f"{self.spec.variant} in {how.engine_words}"
