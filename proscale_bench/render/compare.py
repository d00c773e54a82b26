"""The comparison of two runs as tables and sentences. Pure functions of a comparison."""

from __future__ import annotations

from proscale_bench.analysis.compare import Change, Comparison, Pair, Regression
from proscale_bench.render.table import Row, Table
from proscale_bench.results.record import Record

ANOTHER_SESSION = "another session: cannot be told from the machine"


def table(pair: Pair) -> Table:
    """One line for each metric that both have: before, after, the change, and whether it is more than chance."""
    rows = []
    for change in pair.changes:
        unit = f", {change.metric.unit}" if change.metric.unit else ""
        values = (_value(change, change.old), _value(change, change.new), _difference(change), _interval(change))
        rows.append(Row(f"{change.metric.title}{unit}", (*values, verdict(change))))
    title = pair.names[1] if not pair.renamed else " against ".join(pair.names)
    return Table(f"{title}, {pair.new.input.size}", ("", "old", "new", "change", "95 %", ""), tuple(rows))


def verdict(change: Change) -> str:
    """The meaning of a change in a word: better, worse, the same, or why nothing can be said."""
    if change.verdict == "another session":
        return ANOTHER_SESSION
    if change.significant is None:
        return f"{change.verdict}: {change.note}" if change.note else change.verdict
    if not change.significant:
        return change.verdict if change.old != change.new else "the same"
    better = (change.new < change.old) == (change.metric.better == "lower")
    return "better" if better else "worse"


def others(comparison: Comparison) -> list[str]:
    """Lines about configurations that were renamed, or are in one run alone."""
    lines = []
    for pair in comparison.pairs:
        size, label = pair.new.input.size, pair.old.identity.label
        if pair.label_changed:
            lines.append(f"renamed: {label} is now {pair.new.identity.label}: {pair.names[1]}, {size}")
        elif pair.schedule_changed:
            lines.append(f"changed: {label} was {pair.names[0]} and is {pair.names[1]}, {size}")
    for what, records in (("vanished", comparison.vanished), ("added", comparison.added)):
        lines += [f"{what}: {comparison.names[record.digest]}, {record.input.size}" for record in records]
    return lines


def regression(found: Regression) -> str:
    """A regression in one line: the metric, its values, and the change that was allowed."""
    pair, change = found.pair, found.change
    unit = "points" if change.metric.in_points else "%"
    return (
        f"regression: {change.metric.name} of {pair.names[1]}, {pair.new.input.size}: "
        f"{_value(change, change.old)} is now {_value(change, change.new)} ({_difference(change) or 'from nothing'}), "
        f"worse by more than {found.gate.percent:g} {unit}"
    )


def row(pair: Pair) -> dict[str, object]:
    """A pair as a row of `--export-json`."""
    return {
        "old": _identity(pair.old),
        "new": _identity(pair.new),
        "input": pair.new.input.model_dump(mode="json"),
        "changes": {
            change.metric.name: {
                "old": change.old,
                "new": change.new,
                "difference": change.difference,
                "unit": "points" if change.metric.in_points else "percent",
                "interval": change.interval,
                "significant": change.significant,
                "verdict": change.verdict,
                "note": change.note,
            }
            for change in pair.changes
        },
    }


def _value(change: Change, value: float) -> str:
    return f"{value:,.2f}" if change.metric.in_points or abs(value) >= 1 else f"{value:#.3g}"


def _difference(change: Change) -> str:
    if change.difference is None:
        return ""
    # What rounds to nothing and is something keeps a digit.
    digits = f"{change.difference:+.2f}" if round(change.difference, 2) else f"{change.difference:+.1g}"
    return digits + ("" if change.metric.in_points else "%")


def _interval(change: Change) -> str:
    return "" if change.interval is None else f"{change.interval[0]:+.2f} … {change.interval[1]:+.2f}"


def _identity(record: Record) -> dict[str, object]:
    """The model's names, and what tells it from the one that they usually stand for."""
    shown = {"backbone", "schedule", "label", "classes", "dimensions"}
    return record.identity.model_dump(mode="json", include=shown, exclude_none=True)
