"""Semantic quality of maps in memory, against the definition."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from proscale_bench.evaluation.semantic import (
    SemanticCounts,
    SemanticQuality,
    class_pixels,
    count_image,
    semantic_quality,
)
from tests.evaluation.plain import plain_semantic

CLASSES = 6
Pair = tuple[NDArray[Any], NDArray[Any]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Truth with ignored pixels, and a prediction; in runs, or pixel by pixel."""
    height, width, stretch = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 9]))
    found = []
    for labels in ([*range(CLASSES), 255], range(CLASSES)):
        values = draw(st.lists(st.sampled_from(list(labels)), min_size=height * width, max_size=height * width))
        dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]))
        found.append(np.repeat(np.array(values, dtype).reshape(height, width), stretch, axis=1))
    return found[0], found[1]


def quality(images: list[Pair]) -> SemanticQuality:
    return semantic_quality([count_image(*image, CLASSES) for image in images], CLASSES)


@settings(max_examples=150, deadline=None)
@given(st.lists(pairs(), max_size=4))
def test_quality_is_as_defined(images: list[Pair]) -> None:
    found, expected = quality(images), plain_semantic(images, CLASSES, 255)
    for name in ("miou", "fwiou", "macc", "pacc"):
        exact = None if expected[name] is None else pytest.approx(float(expected[name]), rel=1e-14, abs=1e-300)
        assert getattr(found, name) == exact
    for name in ("iou", "acc"):
        exact = [None if value is None else pytest.approx(float(value), rel=1e-14) for value in expected[name]]
        assert list(getattr(found, name)) == exact


@settings(max_examples=50, deadline=None)
@given(st.lists(pairs(), max_size=5), st.randoms())
def test_the_order_of_images_changes_nothing(images: list[Pair], random: Any) -> None:
    shuffled = list(images)
    random.shuffle(shuffled)
    assert quality(shuffled) == quality(images)


@settings(max_examples=50, deadline=None)
@given(pairs())
def test_the_truth_is_a_perfect_prediction(image: Pair) -> None:
    truth = image[0]
    found = quality([(truth, np.where(truth == 255, 0, truth))])
    expected = 100.0 if (truth != 255).any() else None
    assert (found.miou, found.macc, found.pacc) == (expected, expected, expected)
    assert found.fwiou == (None if expected is None else pytest.approx(100))


@settings(max_examples=50, deadline=None)
@given(st.lists(pairs(), max_size=5))
def test_counts_by_class_add_up_and_survive_json(images: list[Pair]) -> None:
    counts = [count_image(*image, CLASSES) for image in images]
    table = class_pixels(counts, CLASSES)
    assert table.truth.shape == table.predicted.shape == table.intersection.shape == (len(images), CLASSES)
    judged = [int((truth != 255).sum()) for truth, _ in images]
    assert table.truth.sum(axis=1).tolist() == table.predicted.sum(axis=1).tolist() == judged
    read = [SemanticCounts(*(tuple(each) for each in json.loads(json.dumps(astuple(image))))) for image in counts]
    assert read == counts


def test_ignored_pixels_leave_both_sums() -> None:
    truth, predicted = np.array([[0, 0, 255, 255]], np.uint8), np.array([[0, 1, 1, 1]])
    assert count_image(truth, predicted, 3) == SemanticCounts((0, 1), (1, 0), (2, 0), (1, 1))


def test_a_class_that_is_only_predicted_is_left_out_of_the_means() -> None:
    found = quality([(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 2]]))])
    assert found.iou == (100.0, 50.0, None, None, None, None)
    assert (found.miou, found.macc, found.pacc) == (75.0, 75.0, 75.0)


def test_another_label_may_be_ignored() -> None:
    truth = np.array([[0, 0, 1, 1]])
    assert count_image(truth, np.array([[0, 1, 1, 1]]), 2, ignore_label=0) == SemanticCounts((1,), (2,), (2,), (2,))


@pytest.mark.parametrize("shape", [(0, 4), (1, 1)])
def test_maps_of_no_pixel_and_of_one(shape: tuple[int, int]) -> None:
    ones = np.ones(shape, np.uint8)
    assert count_image(ones, ones, 2) == (
        SemanticCounts((1,), (1,), (1,), (1,)) if ones.size else SemanticCounts((), (), (), ())
    )


def test_nothing_to_judge_by_has_no_number() -> None:
    ignored = np.full((4, 40), 255)
    found = quality([(ignored, np.zeros((4, 40), int))])
    assert (found.miou, found.fwiou, found.macc, found.pacc) == (None, None, None, None)
    assert found.iou == found.acc == (None,) * CLASSES
    assert quality([]) == found


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "3 x 2 pixels where the truth has 2 x 2"),
        (np.zeros((2, 2), int), np.full((2, 2), 6), "a predicted label is 6; classes are 0 to 5"),
        (np.zeros((2, 2), int), np.full((2, 2), 255, np.uint8), "a predicted label is 255"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "a predicted label is -1"),
        (np.full((2, 2), 6), np.zeros((2, 2), int), "a label of the truth is 6; .*, or 255 for ignored pixels"),
        (np.full((2, 2), -1), np.zeros((2, 2), int), "a label of the truth is -1"),
    ],
)
def test_labels_are_classes(truth: NDArray[Any], predicted: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_image(truth, predicted, CLASSES)
