"""Resampled metrics: those of the data set itself with every image once, and of the drawn one otherwise."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
import pytest

from proscale_bench.evaluation.average_precision import IouType, Matches
from proscale_bench.evaluation.bootstrap import (
    average_precisions,
    mean_ious,
    panoptic_qualities,
    resample_weights,
)
from proscale_bench.evaluation.instance import InstanceScorer
from proscale_bench.evaluation.panoptic import ClassCounts
from proscale_bench.evaluation.semantic import ClassPixels
from tests.evaluation.test_instance import boxless, categories_of, fill

IOU_TYPES: tuple[IouType, ...] = ("segm", "bbox")


def test_draws_are_the_same_everywhere() -> None:
    weights = resample_weights(7, 5)
    assert weights.shape == (5, 7)
    assert weights.sum(axis=1).tolist() == [7] * 5
    assert np.array_equal(weights, resample_weights(7, 5))
    assert not np.array_equal(weights, resample_weights(7, 5, seed=1))
    assert np.array_equal(resample_weights(7, 9)[:5], weights)
    assert hashlib.sha256(resample_weights(256).astype("<i8").tobytes()).hexdigest()[:16] == "1365c586eb0a4ab4"
    assert resample_weights(0, 3).shape == (3, 0)


@pytest.mark.parametrize("seed", range(20))
def test_ap_of_every_image_once_is_cocos(seed: int) -> None:
    truth, results = boxless(seed)
    scorer = InstanceScorer(categories_of(truth))
    fill(scorer, truth, results)
    once = np.ones((2, len(truth["images"])), np.int64)
    for iou_type in IOU_TYPES:
        replicates = average_precisions(scorer.matches(iou_type), len(scorer.category_ids), once)
        assert replicates.tolist() == [scorer.scores()[iou_type].ap] * 2


def drawn(
    truth: dict[str, Any], results: list[dict[str, Any]], weights: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data set that weights draw: every image so often, under new ids."""
    found: dict[str, Any] = {"images": [], "annotations": [], "categories": truth["categories"]}
    more = []
    for image, weight in zip(sorted(truth["images"], key=lambda one: one["id"]), weights, strict=True):
        for copy in range(weight):
            own = 100 * image["id"] + copy
            found["images"].append({**image, "id": own})
            for one in truth["annotations"]:
                if one["image_id"] == image["id"]:
                    found["annotations"].append({**one, "image_id": own, "id": len(found["annotations"]) + 1})
            more += [{**one, "image_id": own} for one in results if one["image_id"] == image["id"]]
    return found, more


@pytest.mark.parametrize("seed", range(20))
def test_ap_of_a_resample_is_that_of_the_drawn_images(seed: int) -> None:
    truth, results = boxless(seed)
    truth["annotations"] = [{**one, "id": place + 1} for place, one in enumerate(truth["annotations"])]
    # No two scores are equal, since copies of an image stand side by side and would be sorted among others.
    scores = np.random.default_rng(seed).permutation(len(results)) / (len(results) + 1)
    results = [{**one, "score": float(score)} for one, score in zip(results, scores, strict=True)]
    scorer = InstanceScorer(categories_of(truth))
    fill(scorer, truth, results)
    weights = resample_weights(len(truth["images"]), 6, seed)
    done: list[tuple[int, int]] = []
    replicates = {
        iou_type: average_precisions(
            scorer.matches(iou_type), len(scorer.category_ids), weights, lambda *step: done.append(step)
        )
        for iou_type in IOU_TYPES
    }
    assert done[-1] == (6, 6)
    for resample, row in enumerate(weights.tolist()):
        again = InstanceScorer(categories_of(truth))
        fill(again, *drawn(truth, results, row))
        for iou_type, scores_again in again.scores().items():
            assert replicates[iou_type][resample] == scores_again.ap


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, results = boxless(5)
    scorer = InstanceScorer(categories_of(truth))
    fill(scorer, truth, results)
    weights = resample_weights(len(truth["images"]), 50)
    matches = scorer.matches("segm")
    whole = average_precisions(matches, len(scorer.category_ids), weights)
    monkeypatch.setattr("proscale_bench.evaluation.bootstrap.BLOCK_BYTES", 1)
    assert np.array_equal(average_precisions(matches, len(scorer.category_ids), weights), whole)


def test_many_categories_have_the_same_means_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(5):
        truth, results = boxless(seed)
        scorer = InstanceScorer(categories_of(truth))
        fill(scorer, truth, results)
        weights = np.concatenate((resample_weights(len(truth["images"]), 50), np.zeros((1, len(truth["images"])), int)))
        matches = scorer.matches("segm")
        whole = average_precisions(matches, len(scorer.category_ids), weights)
        assert whole[-1] == -1
        with monkeypatch.context() as patched:
            patched.setattr("proscale_bench.evaluation.bootstrap.MOST_CATEGORIES", 0)
            assert average_precisions(matches, 9, weights) == pytest.approx(whole, abs=1e-12)


def test_draws_of_two_thousand_categories_take_milliseconds() -> None:
    """A category has some truths in a few images; a second a draw was seen where blocks held one."""
    rng = np.random.default_rng(0)
    images, categories, found = 50, 2_000, 8_000
    columns = (rng.integers(images, size=found), rng.integers(categories, size=found))
    order = np.lexsort((columns[1], columns[0]))
    image, category = (column[order] for column in columns)
    bits = np.full(found, (1 << 40) - 1)
    outside = np.zeros(found, np.int64)
    rank = np.zeros(found, np.int64)
    matches = Matches(image, category, rng.random(found), rank, bits, outside, image, category, outside)
    start = time.process_time()
    replicates = average_precisions(matches, categories, resample_weights(images, 100))
    assert (replicates > 0.9).all()
    assert time.process_time() - start < 20


def test_pq_is_the_mean_over_classes_that_a_resample_has() -> None:
    rng = np.random.default_rng(0)
    images, classes = 9, 6
    tp, fp, fn = (rng.poisson(0.3, (images, classes)) for _ in range(3))
    iou_sum = tp * rng.uniform(0.5, 1, (images, classes))
    chosen = np.array([True, True, False, True, True, False])
    weights = resample_weights(images, 40)
    found = panoptic_qualities(weights, ClassCounts(iou_sum, tp, fp, fn), chosen)
    for resample, row in enumerate(weights):
        qualities = []
        for index in np.flatnonzero(chosen):
            ious, hits, wrong, missed = (row @ table[:, index] for table in (iou_sum, tp, fp, fn))
            if hits + wrong + missed:
                halves = hits + wrong / 2 + missed / 2
                qualities.append((ious / halves, ious / hits if hits else 0.0, hits / halves))
        expected = np.mean(qualities, axis=0)
        assert (found.pq[resample], found.sq[resample], found.rq[resample]) == pytest.approx(expected, rel=1e-12)
    nothing = panoptic_qualities(weights, ClassCounts(iou_sum, tp, fp, fn), np.zeros(classes, bool))
    assert np.isnan(nothing.pq).all()


def test_classes_in_parts_have_the_same_means(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    tp, fp, fn = (rng.poisson(0.2, (9, 12)) for _ in range(3))
    counts = ClassCounts(tp * rng.uniform(0.5, 1, tp.shape), tp, fp, fn)
    truth, predicted = (rng.integers(0, 50, tp.shape) * (rng.random(tp.shape) < 0.2) for _ in range(2))
    pixels = ClassPixels(np.minimum(truth, predicted), truth, predicted)
    weights, chosen = resample_weights(9, 40), np.arange(12) > 2
    whole = vars(panoptic_qualities(weights, counts, chosen)), mean_ious(weights, pixels)
    monkeypatch.setattr("proscale_bench.evaluation.bootstrap.CLASSES_AT_ONCE", 5)
    parts = vars(panoptic_qualities(weights, counts, chosen)), mean_ious(weights, pixels)
    for name, values in whole[0].items():
        assert parts[0][name] == pytest.approx(values, rel=1e-12)
    assert parts[1] == pytest.approx(whole[1], rel=1e-12)


def test_miou_is_the_mean_over_classes_of_the_truth() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = (rng.integers(0, 50, (8, 5)) * (rng.random((8, 5)) < 0.4) for _ in range(2))
    truth[:, 2] = 0  # only predicted
    shared = np.minimum(truth, predicted) // 2
    weights = resample_weights(8, 30)
    for resample, row in enumerate(weights):
        told, found, both = row @ truth, row @ predicted, row @ shared
        expected = np.mean([both[one] / (told[one] + found[one] - both[one]) for one in range(5) if told[one]])
        assert mean_ious(weights, ClassPixels(shared, truth, predicted))[resample] == pytest.approx(expected, rel=1e-12)
