"""Labels: whatever the points, no label overlaps another, a mark or the frame."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.render.label_placement import Box, Wanted, cut, place

FRAME = Box(0, 0, 400, 300)
POINT = st.tuples(st.integers(0, 400), st.integers(0, 300))


@settings(max_examples=60, deadline=None)
@given(st.lists(POINT, max_size=25), st.integers(5, 120), st.integers(5, 20))
def test_nothing_overlaps(points: list[tuple[int, int]], width: int, height: int) -> None:
    marks = [Box(x, y, x, y).grown(4) for x, y in points]
    placed = place([Wanted(x, y, width, height) for x, y in points], FRAME, marks)
    boxes = [label.box for label in placed if label]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert not any(box.overlaps(mark) for box in boxes for mark in marks)
    assert all(box.inside(FRAME) for box in boxes)


def test_a_lone_label_stands_to_the_right() -> None:
    (label,) = place([Wanted(100, 100, 40, 10)], FRAME, gap=4)
    assert label is not None
    assert label.box == Box(104, 95, 144, 105)
    assert label.leader is None


def test_a_label_keeps_off_a_line_where_it_can() -> None:
    line = cut([(100, 100), (400, 100)])
    (label,) = place([Wanted(100, 100, 40, 10)], FRAME, lines=line)
    assert label is not None
    assert not any(label.box.overlaps(piece) for piece in line)


def test_a_far_label_has_a_leader_that_crosses_nothing() -> None:
    around = [Box(x, y, x, y).grown(12) for x in (70, 100, 130) for y in (70, 130)]
    marks = [Box(100, 100, 100, 100).grown(4), *around, Box(60, 92, 90, 108), Box(110, 92, 140, 108)]
    (label,) = place([Wanted(100, 100, 30, 10)], FRAME, marks)
    if label is not None and label.leader is not None:
        leader = cut([(100, 100), label.leader], thickness=1)
        assert not any(piece.overlaps(mark) for piece in leader for mark in marks[1:])
    walled = [Box(92, 92, 96, 108), Box(104, 92, 108, 108), Box(92, 104, 108, 108), Box(92, 92, 108, 96)]
    assert place([Wanted(100, 100, 30, 10)], FRAME, walled) == [None]


def test_a_label_without_room_is_left_out() -> None:
    assert place([Wanted(5, 5, 40, 10)], Box(0, 0, 20, 20)) == [None]


def test_an_important_label_comes_first() -> None:
    first, second = place([Wanted(100, 100, 40, 10), Wanted(100, 100, 40, 10)], FRAME)
    assert first is not None
    assert second is not None
    assert first.box.left > second.box.left


def test_a_line_is_cut_without_holes() -> None:
    pieces = cut([(0, 0), (50, 0), (50, 50)], thickness=2, length=6)
    for a, b in pairwise(pieces):
        assert a.grown(1.5).overlaps(b.grown(1.5))
