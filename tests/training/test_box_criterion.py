"""The losses and the matching of boxes are Hugging Face's, of layers, auxiliary outputs and proposals."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher, DeformableDetrImageLoss

from proscale_bench.config.recipe import BoxLossSettings
from proscale_bench.training.box_criterion import BoxLosses, BoxTarget, box_criterion, match_image, matching_costs

CLASSES, QUERIES, TOKENS = 5, 7, 30
SETTINGS = BoxLossSettings()


class Scored(NamedTuple):
    class_logits: Tensor
    boxes: Tensor


class Found(NamedTuple):
    class_logits: Tensor
    boxes: Tensor
    auxiliary: tuple[Scored, ...] = ()
    proposals: Scored | None = None


def targets(counts: tuple[int, ...], seed: int = 0) -> list[BoxTarget]:
    generator = torch.Generator().manual_seed(seed)
    return [
        BoxTarget(
            torch.randint(CLASSES, (number,), generator=generator),
            0.02 + 0.4 * torch.rand(number, 4, generator=generator),
        )
        for number in counts
    ]


def leaf(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Class logits and the logits of boxes, [..., C + 4]."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, CLASSES + 4, generator=generator)).to(dtype).requires_grad_()


def scored(values: Tensor) -> Scored:
    return Scored(values[..., :CLASSES], values[..., CLASSES:].sigmoid())


def predictions(layers: Tensor, proposals: Tensor | None = None) -> Found:
    *before, last = map(scored, layers)
    return Found(*last, tuple(before), None if proposals is None else scored(proposals))


def theirs(found: Scored | Found, wanted: list[BoxTarget], matcher: DeformableDetrHungarianMatcher) -> list[Tensor]:
    """Hugging Face's three losses of one layer."""
    loss = DeformableDetrImageLoss(matcher, CLASSES, SETTINGS.focal_alpha, ["labels", "boxes"])
    labels = [{"class_labels": target.labels, "boxes": target.boxes} for target in wanted]
    told = loss({"logits": found.class_logits, "pred_boxes": found.boxes}, labels)
    return [told["loss_ce"], told["loss_bbox"], told["loss_giou"]]


@pytest.fixture
def matcher() -> DeformableDetrHungarianMatcher:
    return DeformableDetrHungarianMatcher(class_cost=2, bbox_cost=5, giou_cost=2)


def stacked(losses: BoxLosses) -> Tensor:
    return torch.stack(list(losses.terms.values()), dim=1)  # [L, 3]


@pytest.mark.parametrize("counts", [(3, 0, 5), (1,), (QUERIES + 2, 2), (0, 0)])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("two_stage", [False, True])
def test_losses_and_gradients_are_hugging_faces(
    counts: tuple[int, ...], layers: int, two_stage: bool, matcher: DeformableDetrHungarianMatcher
) -> None:
    wanted = targets(counts)
    of_layers, of_tokens = leaf(layers, len(counts), QUERIES), leaf(len(counts), TOKENS, seed=2)
    found = predictions(of_layers, of_tokens if two_stage else None)
    ours = box_criterion(found, wanted, SETTINGS)
    told = [theirs(one, wanted, matcher) for one in (*found.auxiliary, found)]
    if found.proposals is not None:
        anything = [BoxTarget(torch.zeros_like(target.labels), target.boxes) for target in wanted]
        told.insert(0, theirs(found.proposals, anything, matcher))
    expected = torch.stack([torch.stack(one) for one in told])
    torch.testing.assert_close(stacked(ours), expected, rtol=1e-5, atol=1e-6)
    total = (expected * torch.tensor([2.0, 5.0, 2.0])).sum()
    torch.testing.assert_close(ours.total(SETTINGS), total, rtol=1e-5, atol=1e-5)
    leaves = (of_layers, of_tokens) if two_stage else (of_layers,)
    gradients = [torch.autograd.grad(one, leaves, retain_graph=True) for one in (ours.total(SETTINGS), total)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_the_matching_is_the_cheapest() -> None:
    (wanted,) = targets((3,))
    logits, boxes = scored(leaf(1, 4).detach())
    ((queries, objects),) = match_image(logits, boxes, wanted, SETTINGS)
    costs = matching_costs(logits, boxes, wanted, SETTINGS)[0]
    best = min(float(sum(costs[query, place] for place, query in enumerate(one))) for one in permutations(range(4), 3))
    assert float(sum(costs[queries, objects])) == pytest.approx(best)


def test_images_without_objects_have_no_box_loss_and_a_gradient_of_zero() -> None:
    values = leaf(2, 2, QUERIES)
    losses = box_criterion(predictions(values), targets((0, 0)), SETTINGS)
    assert losses.box_loss.tolist() == losses.giou_loss.tolist() == [0, 0]
    assert (torch.autograd.grad((losses.box_loss + losses.giou_loss).sum(), values, retain_graph=True)[0] == 0).all()
    assert (losses.class_loss > 0).all()


def test_the_mean_over_parts_is_the_whole() -> None:
    wanted, values = targets((3, 0, 5, 1)), leaf(2, 4, QUERIES)
    whole = stacked(box_criterion(predictions(values), wanted, SETTINGS))
    parts = [
        stacked(box_criterion(predictions(values[:, part::2]), wanted[part::2], SETTINGS, objects=9 / 2))
        for part in range(2)
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_half_precision_is_computed_in_single() -> None:
    wanted, values = targets((2,)), leaf(1, 1, QUERIES)
    half = scored(values.half())
    losses = box_criterion(Found(*(one[0] for one in half)), wanted, SETTINGS)
    assert stacked(losses).dtype == torch.float32


def test_proposals_outside_the_image_have_finite_losses() -> None:
    """Where a token's proposal is no box its logit is infinite, and its box the last corner."""
    tokens = leaf(1, TOKENS).detach()
    tokens[:, :3, CLASSES:] = torch.inf
    tokens.requires_grad_()
    losses = box_criterion(predictions(leaf(1, 1, QUERIES), tokens), targets((2,)), SETTINGS)
    assert stacked(losses).isfinite().all()
    assert torch.autograd.grad(losses.total(SETTINGS), tokens)[0].isfinite().all()
