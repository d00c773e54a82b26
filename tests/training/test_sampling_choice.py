"""Training on a CPU samples by one dense product where there are few tokens, on all levels of the encoder together."""

from __future__ import annotations

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
def test_the_sampling_follows_from_the_number_of_tokens(
    name: str, encoder: str, crop: tuple[int, int], chosen: str
) -> None:
    assert sampling_for(name, torch.device("cpu"), crop, parse_encoder(encoder)) == chosen
