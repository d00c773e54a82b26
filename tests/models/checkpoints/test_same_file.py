"""The bytes that are vetted are those that are loaded, whatever is done to the path meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints import formats
from proscale_bench.models.checkpoints.formats import read_stored


def saved(path: Path, value: float, *, legacy: bool = False) -> Path:
    torch.save({"a": torch.full((64,), value)}, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_another_file_at_the_path_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool) -> None:
    path, other = saved(tmp_path / "w.pth", 1.0, legacy=legacy), saved(tmp_path / "other.pth", 2.0, legacy=legacy)
    load = torch.load

    def swapped(*given: Any, **how: Any) -> Any:
        other.replace(path)
        return load(*given, **how)

    monkeypatch.setattr(torch, "load", swapped)
    assert (read_stored(path).tensors["a"] == 1.0).all()


def test_a_file_that_is_written_into_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "w.pth", 1.0)
    vet = formats._require_one_reading

    def written(source: Any, records: Any) -> None:
        vet(source, records)
        data = bytearray(path.read_bytes())
        data[data.index(torch.full((64,), 1.0).numpy().tobytes())] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(0, 0))

    monkeypatch.setattr(formats, "_require_one_reading", written)
    with pytest.raises(BenchError, match="somebody wrote into it while it was read"):
        read_stored(path)
