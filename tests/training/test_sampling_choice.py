"""Training on a CPU samples in C; without a compiler by a dense product where the encoder's levels have few tokens."""

from __future__ import annotations

import shutil

import pytest
import torch

from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.training.setup import sampling_for


@pytest.mark.parametrize(
    ("name", "encoder", "crop", "chosen"),
    [
        ("auto", "3,3,3", (128, 128), "dense"),
        ("auto", "2,2,1,1", (128, 128), "dense"),
        ("auto", "5:1,5432:1", (128, 128), "auto"),
        ("auto", "5:1,5432:1", (64, 64), "dense"),
        ("auto", "3,3,3", (512, 512), "auto"),
        ("auto", "pem", (128, 128), "dense"),
        ("grid_sample", "3,3,3", (128, 128), "grid_sample"),
    ],
)
def test_without_a_compiler_the_sampling_follows_from_the_number_of_tokens(
    name: str, encoder: str, crop: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert sampling_for(name, torch.device("cpu"), crop, parse_encoder(encoder)) == chosen


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("crop", [(128, 128), (512, 512)])
def test_with_a_compiler_it_is_the_one_in_c(crop: tuple[int, int]) -> None:
    assert sampling_for("auto", torch.device("cpu"), crop, parse_encoder("3,3,3")) == "fused"
    assert sampling_for("auto", torch.device("cuda"), crop, parse_encoder("3,3,3")) == "auto"
