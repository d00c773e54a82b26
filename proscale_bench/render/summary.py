"""A run in the terminal: a line a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from proscale_bench.analysis.settings import by_setting, main_setting
from proscale_bench.render.table import Row, Table
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.record import Record
from proscale_bench.units import show_gflops, show_reduction

HEADER = ("schedule", "backbone", "encoder", "", "tokens", "total", "", "PQ")


def summary(records: Sequence[Record]) -> Table | None:
    """The run's main setting: GFLOPs of encoder and total, what each schedule saves, and PQ. None without a cost."""
    setting = main_setting(records)
    if setting is None:
        return None
    rows = by_setting(records)[setting]
    return Table(f"GFLOPs, {setting.how}", HEADER, tuple(_row(record) for record in rows))


def _row(record: Record) -> Row:
    identity, pq = record.identity, _pq(record.accuracy)
    if record.cost is None:
        return Row(identity.schedule, (identity.backbone, "failed", "", "", "", "", pq))
    gflops, saved = record.cost.gflops, record.cost.reduction_pct
    is_baseline = identity.schedule == record.cost.baseline.schedule
    cells = (
        identity.backbone,
        show_gflops(gflops.encoder),
        "" if is_baseline else show_reduction(saved.encoder),
        "" if is_baseline else show_reduction(saved.encoder_token_layers),
        show_gflops(gflops.total),
        "" if is_baseline else show_reduction(saved.total),
        pq,
    )
    return Row(identity.schedule, cells, strong=is_baseline)


def _pq(accuracy: Accuracy | None) -> str:
    """A published value carries its mark; `legend` says what it means."""
    if accuracy is None or accuracy.pq is None:
        return ""
    return f"{accuracy.pq:.2f}{'*' if accuracy.provenance == 'published' else ''}"


def legend(records: Sequence[Record]) -> list[str]:
    """What the columns and marks mean, and what the table leaves to the report."""
    lines = ["percentages: saved against the baseline; tokens: of the encoder's token layers"]
    if any(record.accuracy and record.accuracy.provenance == "published" for record in records):
        lines.append("*: published by others, sources in the report")
    shown = main_setting(records)
    others = [f"{len(group)} at {setting.where}" for setting, group in by_setting(records).items() if setting != shown]
    if others:
        lines.append(f"in the report too: {', '.join(others)}")
    return lines
