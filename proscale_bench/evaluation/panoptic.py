"""Panoptic quality (Kirillov et al. 2019) of maps in memory: panopticapi's one-worker result to the last digit.

An image is counted by itself, in any process and any order; IoUs are then added one after the other, by image, true id
and predicted id, since a sum of floats in another order has other last digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Category, Id, Segment
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.evaluation.pixel_runs import Map, runs

VOID = 0
ID_LIMIT = 2**32  # a pair of ids fits one number of 64 bits

Overlaps = Mapping[tuple[int, int], int]


@dataclass(frozen=True)
class PanopticCounts:
    """The counts that one image adds to the metric.

    Args:
        matches: (category id, IoU) of each true positive, by ascending true id, then predicted id.
        false_positives: a category id for each.
        false_negatives: a category id for each.
    """

    matches: tuple[tuple[Id, float], ...]
    false_positives: tuple[Id, ...]
    false_negatives: tuple[Id, ...]


@dataclass(frozen=True)
class ClassQuality:
    """One class: fractions, zeros where it has no segment, and its counts."""

    pq: float
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int

    @property
    def is_seen(self) -> bool:
        """True if truth or predictions have a segment of it."""
        return self.tp + self.fp + self.fn > 0


@dataclass(frozen=True)
class GroupQuality:
    """Means over the `classes` classes that have a segment; None where none has."""

    pq: float | None
    sq: float | None
    rq: float | None
    classes: int


@dataclass(frozen=True)
class PanopticQuality:
    """PQ, SQ and RQ as fractions, unrounded.

    Args:
        all, things, stuff: means over classes.
        per_class: by category id.
        warnings: places where files mislead the metric.
    """

    all: GroupQuality
    things: GroupQuality
    stuff: GroupQuality
    per_class: dict[Id, ClassQuality]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassCounts:
    """Counts as arrays [images, classes], classes in the order of the categories: what a bootstrap resamples."""

    iou: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]


def count_image(
    true_ids: Map, true_segments: Sequence[Segment], predicted_ids: Map, predicted_segments: Sequence[PredictedSegment]
) -> PanopticCounts:
    """Match one image's segments.

    Args:
        true_ids, predicted_ids: [H, W], integers of any type from 0 to 2^32 - 1; 0 is void.
        true_segments: with their areas, which need not be those of the map. Of two with one id the last counts.
        predicted_segments: those of the map, neither more nor fewer.

    Raises:
        ValueError: the maps differ in size, or predicted segments and map in ids.
    """
    return count_overlaps(overlaps(true_ids, predicted_ids), true_segments, predicted_segments)


def overlaps(true_ids: Map, predicted_ids: Map) -> dict[tuple[int, int], int]:
    """The pixels that each pair (true id, predicted id) shares, by ascending pair.

    Raises:
        ValueError: the maps differ in size, or have ids outside 0 to 2^32 - 1.
    """
    true_runs, predicted_runs, lengths = runs(true_ids, predicted_ids)
    if lengths is None:
        pairs, pixels = np.unique(_paired(true_runs, predicted_runs), return_counts=True)
    else:
        pairs, pair_of_run = np.unique(_paired(true_runs, predicted_runs), return_inverse=True)
        pixels = np.bincount(pair_of_run, weights=lengths).astype(np.int64)
    keys = zip((pairs // ID_LIMIT).tolist(), (pairs % ID_LIMIT).tolist(), strict=True)
    return dict(zip(keys, pixels.tolist(), strict=True))


def count_overlaps(
    shared: Overlaps, true_segments: Sequence[Segment], predicted_segments: Sequence[PredictedSegment]
) -> PanopticCounts:
    """Match one image's segments by the pixels that they share, as `overlaps` found them.

    A pair of one category matches where IoU > 0.5; pixels without truth count for neither side. A crowd cannot be
    matched, and a prediction that lies in void and in the crowd of its category by more than half is forgiven.

    Raises:
        ValueError: predicted segments and map differ in ids.
    """
    truth, category_of, areas = _tables(shared, true_segments, predicted_segments)
    pairs = list(_matched(shared, truth, category_of, areas))
    matched_truth, matched_predictions = ({pair[side] for pair in pairs} for side in (0, 1))

    crowds = {segment.category_id: segment.id for segment in truth.values() if segment.is_crowd}  # the last of each
    false_positives = []
    for predicted_id, category_id in category_of.items():
        if predicted_id in matched_predictions:
            continue
        forgiven = shared.get((VOID, predicted_id), 0)
        if category_id in crowds:
            forgiven += shared.get((crowds[category_id], predicted_id), 0)
        if not forgiven / areas[predicted_id] > 0.5:
            false_positives.append(category_id)
    missed = (item for item in truth.values() if not item.is_crowd and item.id not in matched_truth)
    matches = ((truth[true_id].category_id, iou) for true_id, _, iou in pairs)
    return PanopticCounts(tuple(matches), tuple(false_positives), tuple(item.category_id for item in missed))


def matched_pairs(
    true_ids: Map, true_segments: Sequence[Segment], predicted_ids: Map, predicted_segments: Sequence[PredictedSegment]
) -> list[tuple[int, int]]:
    """(true id, predicted id) of the segments that match; see `count_image`."""
    shared = overlaps(true_ids, predicted_ids)
    pairs = _matched(shared, *_tables(shared, true_segments, predicted_segments))
    return [(true_id, predicted_id) for true_id, predicted_id, _ in pairs]


class RunningQuality:
    """Panoptic quality of the images added so far.

    Args:
        categories: categories that count; segments of others count nowhere. Of two with one id the last counts.
    """

    def __init__(self, categories: Iterable[Category]) -> None:
        self._is_thing = {category.id: category.is_thing for category in categories}
        self._iou = dict.fromkeys(self._is_thing, 0.0)
        self._counts = {category_id: [0, 0, 0] for category_id in self._is_thing}  # of TP, FP, FN

    def add(self, counts: PanopticCounts) -> None:
        """One more image."""
        for category_id, iou in counts.matches:
            if category_id in self._iou:
                self._iou[category_id] += iou
                self._counts[category_id][0] += 1
        for place, category_ids in ((1, counts.false_positives), (2, counts.false_negatives)):
            for category_id in category_ids:
                if category_id in self._counts:
                    self._counts[category_id][place] += 1

    @property
    def pq(self) -> float | None:
        """The mean over classes seen so far; None before the first segment. It is asked for after every image."""
        total, seen = 0.0, 0
        for iou, (tp, fp, fn) in zip(self._iou.values(), self._counts.values(), strict=True):
            if tp or fp or fn:
                total += iou / (tp + 0.5 * fp + 0.5 * fn)
                seen += 1
        return total / seen if seen else None

    def quality(self, warnings: tuple[str, ...] = ()) -> PanopticQuality:
        """PQ, SQ and RQ of all classes, things, stuff and each class."""
        per_class = self._per_class()
        seen = {category_id: quality for category_id, quality in per_class.items() if quality.is_seen}
        things, stuff = (
            _mean([quality for category_id, quality in seen.items() if self._is_thing[category_id] == wanted])
            for wanted in (True, False)
        )
        return PanopticQuality(_mean(list(seen.values())), things, stuff, per_class, warnings)

    def _per_class(self) -> dict[Id, ClassQuality]:
        return {id_: _class_quality(self._iou[id_], *counts) for id_, counts in self._counts.items()}


def panoptic_quality(counts: Iterable[PanopticCounts], categories: Sequence[Category]) -> PanopticQuality:
    """PQ, SQ and RQ of images in the order of the annotations.

    Args:
        counts: one an image.
        categories: in the order of the annotations, which is that of summation.
    """
    running = RunningQuality(categories)
    for image in counts:
        running.add(image)
    return running.quality()


def class_counts(counts: Sequence[PanopticCounts], categories: Sequence[Category]) -> ClassCounts:
    """Counts by image and class; segments of other categories are left out."""
    class_of = {category.id: index for index, category in enumerate(categories)}
    tables = np.zeros((4, len(counts), len(categories)))
    for image, found in enumerate(counts):
        for category_id, iou in found.matches:
            if category_id in class_of:
                tables[:2, image, class_of[category_id]] += (iou, 1)
        for table, category_ids in ((tables[2], found.false_positives), (tables[3], found.false_negatives)):
            for category_id in category_ids:
                if category_id in class_of:
                    table[image, class_of[category_id]] += 1
    return ClassCounts(tables[0], *tables[1:].astype(np.int64))


def _tables(
    shared: Overlaps, true_segments: Sequence[Segment], predicted_segments: Sequence[PredictedSegment]
) -> tuple[dict[int, Segment], dict[int, Id], dict[int, int]]:
    """An image's truth by id, and the category and the area of each prediction, in pixels of its map."""
    truth = {segment.id: segment for segment in true_segments}
    category_of = {segment.id: segment.category_id for segment in predicted_segments}
    areas: dict[int, int] = {}
    for (_, predicted_id), pixels in shared.items():
        areas[predicted_id] = areas.get(predicted_id, 0) + pixels
    for predicted_id in areas:
        if predicted_id not in category_of and predicted_id != VOID:
            raise ValueError(f"id {predicted_id} is in the map and not among the segments")
    if absent := sorted(category_of.keys() - areas.keys()):
        listed = ", ".join(map(str, absent[:5])) + (", …" if len(absent) > 5 else "")
        raise ValueError(f"id{'s' if len(absent) > 1 else ''} {listed} among the segments and not in the map")
    return truth, category_of, areas


def _matched(
    shared: Overlaps, truth: Mapping[int, Segment], category_of: Mapping[int, Id], areas: Mapping[int, int]
) -> Iterator[tuple[int, int, float]]:
    """(true id, predicted id, IoU) of every match, by ascending pair."""
    for (true_id, predicted_id), intersection in shared.items():
        segment = truth.get(true_id)
        if segment is None or segment.is_crowd or category_of.get(predicted_id) != segment.category_id:
            continue
        # In this order: areas of the truth may be floats.
        union = areas[predicted_id] + segment.area_px - intersection - shared.get((VOID, predicted_id), 0)
        iou = intersection / union if union else math.inf
        if iou > 0.5:
            yield true_id, predicted_id, iou


def _paired(true_ids: Map, predicted_ids: Map) -> NDArray[np.uint64]:
    """Two ids as one number that orders as the pair does."""
    for ids in (true_ids, predicted_ids):
        if ids.size and (ids.min() < 0 or ids.max() >= ID_LIMIT):
            raise ValueError(f"ids lie between 0 and {ID_LIMIT - 1}")
    paired: NDArray[np.uint64] = true_ids.astype(np.uint64) << np.uint64(32)
    paired |= predicted_ids.astype(np.uint64)
    return paired


def _class_quality(iou: float, tp: int, fp: int, fn: int) -> ClassQuality:
    if not tp + fp + fn:
        return ClassQuality(0.0, 0.0, 0.0, 0, 0, 0)
    weight = tp + 0.5 * fp + 0.5 * fn
    return ClassQuality(iou / weight, iou / tp if tp else 0.0, tp / weight, tp, fp, fn)


def _mean(qualities: Sequence[ClassQuality]) -> GroupQuality:
    if not qualities:
        return GroupQuality(None, None, None, 0)
    pq = sq = rq = 0.0
    for quality in qualities:  # not sum(): from Python 3.12 on it corrects rounding, and the last digit with it
        pq += quality.pq
        sq += quality.sq
        rq += quality.rq
    count = len(qualities)
    return GroupQuality(pq / count, sq / count, rq / count, count)
