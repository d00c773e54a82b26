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
from proscale_bench.models.masked_decoder import LayerPrediction, Predictions

NOT_FINITE_COST = 1e6

Matching = tuple[NDArray[np.int64], NDArray[np.int64]]  # queries, and the segment of each
PointSampler = Callable[[int, int], Tensor]  # N, P -> points [N, P, 2] in the unit square, as (x, y)


@dataclass(frozen=True)
class Target:
    """The segments of one image.

    Args:
        labels: classes, [N] int64.
        masks: [N, H, W] of the padded image, float32, 0 or 1.
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
    layers = [*predictions.auxiliary, LayerPrediction(predictions.pred_logits, predictions.pred_masks)]
    class_logits = at_least_fp32(torch.stack([layer.pred_logits for layer in layers]))  # [L, B, Q, K+1]
    mask_logits = torch.stack([layer.pred_masks for layer in layers])  # [L, B, Q, h, w]
    draw = draw or uniform_on(mask_logits.device)
    matchings = match_batch(class_logits, mask_logits, targets, recipe, draw)

    class_loss = classification_loss(class_logits, targets, matchings, recipe.no_object_weight, normalizer)
    mask_loss, dice_loss = mask_losses(mask_logits, targets, matchings, recipe, draw)
    segments = max(normalizer.segments if normalizer else sum(len(target.labels) for target in targets), 1.0)
    return Losses(class_loss, mask_loss / segments, dice_loss / segments)


def match_batch(
    class_logits: Tensor, mask_logits: Tensor, targets: Sequence[Target], recipe: LossSettings, draw: PointSampler
) -> list[list[Matching]]:
    """The matchings of each image, by layer. All layers look at the same places of an image."""
    with torch.no_grad():
        matchings = []
        places = draw(len(targets), recipe.points)  # [B, P, 2]
        for index, target in enumerate(targets):
            here = places[index : index + 1]
            logits = at_points(at_least_fp32(mask_logits[:, index]), here.expand(len(mask_logits), -1, -1))  # [L, Q, P]
            masks = at_points(target.masks[None], here)[0]  # [N, P]
            weights = (recipe.class_weight, recipe.mask_weight, recipe.dice_weight)
            matchings.append(match(matching_costs(class_logits[:, index], logits, target.labels, masks, weights)))
        return matchings


def classification_loss(
    class_logits: Tensor,
    targets: Sequence[Target],
    matchings: Sequence[Sequence[Matching]],
    no_object_weight: float,
    normalizer: LossNormalizer | None = None,
) -> Tensor:
    """Cross-entropy of every query, [L]: those without a segment are to say "no object", and weigh less."""
    layers, _, _, outputs = class_logits.shape
    wanted = torch.full(class_logits.shape[:3], outputs - 1, dtype=torch.int64, device=class_logits.device)
    for image, (target, by_layer) in enumerate(zip(targets, matchings, strict=True)):
        for layer, (queries, segments) in enumerate(by_layer):
            wanted[layer, image, torch.as_tensor(queries)] = target.labels[torch.as_tensor(segments)]
    weight = class_logits.new_ones(outputs)
    weight[-1] = no_object_weight
    each = F.cross_entropy(class_logits.flatten(0, 2), wanted.flatten(), weight, reduction="none").view(layers, -1)
    return each.sum(1) / (normalizer.class_weight if normalizer else weight[wanted.view(layers, -1)].sum(1))


def mask_losses(
    mask_logits: Tensor,
    targets: Sequence[Target],
    matchings: Sequence[Sequence[Matching]],
    recipe: LossSettings,
    draw: PointSampler,
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss of the matched masks, each [L], summed over segments."""
    layers, device = len(mask_logits), mask_logits.device
    pairs = [
        (layer, image, int(query), int(segment))
        for image, by_layer in enumerate(matchings)
        for layer, (queries, segments) in enumerate(by_layer)
        for query, segment in zip(queries, segments, strict=True)
    ]
    if not pairs:
        nothing = mask_logits.sum((1, 2, 3, 4)) * 0  # keeps every parameter in the graph
        return nothing, nothing
    first = [0]  # of each image's segments among all
    for target in targets:
        first.append(first[-1] + len(target.labels))
    of_layer, of_image, of_query, of_segment = torch.tensor(pairs, device=device).T
    logits = mask_logits[of_layer, of_image, of_query]  # [M, h, w]
    places = uncertain_places(logits, recipe.points, recipe.oversampling, recipe.importance, draw)  # [M, P, 2]

    of_segment = of_segment + torch.tensor(first, device=device)[of_image]
    masks = torch.cat([target.masks for target in targets])  # [all segments, H, W]
    with torch.no_grad():
        wanted = at_points(masks[of_segment][:, None], places).squeeze(1)  # [M, P]
    found = at_points(at_least_fp32(logits[:, None]), places).squeeze(1)
    by_mask = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean(1)
    probabilities = found.sigmoid()
    by_dice = 1 - (2 * (probabilities * wanted).sum(1) + 1) / (probabilities.sum(1) + wanted.sum(1) + 1)
    zeros = by_mask.new_zeros(layers)
    return zeros.index_add(0, of_layer, by_mask), zeros.index_add(0, of_layer, by_dice)


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
        chosen = certainty.topk(hesitating, dim=1, largest=False).indices
        places = drawn.gather(1, chosen[:, :, None].expand(-1, -1, 2))
        if hesitating < points:
            places = torch.cat([places, draw(masks, points - hesitating)], dim=1)
    return places
