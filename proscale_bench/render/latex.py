"""A run as LaTeX: one booktabs table a view, to be put into a paper with \\input. A pure function of records."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from proscale_bench.analysis.settings import Setting, by_setting
from proscale_bench.analysis.views import Row, View, Worth, views
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
FAILED = "failed"
HEAD = (
    "% Needs \\usepackage{booktabs,graphicx}. Made by proscale-bench report; \\input{report} puts it into a paper.\n"
    "% A table that is wider than the text is made smaller.\n"
)
SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


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
    lines = [r"\begin{table*}", r"\centering\small", rf"\caption{{{_caption(view.setting, rows)}}}"]
    lines += [SHRUNK, rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines.append(_line("schedule", *(column.head for column in columns)))
    for backbone, group in groupby(rows, lambda row: row.record.identity.backbone):
        lines += [r"\midrule", rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{{escape(backbone_name(backbone))}}} \\"]
        lines += [_line(escape(_name(row)), *(one.cell(row) for one in columns)) for row in group]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def _of_data(rows: Sequence[Row], data: Sequence[str]) -> list[Row]:
    """With the accuracies on these data alone: those on others would need a column of their own."""
    return [Row(row.record, tuple(worth for name in data for worth in row.on(name))) for row in rows]


def _name(row: Row) -> str:
    trainings = max((worth.trainings for worth in row.worths), default=1)
    return f"{row.record.identity.name}{f' ({trainings})' if trainings > 1 else ''}"


def _line(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _of_cost(row: Row, read: Callable[[Cost], float]) -> str:
    return show_gflops(read(row.record.cost)) if row.record.cost else ""


def _saved(row: Row, read: Callable[[Cost], float | None]) -> str:
    cost = row.record.cost
    if cost is None or row.record.identity.schedule == cost.baseline.schedule:
        return ""
    return _signed(show_reduction(read(cost)))


def _encoder(row: Row) -> str:
    failed = FAILED if row.record.error else ""
    return _of_cost(row, lambda cost: cost.gflops.encoder) or failed


def _latency(row: Row) -> str:
    profile = row.record.profile
    if profile is None:
        return FAILED if row.record.error and row.record.execution else ""
    return f"{show_ms(profile.latency_median_ms)} $\\pm$ {profile.interval_pct:.1f}\\%"


def _time_saved(row: Row) -> str:
    saving = row.record.profile.realised_saving_pct if row.record.profile else None
    if saving is None:
        return ""
    return _signed(show_change(saving.value)) if saving.significant else "n.s."


def _energy(row: Row) -> str:
    joules = METRICS["energy_j"].read(row.record)
    return "" if joules is None else f"{joules:.3g}"


def _accuracy(metric: Metric) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        records = [(worth, row.with_accuracy(worth)) for worth in row.worths]
        known = [(worth, record, value) for worth, record in records if (value := metric.read(record)) is not None]
        return " / ".join(_percent(value, metric.interval(record), worth) for worth, record, value in known)

    return cell


def _worth(row: Row) -> str:
    """The first of the accuracies; that there is none, where the evaluation failed."""
    not_timed = row.record.execution is not None and row.record.profile is None
    lost = row.record.error and row.record.cost and not row.worths and not not_timed
    return FAILED if lost else _accuracy(METRICS["pq"])(row)


def _percent(value: float, interval: Interval | None, worth: Worth) -> str:
    half = f" $\\pm$ {max(interval[1] - value, value - interval[0]):.1f}" if interval else ""
    return f"{value:.2f}{half}{'$^*$' if worth.accuracy.provenance == 'published' else ''}"


def _signed(words: str) -> str:
    return re.sub(r"^([+-])", r"$\1$", words).replace("%", r"\%")


def _caption(setting: Setting, rows: Sequence[Row]) -> str:
    """How it was counted and run, what the marks mean, and the sources of what is published."""
    words = [f"GFLOPs of one image: {setting.how}; percentages against the baseline."]
    if setting.execution:
        words.append(f"Latency: median with its 95 % interval, {setting.execution.words}; n.s.: not significant.")
    found = [worth for row in rows for worth in row.worths]
    if data := list(dict.fromkeys(worth.data for worth in found)):
        words.append(f"Accuracy on {', '.join(data)}.")
    if any(worth.trainings > 1 for worth in found):
        words.append("(n): accuracies found here are the mean of n trainings, with the 95 % interval of the mean.")
    text = escape(" ".join(words))
    if sources := list(dict.fromkeys(one.accuracy.source for one in found if one.accuracy.provenance == "published")):
        text += f" $^*$Published: {escape(', '.join(sources))}."
    return text


COLUMNS = (
    Column("encoder G", _encoder),
    Column("", lambda row: _saved(row, lambda cost: cost.reduction_pct.encoder)),
    Column("total G", lambda row: _of_cost(row, lambda cost: cost.gflops.total)),
    Column("", lambda row: _saved(row, lambda cost: cost.reduction_pct.total)),
    Column("params M", lambda row: f"{row.record.cost.params_m.total:.2f}" if row.record.cost else ""),
    Column("ms", _latency),
    Column("", _time_saved),
    Column("J/image", _energy),
    Column(r"PQ \%", _worth),
    Column(r"AP \%", _accuracy(METRICS["ap"])),
    Column(r"mIoU \%", _accuracy(METRICS["miou"])),
)
