"""The uncertainty of a metric: its values on other images drawn from the same world.

The images are drawn again, as many as there are, with replacement (Efron and Tibshirani 1993); the metric of every such
set is a replicate, and `results.statistics.interval_of` makes an interval of them. The same seed and number of images
draw the same images, so that two models are compared on each drawing: see `analysis.compare`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    drawn = weights.astype(float)
    ious, hits, wrong, missed = (drawn @ table[:, classes].astype(float) for table in vars(counts).values())
    there = hits + wrong + missed > 0
    weight = np.where(there, hits + wrong / 2 + missed / 2, 1)
    return PanopticReplicates(
        _mean_over(ious / weight, there),
        _mean_over(ious / np.where(hits > 0, hits, 1), there),
        _mean_over(hits / weight, there),
    )


def mean_ious(weights: Integers, pixels: ClassPixels) -> Floats:
    """mIoU of each resample, a fraction of 1: the mean over classes that have pixels in the resample's truth.

    Args:
        weights: [resamples, images].
        pixels: pixels of each image and class.
    """
    drawn = weights.astype(float)
    shared, told, found = (drawn @ table.astype(float) for table in vars(pixels).values())
    there = told > 0
    return _mean_over(shared / np.where(there, told + found - shared, 1), there)


def average_precisions(
    matches: Matches, categories: int, weights: Integers, on_block: Callable[[int, int], None] | None = None
) -> Floats:
    """AP of each resample, [resamples], a fraction of 1; -1 where a resample has no truth. With every weight 1 it is
    COCO's AP to the last digit.

    Args:
        matches: detections in as many images as the weights have, at most 100 detections of a category in an image.
        on_block: told after each block of resamples how many are done, and of how many.
    """
    there = matches.categories
    matches, categories = matches.of(there), len(there)
    orders = by_falling_score(matches, categories) if categories else ()
    curves = [_Curve.of(matches, order, category) for category, order in enumerate(orders)]
    resamples = len(weights)
    largest = max((len(curve.image) for curve in curves), default=1)
    block = max(1, BLOCK_BYTES // (8 * max(largest, NUM_THRESHOLDS * len(RECALL_POINTS) * categories)))
    replicates = np.empty(resamples)
    for start in range(0, resamples, block):
        drawn = weights[start : start + block]
        # [resamples, thresholds, recall points, categories], COCO's order, for its mean is the same sum
        precision = np.full((len(drawn), NUM_THRESHOLDS, len(RECALL_POINTS), categories), -1.0)
        for category, curve in enumerate(curves):
            curve.fill(precision[..., category], drawn)
        for row, table in enumerate(precision):
            replicates[start + row] = mean_of_defined(table)
        if on_block is not None:
            on_block(min(start + block, resamples), resamples)
    return replicates


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
    def of(cls, matches: Matches, order: Integers, category: int) -> _Curve:
        matched, ignored = matches.matched[order], matches.ignored[order]
        counted = (matches.truth_category == category) & (matches.truth_ignored & AREA_BITS[ALL_AREAS] == 0)
        levels = [1 << ALL_AREAS * NUM_THRESHOLDS + level for level in range(NUM_THRESHOLDS)]
        return cls(
            matches.image[order],
            tuple(np.flatnonzero((matched & ~ignored) & bit) for bit in levels),
            tuple(np.flatnonzero(ignored & bit) for bit in levels),
            matches.truth_image[counted],
        )

    def fill(self, precision: Floats, weights: Integers) -> None:
        """Write the precision at each recall point, [resamples, thresholds, 101], where there is a truth."""
        truths = weights[:, self.truth_image].sum(axis=1)
        there = np.flatnonzero(truths)
        if not len(there):
            return
        drawn = weights[there][:, self.image]
        seen = np.cumsum(drawn, axis=1)
        for level, (found, left_out) in enumerate(zip(self.found, self.left_out, strict=True)):
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


def _mean_over(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """Row means over what is there; NaN where nothing is."""
    count = there.sum(axis=1)
    total = np.where(there, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
