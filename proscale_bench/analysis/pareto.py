"""The Pareto frontier: the points that no other point beats. Pure functions on pairs of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Better = Literal["lower", "higher"]
Coordinates = tuple[float | None, float | None]
Known = tuple[float, float]


def frontier(points: Sequence[Coordinates], x_better: Better = "lower", y_better: Better = "higher") -> list[int]:
    """Indices of the points that no other dominates, from the best x on; of equal points all are there.

    A point with None or NaN in it is neither on the frontier nor beats another.
    """
    x_sign, y_sign = (1 if better == "lower" else -1 for better in (x_better, y_better))  # so that less is better
    known = [
        ((x_sign * x, y_sign * y), index)
        for index, (x, y) in enumerate(points)
        if x is not None and y is not None and not (math.isnan(x) or math.isnan(y))
    ]
    best: tuple[float, float] | None = None
    on_frontier = []
    for costs, index in sorted(known):
        if best is None or costs[1] < best[1] or costs == best:
            best = costs
            on_frontier.append(index)
    return on_frontier


def steps(points: Sequence[Known]) -> list[Known]:
    """The corners of the step line through frontier points, as `frontier` orders them.

    A value between two of them is not reached by buying half the way: y holds until the next point's x.
    """
    corners: list[Known] = []
    for x, y in points:
        if corners and corners[-1][1] != y:
            corners.append((x, corners[-1][1]))
        if not corners or corners[-1] != (x, y):
            corners.append((x, y))
    return corners
