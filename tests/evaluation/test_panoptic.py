"""Panoptic quality of maps in memory, against the definition."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from proscale_bench.data.dataset import Category, Segment
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.evaluation.panoptic import (
    PanopticCounts,
    RunningQuality,
    class_counts,
    count_image,
    overlaps,
    panoptic_quality,
)
from tests.evaluation.plain import Case, pixel_sets, plain_counts, plain_quality

CATEGORIES = (Category(7, "dog", True), Category(3, "cat", True), Category(200, "sky", False))
KNOWN = tuple(category.id for category in CATEGORIES)
UNKNOWN = 44
IDS = (0, 1, 255, 256, 65535, 65536, 70000, 2**24 - 1)


def count(case: Case) -> PanopticCounts:
    return count_image(case.true_ids, case.true_segments, case.predicted_ids, case.predicted_segments)


@st.composite
def maps(draw: st.DrawFn, height: int, width: int, stretch: int) -> NDArray[Any]:
    """Rows of a few ids; stretched, they have runs as real maps have."""
    values = draw(st.lists(st.sampled_from(IDS), min_size=height * width, max_size=height * width))
    dtype = draw(st.sampled_from([np.uint32, np.int32, np.int64, np.uint64]))
    return np.repeat(np.array(values, dtype).reshape(height, width), stretch, axis=1)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 1, 3, 9]))
    true_ids, predicted_ids = draw(maps(*shape)), draw(maps(*shape))
    true_segments = []
    for segment_id, pixels in pixel_sets(true_ids).items():
        if segment_id and draw(st.integers(0, 7)):  # some ids of the map are not listed
            category_id = draw(st.sampled_from((*KNOWN, UNKNOWN)))
            area = len(pixels) + draw(st.sampled_from([0, 0, 0, 1, 5]))
            true_segments.append(Segment(segment_id, category_id, draw(st.integers(0, 3)) == 0, area))
    if draw(st.booleans()):
        true_segments.append(Segment(999, draw(st.sampled_from(KNOWN)), draw(st.booleans()), 4))  # without a pixel
    predicted_segments = [
        PredictedSegment(segment_id, draw(st.sampled_from(KNOWN)))
        for segment_id in pixel_sets(predicted_ids)
        if segment_id or draw(st.booleans())
    ]
    return Case(
        true_ids,
        tuple(draw(st.permutations(true_segments))),
        predicted_ids,
        tuple(draw(st.permutations(predicted_segments))),
    )


@settings(max_examples=300, deadline=None)
@given(cases())
def test_an_image_is_counted_as_defined(case: Case) -> None:
    found = count(case)
    matches, wrong, missed = plain_counts(case)
    assert list(found.matches) == [(category_id, float(iou)) for category_id, iou in matches]
    assert sorted(found.false_positives) == wrong
    assert sorted(found.false_negatives) == missed


@settings(max_examples=60, deadline=None)
@given(st.lists(cases(), max_size=6))
def test_quality_is_as_defined_to_the_last_digit(images: list[Case]) -> None:
    quality = panoptic_quality((count(case) for case in images), CATEGORIES)
    expected = plain_quality(images, CATEGORIES)
    for group in ("all", "things", "stuff"):
        assert astuple(getattr(quality, group)) == expected[group]
    assert {category_id: astuple(found) for category_id, found in quality.per_class.items()} == expected["per_class"]


@settings(max_examples=100, deadline=None)
@given(cases(), st.data())
def test_the_order_of_segments_changes_nothing(case: Case, data: st.DataObject) -> None:
    """Apart from several crowds of one category, of which the last in the list counts."""
    crowds = [segment.category_id for segment in case.true_segments if segment.is_crowd]
    if len(set(crowds)) < len(crowds):
        return
    shuffled = replace(
        case,
        true_segments=tuple(data.draw(st.permutations(case.true_segments))),
        predicted_segments=tuple(data.draw(st.permutations(case.predicted_segments))),
    )
    assert panoptic_quality([count(case)], CATEGORIES) == panoptic_quality([count(shuffled)], CATEGORIES)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_the_truth_is_a_perfect_prediction(data: st.DataObject, height: int, width: int) -> None:
    ids = data.draw(maps(height, width, 2))
    areas = {segment_id: len(pixels) for segment_id, pixels in pixel_sets(ids).items() if segment_id}
    category_of = {segment_id: data.draw(st.sampled_from(KNOWN)) for segment_id in areas}
    truth = [Segment(segment_id, category_of[segment_id], False, area) for segment_id, area in areas.items()]
    predicted = [PredictedSegment(segment_id, category_of[segment_id]) for segment_id in areas]
    quality = panoptic_quality([count_image(ids, truth, ids, predicted)], CATEGORIES)
    expected = 1.0 if areas else None
    assert (quality.all.pq, quality.all.sq, quality.all.rq) == (expected, expected, expected)
    assert quality.all.classes == len(set(category_of.values()))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_pairs_are_counted_in_ascending_order(case: Case) -> None:
    shared = overlaps(case.true_ids, case.predicted_ids)
    assert list(shared) == sorted(shared)
    assert sum(shared.values()) == case.true_ids.size
    truth, predicted = pixel_sets(case.true_ids), pixel_sets(case.predicted_ids)
    assert all(pixels == len(truth[pair[0]] & predicted[pair[1]]) for pair, pixels in shared.items())


@pytest.mark.parametrize("seed", range(3))
def test_runs_and_noise_are_counted_alike(seed: int) -> None:
    """Each pair of maps beside its transpose: what is a run in one is noise in the other."""
    rng = np.random.default_rng(seed)
    columns = rng.choice(2**24, (2, 1, 90)).repeat(40, axis=1)
    upright = overlaps(columns[0], columns[1])
    assert upright == overlaps(columns[0].T, columns[1].T)
    assert len(upright) == 90


def halves(predicted_pixels: int, true_pixels: int, both: int) -> Case:
    """One segment each, of so many pixels in a row, of which so many are shared; the rest of the truth is another."""
    length = predicted_pixels + true_pixels - both
    true_ids = np.full((1, length), 2)
    true_ids[0, :true_pixels] = 1
    predicted_ids = np.zeros((1, length), int)
    predicted_ids[0, true_pixels - both :] = 1
    segments = (Segment(1, 7, False, true_pixels), Segment(2, 3, False, length - true_pixels))
    return Case(true_ids, segments, predicted_ids, (PredictedSegment(1, 7),))


@pytest.mark.parametrize(
    ("case", "matched"), [(halves(3, 3, 2), False), (halves(300, 301, 201), True), (halves(3, 3, 3), True)]
)
def test_an_iou_of_exactly_one_half_is_no_match(case: Case, matched: bool) -> None:
    assert bool(count(case).matches) == matched


@pytest.mark.parametrize(("in_void", "forgiven"), [(4, False), (5, False), (6, True)])
@pytest.mark.parametrize("crowd", [False, True])
def test_a_prediction_of_ten_pixels_is_forgiven_by_more_than_half(in_void: int, forgiven: bool, crowd: bool) -> None:
    true_ids = np.full((1, 10), 9)
    true_ids[0, :in_void] = 5 if crowd else 0
    truth = [Segment(9, 3, False, 10 - in_void), *([Segment(5, 7, True, in_void)] if crowd else [])]
    found = count_image(true_ids, truth, np.ones((1, 10), int), [PredictedSegment(1, 7)])
    assert found.false_positives == (() if forgiven else (7,))
    assert found.false_negatives == (3,)


def test_void_and_crowd_forgive_together_but_another_categorys_crowd_does_not() -> None:
    true_ids = np.array([[0] * 3 + [5] * 3 + [9] * 4])
    truth = [Segment(5, 7, True, 3), Segment(9, 3, False, 4)]
    for category_id, wrong in ((7, ()), (200, (200,))):
        found = count_image(true_ids, truth, np.ones((1, 10), int), [PredictedSegment(1, category_id)])
        assert found.false_positives == wrong


def test_of_two_crowds_of_a_category_the_last_counts() -> None:
    true_ids = np.array([[5] * 6 + [6] * 4])
    crowds = [Segment(5, 7, True, 6), Segment(6, 7, True, 4)]
    predicted = np.ones((1, 10), int), [PredictedSegment(1, 7)]
    assert count_image(true_ids, crowds, *predicted).false_positives == (7,)
    assert count_image(true_ids, crowds[::-1], *predicted).false_positives == ()


@pytest.mark.parametrize(("area", "iou"), [(0, math.inf), (2, 2.0), (0.0, math.inf), (4.5, 4 / 4.5)])
def test_a_wrong_area_is_taken_as_it_is(area: float, iou: float) -> None:
    found = count_image(
        np.ones((2, 2), int), [Segment(1, 7, False, area)], np.ones((2, 2), int), [PredictedSegment(1, 7)]
    )
    assert found.matches == ((7, iou),)


@pytest.mark.parametrize("area", [math.nan, -1000, math.inf, 2**62])
def test_an_area_that_cannot_be_matches_nothing(area: float) -> None:
    found = count_image(
        np.ones((2, 2), int), [Segment(1, 7, False, area)], np.ones((2, 2), int), [PredictedSegment(1, 7)]
    )
    assert found == PanopticCounts((), (7,), (7,))


def test_an_empty_map_has_no_counts() -> None:
    nothing = np.zeros((0, 5), np.int32)
    assert count_image(nothing, [Segment(1, 7, False, 4)], nothing, []) == PanopticCounts((), (), (7,))


@pytest.mark.parametrize(
    ("predicted", "segments", "message"),
    [
        (np.ones((2, 3), int), [], r"3 x 2 pixels where the truth has 2 x 2"),
        (np.full((2, 2), 8), [], r"id 8 is in the map and not among the segments"),
        (np.ones((2, 2), int), [PredictedSegment(1, 7), PredictedSegment(77, 7)], r"id 77 among the segments"),
        (np.ones((2, 2), int), [PredictedSegment(i, 7) for i in range(1, 20)], r"ids 2, 3, 4, 5, 6, … among"),
        (np.full((2, 2), -1), [PredictedSegment(-1, 7)], r"ids lie between 0 and"),
        (np.full((2, 2), 2**32), [PredictedSegment(2**32, 7)], r"ids lie between 0 and"),
    ],
)
def test_maps_and_segments_must_agree(predicted: NDArray[Any], segments: list[PredictedSegment], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_image(np.ones((2, 2), int), [], predicted, segments)


def test_a_group_without_a_class_has_no_number() -> None:
    counts = PanopticCounts(((7, 0.75),), (), (3,))
    quality = panoptic_quality([counts], CATEGORIES)
    assert astuple(quality.stuff) == (None, None, None, 0)
    assert astuple(quality.all) == (0.375, 0.375, 0.5, 2)
    assert astuple(quality.per_class[200]) == (0.0, 0.0, 0.0, 0, 0, 0)
    assert panoptic_quality([], CATEGORIES).all.pq is None


def test_the_running_quality_is_that_of_the_images_so_far() -> None:
    images = [PanopticCounts(((7, 0.75), (200, 0.6)), (3,), ()), PanopticCounts(((7, 0.9),), (), (3, UNKNOWN))]
    running = RunningQuality(CATEGORIES)
    assert running.pq is None
    for done, counts in enumerate(images, start=1):
        running.add(counts)
        assert running.pq == panoptic_quality(images[:done], CATEGORIES).all.pq
    assert running.quality() == panoptic_quality(images, CATEGORIES)


def test_sums_are_added_one_after_the_other() -> None:
    """A compensated sum, as Python's own has been since 3.12, would give another last digit."""
    values = [0.6, 0.7, 0.8, 0.9, 0.55, 0.65] * 7
    quality = panoptic_quality([PanopticCounts(((7, value),), (), ()) for value in values], CATEGORIES)
    total = 0.0
    for value in values:
        total += value
    assert total != math.fsum(values)
    assert quality.per_class[7].sq == total / len(values)


@settings(max_examples=30, deadline=None)
@given(st.lists(cases(), max_size=4))
def test_class_counts_add_up_to_the_quality(images: list[Case]) -> None:
    counts = [count(case) for case in images]
    table = class_counts(counts, CATEGORIES)
    assert table.iou.shape == table.tp.shape == table.fp.shape == table.fn.shape == (len(images), len(CATEGORIES))
    quality = panoptic_quality(counts, CATEGORIES)
    for index, category in enumerate(CATEGORIES):
        found = quality.per_class[category.id]
        totals = (table.tp[:, index].sum(), table.fp[:, index].sum(), table.fn[:, index].sum())
        assert totals == (found.tp, found.fp, found.fn)
        assert math.isclose(table.iou[:, index].sum(), found.sq * found.tp, abs_tol=1e-12)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_counts_survive_json(case: Case) -> None:
    counts = count(case)
    matches, wrong, missed = json.loads(json.dumps(astuple(counts)))
    assert PanopticCounts(tuple((category, iou) for category, iou in matches), tuple(wrong), tuple(missed)) == counts
