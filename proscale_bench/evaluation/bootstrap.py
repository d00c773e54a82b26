"""The uncertainty of a metric: its values on other images drawn from the same world.

The images are drawn again, as many as there are, with replacement (Efron and Tibshirani 1993); the metric of every such
set is a replicate, and `results.statistics.interval_of` makes an interval of them. The same seed and number of images
draw the same images, so that two models are compared on each drawing: see `analysis.compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from proscale_bench.evaluation.average_precision import (
    ALL_AREAS,
    AREA_BITS,
    NUM_THRESHOLDS,
    RECALL_POINTS,
    Floats,
    Integers,
    Matches,
    by_falling_score,
    envelope,
    mean_of_defined,
)
from proscale_bench.evaluation.panoptic import ClassCounts
from proscale_bench.evaluation.semantic import ClassPixels

RESAMPLES = 1000
BLOCK_BYTES = 1 << 24  # of what is kept of a block of resamples
# A table of precisions takes 8 kB a category: with more than these, a block would hold a resample or two, and sums are
# taken category by category, equal to the mean of the table but for rounding.
MOST_CATEGORIES = 200
CLASSES_AT_ONCE = 1000  # of PQ and mIoU


@dataclass(frozen=True)
class PanopticReplicates:
    """[resamples] each, fractions of 1; NaN where a resample has no class to average over."""

    pq: Floats
    sq: Floats
    rq: Floats


def resample_weights(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Integers:
    """The times that each image is drawn, [resamples, images]; rows sum to `images`, alike on every platform."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = np.empty((resamples, images), np.int64)
    for row in weights:
        row[:] = np.bincount(generator.integers(images, size=images, dtype=np.int64), minlength=images) if images else 0
    return weights


def panoptic_qualities(weights: Integers, counts: ClassCounts, classes: NDArray[np.bool_]) -> PanopticReplicates:
    """PQ, SQ and RQ of each resample: means over the chosen classes that the resample has.

    Args:
        weights: [resamples, images].
        counts: counts of each image and class.
        classes: True for those to average over (all, things or stuff), [all classes].
    """
    drawn, totals, count = weights.astype(float), np.zeros((3, len(weights))), np.zeros(len(weights), np.int64)
    for some in _some_at_a_time(np.flatnonzero(classes)):
        ious, hits, wrong, missed = (drawn @ table[:, some].astype(float) for table in vars(counts).values())
        there = hits + wrong + missed > 0
        weight = np.where(there, hits + wrong / 2 + missed / 2, 1)
        qualities = (ious / weight, ious / np.where(hits > 0, hits, 1), hits / weight)
        totals += [np.where(there, quality, 0).sum(axis=1) for quality in qualities]
        count += there.sum(axis=1)
    return PanopticReplicates(*_means_of(totals, count))


def mean_ious(weights: Integers, pixels: ClassPixels) -> Floats:
    """mIoU of each resample, a fraction of 1: the mean over classes that have pixels in the resample's truth.

    Args:
        weights: [resamples, images].
        pixels: pixels of each image and class.
    """
    drawn, total, count = weights.astype(float), np.zeros(len(weights)), np.zeros(len(weights), np.int64)
    for some in _some_at_a_time(np.arange(pixels.truth.shape[1])):
        shared, told, found = (drawn @ table[:, some].astype(float) for table in vars(pixels).values())
        there = told > 0
        total += np.where(there, shared / np.where(there, told + found - shared, 1), 0).sum(axis=1)
        count += there.sum(axis=1)
    return _means_of(total, count)


def average_precisions(
    matches: Matches, categories: int, weights: Integers, on_block: Callable[[int, int], None] | None = None
) -> Floats:
    """AP of each resample, [resamples], a fraction of 1; -1 where a resample has no truth. With every weight 1 it is
    COCO's AP, to the last digit where no more than `MOST_CATEGORIES` have a truth.

    Args:
        matches: detections in as many images as the weights have, at most 100 detections of a category in an image.
        on_block: told after each block of resamples, or each category, how many are done, and of how many.
    """
    there = matches.categories
    curves = _curves(matches.of(there), len(there))
    told = on_block or (lambda done, total: None)
    return (_means if len(curves) <= MOST_CATEGORIES else _means_by_category)(curves, weights, told)


def _curves(matches: Matches, categories: int) -> list[_Curve]:
    if not categories:
        return []
    counted = np.flatnonzero((matches.truth_ignored & AREA_BITS[ALL_AREAS]) == 0)
    counted = counted[np.argsort(matches.truth_category[counted], kind="stable")]
    ends = np.searchsorted(matches.truth_category[counted], np.arange(1, categories))
    truths = np.split(matches.truth_image[counted], ends)
    return list(map(partial(_Curve.of, matches), by_falling_score(matches, categories), truths))


def _means(curves: Sequence[_Curve], weights: Integers, told: Callable[[int, int], None]) -> Floats:
    """The means of each resample's table of precisions."""
    resamples, replicates = len(weights), np.empty(len(weights))
    largest = max((len(curve.image) for curve in curves), default=1)
    block = _block(max(largest, NUM_THRESHOLDS * len(RECALL_POINTS) * len(curves)))
    for start in range(0, resamples, block):
        drawn = weights[start : start + block]
        # [resamples, thresholds, recall points, categories], COCO's order, for its mean is the same sum
        precision = np.full((len(drawn), NUM_THRESHOLDS, len(RECALL_POINTS), len(curves)), -1.0)
        for category, curve in enumerate(curves):
            curve.fill(precision[..., category], drawn)
        for row, table in enumerate(precision):
            replicates[start + row] = mean_of_defined(table)
        told(min(start + block, resamples), resamples)
    return replicates


def _means_by_category(curves: Sequence[_Curve], weights: Integers, told: Callable[[int, int], None]) -> Floats:
    """The same, a sum of every category's means."""
    total, count = np.zeros(len(weights)), np.zeros(len(weights), np.int64)
    for done, curve in enumerate(curves, 1):
        block = _block(max(len(curve.image), NUM_THRESHOLDS * len(RECALL_POINTS)))
        for start in range(0, len(weights), block):
            rows = slice(start, start + block)
            precision = np.full((len(weights[rows]), NUM_THRESHOLDS, len(RECALL_POINTS)), -1.0)
            curve.fill(precision, weights[rows])
            there = precision[:, 0, 0] > -1
            total[rows] += np.where(there, precision.mean(axis=(1, 2)), 0)
            count[rows] += there
        told(done, len(curves))
    return np.where(count > 0, total / np.maximum(count, 1), -1)


def _block(numbers: int) -> int:
    """Number of resamples to take at a time, where each has so many numbers."""
    return max(1, BLOCK_BYTES // (8 * numbers))


@dataclass(frozen=True)
class _Curve:
    """A category's detections, best first, reduced to what a precision curve is made of.

    Precision rises only where a truth is found, so the best precision from a place on is that of such a place.

    Args:
        image: [D], of every detection.
        found: places in it where a truth is found, for each threshold.
        left_out: places that count neither way, for each threshold.
        truth_image: image of each truth that counts.
    """

    image: Integers
    found: tuple[Integers, ...]
    left_out: tuple[Integers, ...]
    truth_image: Integers

    @classmethod
    def of(cls, matches: Matches, order: Integers, truth_image: Integers) -> _Curve:
        matched, ignored = matches.matched[order], matches.ignored[order]
        levels = [1 << ALL_AREAS * NUM_THRESHOLDS + level for level in range(NUM_THRESHOLDS)]
        return cls(
            matches.image[order],
            tuple(np.flatnonzero((matched & ~ignored) & bit) for bit in levels),
            tuple(np.flatnonzero(ignored & bit) for bit in levels),
            truth_image,
        )

    def _same(self, level: int) -> bool:
        """True if at this threshold the same places are found and left out as at the one before."""
        return all(np.array_equal(places[level], places[level - 1]) for places in (self.found, self.left_out))

    def fill(self, precision: Floats, weights: Integers) -> None:
        """Write the precision at each recall point, [resamples, thresholds, 101], where there is a truth."""
        truths = weights[:, self.truth_image].sum(axis=1)
        there = np.flatnonzero(truths)
        if not len(there):
            return
        drawn = weights[there[:, None], self.image]
        seen = np.cumsum(drawn, axis=1)
        for level, (found, left_out) in enumerate(zip(self.found, self.left_out, strict=True)):
            if level and self._same(level):  # as a threshold before: most of a category with few truths
                precision[there, level] = precision[there, level - 1]
                continue
            true = np.cumsum(drawn[:, found], axis=1)
            counted = seen[:, found]
            if len(left_out):
                skipped = np.zeros((len(there), len(left_out) + 1), np.int64)
                np.cumsum(drawn[:, left_out], axis=1, out=skipped[:, 1:])
                counted = counted - skipped[:, np.searchsorted(left_out, found)]
            best = envelope(true.astype(float), (counted - true).astype(float))
            precision[there, level] = _at_recall_points(true / truths[there, None], best)


def _at_recall_points(recall: Floats, precision: Floats) -> Floats:
    """Precision where recall first reaches each of the 101 points, 0 where it does not: [resamples, 101]."""
    reached = np.searchsorted(RECALL_POINTS, recall, side="right")
    # A place stands for the points that it is the first to reach; the last, without precision, for the rest.
    bounds = np.zeros((len(recall), recall.shape[1] + 2), np.int64)
    bounds[:, 1:-1] = reached
    bounds[:, -1] = len(RECALL_POINTS)
    values = np.concatenate((precision, np.zeros((len(recall), 1))), axis=1)
    return np.repeat(values.ravel(), np.diff(bounds, axis=1).ravel()).reshape(len(recall), -1)


def _some_at_a_time(classes: Integers) -> Iterator[Integers]:
    """The same classes in parts: of each, every resample has a row of numbers in memory."""
    for start in range(0, len(classes), CLASSES_AT_ONCE):
        yield classes[start : start + CLASSES_AT_ONCE]


def _means_of(totals: Floats, count: Integers) -> Floats:
    """Means of so many; NaN where there is nothing."""
    return np.where(count > 0, totals / np.maximum(count, 1), np.nan)
