"""A run as LaTeX: one booktabs table a view, to be put into a paper with \\input. A pure function of records."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from proscale_bench.analysis.runs import Setting, by_setting
from proscale_bench.analysis.views import Row, View, data_of, views
from proscale_bench.render.style import backbone_name
from proscale_bench.results.metrics import METRICS, Metric
from proscale_bench.results.record import Cost, Record
from proscale_bench.results.section import Interval
from proscale_bench.units import show_change, show_gflops, show_ms, show_reduction

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
MOST_ROWS = 40  # of a table on one page
ACCURACIES = {"pq": "PQ", "ap": "AP", "miou": "mIoU"}
HEAD = "% Needs \\usepackage{booktabs}. Made by proscale-bench report; \\input{report} puts it into a paper.\n"


@dataclass(frozen=True)
class Column:
    """A column of numbers: its head, and its cell of a row; empty where nothing is known."""

    head: str
    cell: Callable[[Row], str]


def latex(records: Sequence[Record]) -> str:
    """Every view of a run as a table.

    Args:
        records: at least one, in any order.
    """
    ordered = [record for group in by_setting(records).values() for record in group]
    return HEAD + "".join("\n" + _table(part) for view in views(ordered) for part in _pages(view))


def escape(words: str) -> str:
    """Words that stay words: nothing in them is a command; what LaTeX's fonts may lack is left to the engine."""
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: SPECIAL[found[0]], words).replace("−", "$-$")


def _pages(view: View) -> list[View]:
    """As it is, or a table a backbone where one would not fit a page."""
    if len(view.rows) <= MOST_ROWS:
        return [view]
    groups = groupby(view.rows, lambda row: row.record.identity.backbone)
    return [View(view.setting, tuple(rows)) for _, rows in groups]


def _table(view: View) -> str:
    rows = _of_data(view.rows, view.data[:1])
    columns = [column for column in COLUMNS if any(column.cell(row) for row in rows)]
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{_caption(view.setting, rows)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines.append(_line("schedule", *(column.head for column in columns)))
    for backbone, group in groupby(rows, lambda row: row.record.identity.backbone):
        lines += [r"\midrule", rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{{escape(backbone_name(backbone))}}} \\"]
        lines += [_line(escape(row.record.identity.schedule), *(one.cell(row) for one in columns)) for row in group]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _of_data(rows: Sequence[Row], data: Sequence[str]) -> list[Row]:
    """With the accuracies on these data alone: those on others would need a column of their own."""
    return [
        Row(row.record, tuple(one for one in row.worths if one.accuracy and data_of(one.accuracy) in data))
        for row in rows
    ]


def _line(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _of_cost(row: Row, read: Callable[[Cost], float]) -> str:
    return show_gflops(read(row.record.cost)) if row.record.cost else ""


def _saved(row: Row, read: Callable[[Cost], float | None]) -> str:
    cost = row.record.cost
    if cost is None or row.record.identity.schedule == cost.baseline.schedule:
        return ""
    return _signed(show_reduction(read(cost)))


def _latency(row: Row) -> str:
    profile = row.record.profile
    return f"{show_ms(profile.latency_median_ms)} $\\pm$ {profile.interval_pct:.1f}\\%" if profile else ""


def _time_saved(row: Row) -> str:
    saving = row.record.profile.realised_saving_pct if row.record.profile else None
    if saving is None:
        return ""
    return _signed(show_change(saving.value)) if saving.significant else "n.s."


def _accuracy(metric: Metric) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        known = [(one, value) for one in row.worths if (value := metric.read(one)) is not None]
        return " / ".join(_percent(value, metric.interval(one), _is_published(one)) for one, value in known)

    return cell


def _percent(value: float, interval: Interval | None, published: bool) -> str:
    half = f" $\\pm$ {max(interval[1] - value, value - interval[0]):.1f}" if interval else ""
    return f"{value:.2f}{half}{'$^*$' if published else ''}"


def _is_published(record: Record) -> bool:
    return record.accuracy is not None and record.accuracy.provenance == "published"


def _signed(words: str) -> str:
    return re.sub(r"^([+-])", r"$\1$", words).replace("%", r"\%")


def _caption(setting: Setting, rows: Sequence[Row]) -> str:
    """How it was counted and run, what the marks mean, and the sources of what is published."""
    words = [f"GFLOPs of one image: {setting.how}; percentages against the baseline."]
    if setting.execution:
        words.append(f"Latency: median with its 95 % interval, {setting.execution.words}; n.s.: not significant.")
    found = [one.accuracy for row in rows for one in row.worths if one.accuracy]
    if data := list(dict.fromkeys(data_of(accuracy) for accuracy in found)):
        words.append(f"Accuracy on {', '.join(data)}.")
    text = escape(" ".join(words))
    if sources := list(dict.fromkeys(one.source for one in found if one.provenance == "published")):
        text += f" $^*$Published: {escape(', '.join(sources))}."
    return text


COLUMNS = (
    Column("encoder G", lambda row: "failed" if row.record.error else _of_cost(row, lambda cost: cost.gflops.encoder)),
    Column("", lambda row: _saved(row, lambda cost: cost.reduction_pct.encoder)),
    Column("total G", lambda row: _of_cost(row, lambda cost: cost.gflops.total)),
    Column("", lambda row: _saved(row, lambda cost: cost.reduction_pct.total)),
    Column("params M", lambda row: f"{row.record.cost.params_m.total:.2f}" if row.record.cost else ""),
    Column("ms", _latency),
    Column("", _time_saved),
    *(Column(rf"{head} \%", _accuracy(METRICS[name])) for name, head in ACCURACIES.items()),
)
