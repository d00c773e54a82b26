"""The matching of detections and truths by COCO's greedy rule, for all thresholds and size ranges in one pass.

Pure numbers: what files and records hold is made into `Truths` and `Detections` by `instance_records`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.evaluation.average_precision import (
    ALL_BITS,
    ALL_THRESHOLDS,
    AREA_BITS,
    AREA_RANGES,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    NUM_THRESHOLDS,
    Floats,
    Integers,
    Matches,
)

TRUTHS_AT_ONCE = 20_000  # of one category in one image, held against up to 100 detections: 16 MB of IoUs

MasksOrBoxes = Sequence[dict[str, Any]] | Floats  # COCO's run lengths, or boxes [N, 4] (x, y, width, height)

# What an IoU that reaches n thresholds is good for, in every size range.
REACHED = ((1 << np.arange(NUM_THRESHOLDS + 1)) - 1) * (ALL_BITS // ALL_THRESHOLDS)


@dataclass(frozen=True)
class Truths:
    """Annotations as columns, in the order of their file.

    Args:
        image, category: [G], places in the ascending lists of ids.
        area: [G], pixels, as the file says.
        crowd: [G]; crowds may be found any number of times, and an IoU with one is over the detection's area.
        ignored: [G]; neither found nor missed, as a crowd is.
        named: [G]; False for the id 0, which the reference takes for no truth at all once it is found.
        shapes: masks or boxes of all.
    """

    image: Integers
    category: Integers
    area: Floats
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    named: NDArray[np.bool_]
    shapes: MasksOrBoxes


@dataclass(frozen=True)
class Detections:
    """Results as columns, in the order of their file; `image` and `category` as in `Truths`."""

    image: Integers
    category: Integers
    score: Floats
    area: Floats
    shapes: MasksOrBoxes

    def take(self, places: Integers) -> Detections:
        """The detections at the places."""
        image, category, shapes = self.image[places], self.category[places], take_shapes(self.shapes, places)
        return Detections(image, category, self.score[places], self.area[places], shapes)


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
    ignored_truths = _outside(truths.area) | np.where(truths.ignored, ALL_BITS, 0)
    best, truth_shapes = detections.take(order), take_shapes(truths.shapes, truth_order)
    crowd, named = truths.crowd[truth_order].tolist(), truths.named[truth_order].tolist()
    places, slots, overlaps = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0)]
    for key in groups.keys() & truth_groups.keys():
        (first, end), (truth_first, truth_end) = groups[key], truth_groups[key]
        for start in range(truth_first, truth_end, TRUTHS_AT_ONCE):
            some = slice(start, min(start + TRUTHS_AT_ONCE, truth_end))
            table = iou(best.shapes[first:end], truth_shapes[some], crowd[some])
            near = np.nonzero(table >= IOU_THRESHOLDS[0])
            places.append(near[0] + first)
            slots.append(near[1] + start)
            overlaps.append(table[near])
    place, slot, overlap = (np.concatenate(parts) for parts in (places, slots, overlaps))
    matched, ignored = _assign(place, slot, overlap, len(order), ignored_truths[truth_order], crowd, named)
    ignored |= ~matched & _outside(best.area)
    return Matches(
        best.image, best.category, best.score, rank, matched, ignored, truths.image, truths.category, ignored_truths
    )


def engine_tables(truths: Truths, detections: Detections, images: int, categories: int) -> tuple[Floats, Floats] | None:
    """COCOeval's tables of precision and recall, by hotcoco: equal to those of `match`, sooner, on all processors.

    Args:
        images, categories: their numbers.

    Returns:
        None where it is not asked: with a truth of id 0, or one ignored that is no crowd, NaN or infinity, nothing to
        find or nothing found.
    """
    from hotcoco import COCO, COCOeval

    finite = all(np.isfinite(column).all() for column in (truths.area, detections.area, detections.score))
    plain = truths.named.all() and np.array_equal(truths.crowd, truths.ignored)
    if not (finite and plain and len(truths.image) and len(detections.image)):
        return None

    # The engine compares every detection of an image with every truth before it leaves out those past the limit.
    best = _grouped(detections.image, detections.category, detections.score, MAX_DETECTIONS[-1])[0]
    if len(best) < len(detections.image):
        detections = detections.take(best)

    def boxes_and_masks(shapes: MasksOrBoxes) -> tuple[Floats, list[Any] | None]:
        return (shapes, None) if isinstance(shapes, np.ndarray) else (np.zeros((len(shapes), 4)), list(shapes))

    boxes, masks = boxes_and_masks(truths.shapes)
    annotated = COCO.from_arrays(
        [{"id": place, "height": 1, "width": 1} for place in range(images)],
        [{"id": place, "name": str(place)} for place in range(categories)],
        truths.image,
        truths.category,
        boxes,
        area=truths.area,
        iscrowd=truths.crowd,
        segmentation=masks,
    )
    boxes, masks = boxes_and_masks(detections.shapes)
    rows = np.column_stack((detections.image, boxes, detections.score, detections.category))
    found = annotated.load_res(rows, segmentation=masks)
    found.update_anns(ids=np.arange(1, len(rows) + 1), area=detections.area)
    evaluation = COCOeval(annotated, found, "bbox" if masks is None else "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    tables = evaluation.eval
    return None if tables is None else (np.asarray(tables["precision"]), np.asarray(tables["recall"]))


def take_shapes(shapes: MasksOrBoxes, places: Integers) -> MasksOrBoxes:
    """The masks or boxes at the places."""
    return shapes[places] if isinstance(shapes, np.ndarray) else [shapes[place] for place in places.tolist()]


def _assign(
    place: Integers, slot: Integers, overlap: Floats, count: int, skip: Integers, crowd: list[bool], named: list[bool]
) -> tuple[Integers, Integers]:
    """Each detection's bits where it found a truth, and those where that truth is ignored, both [count].

    Args:
        place, slot, overlap: detection, truth and IoU of every pair to think of; of an image and category the best
            detection has the lowest place.
        count: number of detections.
        skip: [G], bits where the truth is ignored.
    """
    reach = REACHED[np.searchsorted(IOU_THRESHOLDS, overlap, side="right")]
    # A pair counts first with the bits where its truth does, and after all others with those where it is ignored.
    bits = np.concatenate((reach & ~skip[slot], reach & skip[slot]))
    pair = np.flatnonzero(bits)
    bits, late, pair = bits[pair], pair >= len(reach), pair % max(len(reach), 1)
    order = np.lexsort((-slot[pair], -overlap[pair], late, place[pair]))
    matched, free, wanted, open_ = [0] * count, [0] * count, [ALL_BITS] * count, [ALL_BITS] * len(crowd)
    columns = (place[pair], slot[pair], bits, late)
    for detection, truth, good, ignored in zip(*(column[order].tolist() for column in columns), strict=True):
        found = good & wanted[detection]
        if not crowd[truth]:
            found &= open_[truth]
            open_[truth] ^= found
        wanted[detection] ^= found
        if named[truth]:
            matched[detection] |= found
        if ignored:
            free[detection] |= found
    return np.array(matched, np.int64), np.array(free, np.int64)


def _grouped(
    image: Integers, category: Integers, score: Floats | None = None, most: int | None = None
) -> tuple[Integers, dict[tuple[int, int], tuple[int, int]], Integers]:
    """An order by image and category, within them by falling score or as in the file, and the best `most` of each.

    Returns:
        The order, where each (image, category) lies in it, and the ranks within.
    """
    order = np.arange(len(image)) if score is None else np.argsort(-score, kind="stable")  # NaN last
    order = order[np.lexsort((category[order], image[order]))]
    starts = np.flatnonzero((np.diff(image[order], prepend=-1) != 0) | (np.diff(category[order], prepend=-1) != 0))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    if most is not None:
        order, rank = order[rank < most], rank[rank < most]
        starts = np.flatnonzero(rank == 0)
    keys = zip(image[order[starts]].tolist(), category[order[starts]].tolist(), strict=True)
    ends = np.append(starts[1:], len(order)).tolist()
    return order, dict(zip(keys, zip(starts.tolist(), ends, strict=False), strict=False)), rank


def _outside(area: Floats) -> Integers:
    """[N], bits of the size ranges that an area is not in."""
    bits = np.zeros(len(area), np.int64)
    for (low, high), range_bits in zip(AREA_RANGES, AREA_BITS, strict=True):
        bits |= np.where((area < low) | (area > high), range_bits, 0)
    return bits
