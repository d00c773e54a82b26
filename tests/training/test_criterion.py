"""The losses and the matching are Hugging Face's for the same points, and their gradients are right."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.mask2former import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from proscale_bench.config.recipe import LossSettings
from proscale_bench.models.masked_decoder import LayerPrediction, Predictions
from proscale_bench.training import criterion as module
from proscale_bench.training.criterion import (
    Losses,
    LossNormalizer,
    Masks,
    Segments,
    Target,
    at_least_fp32,
    at_points,
    criterion,
    match,
    match_batch,
    uncertain_places,
)

CLASSES, QUERIES = 5, 7
SETTINGS = LossSettings(points=40)


def places(rows: int, points: int, *_: object, **__: object) -> Tensor:
    """The same for every row, however many rows and layers ask."""
    return torch.empty(1, points, 2).uniform_(generator=torch.Generator().manual_seed(points)).repeat(rows, 1, 1)


def targets(counts: tuple[int, ...], size: int = 32, seed: int = 0) -> list[Target]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Target(
            torch.randint(CLASSES, (number,), generator=generator),
            (torch.rand(number, size, size, generator=generator) < 0.4).float(),
        )
        for number in counts
    ]


def predictions(layers: int, images: int, size: int = 8, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Class and mask logits of all layers in one leaf, [L, B, Q, K + 1 + size * size]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (layers, images, QUERIES, CLASSES + 1 + size * size)
    return (3 * torch.randn(*shape, generator=generator)).to(dtype).requires_grad_()


def split(leaf: Tensor) -> Predictions:
    size = int((leaf.shape[-1] - CLASSES - 1) ** 0.5)
    layers = [
        LayerPrediction(one[..., : CLASSES + 1], one[..., CLASSES + 1 :].unflatten(-1, (size, size))) for one in leaf
    ]
    return Predictions(*layers[-1], tuple(layers[:-1]))


def theirs(found: Predictions, wanted: list[Target], monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Return Hugging Face's losses of the same predictions at the same points."""
    config = Mask2FormerConfig(num_labels=CLASSES, train_num_points=SETTINGS.points)
    loss = Mask2FormerLoss(config, {})
    monkeypatch.setattr(torch, "rand", places)
    auxiliary = [
        {"class_queries_logits": layer.pred_logits, "masks_queries_logits": layer.pred_masks}
        for layer in found.auxiliary
    ]
    masks, labels = [target.masks for target in wanted], [target.labels for target in wanted]
    told: dict[str, Tensor] = loss(found.pred_masks, found.pred_logits, masks, labels, auxiliary)
    monkeypatch.undo()
    return told


def gradient(value: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(value, leaf, retain_graph=True)[0]


@pytest.mark.parametrize("counts", [(3, 1), (2, 0, 4), (7,), (9, 1), (1,)])
def test_losses_and_their_gradients_are_hugging_faces(counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    leaf, wanted = predictions(4, len(counts)), targets(counts)
    expected = theirs(split(leaf), wanted, monkeypatch)
    ours = criterion(split(leaf), wanted, SETTINGS, draw=places)
    names = {"loss_cross_entropy": ours.class_loss, "loss_mask": ours.mask_loss, "loss_dice": ours.dice_loss}
    for name, values in names.items():
        layers = torch.stack([*(expected[f"{name}_{layer}"] for layer in range(3)), expected[name]])
        torch.testing.assert_close(values, layers, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient(values.sum(), leaf), gradient(layers.sum(), leaf), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("counts", [(3, 1), (2, 0, 4), (9, 1)])
def test_the_matching_is_hugging_faces(counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    leaf, wanted = predictions(2, len(counts)), targets(counts)
    masks = torch.stack([layer.pred_masks for layer in (*split(leaf).auxiliary, split(leaf))])
    ours = match_batch(leaf[..., : CLASSES + 1], Masks.of(split(leaf)), Segments.of(wanted), SETTINGS, places)
    matcher = Mask2FormerLoss(Mask2FormerConfig(num_labels=CLASSES, train_num_points=SETTINGS.points), {}).matcher
    monkeypatch.setattr(torch, "rand", places)
    for layer in range(2):
        expected = matcher(
            masks[layer], leaf[layer, ..., : CLASSES + 1], [one.masks for one in wanted], [one.labels for one in wanted]
        )
        for image, (queries, segments) in enumerate(expected):
            assert ours[image][layer][0].tolist() == queries.tolist()
            assert ours[image][layer][1].tolist() == segments.tolist()


def test_our_weights_are_hugging_faces() -> None:
    config = Mask2FormerConfig()
    settings = LossSettings()
    assert (config.class_weight, config.mask_weight, config.dice_weight) == (
        settings.class_weight,
        settings.mask_weight,
        settings.dice_weight,
    )
    assert (config.no_object_weight, config.train_num_points) == (settings.no_object_weight, settings.points)
    assert (config.oversample_ratio, config.importance_sample_ratio) == (settings.oversampling, settings.importance)


def test_what_is_minimised_is_the_weighted_sum() -> None:
    one = torch.tensor([1.0, 10.0])
    assert Losses(one, 2 * one, 3 * one).total(SETTINGS).item() == 11 * (2 * 1 + 5 * 2 + 5 * 3)


@pytest.mark.parametrize("counts", [(3,), (0,)])
def test_gradients_pass_gradcheck(counts: tuple[int, ...]) -> None:
    settings = LossSettings(points=6)
    leaf = predictions(2, len(counts), size=3, dtype=torch.float64)
    wanted = [Target(one.labels, one.masks.double()) for one in targets(counts, size=8)]

    def total(logits: Tensor) -> Tensor:
        losses = criterion(split(logits), wanted, settings, draw=lambda *shape: places(*shape).double())
        return torch.stack([losses.class_loss, losses.mask_loss, losses.dice_loss])

    assert torch.autograd.gradcheck(total, (leaf,))


def test_no_segment_gives_no_mask_loss_and_a_gradient_of_zero() -> None:
    leaf = predictions(3, 2)
    losses = criterion(split(leaf), targets((0, 0)), SETTINGS)
    assert losses.mask_loss.tolist() == losses.dice_loss.tolist() == [0, 0, 0]
    assert (gradient(losses.mask_loss.sum(), leaf) == 0).all()
    assert (losses.class_loss > 0).all()


def test_parts_add_up_to_the_normalizer() -> None:
    """Class losses too: each part is divided by what is the mean over all."""
    leaf, wanted = predictions(3, 4), targets((3, 1, 0, 9))
    whole = criterion(split(leaf), wanted, SETTINGS, draw=places)
    matched = [min(len(target.labels), QUERIES) for target in wanted]
    weight = sum(matched) + SETTINGS.no_object_weight * (4 * QUERIES - sum(matched))
    divided = LossNormalizer(segments=13 / 2, class_weight=weight / 2)
    parts = [
        criterion(split(leaf[:, start::2]), wanted[start::2], SETTINGS, normalizer=divided, draw=places)
        for start in range(2)
    ]
    for name in ("class_loss", "mask_loss", "dice_loss"):
        mean = sum(getattr(part, name) for part in parts) / 2
        torch.testing.assert_close(mean, getattr(whole, name), rtol=1e-5, atol=1e-6)


def test_the_order_of_segments_does_not_matter() -> None:
    leaf, (target,) = predictions(3, 1), targets((4,))
    order = torch.tensor([2, 0, 3, 1])
    turned = Target(target.labels[order], target.masks[order])
    one, other = (criterion(split(leaf), [each], SETTINGS, draw=places) for each in (target, turned))
    torch.testing.assert_close(one.total(SETTINGS), other.total(SETTINGS), rtol=1e-6, atol=0)


def test_the_matching_is_the_cheapest() -> None:
    costs = torch.rand(5, 4, 3, generator=torch.Generator().manual_seed(2))
    for layer, (queries, segments) in zip(costs, match(costs), strict=True):
        least = min(sum(layer[query, place].item() for place, query in enumerate(p)) for p in permutations(range(4), 3))
        assert layer[torch.as_tensor(queries), torch.as_tensor(segments)].sum().item() == pytest.approx(least)
        assert sorted(segments.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_matched_last(bad: float) -> None:
    costs = torch.tensor([[[bad, bad], [0.0, 5.0], [5.0, 0.0]]])
    ((queries, segments),) = match(costs)
    assert dict(zip(queries.tolist(), segments.tolist(), strict=True)) == {1: 0, 2: 1}


# --- Points ---


def test_places_are_where_the_masks_hesitate() -> None:
    logits = 5 * torch.randn(3, 8, 8)
    drawn: list[Tensor] = []

    def draw(rows: int, points: int) -> Tensor:
        drawn.append(torch.rand(rows, points, 2))
        return drawn[-1]

    found = uncertain_places(logits, 20, 3.0, 0.75, draw)
    assert [one.shape for one in drawn] == [(3, 60, 2), (3, 5, 2)]
    assert torch.equal(found[:, 15:], drawn[1])
    certainty = at_points(logits[:, None], drawn[0])[:, 0].abs()
    least = certainty.sort(dim=1).values[:, :15]
    assert torch.equal(at_points(logits[:, None], found[:, :15])[:, 0].abs().sort(dim=1).values, least)


def test_all_places_may_be_drawn_anew_or_none() -> None:
    logits = torch.randn(2, 4, 4)
    drawn: list[tuple[int, int]] = []

    def draw(rows: int, points: int) -> Tensor:
        drawn.append((rows, points))
        return torch.rand(rows, points, 2)

    assert uncertain_places(logits, 8, 2.0, 1.0, draw).shape == (2, 8, 2)
    assert uncertain_places(logits, 8, 2.0, 0.0, draw).shape == (2, 8, 2)
    assert drawn == [(2, 16), (2, 16), (2, 8)]


def test_points_are_read_at_pixel_centres() -> None:
    mask = torch.arange(12.0).view(1, 1, 3, 4)
    centres = torch.tensor([[[(column + 0.5) / 4, (row + 0.5) / 3] for row in range(3) for column in range(4)]])
    torch.testing.assert_close(at_points(mask, centres)[0, 0], torch.arange(12.0))


@pytest.mark.parametrize(
    ("given", "found"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_losses_are_taken_in_fp32_at_least(given: torch.dtype, found: torch.dtype) -> None:
    assert at_least_fp32(torch.zeros(2, dtype=given)).dtype == found


def test_half_precision_predictions_give_float_losses() -> None:
    leaf = predictions(2, 1)
    exact = criterion(split(leaf), targets((3,)), SETTINGS, draw=places).total(SETTINGS)
    rough = criterion(split(leaf.detach().bfloat16()), targets((3,)), SETTINGS, draw=places).total(SETTINGS)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)


def test_the_default_draw_is_the_global_generators() -> None:
    leaf, wanted = predictions(1, 1), targets((3,))
    torch.manual_seed(5)
    one = criterion(split(leaf), wanted, SETTINGS).total(SETTINGS)
    torch.manual_seed(5)
    same = criterion(split(leaf), wanted, SETTINGS).total(SETTINGS)
    other = criterion(split(leaf), wanted, SETTINGS).total(SETTINGS)
    assert one.item() == same.item() != other.item()
    assert module.uniform_on(torch.device("cpu"))(2, 3).shape == (2, 3, 2)
    assert np.isfinite(one.item())
