"""Costs, latencies and accuracies in one table: narrow for 80 columns, with intervals where there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from proscale_bench.analysis.settings import by_backbone
from proscale_bench.analysis.views import SideBySide, model_of
from proscale_bench.render.profile import NOT_SIGNIFICANT, show_saving
from proscale_bench.render.style import backbone_name
from proscale_bench.render.table import Row, Table, markdown_table
from proscale_bench.results.metrics import get_metric
from proscale_bench.results.record import Record
from proscale_bench.units import show_change, show_gflops, show_ms

WIDE = 140  # columns that the long form takes
FAILED = "failed"
PUBLISHED = "*"


class Column(NamedTuple):
    """A column: what stands over it, what it shows of a record, and whether it is of the long or the short form alone.

    Numbers are short, so that tables of large models fit too: the other tables have every digit.
    """

    name: str
    show: Callable[[Record], str]
    wide: bool = False
    narrow: bool = False


def _metric(name: str, shown: str = ".1f") -> Callable[[Record], str]:
    def show(record: Record) -> str:
        value = get_metric(name).read(record)
        return "" if value is None else format(value, shown)

    return show


def _percent(name: str) -> Callable[[Record], str]:
    def show(record: Record) -> str:
        mark = PUBLISHED if record.accuracy and record.accuracy.provenance == "published" else ""
        return f"{shown}{mark}" if (shown := _metric(name)(record)) else ""

    return show


def _plus_minus(name: str) -> Callable[[Record], str]:
    """Half of the interval, the wider half."""

    def show(record: Record) -> str:
        value, interval = get_metric(name).read(record), get_metric(name).interval(record)
        if value is None or interval is None:
            return ""
        return f"±{max(interval[1] - value, value - interval[0]):.1f}"

    return show


def _gflops(name: str) -> Callable[[Record], str]:
    def show(record: Record) -> str:
        value = get_metric(name).read(record)
        return "" if value is None else show_gflops(value)

    return show


def _reduction(part: str) -> Callable[[Record], str]:
    return lambda record: (
        show_change(getattr(record.cost.reduction_pct, part) or 0.0) if record.cost and not _is_baseline(record) else ""
    )


def _latency(record: Record) -> str:
    return show_ms(record.profile.latency_median_ms) if record.profile else ""


def _precision(record: Record) -> str:
    return f"±{record.profile.interval_pct:.1f}%" if record.profile else ""


def _time(record: Record) -> str:
    return show_saving(record.profile.realised_saving_pct) if record.profile else ""


COST = (
    Column("encoder", _gflops("encoder_gflops"), wide=True),
    Column("", _reduction("encoder"), wide=True),
    Column("encoder", _reduction("encoder"), narrow=True),
    Column("tokens", _reduction("encoder_token_layers"), wide=True),
    Column("total", _gflops("total_gflops")),
    Column("", _reduction("total")),
    Column("params, M", _metric("params_m", ".2f"), wide=True),
)
TIME = (
    Column("ms", _latency),
    Column("", _precision, wide=True),
    Column("", _time),
    Column("MiB", _metric("peak_memory_mib", ",.0f"), wide=True),
    Column("J/image", _metric("energy_j", ".3g"), wide=True),
)
WORTH = (
    Column("PQ", _percent("pq")),
    Column("", _plus_minus("pq")),
    Column("things", _percent("pq_things"), wide=True),
    Column("stuff", _percent("pq_stuff"), wide=True),
    Column("AP", _percent("ap")),
    Column("", _plus_minus("ap"), wide=True),
    Column("mIoU", _percent("miou")),
    Column("", _plus_minus("miou"), wide=True),
)


def tables(side: SideBySide, width: int = WIDE) -> Iterator[Table]:
    """A table a backbone, a line a schedule; what nobody knows anything of has no column.

    Args:
        width: columns that there are.
    """
    columns = [*COST, *TIME, *WORTH]
    for backbone, records in by_backbone(side.rows).items():
        rows = [_cells(record, side) for record in records]
        shown = [
            index
            for index, column in enumerate(columns)
            if any(row[index] for row in rows) and not (column.narrow if width >= WIDE else column.wide)
        ]
        yield Table(
            f"{backbone_name(backbone)}: {_title(side)}",
            ("schedule", *(columns[index].name for index in shown)),
            tuple(
                Row(_name(record, side), tuple(row[index] for index in shown), strong=_is_baseline(record))
                for record, row in zip(records, rows, strict=True)
            ),
        )


def footer(side: SideBySide) -> list[str]:
    """What the columns mean, beside what the title says."""
    lines = []
    if any(record.cost for record in side.rows):
        mac = "1 MAC = 1 FLOP" if side.setting.convention == "mac" else "1 MAC = 2 FLOPs"
        lines.append(f"encoder, total: GFLOPs, {mac}, rules {side.setting.rules}; percentages: against the baseline")
    if side.setting.is_timed:
        rounds = sorted({len(record.profile.samples_ms) for record in side.rows if record.profile})
        shown = " to ".join(dict.fromkeys(map(str, (*rounds[:1], *rounds[-1:])))) or "no"
        lines.append(
            f"ms: a pass, the median of {shown} rounds in turns with the baseline; {NOT_SIGNIFICANT}: not significant"
        )
    if side.judged:
        draws = {one.resamples for record in side.rows if (one := record.accuracy and record.accuracy.evaluated)}
        drawn = f"; ±: 95 %, the images drawn anew {max(draws):,} times" if any(draws) else ""
        lines.append(f"PQ, AP, mIoU: percent, of {side.judged.images:,} images{drawn}")
    known = [record.accuracy for record in side.rows if record.accuracy]
    if sources := dict.fromkeys(one.source for one in known if one.provenance == "published"):
        lines.append(f"{PUBLISHED}: published: {', '.join(sources)}")
    if any(number > 1 for number in side.trainings.values()):
        lines.append("(n): the mean of n trainings; ±: of the mean, over images and trainings, the wider of the two")
    lines += [
        f"{record.identity.name} {FAILED}: {record.error.message}".replace("\n", " ")
        for record in side.rows
        if record.error
    ]
    return lines


def section(side: SideBySide, text: Callable[[str], str]) -> list[str]:
    """What a report says of a table, as lines of Markdown; `text` keeps words words."""
    if not side.setting.is_timed or side.judged is None:
        return []  # the tables of its one half say it all
    lines = []
    for table in tables(side):
        rows = tuple(Row(text(row.label), row.cells, row.indent, row.strong) for row in table.rows)
        lines += [f"## Side by side: {text(table.title)}", "", *markdown_table(Table("", table.header, rows)), ""]
    return [*lines, *(text(line) + "  " for line in footer(side)), ""]


def _cells(record: Record, side: SideBySide) -> list[str]:
    """Of every column; a section that failed says so under its first name."""
    cells: list[str] = []
    for columns, there in (
        (COST, record.cost is not None),
        (TIME, record.profile is not None or not side.setting.is_timed),
        (WORTH, record.accuracy is not None or side.judged is None),
    ):
        failed = record.error is not None and not there
        first = columns[0].name
        cells += [FAILED if failed and column.name == first else column.show(record) for column in columns]
    return cells


def _title(side: SideBySide) -> str:
    setting = side.setting
    parts = [] if setting.dataset and side.judged else [setting.where]
    parts += [setting.execution.words] if setting.is_timed and setting.execution else []
    parts += [side.judged.data] if side.judged else []
    return " · ".join(parts)


def _name(record: Record, side: SideBySide) -> str:
    trainings = side.trainings[model_of(record)]
    return f"{record.identity.name}{f' ({trainings})' if trainings > 1 else ''}"


def _is_baseline(record: Record) -> bool:
    return record.cost is not None and record.identity.schedule == record.cost.baseline.schedule
