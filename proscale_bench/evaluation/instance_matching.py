"""Which detection finds which truth: COCO's greedy rule, for all thresholds and size ranges in one pass.

Pure numbers: what files and records hold is made into `Truths` and `Detections` by `instance_records`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.evaluation.average_precision import (
    ALL_BITS,
    AREA_BITS,
    AREA_RANGES,
    IOU_THRESHOLDS,
    LEVELS,
    Floats,
    Integers,
    Matches,
)

Shapes = Sequence[dict[str, Any]] | Floats  # COCO's run lengths, or boxes [N, 4] (x, y, width, height)

THRESHOLDS = IOU_THRESHOLDS.tolist()
# What an IoU that reaches n thresholds is good for, in every size range.
REACHED = tuple(sum(((1 << n) - 1) << LEVELS * area for area in range(len(AREA_RANGES))) for n in range(LEVELS + 1))


@dataclass(frozen=True)
class Truths:
    """Annotations as columns, in the order of their file.

    Args:
        image, category: [G], places in the ascending lists of ids.
        area: [G], pixels, as the file says.
        crowd: [G].
        named: [G]; False for the id 0, which the reference takes for no truth at all once it is found.
        shapes: of all.
    """

    image: Integers
    category: Integers
    area: Floats
    crowd: NDArray[np.bool_]
    named: NDArray[np.bool_]
    shapes: Shapes


@dataclass(frozen=True)
class Detections:
    """Results as columns, in the order of their file; `image` and `category` as in `Truths`."""

    image: Integers
    category: Integers
    score: Floats
    area: Floats
    shapes: Shapes


def match(truths: Truths, detections: Detections, most: int) -> Matches:
    """Match the best `most` detections of every category and image.

    The best detection chooses first: of the truths whose IoU reaches the threshold and that nobody has taken, the one
    of the highest IoU, the last of equals; one that is ignored only where no other can be had. Crowds may be taken any
    number of times.
    """
    from hotcoco import mask, primitives

    # Over the detection's own area where the truth is a crowd.
    iou: Callable[[Any, Any, list[bool]], Floats] = (
        primitives.bbox_iou if isinstance(truths.shapes, np.ndarray) else mask.iou
    )
    order, groups, rank = _grouped(detections.image, detections.category, detections.score, most)
    truth_order, truth_groups, _ = _grouped(truths.image, truths.category)
    ignored_truths = _outside(truths.area) | np.where(truths.crowd, ALL_BITS, 0)
    shapes, truth_shapes = take_shapes(detections.shapes, order), take_shapes(truths.shapes, truth_order)
    # Lists, since a group has a truth or two: what numpy would do at once, it would do slowly.
    skip, crowd, named = (column[truth_order].tolist() for column in (ignored_truths, truths.crowd, truths.named))
    matched = np.zeros(len(order), np.int64)
    ignored = np.zeros(len(order), np.int64)
    for key in groups.keys() & truth_groups.keys():
        first, end = groups[key]
        slots = slice(*truth_groups[key])
        overlaps = iou(shapes[first:end], truth_shapes[slots], crowd[slots])
        for place, found, free in _assign(overlaps, skip[slots], crowd[slots], named[slots]):
            matched[first + place] = found
            ignored[first + place] = free
    ignored |= ~matched & _outside(detections.area[order])
    return Matches(
        detections.image[order],
        detections.category[order],
        detections.score[order],
        rank,
        matched,
        ignored,
        truths.image,
        truths.category,
        ignored_truths,
    )


def take_shapes(shapes: Shapes, places: Integers) -> Shapes:
    """Those at the places."""
    return shapes[places] if isinstance(shapes, np.ndarray) else [shapes[place] for place in places.tolist()]


def _assign(overlaps: Floats, skip: list[int], crowd: list[bool], named: list[bool]) -> Iterator[tuple[int, int, int]]:
    """(detection, bits where it found a truth, bits where that truth is ignored), of one category in one image.

    Args:
        overlaps: [D, G], IoU; best detection first.
        skip: [G], bits where the truth is ignored.
    """
    places, slots = np.nonzero(overlaps >= THRESHOLDS[0])
    if not len(places):
        return
    candidates: dict[int, list[tuple[float, int]]] = {}
    for place, slot, iou in zip(places.tolist(), slots.tolist(), overlaps[places, slots].tolist(), strict=True):
        candidates.setdefault(place, []).append((iou, slot))
    taken = [0] * len(skip)
    for place, hits in candidates.items():
        if len(hits) > 1:
            hits.sort(reverse=True)
        reached = [(REACHED[bisect_right(THRESHOLDS, iou)], slot) for iou, slot in hits]
        wanted, matched, free = ALL_BITS, 0, 0
        for reach, slot in reached:
            bits = reach & wanted & ~(taken[slot] | skip[slot])
            if bits:
                taken[slot] |= bits
                wanted ^= bits
                matched |= bits if named[slot] else 0
        for reach, slot in reached:
            bits = reach & wanted & skip[slot]
            if bits and not crowd[slot]:
                bits &= ~taken[slot]
                taken[slot] |= bits
            if bits:
                wanted ^= bits
                free |= bits
                matched |= bits if named[slot] else 0
        yield place, matched, free


def _grouped(
    image: Integers, category: Integers, score: Floats | None = None, most: int | None = None
) -> tuple[Integers, dict[tuple[int, int], tuple[int, int]], Integers]:
    """An order by image and category, within them by falling score or as in the file, and the best `most` of each.

    Returns:
        The order, where each (image, category) lies in it, and the ranks within.
    """
    order = np.arange(len(image)) if score is None else np.argsort(-score, kind="stable")  # NaN last
    order = order[np.lexsort((category[order], image[order]))]
    starts = _starts(image[order], category[order])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    if most is not None:
        order, rank = order[rank < most], rank[rank < most]
        starts = np.flatnonzero(rank == 0)
    keys = zip(image[order[starts]].tolist(), category[order[starts]].tolist(), strict=True)
    ends = np.append(starts[1:], len(order)).tolist()
    return order, dict(zip(keys, zip(starts.tolist(), ends, strict=False), strict=False)), rank


def _starts(image: Integers, category: Integers) -> Integers:
    """Where the image or the category changes."""
    changes = np.ones(len(image), bool)
    changes[1:] = (image[1:] != image[:-1]) | (category[1:] != category[:-1])
    return np.flatnonzero(changes)


def _outside(area: Floats) -> Integers:
    """[N], bits of the size ranges that an area is not in."""
    bits = np.zeros(len(area), np.int64)
    for (low, high), range_bits in zip(AREA_RANGES, AREA_BITS, strict=True):
        bits |= np.where((area < low) | (area > high), range_bits, 0)
    return bits
