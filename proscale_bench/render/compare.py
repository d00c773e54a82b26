"""The comparison of two runs as tables and sentences. Pure functions of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from proscale_bench.analysis.changes import (
    EVERYTHING,
    Family,
    Selection,
    by_metric,
    has_backbones,
    is_of_few,
    largest_first,
)
from proscale_bench.analysis.compare import Comparison, Gate, Pair, Regression, held_back
from proscale_bench.analysis.settings import grouped
from proscale_bench.analysis.significance import Change
from proscale_bench.render.table import Row, Table
from proscale_bench.results.metrics import Metric
from proscale_bench.results.model_key import model_of
from proscale_bench.results.record import Record
from proscale_bench.units import show_difference

SAME = "the same"
ANOTHER_SESSION = "another session: cannot be told from the machine"
STYLES = {"better": "green", "worse": "red", SAME: "dim", "not significant": "dim", "geometric mean": "dim"}
NARROW = 80  # letters of a line
HEADER = ("", "old", "new", "change", "95 %", "")


def tables(comparison: Comparison, selection: Selection = EVERYTHING) -> list[Table]:
    """A table for each metric, or for each pair where that is shorter and takes no mean over backbones; what changed
    most comes first."""
    if is_of_few(comparison) and not has_backbones(comparison):
        return [shown for pair in comparison.pairs if (shown := table(pair, selection)).rows]
    return [
        _table(metric_words(one.metric), (row for family in one.families for row in _rows(family, selection)))
        for one in by_metric(comparison, selection)
    ]


def table(pair: Pair, selection: Selection = EVERYTHING) -> Table:
    """One line for each metric that both have: before, after, the change, and whether it is more than chance."""
    shown = [change for change in pair.changes if selection.shows(change)]
    rows = (Row(metric_words(change.metric), _cells(change, selection)) for change in largest_first(shown))
    title = pair.names[1] if not pair.renamed else " against ".join(pair.names)
    return _table(f"{title}, {pair.new.input.size}", rows)


def _rows(family: Family, selection: Selection) -> Iterator[Row]:
    """A line for each configuration; of several backbones below one with their geometric mean."""
    size = family.shown[0].pair.new.input.size
    if family.backbones > 1:
        mean = ("", "") if family.mean is None else (f"{show_difference(family.mean)}%", "geometric mean")
        yield Row(f"{pair_words(family.shown[0].pair)[0]}, {size}", ("", "", mean[0], "", mean[1]))
    for one in family.shown:
        schedule, model = pair_words(one.pair)
        label = model if family.backbones > 1 else f"{schedule} on {model}, {size}"
        yield Row(label, _cells(one.change, selection), indent=int(family.backbones > 1))


def _table(title: str, rows: Iterable[Row]) -> Table:
    """A table without the column of intervals where there is none."""
    found = tuple(rows)
    if any(row.cells[3] for row in found):
        return Table(title, HEADER, found)
    bare = tuple(Row(row.label, row.cells[:3] + row.cells[4:], row.indent) for row in found)
    return Table(title, HEADER[:4] + HEADER[5:], bare)


def _cells(change: Change, selection: Selection) -> tuple[str, ...]:
    values = (_value(change, change.old), _value(change, change.new), _difference(change), _interval(change))
    return (*values, verdict(change, selection))


def metric_words(metric: Metric) -> str:
    """The metric and its unit: `encoder, GFLOPs`."""
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def pair_words(pair: Pair) -> tuple[str, str]:
    """The schedule of a pair, and the rest of its model: `2,2,2 → 2,3,2` and `swin_t`."""
    changed = [
        " → ".join(dict.fromkeys(words)) for words in zip(*(name.split(" on ", 1) for name in pair.names), strict=False)
    ]
    return changed[0], " on ".join(changed[1:])


def verdict(change: Change, selection: Selection = EVERYTHING) -> str:
    """The meaning of a change in a word: better, worse, the same, too small to count, or why nothing can be said."""
    if selection.is_small(change):
        return f"below {selection.min_change:g} {_unit(change.metric)}"
    if change.old == change.new:
        return SAME
    if not change.significant:
        return change.verdict
    return "better" if change.is_less == (change.metric.better == "lower") else "worse"


def summary(comparison: Comparison, selection: Selection) -> list[str]:
    """The number of values by what became of them, and which are not shown: one line, or two where it is long."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for change in (change for pair in comparison.pairs for change in pair.changes):
        counts[selection.shows(change)][verdict(change, selection)] += 1
    shown, hidden = (
        ", ".join(f"{number} {word}" for word, number in counts[is_shown].most_common()) for is_shown in (True, False)
    )
    values = sum(map(Counter.total, counts.values()))
    of = f"{_number(values, 'value')} of {_number(len(comparison.pairs), 'configuration')}"
    parts = [*([shown] if shown else []), *([f"not shown without --all: {hidden}"] if hidden else [])]
    line = f"{of}: " + "; ".join(parts)
    return [line] if len(line) <= NARROW else [f"{of}: {parts[0]}", *parts[1:]]


def open_questions(comparison: Comparison) -> list[str]:
    """A line on what cannot be told, where there is such a change, and one for each reason: tables have no room."""
    changes = [change for pair in comparison.pairs for change in pair.changes]
    noted = dict.fromkeys((change.verdict, change.note) for change in changes if change.note)
    said = [ANOTHER_SESSION] if any(change.verdict == "another session" for change in changes) else []
    return said + [f"{word}: {note}" for word, note in noted] + list(_net(changes)) + list(_by_round(changes))


def _net(changes: Sequence[Change]) -> Iterator[str]:
    """A line for each metric whose differences are net of the baseline's, on what that changed by."""
    for title, group in grouped(changes, lambda change: change.metric.title).items():
        if by := [change.baseline_pct for change in group if change.baseline_pct is not None]:
            ends = dict.fromkeys(f"{show_difference(end)}%" for end in (min(by), max(by)))
            yield f"{title}: changes are net of the baseline's, which changed by {' to '.join(ends)}"


def _by_round(changes: Sequence[Change]) -> Iterator[str]:
    """A line on the metrics whose difference says the opposite of the two values beside it."""
    apart = (one.metric.title for one in changes if one.baseline_pct is None and one.is_less != (one.new < one.old))
    for title in dict.fromkeys(apart):
        yield f"{title}: changes are medians over the rounds of a session, in some of which one model alone was slow"


def others(comparison: Comparison) -> list[str]:
    """Lines about configurations that were renamed, or are in one run alone."""
    found = []
    for pair in comparison.pairs:
        size, label = pair.new.input.size, pair.old.identity.label
        if pair.label_changed:
            found.append((f"renamed: {label} is now {pair.new.identity.label}: {pair.names[1]}", size))
        elif pair.schedule_changed:
            found.append((f"changed: {label} was {pair.names[0]} and is {pair.names[1]}", size))
    sides: tuple[list[Record], list[Record]] = ([*comparison.vanished], [*comparison.added])
    paired = [record for pair in comparison.pairs for record in (pair.old, pair.new)]
    for place, (what, run) in enumerate((("vanished", "OLD"), ("added", "NEW"))):
        there = {model_of(record) for record in [*paired, *sides[1 - place]]}
        for record in sides[place]:  # a model of which the other run has something else has not gone
            words = f"{_kind(record)} in {run} alone" if model_of(record) in there else what
            found.append((f"{words}: {comparison.names[record.digest]}", record.input.size))
    alike = grouped(found, lambda line: line[0])
    return [f"{line}, {' and '.join(dict.fromkeys(size for _, size in group))}" for line, group in alike.items()]


def _kind(record: Record) -> str:
    if record.is_evaluated:
        return "an evaluation"
    return "a profile" if record.profile else "a count"


def regression(found: Regression) -> str:
    """A regression in one line: the metric, its values, and the change that was allowed."""
    pair, change = found.pair, found.change
    return (
        f"regression: {change.metric.name} of {pair.names[1]}, {pair.new.input.size}: "
        f"{_value(change, change.old)} is now {_value(change, change.new)} ({_difference(change) or 'from nothing'}), "
        f"worse by more than {found.gate.percent:g} {_unit(change.metric)}"
    )


def gaps(comparison: Comparison, gates: Iterable[Gate]) -> list[str]:
    """A line for each gate that cannot stop some of the changes that it is on, since nothing tells of them."""
    found = []
    for gate in gates:
        untold, number = held_back(comparison, gate)
        if untold:
            why = " and ".join(dict.fromkeys(change.verdict for change in untold))
            found.append(f"--fail {gate.metric.name}: nothing tells of {len(untold)} of {number} configurations: {why}")
    return found


def row(pair: Pair) -> dict[str, object]:
    """A pair as a row of `--export-json`."""
    return {
        "old": identity_row(pair.old),
        "new": identity_row(pair.new),
        "input": pair.new.input.model_dump(mode="json"),
        "changes": changes_row(pair.changes),
    }


def changes_row(changes: Iterable[Change]) -> dict[str, dict[str, object]]:
    """Changes by the name of their metric, as in every `--export-json`."""
    return {
        change.metric.name: {
            "old": change.old,
            "new": change.new,
            "difference": change.difference,
            "unit": "points" if change.metric.in_points else "percent",
            "interval": change.interval,
            "significant": change.significant,
            "verdict": change.verdict,
            "note": change.note,
            "baseline_change_pct": change.baseline_pct,
        }
        for change in changes
    }


def _value(change: Change, value: float) -> str:
    return f"{value:,.2f}" if change.metric.in_points or abs(value) >= 1 else f"{value:#.3g}"


def _difference(change: Change) -> str:
    if change.difference is None:
        return ""
    net = "" if change.baseline_pct is None else " net"
    return show_difference(change.difference) + ("" if change.metric.in_points else f"%{net}")


def _unit(metric: Metric) -> str:
    return "points" if metric.in_points else "%"


def _number(amount: int, what: str) -> str:
    return f"{amount} {what}{'' if amount == 1 else 's'}"


def _interval(change: Change) -> str:
    return "" if change.interval is None else f"{change.interval[0]:+.2f} … {change.interval[1]:+.2f}"


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON with changes as one of CSV, where an interval is two numbers."""
    changes = {}
    for name, change in row["changes"].items():
        low, high = change["interval"] or (None, None)
        rest = {key: value for key, value in change.items() if key != "interval"}
        changes[name] = {**rest, "interval_low": low, "interval_high": high}
    return {**row, "changes": changes}


def identity_row(record: Record) -> dict[str, object]:
    """The model's names, and what tells it from the one that they usually stand for."""
    shown = {"backbone", "schedule", "label", "classes", "dimensions"}
    return record.identity.model_dump(mode="json", include=shown, exclude_none=True)
