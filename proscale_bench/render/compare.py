"""Two runs held against each other, as tables and sentences. Pure functions of a comparison."""

from __future__ import annotations

from proscale_bench.analysis.compare import Change, Comparison, Pair
from proscale_bench.render.grid import Grid, Row
from proscale_bench.results.record import Record

NOT_SIGNIFICANT = "not significant"


def grid(pair: Pair) -> Grid:
    """A line a metric that both have: before, after, by how much, and whether that is more than chance."""
    rows = []
    for change in pair.changes:
        unit = f", {change.metric.unit}" if change.metric.unit else ""
        values = (_value(change, change.old), _value(change, change.new))
        rows.append(
            Row(f"{change.metric.title}{unit}", (*values, _difference(change), _interval(change), verdict(change)))
        )
    title = _name(pair.new) if not pair.renamed else f"{_name(pair.old)} against {_name(pair.new)}"
    return Grid(f"{title}, {pair.new.input.size}", ("", "old", "new", "change", "95 %", ""), tuple(rows))


def verdict(change: Change) -> str:
    """What the change amounts to."""
    if change.significant is None:
        return change.note
    if not change.significant:
        return NOT_SIGNIFICANT if change.old != change.new else "the same"
    better = (change.new < change.old) == (change.metric.better == "lower")
    return "better" if better else "worse"


def others(comparison: Comparison) -> list[str]:
    """What is in one run alone."""
    lines = [f"vanished: {_name(record)}, {record.input.size}" for record in comparison.vanished]
    return lines + [f"added: {_name(record)}, {record.input.size}" for record in comparison.added]


def row(pair: Pair) -> dict[str, object]:
    """A pair as `--export-json` has it."""
    return {
        "old": {"backbone": pair.old.identity.backbone, "schedule": pair.old.identity.schedule},
        "new": {"backbone": pair.new.identity.backbone, "schedule": pair.new.identity.schedule},
        "input": pair.new.input.model_dump(mode="json"),
        "changes": {
            change.metric.name: {
                "old": change.old,
                "new": change.new,
                "difference": change.difference,
                "unit": "points" if change.metric.section == "accuracy" else "percent",
                "interval": change.interval,
                "significant": change.significant,
                "note": change.note,
            }
            for change in pair.changes
        },
    }


def _value(change: Change, value: float) -> str:
    return f"{value:,.2f}" if change.metric.section == "accuracy" or abs(value) >= 1 else f"{value:#.3g}"


def _difference(change: Change) -> str:
    if change.difference is None:
        return ""
    # What rounds to nothing and is something keeps a digit.
    digits = f"{change.difference:+.2f}" if round(change.difference, 2) else f"{change.difference:+.1g}"
    return digits + ("" if change.metric.section == "accuracy" else "%")


def _interval(change: Change) -> str:
    return "" if change.interval is None else f"{change.interval[0]:+.2f} … {change.interval[1]:+.2f}"


def _name(record: Record) -> str:
    return f"{record.identity.schedule} on {record.identity.backbone}"
