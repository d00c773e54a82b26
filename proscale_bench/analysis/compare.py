"""What changed between two runs, and whether it is more than chance. Pure functions of records.

Counts are exact. Accuracies are compared draw by draw: both were found on the same images, drawn anew alike
(`results/accuracy.py`), so what is common to two models drops out. Latencies of two sessions are compared by
resampling each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from proscale_bench.analysis.settings import in_order
from proscale_bench.errors import BenchError
from proscale_bench.results.metrics import METRICS, Metric, get_metric
from proscale_bench.results.record import Record
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import MIN_PAIRS, independent_ratio, interval_of


@dataclass(frozen=True)
class Change:
    """One metric before and after.

    Args:
        difference: percentage points for accuracies, percent of the old for all else; None where that is nothing.
        interval: 95 %, of the difference; None where there is none, or none is needed.
        significant: None where nothing tells.
        note: why nothing tells.
    """

    metric: Metric
    old: float
    new: float
    difference: float | None
    interval: Interval | None = None
    significant: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """A configuration before and after, or two that are held against each other."""

    old: Record
    new: Record
    changes: tuple[Change, ...]

    @property
    def renamed(self) -> bool:
        """They are not of one schedule on one backbone."""
        return _name(self.old) != _name(self.new)

    @property
    def label_changed(self) -> bool:
        """One schedule that went by one name and goes by another."""
        names = [record.identity.label for record in (self.old, self.new)]
        return not self.renamed and names[0] != names[1] and self.new.identity.schedule not in names

    @property
    def schedule_changed(self) -> bool:
        """One name that stood for one schedule and stands for another."""
        return self.renamed and self.old.identity.label == self.new.identity.label


@dataclass(frozen=True)
class Comparison:
    """Two runs: what is in both, and what is in one alone."""

    pairs: tuple[Pair, ...]
    vanished: tuple[Record, ...]
    added: tuple[Record, ...]


@dataclass(frozen=True)
class Gate:
    """By how much a metric may get worse: percent of the old, points for accuracies."""

    metric: Metric
    percent: float


@dataclass(frozen=True)
class Regression:
    """A change that a gate does not let pass."""

    pair: Pair
    change: Change
    gate: Gate


def parse_gate(text: str) -> Gate:
    """Read `encoder_gflops:1`.

    Raises:
        BenchError: an unknown metric, or no number from 0.
    """
    name, _, number = text.partition(":")
    metric = get_metric(name)
    try:
        percent = float(number)
    except ValueError:
        percent = -1.0
    if not (isfinite(percent) and percent >= 0):
        raise BenchError(f"'{text}': '{number}' is not a number from 0", "as in encoder_gflops:1")
    return Gate(metric, percent)


def regressions(comparison: Comparison, gates: Sequence[Gate]) -> list[Regression]:
    """What got worse by more than the gates allow, where chance does not explain it.

    Raises:
        BenchError: no pair has the metric of a gate: it would never fail.
    """
    found = []
    for gate in gates:
        held = [(pair, change) for pair in comparison.pairs for change in pair.changes if change.metric == gate.metric]
        if not held:
            raise BenchError(f"--fail {gate.metric.name}: neither side knows it of any configuration in both")
        found += [Regression(pair, change, gate) for pair, change in held if _is_worse(change, gate.percent)]
    return found


def _is_worse(change: Change, percent: float) -> bool:
    sign = 1 if change.metric.better == "lower" else -1
    if change.significant is False:
        return False
    if change.difference is None:  # the old is nothing
        return sign * (change.new - change.old) > 0
    return sign * change.difference > percent


def compare(old: Sequence[Record], new: Sequence[Record]) -> Comparison:
    """Hold two runs against each other, configuration by configuration.

    Weights may differ: that is what is compared. A configuration whose schedule was changed under the same name is
    still a pair. So are those two that remain where each run has one alone, on the same input; and where all that
    remains of each is of one schedule, those that were found in the same way.

    Raises:
        BenchError: nothing is in both.
    """
    before, after = ({_key(record): record for record in in_order(records)} for records in (old, new))
    pairs = [(before[key], after[key]) for key in before if key in after]
    vanished = [record for key, record in before.items() if key not in after]
    added = [record for key, record in after.items() if key not in before]
    by_name = {_named_key(record): record for record in added}
    for record in list(vanished):
        if record.identity.label != record.identity.schedule and (other := by_name.pop(_named_key(record), None)):
            pairs.append((record, other))
            vanished.remove(record)
            added.remove(other)
    if len(vanished) == len(added) == 1 and vanished[0].input == added[0].input:
        pairs.append((vanished.pop(), added.pop()))
    elif len({one.identity.schedule for one in vanished}) == len({one.identity.schedule for one in added}) == 1:
        gone, come = ({_way(record): record for record in rest} for rest in (vanished, added))
        pairs += [(gone[way], come[way]) for way in gone if way in come]
        vanished = [record for way, record in gone.items() if way not in come]
        added = [record for way, record in come.items() if way not in gone]
    if not pairs:
        raise BenchError(
            f"nothing to compare: the {len(before)} and {len(after)} configurations have none in common",
            "both runs must hold the same backbone, schedule, input and device; --old and --new choose a schedule each",
        )
    return Comparison(
        tuple(Pair(one, other, tuple(_changes(one, other))) for one, other in pairs), tuple(vanished), tuple(added)
    )


def _changes(old: Record, new: Record) -> Iterable[Change]:
    for metric in METRICS.values():
        before, after = metric.read(old), metric.read(new)
        if before is not None and after is not None:
            yield _change(metric, old, new, before, after)


def _change(metric: Metric, old: Record, new: Record, before: float, after: float) -> Change:
    if metric.section == "accuracy":
        return _accuracy_change(metric, old, new, before, after)
    difference = 100 * (after / before - 1) if before else None
    if metric.section == "cost":
        return Change(metric, before, after, difference, None, before != after)
    if metric.name != "latency_median_ms" or old.profile is None or new.profile is None:
        return Change(metric, before, after, difference)
    samples = new.profile.samples_ms, old.profile.samples_ms
    if min(map(len, samples)) < MIN_PAIRS:
        return Change(metric, before, after, difference, note=f"fewer than {MIN_PAIRS} samples")
    ratio = independent_ratio(*samples)
    interval = (100 * (ratio.low - 1), 100 * (ratio.high - 1))
    return Change(metric, before, after, difference, interval, ratio.significant)


def _accuracy_change(metric: Metric, old: Record, new: Record, before: float, after: float) -> Change:
    difference = after - before
    found = [record.accuracy.evaluated if record.accuracy else None for record in (old, new)]
    first, second = found
    if first is None or second is None:
        return Change(metric, before, after, difference, note="published")
    if first.images_digest != second.images_digest:
        return Change(metric, before, after, difference, note="other images")
    draws = first.replicates.get(metric.name), second.replicates.get(metric.name)
    if not draws[0] or not draws[1] or len(draws[0]) != len(draws[1]) or first.seed != second.seed:
        return Change(metric, before, after, difference, note="no common draws")
    low, high = interval_of([after - before for before, after in zip(*draws, strict=True)])  # type: ignore[arg-type]
    return Change(metric, before, after, difference, (low, high), not low <= 0 <= high)


def _name(record: Record) -> tuple[str, str]:
    return record.identity.backbone, record.identity.schedule


def _key(record: Record) -> tuple[object, ...]:
    """What makes two records the same configuration: all that identifies them but the weights."""
    return (record.identity.schedule, *_way(record))


def _way(record: Record) -> tuple[object, ...]:
    """In which something was found, whatever the schedule."""
    return (record.identity.backbone, record.input, record.convention, record.rules, record.execution)


def _named_key(record: Record) -> tuple[object, ...]:
    """The same by name, whatever the schedule of that name is."""
    return (record.identity.label, record.identity.backbone, *_key(record)[2:])
