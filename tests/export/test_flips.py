"""A file whose masks of attention flipped at zero is explained by torch made to flip too, and nothing else is."""

from __future__ import annotations

import torch

from proscale_bench.export.flips import _run, explained_by_flips
from proscale_bench.export.module import prepared
from proscale_bench.export.proof import proof_images
from proscale_bench.export.settings import ExportSettings
from tests.export.models import small_model, small_spec

torch.set_num_threads(1)
SIZE = (64, 96)
NEAR, TOLERANCE = 1e-2, 1e-5


def test_flips_are_found_and_errors_are_not() -> None:
    module = prepared(small_model(small_spec()), ExportSettings(SIZE))
    images = torch.from_numpy(proof_images(SIZE, 1, 1, floating=False)[0])
    ours, near = _run(module, images, (), NEAR)
    with torch.inference_mode():
        for one, other in zip(ours, module(images), strict=True):
            assert torch.equal(one, other)
    for flipped in (near[3:4], near[1:3]):
        theirs = _run(module, images, flipped, NEAR)[0]
        assert max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True)) > TOLERANCE
        assert explained_by_flips(module, images, theirs, TOLERANCE, NEAR)
        assert not explained_by_flips(module, images, theirs, TOLERANCE)  # no logit is that near zero
        wrong = [one + 3 * TOLERANCE for one in theirs]
        assert not explained_by_flips(module, images, wrong, TOLERANCE, NEAR)
