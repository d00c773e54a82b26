"""The metrics as their definitions say them, by sets of pixels and exact fractions: slow, and right by inspection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Category, Segment
from proscale_bench.data.panoptic_json import PredictedSegment

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Case:
    """An image's maps and segments."""

    true_ids: NDArray[Any]
    true_segments: tuple[Segment, ...]
    predicted_ids: NDArray[Any]
    predicted_segments: tuple[PredictedSegment, ...]


def pixel_sets(ids: NDArray[Any]) -> dict[int, set[int]]:
    """Which pixels an id has."""
    found: dict[int, set[int]] = defaultdict(set)
    for place, value in enumerate(ids.reshape(-1).tolist()):
        found[value].add(place)
    return found


def plain_counts(case: Case) -> tuple[list[tuple[int, Fraction]], list[int], list[int]]:
    """(category, IoU) of matches by ids, categories of false positives, categories of false negatives; sorted."""
    truth, predictions = pixel_sets(case.true_ids), pixel_sets(case.predicted_ids)
    void = truth[0]
    matches, matched_truth, matched_predictions = [], set(), set()
    for true in sorted(case.true_segments, key=lambda segment: segment.id):
        for predicted in sorted(case.predicted_segments, key=lambda segment: segment.id):
            both = len(truth[true.id] & predictions[predicted.id])
            if true.is_crowd or true.category_id != predicted.category_id or not both:
                continue
            union = len(predictions[predicted.id]) + true.area_px - both - len(predictions[predicted.id] & void)
            if Fraction(both) / Fraction(union) > HALF:
                matches.append((true.category_id, Fraction(both) / Fraction(union)))
                matched_truth.add(true.id)
                matched_predictions.add(predicted.id)
    missed = [item.category_id for item in case.true_segments if item.id not in matched_truth and not item.is_crowd]
    wrong = []
    for predicted in case.predicted_segments:
        pixels = predictions[predicted.id]
        forgiven = len(pixels & void)
        crowds = [s for s in case.true_segments if s.is_crowd and s.category_id == predicted.category_id]
        if crowds:
            forgiven += len(pixels & truth[crowds[-1].id])
        if predicted.id not in matched_predictions and not Fraction(forgiven, len(pixels)) > HALF:
            wrong.append(predicted.category_id)
    return matches, sorted(wrong), sorted(missed)


def plain_quality(cases: Sequence[Case], categories: Sequence[Category]) -> dict[str, Any]:
    """The means of the groups and the classes' numbers, added in the reference's order."""
    iou: dict[int, float] = defaultdict(float)
    tp, fp, fn = (defaultdict(int) for _ in range(3))
    for case in cases:
        matches, wrong, missed = plain_counts(case)
        for category_id, value in matches:
            iou[category_id] = iou[category_id] + float(value)
            tp[category_id] += 1
        for category_id in wrong:
            fp[category_id] += 1
        for category_id in missed:
            fn[category_id] += 1
    found: dict[str, Any] = {"per_class": {}}
    for group, chosen in (("all", (True, False)), ("things", (True,)), ("stuff", (False,))):
        numbers, classes = [0.0, 0.0, 0.0], 0
        for category in categories:
            if category.is_thing not in chosen:
                continue
            c = category.id
            seen = tp[c] + fp[c] + fn[c] > 0
            weight = tp[c] + fp[c] / 2 + fn[c] / 2
            of_class = [iou[c] / weight, iou[c] / tp[c] if tp[c] else 0.0, tp[c] / weight] if seen else [0.0] * 3
            found["per_class"][c] = (*of_class, tp[c], fp[c], fn[c])
            classes += seen
            if seen:
                numbers = [total + value for total, value in zip(numbers, of_class, strict=True)]
        found[group] = (*((n / classes for n in numbers) if classes else (None,) * 3), classes)
    return found


def plain_semantic(
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], num_classes: int, ignore_label: int
) -> dict[str, Any]:
    """mIoU, fwIoU, mACC and pACC in percent from a confusion matrix, entry by entry, in exact fractions."""
    confusion = np.zeros((num_classes, num_classes), int)  # [predicted, true]
    for truth, predicted in pairs:
        for true, guess in zip(truth.reshape(-1).tolist(), predicted.reshape(-1).tolist(), strict=True):
            if true != ignore_label:
                confusion[guess, true] += 1
    total = int(confusion.sum())
    iou: list[Fraction | None] = [None] * num_classes
    acc: list[Fraction | None] = [None] * num_classes
    weighted = Fraction(0)
    for c in range(num_classes):
        right, in_truth, in_prediction = (int(n) for n in (confusion[c, c], confusion[:, c].sum(), confusion[c].sum()))
        if in_truth:
            iou[c] = Fraction(right, in_truth + in_prediction - right)
            acc[c] = Fraction(right, in_truth)
            weighted += iou[c] * Fraction(in_truth, total)
    ious, accs = ([value for value in values if value is not None] for values in (iou, acc))
    return {
        "miou": 100 * sum(ious) / len(ious) if ious else None,
        "fwiou": 100 * weighted if ious else None,
        "macc": 100 * sum(accs) / len(accs) if accs else None,
        "pacc": 100 * Fraction(int(np.trace(confusion)), total) if total else None,
        "iou": [None if value is None else 100 * value for value in iou],
        "acc": [None if value is None else 100 * value for value in acc],
    }
