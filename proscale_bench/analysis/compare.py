"""Changes between two runs: what is in both, and what is in one alone. Pure functions of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from proscale_bench.analysis.labels import distinct, model_names, traits_of
from proscale_bench.analysis.settings import grouped, in_order
from proscale_bench.analysis.significance import BUSY, Change, change
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.metrics import METRICS, Metric, get_metric
from proscale_bench.results.model_key import ModelKey, model_of
from proscale_bench.results.record import Record, protocol_of
from proscale_bench.units import show_mac


@dataclass(frozen=True)
class Pair:
    """A configuration before and after, or two that are held against each other.

    Args:
        names: of the two models; they differ where the models do.
    """

    old: Record
    new: Record
    changes: tuple[Change, ...]
    names: tuple[str, str]

    @property
    def renamed(self) -> bool:
        """They are not of one model."""
        return model_of(self.old) != model_of(self.new)

    @property
    def label_changed(self) -> bool:
        """One schedule that went by one name and goes by another."""
        names = [record.identity.label for record in (self.old, self.new)]
        return not self.renamed and names[0] != names[1] and self.new.identity.schedule not in names

    @property
    def schedule_changed(self) -> bool:
        """One name that stood for one schedule and stands for another."""
        old, new = self.old.identity, self.new.identity
        return old.schedule != new.schedule and old.label == new.label


@dataclass(frozen=True)
class Comparison:
    """Two runs: what is in both, and what is in one alone.

    Args:
        names: of what is in one alone, in words, by its digest; unlike those of the pairs at its size.
    """

    pairs: tuple[Pair, ...]
    vanished: tuple[Record, ...]
    added: tuple[Record, ...]
    names: dict[str, str]


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
    """The changes that are worse than the gates allow, where chance does not explain them.

    Raises:
        BenchError: no pair has the metric of a gate, or none in a way that could tell (exit code 3): it would never
            fail.
    """
    found = []
    for gate in gates:
        held = [(pair, change) for pair in comparison.pairs for change in pair.changes if change.metric == gate.metric]
        if not held:
            raise BenchError(f"--fail {gate.metric.name}: neither side knows it of any configuration in both")
        if gate.metric.section == "profile" and all(change.significant is None for _, change in held):
            why = held[0][1]
            hint = (
                "'profile --sessions 5' on both sides measures how sessions differ; latency_saving_pct is paired in one"
            )
            if why.note == BUSY:
                hint = "close other programs and profile both sides again"
            told = f"{why.verdict}{f' ({why.note})' if why.note else ''}"
            raise BenchError(f"--fail {gate.metric.name}: nothing tells: {told}", hint, ExitCode.UNTRUSTED)
        found += [Regression(pair, change, gate) for pair, change in held if _is_worse(change, gate.percent)]
    return found


def held_back(comparison: Comparison, gate: Gate) -> tuple[list[Change], int]:
    """The changes of what was profiled of which nothing tells, which a gate therefore cannot stop, and the number of
    all that it is on."""
    on = [change for pair in comparison.pairs for change in pair.changes if change.metric == gate.metric]
    untold = [change for change in on if change.metric.section == "profile" and change.significant is None]
    return untold, len(on)


def _is_worse(change: Change, percent: float) -> bool:
    sign = 1 if change.metric.better == "lower" else -1
    if change.significant is False or (change.metric.section == "profile" and not change.significant):
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
        BenchError: nothing is in both, or what is counts a multiply-accumulate differently.
    """
    vanished, added = in_order(old), in_order(new)
    pairs: list[tuple[Record, Record]] = []

    def pair(alike: Callable[[Record], object], among: Callable[[Record], bool] = lambda record: True) -> None:
        """Take pairs that are alike out of what is left."""
        for one, other in _pairs([record for record in vanished if among(record)], added, alike):
            pairs.append((one, other))
            vanished.remove(one)
            added.remove(other)

    pair(lambda record: (record.identity.name, *_conditions(record)))
    pair(
        lambda record: (record.identity.label, *_conditions(record)),
        lambda record: record.identity.label != record.identity.schedule,
    )
    if len(vanished) == len(added) == 1 and vanished[0].input == added[0].input:
        pairs.append((vanished.pop(), added.pop()))
    elif len({one.identity.schedule for one in vanished}) == len({one.identity.schedule for one in added}) == 1:
        pair(_conditions)
    require_one_convention(pairs or [(one, other) for one in old for other in new])
    if not pairs:
        raise BenchError(
            f"nothing to compare: the {len(old)} and {len(new)} configurations have none in common",
            "both runs must hold the same backbone, schedule, input and device, evaluated alike; --old and --new "
            "choose a schedule each",
        )
    alone = [*vanished, *added]
    names = _pair_names([*pairs, *((record, record) for record in alone)], model_names([*old, *new]))
    named = zip(pairs, names, strict=False)
    found = tuple(Pair(one, other, tuple(_changes(one, other)), shown) for (one, other), shown in named)
    rest = zip(alone, names[len(pairs) :], strict=True)
    return Comparison(found, tuple(vanished), tuple(added), {record.digest: shown for record, (shown, _) in rest})


def require_one_convention(pairs: Iterable[tuple[Record, Record]]) -> None:
    """Refuse to set counts side by side that count a multiply-accumulate differently.

    Raises:
        BenchError: two records that are alike but for that.
    """
    for old, new in pairs:
        same = model_of(old).architecture == model_of(new).architecture and old.input == new.input
        if old.cost and new.cost and old.convention != new.convention and same:
            raise BenchError(
                f"{old.identity.label} in OLD counts {show_mac(old.convention)}, {new.identity.label} in NEW "
                f"{show_mac(new.convention)}: such GFLOPs never stand side by side",
                "--convert counts OLD as NEW counts; or count both alike, as flops --convention does",
            )


def _pair_names(pairs: Sequence[tuple[Record, Record]], names: dict[ModelKey, str]) -> list[tuple[str, str]]:
    """The names of each pair's two sides, with what tells it from other pairs of these models at this size."""
    groups = grouped(range(len(pairs)), lambda i: (*map(model_of, pairs[i]), pairs[i][1].input.size))
    sides: list[list[str]] = [[names[model_of(record)] for record in side] for side in zip(*pairs, strict=True)]
    for group in groups.values():
        for place, side in enumerate(sides):
            traits = [traits_of(pairs[index][place], pairs[index][place]) for index in group]
            for index, name in zip(group, distinct([side[index] for index in group], traits), strict=True):
                side[index] = name
    return list(zip(*sides, strict=True))


def _pairs(
    old: Sequence[Record], new: Sequence[Record], alike: Callable[[Record], object]
) -> list[tuple[Record, Record]]:
    """Pairs of what is alike. Of several files of weights: the same file, else the training of the same seed, else
    those two that remain."""
    groups: dict[object, tuple[list[Record], list[Record]]] = {}
    for side, records in enumerate((old, new)):
        for record in records:
            groups.setdefault(alike(record), ([], []))[side].append(record)
    found = []
    traits: tuple[Callable[[Record], object], ...] = (
        lambda one: one.identity.trained,
        lambda one: one.evaluated.training_seed if one.evaluated else None,
    )
    for before, after in groups.values():
        for same in traits:
            rest = {same(record): record for record in after if same(record) is not None}
            for record in list(before):
                if (other := rest.pop(same(record), None)) is not None:
                    found.append((record, other))
                    before.remove(record)
                    after.remove(other)
        if len(before) == len(after) == 1:
            found.append((before[0], after[0]))
    place = {id(record): index for index, record in enumerate(old)}
    return sorted(found, key=lambda one: place[id(one[0])])


def _changes(old: Record, new: Record) -> Iterable[Change]:
    for metric in METRICS.values():
        before, after = metric.read(old), metric.read(new)
        if before is not None and after is not None:
            yield change(metric, old, new, before, after)


def _conditions(record: Record) -> tuple[object, ...]:
    """A key that two records of one configuration share: all that identifies them but schedule and weights."""
    architecture = model_of(record).architecture
    return (architecture, record.input, record.convention, record.rules, record.execution, protocol_of(record))
