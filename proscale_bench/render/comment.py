"""A check as the comment of a pull request: what is over budget, what changed against the base, the rest folded.

Its first line is hidden and the same every time, so that a later run finds its comment and replaces it. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from proscale_bench.analysis.base import BaseComparison, Moved
from proscale_bench.analysis.budgets import Finding
from proscale_bench.analysis.explain import Explanation
from proscale_bench.render.check import (
    MARKDOWN_HEADER,
    excess,
    explanation,
    mark,
    markdown_cells,
    show_number,
    summary,
)
from proscale_bench.render.table import Row, Table, markdown_table, markdown_text
from proscale_bench.units import printable, show_difference

MARKER = "<!-- proscale-bench check"
MOST_BYTES = 60_000  # GitHub takes 65,536 characters
OPEN_ROWS = 10  # a longer table is folded
MOST_ROWS = (1_000, 300, 100, 30, 10, 3, 0)  # of a table, until the comment is small enough


def marker(budgets: Iterable[str]) -> str:
    """The hidden first line, which tells the comments of several budget files apart."""
    names = (quote(name.encode("utf-8", "surrogateescape")).replace("--", "%2D%2D") for name in budgets)
    return f"{MARKER} {' '.join(names)} -->"


def comment(
    budgets: Sequence[str],
    findings: Sequence[Finding],
    off: int,
    explained: Mapping[int, Explanation],
    base: BaseComparison | None,
) -> str:
    """The comment, in Markdown as GitHub reads it.

    Args:
        budgets: the budget files.
        off: number of limits that are off.
        explained: what changed since a limit was kept, by the finding's index.
        base: the numbers beside those of the base, if it was checked.
    """
    for most in MOST_ROWS:
        parts = [marker(budgets), f"### {_verdict(findings)} Budgets: {summary(findings, off)}"]
        parts += [*_broken(findings, explained, most), *(_changes(base, most) if base else ()), *_kept(findings, most)]
        text = "\n\n".join(parts) + "\n"
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def _verdict(findings: Sequence[Finding]) -> str:
    """The worst mark of all."""
    if any(one.failed for one in findings):
        return "❌"
    return "⚠️" if any(one.warned for one in findings) else "✅"


def _broken(findings: Sequence[Finding], explained: Mapping[int, Explanation], most: int) -> Iterator[str]:
    """The limits that are not kept, those that fail first, and what changed since they were."""
    order = sorted((one for one in findings if one.failed or one.warned), key=lambda one: not one.failed)
    if order:
        rows = [
            Row(mark(one), (*markdown_cells(one), excess(one) if one.status == "exceeded" else markdown_text(one.why)))
            for one in order
        ]
        yield _table((*MARKDOWN_HEADER, "excess"), "lllrll", rows, most)
    since = [
        "\n".join(map(printable, (_name(findings[index]), *explanation(findings[index], found))))
        for index, found in explained.items()
    ]
    if since and most:
        yield _folded("what changed since they were kept", "```text\n{}\n```".format("\n\n".join(since[:most])))


def _changes(base: BaseComparison, most: int) -> Iterator[str]:
    """The changes against the base, the largest first: open where there are few."""
    total = len(base.changed) + base.small + base.same
    less = f"; {base.small} more by less than `min_change`" if base.small else ""
    yield f"**Against the base: {len(base.changed)} of {_count(total, 'number')} changed**{less}"
    if base.changed:
        rows = [_change(one) for one in base.changed]
        drawn = _table(("configuration", "metric", "base", "head", "change", ""), "llrrrl", rows, most)
        yield drawn if len(rows) <= OPEN_ROWS else _folded(_count(len(rows), "change"), drawn)
    for what, alone in (("new", base.added), ("gone", base.gone)):
        if alone:
            rows = [Row(markdown_text(number.configuration), (number.metric,)) for number in alone]
            yield _folded(
                f"{_count(len(alone), 'number')} {what}", _table(("configuration", "metric"), "ll", rows, most)
            )


def _change(one: Moved) -> Row:
    finding = one.finding
    values = [show_number(finding, value) for value in (one.old, one.new)]
    if values[0] == values[1]:
        values = [repr(one.old), repr(one.new)]
    unit = " points" if finding.metric.in_points else " %"
    difference = "" if one.difference is None else f"{show_difference(one.difference)}{unit}"
    what = {True: "better", False: "worse", None: "measured anew"}[one.better]
    return Row(markdown_text(finding.configuration), (finding.limit.metric, *values, difference, what))


def _kept(findings: Sequence[Finding], most: int) -> Iterator[str]:
    kept = [Row(mark(one), markdown_cells(one)) for one in findings if one.status == "kept"]
    if kept:
        yield _folded(f"{_count(len(kept), 'limit')} kept", _table(MARKDOWN_HEADER, "lllrl", kept, most))


def _name(finding: Finding) -> str:
    return f"{finding.limit.metric} of {finding.configuration}"


def _table(header: tuple[str, ...], align: str, rows: Sequence[Row], most: int) -> str:
    """The first rows, and the number of those that had no room."""
    drawn = markdown_table(Table("", header, tuple(rows[:most])), align) if most else []
    left = len(rows) - most
    return "\n".join([*drawn, *(["", f"and {left} more: see the job's log"] if left > 0 else [])])


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _count(amount: int, what: str) -> str:
    return f"{amount} {what}{'' if amount == 1 else 's'}"
