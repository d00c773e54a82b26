"""A run as LaTeX: one booktabs table a view, to be put into a paper with \\input. A pure function of records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from proscale_bench.analysis.labels import MEAN, shared_model
from proscale_bench.analysis.settings import Setting, by_setting
from proscale_bench.analysis.views import TableRow, View, views
from proscale_bench.render.columns import MARKS, PAPER, PUBLISHED, SectionName, cells, known
from proscale_bench.render.style import backbone_name
from proscale_bench.results.record import Record
from proscale_bench.specs.model import model_words

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
SIDES = r"([\d.,]+) ([+-][\d.]+(?:\\%)?) ([+-][\d.]+(?:\\%)?)"  # of an interval, after a value
MOST_ROWS = 40  # of a table on one page
HEAD = (
    "% Needs \\usepackage{booktabs,graphicx}. Made by proscale-bench report; \\input{report} puts it into a paper.\n"
    "% A table that is wider than the text is made smaller.\n"
)
SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


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
    rows = view.lines
    titles, table = known(PAPER, [cells(PAPER, row.records, _expected(row.record)) for row in rows])
    lines = [r"\begin{table*}", r"\centering\small", rf"\caption{{{_caption(view.setting, rows, view.data[:1])}}}"]
    lines += [SHRUNK, rf"\begin{{tabular}}{{l{'r' * len(titles)}}}", r"\toprule"]
    lines.append(_line("schedule", *map(escape, titles)))
    for backbone, group in groupby(zip(rows, table, strict=True), lambda pair: pair[0].record.identity.backbone):
        found = list(group)
        model = model_words(backbone_name(backbone), shared_model([row.record for row, _ in found]))
        lines += [r"\midrule", rf"\multicolumn{{{len(titles) + 1}}}{{l}}{{{escape(model)}}} \\"]
        lines += [_line(escape(row.label), *map(_cell, shown)) for row, shown in found]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def _expected(record: Record) -> list[SectionName]:
    """Sections where a failure is to be shown: an accuracy is not missed where the model was not even timed."""
    was_lost = record.execution is not None and record.profile is None
    if was_lost:
        return ["cost", "profile"]
    return ["cost", "accuracy"] if record.cost else ["cost"]


def _line(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _cell(words: str) -> str:
    """A column's cell with LaTeX's own signs: `60.5 +21.0 -13.1` as `$60.5^{+21.0}_{-13.1}$`."""
    sided = re.sub(SIDES, lambda found: _both_sides(*found.groups()), escape(words))
    signed = re.sub(r"^([+-])", r"$\1$", sided)
    return signed.replace("±", r"$\pm$").replace(PUBLISHED, f"$^{PUBLISHED}$")


def _both_sides(value: str, above: str, below: str) -> str:
    """A value with the sides of its interval as a formula, in which a bare comma would be followed by a space."""
    return f"${value.replace(',', '{,}')}^{{{above}}}_{{{below}}}$"


def _caption(setting: Setting, rows: Sequence[TableRow], data: Sequence[str]) -> str:
    """The conditions of the table's numbers, its marks, and the sources of what is published."""
    words = []
    if any(row.record.cost for row in rows):
        words.append(f"GFLOPs of one image: {setting.how}; percentages against the baseline.")
    if setting.execution and any(row.record.profile for row in rows):
        words.append(f"Latency: median with its 95 % interval, {setting.execution.words}; {MARKS}.")
    found = [record.accuracy for row in rows for record in row.records if record.accuracy]
    if found and data:
        words.append(f"Accuracy on {', '.join(data)}.")
    if any(one.source.startswith(MEAN) for one in found):
        words.append("Mean of seeds: of these trainings, with the 95 % interval of the mean.")
    text = escape(" ".join(words))
    if sources := list(dict.fromkeys(one.source for one in found if one.provenance == "published")):
        text += f" $^*$Published: {escape(', '.join(sources))}."
    return text
