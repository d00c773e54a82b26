"""Deformable DETR's loss: every layer's boxes matched to the objects, then focal, L1 and generalised IoU losses.

All layers are computed at once. Sources: Zhu et al. 2021, sections 4 and A.4 (two stages); set prediction and deep
supervision, Carion et al. 2020; focal loss, Lin et al. 2017; generalised IoU, Rezatofighi et al. 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from proscale_bench.config.recipe import BoxLossSettings
from proscale_bench.training.criterion import Matching, at_least_fp32, match

GAMMA = 2.0  # of the focal loss
TINY = 1e-8  # keeps the matching's logarithms finite


@dataclass(frozen=True)
class BoxTarget:
    """The objects of one image.

    Args:
        labels: classes, [N] int64.
        boxes: centre, width and height as fractions of the image without padding, [N, 4] as (cx, cy, w, h).
    """

    labels: Tensor
    boxes: Tensor


class ScoredBoxes(Protocol):
    """Class logits [B, Q, C] of sigmoids, and boxes [B, Q, 4] as `BoxTarget` has them."""

    @property
    def class_logits(self) -> Tensor: ...
    @property
    def boxes(self) -> Tensor: ...


class DetectorPredictions(ScoredBoxes, Protocol):
    """The last layer's boxes, those of the layers before, and of two stages the proposals: boxes of every token."""

    @property
    def auxiliary(self) -> Sequence[ScoredBoxes]: ...
    @property
    def proposals(self) -> ScoredBoxes | None: ...


@dataclass(frozen=True)
class BoxLosses:
    """Unweighted losses, each [L]: of the proposals, where there are some, then of every layer, the last one last."""

    class_loss: Tensor
    box_loss: Tensor
    giou_loss: Tensor

    @property
    def terms(self) -> dict[str, Tensor]:
        """The losses by name."""
        return {"class": self.class_loss, "box": self.box_loss, "giou": self.giou_loss}

    def total(self, recipe: BoxLossSettings) -> Tensor:
        """The loss that is minimised: the weighted sum over layers."""
        return (
            recipe.class_weight * self.class_loss
            + recipe.box_weight * self.box_loss
            + recipe.giou_weight * self.giou_loss
        ).sum()


def box_criterion(
    predictions: DetectorPredictions,
    targets: Sequence[BoxTarget],
    recipe: BoxLossSettings,
    *,
    objects: float | None = None,
) -> BoxLosses:
    """The losses of a batch.

    Args:
        predictions: with auxiliary ones and proposals, if these shall count.
        targets: objects of each image.
        recipe: weights and costs.
        objects: the divisor of all losses, where this batch is an equal part of a larger one: the mean number of
            objects over all parts. The mean over all parts is then the loss of the whole.
    """
    number = sum(len(target.labels) for target in targets) if objects is None else objects
    layers = [*predictions.auxiliary, predictions]
    found = [_losses_of(layers, targets, recipe)]
    if predictions.proposals is not None:  # which only say whether there is an object: by their first class
        anything = [BoxTarget(torch.zeros_like(target.labels), target.boxes) for target in targets]
        found.insert(0, _losses_of([predictions.proposals], anything, recipe))
    return BoxLosses(*(torch.cat(losses) / max(number, 1.0) for losses in zip(*found, strict=True)))


def _losses_of(
    layers: Sequence[ScoredBoxes], targets: Sequence[BoxTarget], recipe: BoxLossSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Focal, L1 and generalised IoU losses of layers with as many queries each, [L], summed over images."""
    class_logits = at_least_fp32(torch.stack([layer.class_logits for layer in layers]))  # [L, B, Q, C]
    boxes = at_least_fp32(torch.stack([layer.boxes for layer in layers]))  # [L, B, Q, 4]
    wanted_classes = torch.zeros_like(class_logits)
    nothing = boxes.sum((1, 2, 3)) * 0  # keeps every parameter in the graph
    by_box, by_giou = nothing, nothing
    pairs = [
        (layer, image, int(query), int(object_))
        for image, target in enumerate(targets)
        for layer, matching in enumerate(match_image(class_logits[:, image], boxes[:, image], target, recipe))
        for query, object_ in zip(*matching, strict=True)
    ]
    if pairs:
        of_layer, of_image, of_query, of_object = torch.tensor(pairs, device=boxes.device).T
        first = torch.tensor([0, *(len(target.labels) for target in targets)], device=boxes.device).cumsum(0)
        of_object = of_object + first[of_image]  # among the objects of all images
        labels = torch.cat([target.labels for target in targets])[of_object]
        wanted_classes[of_layer, of_image, of_query, labels] = 1
        found = boxes[of_layer, of_image, of_query]  # [M, 4]
        wanted = torch.cat([target.boxes for target in targets])[of_object]
        by_box = nothing.index_add(0, of_layer, (found - wanted).abs().sum(-1))
        by_giou = nothing.index_add(0, of_layer, generalized_box_iou_loss(corners(found), corners(wanted), eps=0.0))
    by_class = sigmoid_focal_loss(class_logits, wanted_classes, recipe.focal_alpha, GAMMA).sum((1, 2, 3))
    return by_class, by_box, by_giou


@torch.no_grad()
def match_image(class_logits: Tensor, boxes: Tensor, target: BoxTarget, recipe: BoxLossSettings) -> list[Matching]:
    """The matching of an image in each layer.

    Args:
        class_logits: [L, Q, C].
        boxes: [L, Q, 4].
    """
    return match(matching_costs(class_logits, boxes, target, recipe))


def matching_costs(class_logits: Tensor, boxes: Tensor, target: BoxTarget, recipe: BoxLossSettings) -> Tensor:
    """The costs of giving each query each object of an image, several layers at once: [L, Q, N], float32.

    The class cost is what the focal loss of a class would change by; see `match_image` for the shapes.
    """
    score = class_logits[..., target.labels].sigmoid()  # [L, Q, N]
    there = recipe.focal_alpha * (1 - score) ** GAMMA * -(score + TINY).log()
    absent = (1 - recipe.focal_alpha) * score**GAMMA * -(1 - score + TINY).log()
    by_box = torch.cdist(boxes, target.boxes.expand(len(boxes), -1, -1), p=1)
    by_giou = -generalized_box_iou(corners(boxes.flatten(0, 1)), corners(target.boxes)).view_as(by_box)
    costs: Tensor = recipe.class_cost * (there - absent) + recipe.box_cost * by_box + recipe.giou_cost * by_giou
    return costs


def corners(boxes: Tensor) -> Tensor:
    """Boxes [..., 4] as (x0, y0, x1, y1) from (cx, cy, w, h)."""
    found: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return found
