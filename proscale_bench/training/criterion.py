"""Mask2Former's loss: every layer's predictions matched to the segments, then class, mask and dice losses at points.

All layers are computed at once. Sources: Cheng et al. 2022, section 3.3 and appendix A; deep supervision, Carion et al.
2020; losses at a few points of a mask, Kirillov et al. 2020 (PointRend), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.config.recipe import LossSettings
from proscale_bench.models.masked_decoder import Predictions

NOT_FINITE_COST = 1e6

Matching = tuple[NDArray[np.int64], NDArray[np.int64]]  # queries, and the segment of each
PointSampler = Callable[[int, int], Tensor]  # N, P -> points [N, P, 2] in the unit square, as (x, y)


@dataclass(frozen=True)
class Target:
    """The segments of one image.

    Args:
        labels: classes, [N] int64.
        masks: [N, H, W] of the padded image, 0 or 1, of any type; all images of a batch have one size.
    """

    labels: Tensor
    masks: Tensor


@dataclass(frozen=True)
class LossNormalizer:
    """The divisors of an iteration's losses, each the mean over the iteration's equal parts.

    Args:
        segments: number of segments, of mask and dice losses.
        class_weight: sum of the weights of all queries' class losses, which every layer has alike: each segment is
            matched to one query, as far as there are queries.
    """

    segments: float
    class_weight: float


@dataclass(frozen=True)
class Losses:
    """Unweighted losses of every layer, each [L]: the predictions before each decoder layer, then the last."""

    class_loss: Tensor
    mask_loss: Tensor
    dice_loss: Tensor

    @property
    def terms(self) -> dict[str, Tensor]:
        """The losses by name."""
        return {"class": self.class_loss, "mask": self.mask_loss, "dice": self.dice_loss}

    def total(self, recipe: LossSettings) -> Tensor:
        """The loss that is minimised: the weighted sum over layers."""
        return (
            recipe.class_weight * self.class_loss
            + recipe.mask_weight * self.mask_loss
            + recipe.dice_weight * self.dice_loss
        ).sum()


def criterion(
    predictions: Predictions,
    targets: Sequence[Target],
    recipe: LossSettings,
    *,
    normalizer: LossNormalizer | None = None,
    draw: PointSampler | None = None,
) -> Losses:
    """The losses of a batch.

    Args:
        predictions: with auxiliary ones, if these shall count.
        targets: segments of each image.
        recipe: weights and points.
        normalizer: the batch that this one is an equal part of: the mean over all parts is then the loss of the whole.
        draw: places to look at; uniform ones by default.
    """
    by_layer = [*(layer.pred_logits for layer in predictions.auxiliary), predictions.pred_logits]
    class_logits = at_least_fp32(torch.stack(by_layer))  # [L, B, Q, K+1]
    masks = Masks.of(predictions)
    draw = draw or uniform_on(class_logits.device)
    segments = Segments.of(targets)
    matchings = match_batch(class_logits, masks, segments, recipe, draw)
    pairs = Pairs.of(matchings, segments, class_logits)

    class_loss = classification_loss(class_logits, segments, pairs, recipe.no_object_weight, normalizer)
    mask_loss, dice_loss = mask_losses(masks, segments, pairs, recipe, draw)
    number = max(normalizer.segments if normalizer else sum(segments.numbers), 1.0)
    return Losses(class_loss, mask_loss / number, dice_loss / number)


@dataclass(frozen=True)
class Masks:
    """The mask logits of all layers, as products of embeddings [L, B, Q, C] and features [B, C, h, w].

    No loss needs them all: it asks for those of all queries at a few points, and for those of a few queries everywhere.
    """

    embeddings: Tensor
    features: Tensor

    @classmethod
    def of(cls, predictions: Predictions) -> Masks:
        """Logits that come without factors are products with the identity."""
        if predictions.mask_factors:
            return cls(*predictions.mask_factors)
        auxiliary = (layer.pred_masks for layer in predictions.auxiliary if layer.pred_masks is not None)
        logits = torch.stack([*auxiliary, predictions.pred_masks])
        layers, images, queries = logits.shape[:3]
        identity = torch.eye(layers * queries, dtype=logits.dtype, device=logits.device).view(layers, 1, queries, -1)
        return cls(identity.expand(-1, images, -1, -1), logits.transpose(0, 1).flatten(1, 2))

    def at(self, places: Tensor) -> Tensor:
        """All masks at places [B, P, 2] of each image: [L, B, Q, P]."""
        layers, images, queries, _ = self.embeddings.shape
        by_image = at_least_fp32(self.embeddings).transpose(0, 1).flatten(1, 2)  # [B, L * Q, C]
        read = by_image @ at_points(at_least_fp32(self.features), places)
        return read.view(images, layers, queries, -1).transpose(0, 1)

    def of_pairs(self, pairs: Pairs) -> Tensor:
        """The masks of matched queries, [M, h, w]."""
        chosen = torch.split(self.embeddings.flatten(0, 2).index_select(0, pairs.row), pairs.numbers)
        logits = torch.cat([one @ features for one, features in zip(chosen, self.features.flatten(2), strict=True)])
        return at_least_fp32(logits).view(-1, *self.features.shape[-2:])


@dataclass(frozen=True)
class Segments:
    """The segments of all images, one image after the other.

    Args:
        numbers: number of each image's.
        labels: [N].
        masks: [N, H + 2, W + 2]: with a border of zeros, so that what lies beyond a mask can be read.
    """

    numbers: list[int]
    labels: Tensor
    masks: Tensor

    @classmethod
    def of(cls, targets: Sequence[Target]) -> Segments:
        return cls(
            [len(target.labels) for target in targets],
            torch.cat([target.labels for target in targets]),
            F.pad(torch.cat([target.masks for target in targets]), (1, 1, 1, 1)),
        )

    @property
    def firsts(self) -> list[int]:
        """Place of each image's first segment among all."""
        return [sum(self.numbers[:image]) for image in range(len(self.numbers))]

    def at(self, places: Tensor, segment: Tensor | None = None) -> Tensor:
        """Masks read as `at_points` does.

        Args:
            places: in the unit square, [M, P, 2].
            segment: which mask is read at them, [M]; None for all in their order.

        Returns:
            [M, P].
        """
        number, height, width = self.masks.shape
        if segment is None:
            segment = torch.arange(number, device=places.device)
        x, y = places[..., 0] * (width - 2) + 0.5, places[..., 1] * (height - 2) + 0.5  # of the bordered mask
        left, top = x.floor(), y.floor()
        first = (segment[:, None] * height + top.long()) * width + left.long()
        right, below = x - left, y - top

        def read(step: int) -> Tensor:
            return self.masks.take(first + step).to(places.dtype)

        upper = torch.lerp(read(0), read(1), right)
        return upper.lerp(torch.lerp(read(width), read(width + 1), right), below)


@dataclass(frozen=True)
class Pairs:
    """Matched queries and segments of all layers, image by image.

    Args:
        numbers: number of each image's.
        layer, row, segment: of each pair its layer, its query's place among all [L, B, Q], and its segment's among all
            [M].
    """

    numbers: list[int]
    layer: Tensor
    row: Tensor
    segment: Tensor

    @classmethod
    def of(cls, matchings: Sequence[Sequence[Matching]], segments: Segments, class_logits: Tensor) -> Pairs:
        """From the matchings of each image, by layer."""
        images, queries = class_logits.shape[1:3]
        table = [
            (layer, (layer * images + image) * queries + query, first + segment)
            for image, (by_layer, first) in enumerate(zip(matchings, segments.firsts, strict=True))
            for layer, matching in enumerate(by_layer)
            for query, segment in zip(*(side.tolist() for side in matching), strict=True)
        ]
        numbers = [sum(len(queries) for queries, _ in by_layer) for by_layer in matchings]
        columns = torch.tensor(table, dtype=torch.int64).view(-1, 3).T
        return cls(numbers, *columns.to(class_logits.device, non_blocking=True))


def match_batch(
    class_logits: Tensor, masks: Masks, segments: Segments, recipe: LossSettings, draw: PointSampler
) -> list[list[Matching]]:
    """The matchings of each image, by layer. All layers look at the same places of an image."""
    weights = (recipe.class_weight, recipe.mask_weight, recipe.dice_weight)
    with torch.no_grad():
        places = draw(len(segments.numbers), recipe.points)  # [B, P, 2]
        logits = masks.at(places)  # [L, B, Q, P]
        of_each = zip(places, segments.numbers, strict=True)
        wanted = segments.at(torch.cat([one.expand(number, -1, -1) for one, number in of_each]))
        of_images = (torch.split(one, segments.numbers) for one in (segments.labels, wanted))
        costs = [
            matching_costs(class_logits[:, image], logits[:, image], labels, theirs, weights)
            for image, (labels, theirs) in enumerate(zip(*of_images, strict=True))
        ]
    # All at once: a GPU is waited for once.
    on_host = torch.split(torch.cat([each.flatten() for each in costs]).cpu(), [each.numel() for each in costs])
    return [match(flat.view_as(each)) for flat, each in zip(on_host, costs, strict=True)]


def classification_loss(
    class_logits: Tensor,
    segments: Segments,
    pairs: Pairs,
    no_object_weight: float,
    normalizer: LossNormalizer | None = None,
) -> Tensor:
    """Cross-entropy of every query, [L]: those without a segment are to say "no object", and weigh less."""
    layers, outputs = class_logits.shape[0], class_logits.shape[-1]
    wanted = torch.full_like(class_logits[..., 0], outputs - 1, dtype=torch.int64).flatten()
    wanted[pairs.row] = segments.labels[pairs.segment]
    weight = class_logits.new_ones(outputs)
    weight[-1] = no_object_weight
    each = F.cross_entropy(class_logits.flatten(0, 2), wanted, weight, reduction="none").view(layers, -1)
    return each.sum(1) / (normalizer.class_weight if normalizer else weight[wanted].view(layers, -1).sum(1))


def mask_losses(
    masks: Masks, segments: Segments, pairs: Pairs, recipe: LossSettings, draw: PointSampler
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss of the matched masks, each [L], summed over segments."""
    if not sum(pairs.numbers):
        nothing = (masks.embeddings.sum((1, 2, 3)) + masks.features.sum()) * 0  # keeps every parameter in the graph
        return nothing, nothing
    logits = masks.of_pairs(pairs)  # [M, h, w]
    places = uncertain_places(logits, recipe.points, recipe.oversampling, recipe.importance, draw)  # [M, P, 2]
    with torch.no_grad():
        wanted = segments.at(places, pairs.segment)  # [M, P]
    found = at_points(logits[:, None], places).squeeze(1)
    by_mask = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean(1)
    probabilities = found.sigmoid()
    by_dice = 1 - (2 * (probabilities * wanted).sum(1) + 1) / (probabilities.sum(1) + wanted.sum(1) + 1)
    zeros = by_mask.new_zeros(len(masks.embeddings))
    return zeros.index_add(0, pairs.layer, by_mask), zeros.index_add(0, pairs.layer, by_dice)


def matching_costs(
    class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor, weights: tuple[float, float, float]
) -> Tensor:
    """The costs of giving each query each segment, of one image, several layers at once.

    Args:
        class_logits: [L, Q, K+1].
        mask_logits: at the image's points, [L, Q, P].
        labels: classes of the segments, [N].
        masks: the segments at the same points, 0 to 1, [N, P].
        weights: weights of the class, mask and dice costs.

    Returns:
        [L, Q, N], float32.
    """
    by_class = -class_logits.softmax(-1)[..., labels]
    # Binary cross-entropy of logits x for a target t: softplus(x) - x t, a product and a sum.
    products = mask_logits @ masks.T  # [L, Q, N]
    by_mask = (F.softplus(mask_logits).sum(-1, keepdim=True) - products) / masks.shape[1]
    probabilities = mask_logits.sigmoid()
    shared = probabilities @ masks.T
    by_dice = 1 - (2 * shared + 1) / (probabilities.sum(-1, keepdim=True) + masks.sum(-1) + 1)
    class_weight, mask_weight, dice_weight = weights
    return class_weight * by_class + mask_weight * by_mask + dice_weight * by_dice


def match(costs: Tensor) -> list[Matching]:
    """The cheapest matching of each layer, from costs [L, Q, N]: as many pairs as the fewer of Q and N.

    Costs that are no numbers (a diverged model) count as very dear: the loss, which is not finite either, tells.
    """
    dear = torch.nan_to_num(costs, nan=NOT_FINITE_COST, posinf=NOT_FINITE_COST, neginf=NOT_FINITE_COST)
    return [linear_sum_assignment(layer) for layer in dear.double().cpu().numpy()]


def uniform_on(device: torch.device) -> PointSampler:
    """Places from PyTorch's global generator of a device."""
    return lambda rows, points: torch.rand(rows, points, 2, device=device)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """A tensor as float32 where it comes in fp16 or bf16."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def at_points(masks: Tensor, places: Tensor) -> Tensor:
    """Masks read bilinearly: [N, C, h, w] at [N, P, 2], fractions of width and height, as [N, C, P].

    Pixel centres are at (i + 0.5) / size; beyond the border a mask is zero.
    """
    read = F.grid_sample(masks, (2 * places - 1)[:, :, None], mode="bilinear", align_corners=False)
    return read.squeeze(-1)


def uncertain_places(logits: Tensor, points: int, oversampling: float, importance: float, draw: PointSampler) -> Tensor:
    """Places to take the loss at: mostly where the masks hesitate, the rest anywhere.

    Args:
        logits: logits of masks, [N, h, w].
        points: P, places of a mask.
        oversampling: factor by which more than P places are drawn, to choose from.
        importance: the share of P that are the least certain of those; the others are drawn anew.

    Returns:
        [N, P, 2]; no gradient flows through them.
    """
    masks = len(logits)
    with torch.no_grad():
        drawn = draw(masks, int(points * oversampling))
        certainty = at_points(at_least_fp32(logits[:, None]), drawn).squeeze(1).abs()  # [N, oversampled]
        hesitating = int(importance * points)
        chosen = least(certainty, hesitating)
        places = drawn.gather(1, chosen[:, :, None].expand(-1, -1, 2))
        if hesitating < points:
            places = torch.cat([places, draw(masks, points - hesitating)], dim=1)
    return places


def least(values: Tensor, number: int) -> Tensor:
    """The indices of each row's so many least values, in any order: [N, K] to [N, number].

    On a CPU by numpy's partition, which takes a tenth of the time of PyTorch's.
    """
    if values.device.type != "cpu" or not 0 < number < values.shape[1]:
        return values.topk(number, dim=1, largest=False, sorted=False).indices
    return torch.from_numpy(np.argpartition(values.numpy(), number - 1, axis=1)[:, :number])
