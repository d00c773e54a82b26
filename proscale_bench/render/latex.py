"""A run as LaTeX: one booktabs table a view, to be put into a paper with \\input. A pure function of records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from proscale_bench.analysis.settings import Setting, by_setting
from proscale_bench.analysis.views import Row, View, views
from proscale_bench.render.columns import (
    ENERGY,
    PUBLISHED,
    Column,
    Section,
    accuracy,
    cells,
    gflops,
    known,
    latency,
    latency_precision,
    number,
    saved,
    time_saved,
)
from proscale_bench.render.style import backbone_name
from proscale_bench.results.record import Record

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
MOST_ROWS = 40  # of a table on one page
HEAD = (
    "% Needs \\usepackage{booktabs,graphicx}. Made by proscale-bench report; \\input{report} puts it into a paper.\n"
    "% A table that is wider than the text is made smaller.\n"
)
SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


COLUMNS = (
    Column("encoder G", gflops("encoder")),
    Column("", saved("encoder")),
    Column("total G", gflops("total")),
    Column("", saved("total")),
    Column("params M", number("params_m")),
    Column("ms", lambda record: " ± ".join(filter(None, (latency(record), latency_precision(record)[1:]))), "profile"),
    Column("", time_saved, "profile"),
    ENERGY,
    Column("PQ %", accuracy("pq", 2, with_interval=True), "accuracy"),
    Column("AP %", accuracy("ap", 2, with_interval=True), "accuracy"),
    Column("mIoU %", accuracy("miou", 2, with_interval=True), "accuracy"),
)


def latex(records: Sequence[Record]) -> str:
    """The tables of a run, one for each view.

    Args:
        records: at least one, in any order.
    """
    ordered = [record for group in by_setting(records).values() for record in group]
    return HEAD + "".join("\n" + _table(part) for view in views(ordered) for part in _pages(view))


def escape(words: str) -> str:
    """Words with LaTeX's special characters escaped, so that nothing in them is a command."""
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: SPECIAL[found[0]], words).replace("−", "$-$")


def _pages(view: View) -> list[View]:
    """The view, or one view for each backbone where its table would not fit on a page."""
    if len(view.rows) <= MOST_ROWS:
        return [view]
    groups = groupby(view.rows, lambda row: row.record.identity.backbone)
    return [View(view.setting, tuple(rows)) for _, rows in groups]


def _table(view: View) -> str:
    rows = _of_data(view.rows, view.data[:1])
    titles, table = known(COLUMNS, [cells(COLUMNS, _records(row), _expected(row)) for row in rows])
    lines = [r"\begin{table*}", r"\centering\small", rf"\caption{{{_caption(view.setting, rows)}}}"]
    lines += [SHRUNK, rf"\begin{{tabular}}{{l{'r' * len(titles)}}}", r"\toprule"]
    lines.append(_line("schedule", *map(escape, titles)))
    for backbone, group in groupby(zip(rows, table, strict=True), lambda pair: pair[0].record.identity.backbone):
        lines += [r"\midrule", rf"\multicolumn{{{len(titles) + 1}}}{{l}}{{{escape(backbone_name(backbone))}}} \\"]
        lines += [_line(escape(_name(row)), *map(_cell, found)) for row, found in group]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def _records(row: Row) -> list[Record]:
    """The row's record, once for each of its accuracies."""
    return [row.with_accuracy(worth) for worth in row.worths] or [row.with_accuracy(None)]


def _expected(row: Row) -> list[Section]:
    """Sections where a failure is to be shown: an accuracy is not missed where the model was not even timed."""
    was_lost = row.record.execution is not None and row.record.profile is None
    if was_lost:
        return ["cost", "profile"]
    return ["cost", "accuracy"] if row.record.cost else ["cost"]


def _of_data(rows: Sequence[Row], data: Sequence[str]) -> list[Row]:
    """The rows with their accuracies on these data alone; others would need columns of their own."""
    return [Row(row.record, tuple(worth for name in data for worth in row.on(name))) for row in rows]


def _name(row: Row) -> str:
    trainings = max((worth.trainings for worth in row.worths), default=1)
    return f"{row.record.identity.name}{f' ({trainings})' if trainings > 1 else ''}"


def _line(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _cell(words: str) -> str:
    """A column's cell with LaTeX's own signs."""
    signed = re.sub(r"^([+-])", r"$\1$", escape(words))
    return signed.replace("±", r"$\pm$").replace(PUBLISHED, f"$^{PUBLISHED}$")


def _caption(setting: Setting, rows: Sequence[Row]) -> str:
    """The conditions of the table's numbers, its marks, and the sources of what is published."""
    words = []
    if any(row.record.cost for row in rows):
        words.append(f"GFLOPs of one image: {setting.how}; percentages against the baseline.")
    if setting.execution and any(row.record.profile for row in rows):
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
