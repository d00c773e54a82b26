"""Checkpoints as training frameworks leave them: read as the model that they are, or refused, and never as another.

A case follows from its number alone, as in `test_soak`.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.load import load_checkpoint, open_checkpoint
from tests.cli import run
from tests.soak.checkpoints import SCHEDULES, state, whole

FROM = int(os.environ.get("PROSCALE_SOAK_FROM", "0"))
CASES = int(os.environ.get("PROSCALE_SOAK_CASES", "100")) // 4
WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_forward_module", "module")
STRANGERS = ("blocks", "inner", "_orig", "modules")
ENTRIES = ("model", "state_dict", "model_state_dict", "module", "net", "params_ema", "of_nobody", "")
BESIDE: dict[str, Any] = {"epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "loss": 0.5}


def numbers(kind: str) -> pytest.MarkDecorator:
    found = [pytest.param(number, id=f"{kind}-{number}") for number in range(FROM, FROM + CASES)]
    return pytest.mark.parametrize("number", found)


def renamed(schedule: str, name: str, chance: random.Random) -> dict[str, Any]:
    """The weights with one more name inside those of all tensors below some place."""
    tensors = state(schedule)
    parts = chance.choice([key for key in tensors if not key.startswith("criterion")]).split(".")
    place = ".".join(parts[: chance.randint(2, len(parts) - 1)]) + "."
    return {f"{place}{name}.{key[len(place) :]}" if key.startswith(place) else key: one for key, one in tensors.items()}


@numbers("wrapped")
def test_wrappers_and_entries_change_nothing(tmp_path: Path, number: int) -> None:
    chance = random.Random(f"wrapped {number}")
    schedule, entry = chance.choice(SCHEDULES), chance.choice(ENTRIES)
    tensors = renamed(schedule, chance.choice(WRAPPERS), chance)
    torch.save({entry: tensors, **BESIDE} if entry else tensors, tmp_path / "weights.pth")
    (tmp_path / "plain.pth").write_bytes(whole("zip", schedule))
    found, plain = (open_checkpoint(tmp_path / f"{name}.pth") for name in ("weights", "plain"))
    found.require_complete()
    assert found.digest == plain.digest
    assert found.inferred == plain.inferred


@numbers("strangers")
def test_a_name_that_nobody_knows_is_refused(tmp_path: Path, number: int) -> None:
    chance = random.Random(f"strangers {number}")
    tensors = renamed(chance.choice(SCHEDULES), chance.choice(STRANGERS), chance)
    torch.save({"model": tensors}, tmp_path / "weights.pth")
    with pytest.raises(BenchError, match=r"weights\.pth: "):
        load_checkpoint(tmp_path / "weights.pth")


@numbers("archives")
def test_archives_that_can_be_read_in_two_ways_are_refused(tmp_path: Path, number: int) -> None:
    chance = random.Random(f"archives {number}")
    raw, other = (whole("zip", schedule) for schedule in chance.sample(SCHEDULES, 2))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    victim = chance.choice([name for name in records if "/data/" in name and len(records[name]) > 60])
    kind = chance.choice(("two", "flipped", "short", "gone"))
    match kind:
        case "two":
            raw += other
        case "flipped":
            at = raw.index(records[victim]) + chance.randrange(len(records[victim]))
            raw = raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
        case _:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for name, value in records.items():
                    if name != victim or kind == "short":
                        archive.writestr(name, value[: len(value) // 2] if name == victim else value)
            raw = file.getvalue()
    (tmp_path / "weights.pth").write_bytes(raw)
    result = run("models", "inspect", str(tmp_path / "weights.pth"))
    assert result.exit_code == 2, (kind, result.stderr)
    assert "Traceback" not in result.stderr
