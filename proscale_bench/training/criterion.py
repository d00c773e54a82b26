"""Mask2Former's loss: every layer's predictions matched to the segments, then class, mask and dice losses.

All layers are computed at once. Source: Cheng et al. 2022, section 3.3 and appendix A; deep supervision as in Carion
et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.config.recipe import LossSettings
from proscale_bench.models.masked_decoder import Prediction, Predictions
from proscale_bench.training.matcher import Matching, match, matching_costs
from proscale_bench.training.points import Draw, at_least_fp32, at_points, uncertain_places, uniform_on


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
class Whole:
    """What an iteration's losses are divided by, each in the mean over its equal parts.

    Args:
        segments: how many there are.
        class_weight: the weights of all queries' class losses, which every layer has alike: each segment is matched
            to one query, as far as there are queries.
    """

    segments: float
    class_weight: float


@dataclass(frozen=True)
class Losses:
    """Unweighted losses of every layer, each [L]: the predictions before each decoder layer, then the last."""

    of_class: Tensor
    of_mask: Tensor
    of_dice: Tensor

    def total(self, recipe: LossSettings) -> Tensor:
        """What is minimised: the weighted sum over layers."""
        return (
            recipe.class_weight * self.of_class + recipe.mask_weight * self.of_mask + recipe.dice_weight * self.of_dice
        ).sum()


def criterion(
    predictions: Predictions,
    targets: Sequence[Target],
    recipe: LossSettings,
    *,
    whole: Whole | None = None,
    draw: Draw | None = None,
) -> Losses:
    """The losses of a batch.

    Args:
        predictions: with auxiliary ones, if these shall count.
        targets: of each image.
        recipe: weights and points.
        whole: the batch that this one is an equal part of: the mean over all parts is then the loss of the whole.
        draw: places to look at; uniform ones by default.
    """
    layers: list[Prediction] = [*predictions.auxiliary, Prediction(predictions.pred_logits, predictions.pred_masks)]
    class_logits = at_least_fp32(torch.stack([layer.pred_logits for layer in layers]))  # [L, B, Q, K+1]
    mask_logits = torch.stack([layer.pred_masks for layer in layers])  # [L, B, Q, h, w]
    draw = draw or uniform_on(mask_logits.device)
    matchings = match_batch(class_logits, mask_logits, targets, recipe, draw)

    of_class = class_loss(class_logits, targets, matchings, recipe.no_object_weight, whole)
    of_mask, of_dice = mask_losses(mask_logits, targets, matchings, recipe, draw)
    segments = max(whole.segments if whole else sum(len(target.labels) for target in targets), 1.0)
    return Losses(of_class, of_mask / segments, of_dice / segments)


def match_batch(
    class_logits: Tensor, mask_logits: Tensor, targets: Sequence[Target], recipe: LossSettings, draw: Draw
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


def class_loss(
    class_logits: Tensor,
    targets: Sequence[Target],
    matchings: Sequence[Sequence[Matching]],
    no_object_weight: float,
    whole: Whole | None = None,
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
    return each.sum(1) / (whole.class_weight if whole else weight[wanted.view(layers, -1)].sum(1))


def mask_losses(
    mask_logits: Tensor,
    targets: Sequence[Target],
    matchings: Sequence[Sequence[Matching]],
    recipe: LossSettings,
    draw: Draw,
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
