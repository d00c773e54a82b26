"""Post-processing: from the logits of one image to semantic, panoptic and instance results at the original's size.

Sources: Cheng et al. 2021 (MaskFormer), section 3.4; Cheng et al. 2022. As the official code computes them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.config.choices import OFFICIAL_THRESHOLDS, PostprocessingThresholds
from proscale_bench.units import Size

VOID = 0  # a panoptic map's pixels without a segment


@dataclass(frozen=True)
class MapSegment:
    """A segment of a panoptic map: its id there, its category's index, and whether that is a thing."""

    id: int
    category: int
    is_thing: bool


@dataclass(frozen=True)
class Panoptic:
    """A panoptic map [H, W], int32, of segment ids from 1 or `VOID`, and its segments by ascending id."""

    map: Tensor
    segments: tuple[MapSegment, ...]


@dataclass(frozen=True)
class Instances:
    """N instances, best first.

    Args:
        scores: [N].
        classes: [N], category indices.
        masks: [N, H, W], bool.
        boxes: [N, 4], (x0, y0, x1, y1) in pixels around each mask, x1 and y1 just outside it; zeros where it
            is empty. (The official code reports zeros for all.)
    """

    scores: Tensor
    classes: Tensor
    masks: Tensor
    boxes: Tensor


def resize_masks(
    mask_logits: Tensor,
    padded_size: Size,
    image_size: Size,
    output_size: Size | None = None,
    *,
    skip_identities: bool = False,
) -> Tensor:
    """One image's mask logits [Q, h, w] at the original size: [Q, *output_size].

    Bilinear to the batch's padded size, crop to the image that the model was given, bilinear to the original
    size. Published counts assume that each step is done even where it changes nothing.

    Args:
        mask_logits: `pred_masks` of one image.
        padded_size: (height, width) of the model's padded input.
        image_size: (height, width) of this image in it.
        output_size: (height, width) of the original image; by default `image_size`.
        skip_identities: leave out a step from a size to itself; the masks are the same, bit for bit.
    """
    masks = _resized(mask_logits, padded_size, skip_identities)
    return to_original(masks, image_size, output_size, skip_identities=skip_identities)


def to_original(
    maps: Tensor, image_size: Size, output_size: Size | None = None, *, skip_identities: bool = False
) -> Tensor:
    """The second half of `resize_masks`: maps [N, *padded_size] without the padding, at the original size.

    Models that the official code trained for semantic segmentation alone resize class scores so, and not masks.
    """
    height, width = image_size
    return _resized(maps[:, :height, :width], output_size or image_size, skip_identities)


def _resized(maps: Tensor, size: Size, skip_identities: bool) -> Tensor:
    if skip_identities and tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def semantic(logits: Tensor, masks: Tensor) -> Tensor:
    """Class scores of every pixel, [K, H, W], from logits [Q, K+1] and resized mask logits [Q, H, W].

    They are sums over queries and not probabilities; the class of a pixel is their argmax.
    """
    classes = logits.softmax(dim=-1)[:, :-1]
    return torch.einsum("qc,qhw->chw", classes, masks.sigmoid())


def panoptic(
    logits: Tensor,
    masks: Tensor,
    thing_classes: Collection[int],
    thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
) -> Panoptic:
    """Give every pixel to at most one query.

    1. Keep the queries that see an object with a probability above `thresholds.score`.
    2. Each pixel is won by the kept query with the largest score times mask.
    3. In query order, drop a query that wins less than `thresholds.overlap` of the area where its own mask is
       at least `thresholds.mask`, or that has no pixel both won and so covered.
    4. The rest become segments of their pixels both won and covered; stuff of one class is one segment.

    Args:
        logits: [Q, K+1].
        masks: resized mask logits [Q, H, W].
        thing_classes: indices of the classes whose segments stay apart.
        thresholds: thresholds of the steps above.
    """
    scores, labels = logits.softmax(dim=-1).max(dim=-1)
    kept = (labels != logits.shape[-1] - 1) & (scores > thresholds.score)
    probabilities = masks[kept].sigmoid()  # [kept, H, W]
    if not len(probabilities):
        return Panoptic(torch.full(masks.shape[1:], VOID, dtype=torch.int32, device=masks.device), ())

    # `max` along the first dimension takes a fifth of `argmax`'s time; of equals both give the first.
    winner = (scores[kept, None, None] * probabilities).max(dim=0).indices  # [H, W]
    visible = probabilities.gather(0, winner[None])[0] >= thresholds.mask  # where the winner's own mask is
    queries = len(probabilities)
    areas = torch.stack(
        (
            torch.bincount(winner.flatten(), minlength=queries),
            torch.count_nonzero(probabilities >= thresholds.mask, dim=(1, 2)),
            torch.bincount(winner[visible], minlength=queries),
        ),
        dim=1,
    )

    segments: list[MapSegment] = []
    stuff: dict[int, int] = {}  # class: id of its one segment
    id_of_query = [VOID] * queries
    for query, (category, (won_area, covered_area, visible_area)) in enumerate(
        zip(labels[kept].tolist(), areas.tolist(), strict=True)
    ):
        if not visible_area or won_area / covered_area < thresholds.overlap:
            continue
        segment_id = stuff.get(category)
        if segment_id is None:
            segment_id = len(segments) + 1
            is_thing = category in thing_classes
            segments.append(MapSegment(segment_id, category, is_thing))
            if not is_thing:
                stuff[category] = segment_id
        id_of_query[query] = segment_id
    ids = torch.tensor(id_of_query, dtype=torch.int32, device=masks.device)[winner]
    return Panoptic(ids * visible, tuple(segments))


def best_score(logits: Tensor) -> float:
    """The largest score that `panoptic` holds against its threshold, of logits [Q, K+1]; 0 where all see nothing."""
    scores, labels = logits.softmax(dim=-1).max(dim=-1)
    return float(scores.masked_fill(labels == logits.shape[-1] - 1, 0.0).max())


def instances(
    logits: Tensor, masks: Tensor, *, top_k: int = 100, thing_classes: Collection[int] | None = None
) -> Instances:
    """The best pairs of query and class; a query may appear with several classes.

    A pair's score is its class probability times the mean mask probability inside the mask.

    Args:
        logits: [Q, K+1].
        masks: resized mask logits [Q, H, W].
        top_k: pairs taken by class probability, before things are picked out.
        thing_classes: keep only these classes; None keeps all, as where panoptic results are not asked for.
    """
    probabilities = logits.softmax(dim=-1)[:, :-1]  # [Q, K]
    scores, pairs = probabilities.flatten().topk(min(top_k, probabilities.numel()))
    num_classes = probabilities.shape[1]
    queries, classes = pairs // num_classes, pairs % num_classes
    if thing_classes is not None:
        things = torch.tensor(sorted(thing_classes), dtype=classes.dtype, device=classes.device)
        kept = torch.isin(classes, things)
        scores, queries, classes = scores[kept], queries[kept], classes[kept]

    # A query of several classes has one mask.
    queries, of_query = torch.unique(queries, return_inverse=True)
    selected = masks[queries]
    inside = selected > 0
    pixels = torch.count_nonzero(inside, dim=(1, 2))
    quality = (selected.sigmoid() * inside).flatten(1).sum(dim=1) / (pixels + 1e-6)
    scores = scores * quality[of_query]
    order = scores.argsort(descending=True, stable=True)
    chosen = of_query[order]
    return Instances(scores[order], classes[order], inside[chosen], mask_boxes(inside)[chosen])


def mask_boxes(masks: Tensor) -> Tensor:
    """The tightest boxes around masks [N, H, W]: [N, 4], float32; see `Instances.boxes`."""
    edges = []
    for axis in (1, 2):  # over rows: which columns are taken; then the other way round
        taken = masks.view(torch.uint8).amax(dim=axis)  # [N, W or H]; `any` takes five times as long
        edges.append((taken.argmax(dim=1), taken.shape[1] - taken.flip(1).argmax(dim=1)))
    (x0, x1), (y0, y1) = edges
    boxes = torch.stack((x0, y0, x1, y1), dim=1).to(torch.float32)
    return boxes.masked_fill(~masks.flatten(1).any(dim=1)[:, None], 0.0)
