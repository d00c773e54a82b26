"""Semantic quality of maps in memory: mIoU, fwIoU, mACC and pACC, equal to detectron2's SemSegEvaluator.

Three sums a class are all that its confusion matrix is asked for, so none is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proscale_bench.evaluation.pixel_runs import Map, runs

IGNORED = 255


@dataclass(frozen=True)
class SemanticCounts:
    """The pixels that one image adds to the metric, of the classes that it has; ignored ones are left out.

    Args:
        classes: ascending; the other three are of the same length.
        intersection: pixels where truth and prediction are this class.
        truth: pixels of the truth.
        predicted: pixels of the prediction.
    """

    classes: tuple[int, ...]
    intersection: tuple[int, ...]
    truth: tuple[int, ...]
    predicted: tuple[int, ...]


@dataclass(frozen=True)
class SemanticQuality:
    """Metrics in percent, unrounded; None where there is no pixel to judge by.

    Args:
        miou, macc: means over the classes that the truth has; one that is only predicted is left out.
        fwiou: IoU weighted by the truth's pixels.
        pacc: the share of pixels that are right.
        iou, acc: by class.
        warnings: places where files mislead the metric.
    """

    miou: float | None
    fwiou: float | None
    macc: float | None
    pacc: float | None
    iou: tuple[float | None, ...]
    acc: tuple[float | None, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassPixels:
    """Counts as arrays [images, classes]: what a bootstrap resamples."""

    intersection: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]


def count_image(
    true_labels: Map, predicted_labels: Map, num_classes: int, ignore_label: int = IGNORED
) -> SemanticCounts:
    """Count one image's pixels.

    Args:
        true_labels: [H, W], integers of any type: class indices, or `ignore_label` where nothing is asked.
        predicted_labels: [H, W], class indices.

    Raises:
        ValueError: the maps differ in size, or a label is no class.
    """
    truth, predicted, lengths = runs(true_labels, predicted_labels)
    judged = truth != ignore_label
    _check_labels(predicted, num_classes, "a predicted label")
    _check_labels(truth[judged], num_classes, "a label of the truth", f", or {ignore_label} for ignored pixels")

    def pixels(labels: Map, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        weights = None if lengths is None else lengths[chosen]
        return np.bincount(labels[chosen].astype(np.intp), weights, num_classes).astype(np.int64)

    in_truth, in_prediction = pixels(truth, judged), pixels(predicted, judged)
    shared = pixels(truth, judged & (truth == predicted))
    classes = np.flatnonzero(in_truth + in_prediction)
    columns = (classes, shared[classes], in_truth[classes], in_prediction[classes])
    return SemanticCounts(*(tuple(column.tolist()) for column in columns))


def semantic_quality(
    counts: Iterable[SemanticCounts], num_classes: int, warnings: tuple[str, ...] = ()
) -> SemanticQuality:
    """The quality of images in any order: pixels are whole numbers."""
    sums = np.zeros((3, num_classes), np.int64)
    for image in counts:
        sums[:, list(image.classes)] += _sums(image)
    shared, truth, predicted = sums.astype(float)
    union = truth + predicted - shared
    found = truth > 0
    if not found.any():
        nothing = (None,) * num_classes
        return SemanticQuality(None, None, None, None, nothing, nothing, warnings)
    # In detectron2's order of operations, and only then in percent: the last digit depends on it.
    accuracy, iou = shared[found] / truth[found], shared[found] / union[found]
    weights = (truth / truth.sum())[found]
    return SemanticQuality(
        miou=float(100 * (iou.sum() / found.sum())),
        fwiou=float(100 * (iou * weights).sum()),
        macc=float(100 * (accuracy.sum() / found.sum())),
        pacc=float(100 * (shared.sum() / truth.sum())),
        iou=_by_class(iou, found),
        acc=_by_class(accuracy, found),
        warnings=warnings,
    )


def class_pixels(counts: Sequence[SemanticCounts], num_classes: int) -> ClassPixels:
    """Counts by image and class."""
    table = np.zeros((3, len(counts), num_classes), np.int64)
    for index, image in enumerate(counts):
        table[:, index, list(image.classes)] = _sums(image)
    return ClassPixels(*table)


def _sums(image: SemanticCounts) -> NDArray[np.int64]:
    return np.array((image.intersection, image.truth, image.predicted), np.int64)


def _by_class(values: NDArray[np.float64], found: NDArray[np.bool_]) -> tuple[float | None, ...]:
    percent = iter((100 * values).tolist())
    return tuple(next(percent) if there else None for there in found.tolist())


def _check_labels(labels: Map, num_classes: int, what: str, otherwise: str = "") -> None:
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{what} is {wrong}; classes are 0 to {num_classes - 1}{otherwise}")
