"""The changes of a comparison as a reader wants them: metric by metric, the largest first. Pure functions of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from statistics import geometric_mean

from proscale_bench.analysis.compare import Comparison, Pair
from proscale_bench.analysis.settings import grouped
from proscale_bench.analysis.significance import Change
from proscale_bench.results.metrics import Metric
from proscale_bench.results.model_key import model_of


@dataclass(frozen=True)
class Selection:
    """Which changes are shown.

    Args:
        min_change: the least change that counts, in percent of the old (accuracies: points).
        chance: show what is not significant.
        unchanged: show what is the same, and what is too small to count.
    """

    min_change: float = 0.0
    chance: bool = True
    unchanged: bool = True

    def is_small(self, change: Change) -> bool:
        """There is a change, and it does not count."""
        return change.difference is not None and 0 < abs(change.difference) < self.min_change

    def shows(self, change: Change) -> bool:
        """The change is one of those that are shown: always where it counts and is more than chance."""
        if change.old == change.new or self.is_small(change):
            return self.unchanged
        return self.chance or change.significant is not False


EVERYTHING = Selection()


def select(comparison: Comparison, min_change: float, everything: bool) -> Selection:
    """All changes, or those that say something: of few pairs what is not significant says something too."""
    return Selection(min_change, everything or is_of_few(comparison), everything)


def is_of_few(comparison: Comparison) -> bool:
    """There are fewer pairs than metrics."""
    metrics = {change.metric.name for pair in comparison.pairs for change in pair.changes}
    return len(comparison.pairs) < len(metrics)


def has_backbones(comparison: Comparison) -> bool:
    """There are several backbones, over which a mean says something."""
    return len({pair.new.identity.backbone for pair in comparison.pairs}) > 1


@dataclass(frozen=True)
class ShownChange:
    """A change that is shown, and the configuration that it is of."""

    pair: Pair
    change: Change


@dataclass(frozen=True)
class Family:
    """The changes of a metric under the same conditions, backbone by backbone, the largest first.

    Args:
        backbones: number of them, those whose change is not shown among them.
        mean: geometric mean of new / old over all of them, as a change in percent; None of one backbone alone, of
            accuracies, whose changes are in points, and of values that are not positive.
    """

    shown: tuple[ShownChange, ...]
    backbones: int
    mean: float | None


@dataclass(frozen=True)
class MetricChanges:
    """The changes of one metric, the family of the largest first."""

    metric: Metric
    families: tuple[Family, ...]


def by_metric(comparison: Comparison, selection: Selection) -> list[MetricChanges]:
    """All changes that are shown, in the order of metrics."""
    every = [ShownChange(pair, change) for pair in comparison.pairs for change in pair.changes]
    groups = grouped(every, lambda one: one.change.metric.name)
    found = [MetricChanges(group[0].change.metric, tuple(_families(group, selection))) for group in groups.values()]
    return [one for one in found if one.families]


def largest_first(found: Iterable[Change]) -> list[Change]:
    """Order changes: real ones, untold ones, then chance; percent before points, the largest first."""
    return sorted(found, key=_order)


def _families(group: Iterable[ShownChange], selection: Selection) -> list[Family]:
    families = []
    for family in grouped(group, lambda one: _conditions(one.pair)).values():
        shown = sorted((one for one in family if selection.shows(one.change)), key=lambda one: _order(one.change))
        if shown:
            families.append(Family(tuple(shown), len(_backbones(family)), _mean(family)))
    return sorted(families, key=lambda family: _order(family.shown[0].change))


def _order(change: Change) -> tuple[int, bool, float]:
    """Sizes are as they are shown, so that what looks alike keeps its order."""
    size = inf if change.difference is None else round(abs(change.difference), 2)
    return (True, None, False).index(change.significant), change.metric.in_points, -size


def _conditions(pair: Pair) -> tuple[object, ...]:
    """A key that pairs share which differ in their backbones alone."""
    sides = (pair.old, pair.new)
    return (*((model_of(one)._replace(backbone=""), one.execution, one.input, one.evaluation) for one in sides),)


def _backbones(family: Iterable[ShownChange]) -> set[str]:
    return {one.pair.new.identity.backbone for one in family}


def _mean(family: list[ShownChange]) -> float | None:
    changes = [one.change for one in family]
    is_ratio = not changes[0].metric.in_points and all(min(one.old, one.new) > 0 for one in changes)
    if len(_backbones(family)) < 2 or not is_ratio:
        return None
    return 100 * (geometric_mean(1 + (one.difference or 0.0) / 100 for one in changes) - 1)
