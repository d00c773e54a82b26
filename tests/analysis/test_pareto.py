"""The frontier, by its definition and on cases that are easy to get wrong."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.analysis.pareto import frontier, steps

NUMBER = st.integers(-3, 3).map(float)  # few values: many ties
KNOWN = st.lists(st.tuples(NUMBER, NUMBER), max_size=12)
MAYBE = st.lists(st.tuples(st.none() | NUMBER, st.none() | NUMBER | st.just(math.nan)), max_size=12)
BETTER = st.sampled_from(["lower", "higher"])


def dominates(a, b, x_better="lower", y_better="higher") -> bool:  # type: ignore[no-untyped-def]
    """The definition: `a` is at least as good as `b` in both, and better in one."""
    signs = [1 if better == "lower" else -1 for better in (x_better, y_better)]
    costs = [[sign * value for sign, value in zip(signs, point, strict=True)] for point in (a, b)]
    return all(x <= y for x, y in zip(*costs, strict=True)) and costs[0] != costs[1]


@given(KNOWN, BETTER, BETTER)
def test_the_frontier_is_what_nothing_dominates(points, x_better, y_better) -> None:  # type: ignore[no-untyped-def]
    expected = {
        index
        for index, point in enumerate(points)
        if not any(dominates(other, point, x_better, y_better) for other in points)
    }
    assert set(frontier(points, x_better, y_better)) == expected


@given(MAYBE)
def test_what_is_unknown_is_as_if_it_were_not_there(points) -> None:  # type: ignore[no-untyped-def]
    known = [i for i, (x, y) in enumerate(points) if x is not None and y is not None and not math.isnan(y)]
    assert frontier(points) == [known[i] for i in frontier([points[i] for i in known])]


@given(KNOWN, st.randoms())
def test_the_order_of_points_does_not_matter(points, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(points)
    random.shuffle(shuffled)
    assert [points[i] for i in frontier(points)] == [shuffled[i] for i in frontier(shuffled)]


@given(KNOWN)
def test_adding_a_dominated_point_changes_nothing(points) -> None:  # type: ignore[no-untyped-def]
    best = frontier(points)
    worse = [(x + 1, y - 1) for x, y in points]
    assert frontier([*points, *worse]) == best


@given(KNOWN, BETTER, BETTER)
def test_along_the_frontier_both_get_larger_or_both_smaller(points, x_better, y_better) -> None:  # type: ignore[no-untyped-def]
    line = [points[i] for i in frontier(points, x_better, y_better)]
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        if (x0, y0) != (x1, y1):
            assert (x1 > x0) == (x_better == "lower")
            assert (y1 > y0) == (y_better == "higher")


@given(KNOWN)
def test_steps_run_along_the_axes_through_every_frontier_point(points) -> None:  # type: ignore[no-untyped-def]
    line = [points[i] for i in frontier(points)]
    corners = steps(line)
    assert set(line) <= set(corners)
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        assert (x0 == x1) != (y0 == y1)


def test_ties() -> None:
    assert frontier([(1, 5), (1, 5), (1, 4), (2, 5)]) == [0, 1]


def test_nothing_and_one() -> None:
    assert frontier([]) == []
    assert frontier([(None, 1.0), (1.0, None)]) == []
    assert frontier([(1.0, 2.0)]) == [0]
    assert steps([]) == []


def test_a_point_does_not_dominate_itself() -> None:
    assert not dominates((1, 1), (1, 1))
    assert dominates((1, 1), (2, 1))
    assert dominates((1, 2), (1, 1))
    assert not dominates((1, 1), (2, 2))
