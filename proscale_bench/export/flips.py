"""Masks of attention that flip at zero, told from errors in any engine: torch, made to flip too, gives the same.

An engine that shows nothing of its inside may round a mask logit next to zero to the other side, and all that follows
is another number. Whether that is all that happened can be tried: where the model in torch, with a few of those logits
on the other side, gives the file's outputs, it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from proscale_bench.models.masked_decoder import AttentionMask

MOST_FLIPS, MOST_TRIALS = 4, 32  # of a batch; a trial is a pass
Place = tuple[int, int]  # of a logit: which mask of a pass, and where in it


def explained_by_flips(
    module: nn.Module, images: Tensor, theirs: Sequence[Tensor], tolerance: float, near_zero: float | None = None
) -> bool:
    """Tell if torch gives a file's outputs within the tolerance once a few mask logits next to zero change sign.

    Args:
        module: from images to outputs, with attention masks inside.
        theirs: the file's outputs.
        near_zero: the largest logit that may; None: the tolerance.
    """
    flipped: tuple[Place, ...] = ()
    zero = tolerance if near_zero is None else near_zero
    ours, near = _run(module, images, flipped, zero)
    least, trials = _distance(ours, theirs), 0
    while len(flipped) < MOST_FLIPS:
        nearest: tuple[Place, list[Place]] | None = None
        for place in near:
            if place in flipped or (trials := trials + 1) > MOST_TRIALS:
                continue
            ours, then_near = _run(module, images, (*flipped, place), zero)
            if all(float((one - other).abs().max()) <= tolerance for one, other in zip(ours, theirs, strict=True)):
                return True
            if (distance := _distance(ours, theirs)) < least:
                least, nearest = distance, (place, then_near)
        if nearest is None:
            return False
        flipped, near = (*flipped, nearest[0]), nearest[1]
    return False


def _run(
    module: nn.Module, images: Tensor, flipped: Sequence[Place], zero: float
) -> tuple[Sequence[Tensor], list[Place]]:
    """The outputs with some logits on the other side of zero, and the places of all that near it, nearest first."""
    near: list[tuple[float, Place]] = []
    masks = 0

    def flip(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        nonlocal masks
        logits = args[0].clone()
        flat = logits.view(-1)
        for place in (place for mask, place in flipped if mask == masks):
            flat[place] = -flat[place] if flat[place] else -zero
        size = flat.abs()
        near.extend((float(size[place]), (masks, place)) for place in (size <= zero).nonzero().flatten().tolist())
        masks += 1
        return (logits, *args[1:])

    with ExitStack() as hooks, torch.inference_mode():
        for one in module.modules():
            if isinstance(one, AttentionMask):
                hooks.callback(one.register_forward_pre_hook(flip).remove)
        outputs = module(images)
    return outputs, [place for _, place in sorted(near)]


def _distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    return sum(float((one - other).abs().sum()) for one, other in zip(ours, theirs, strict=True))
