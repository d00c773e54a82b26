"""Published numbers beside what is counted here, and why they differ or cannot be counted again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from proscale_bench.render.published import backbone_words
from proscale_bench.render.table import Row, Table, markdown_text

if TYPE_CHECKING:
    from proscale_bench.results.recounts import Recounted

NONE = "–"
HEADER = ("model", "backbone", "size", "MAC", "published", "recounted", "difference", "GMACs", "why")
SPARE = ("backbone", "MAC", "GMACs")
SHARE_WITHOUT_CAUSE = 1.0  # percent: a larger difference names its cause


def table(found: Sequence[Recounted]) -> Table:
    """A row for each number; `why` is the number of a sentence of `reasons`."""
    marks = {reason: f"[{index}]" for index, reason in enumerate(reasons(found), start=1)}
    rows = tuple(Row(_name(one), (*_cells(one), marks.get(one.recount.why, ""))) for one in found)
    title = f"{sum(one.gflops is not None for one in found)} of {len(found)} published numbers, counted here"
    return Table(title, HEADER, rows, tuple(HEADER.index(name) for name in SPARE))


def _name(one: Recounted) -> str:
    part = " (encoder)" if one.recount.row.gflops is None else ""
    return f"{one.recount.row.name}{part}"


def _cells(one: Recounted) -> tuple[str, ...]:
    row = one.recount.row
    published = one.recount.published
    digits = len(f"{published:g}".partition(".")[2])
    size = one.recount.input_size.removeprefix("coco-")
    worth = {"mac": "1", "flop": "2"}.get(row.convention or "", "?")
    known = (backbone_words(row), size or NONE, worth, f"{published:.{digits}f}")
    if one.gflops is None or one.complete_gmacs is None:
        return (*known, NONE, NONE, NONE)
    difference = f"{one.difference_pct or 0.0:+.2f}%".replace("-0.00", "0.00").replace("+0.00", "0.00")
    return (*known, f"{one.gflops:.{max(digits, 1)}f}", difference, f"{one.complete_gmacs:.1f}")


def reasons(found: Sequence[Recounted]) -> list[str]:
    """The sentences on differences and on what cannot be counted, each once."""
    return list(dict.fromkeys(one.recount.why for one in found if one.recount.why))


def footer(found: Sequence[Recounted]) -> list[str]:
    """The meaning of the columns, and the numbered reasons."""
    return [
        "published, recounted: GFLOPs as the source counts; MAC: what a multiply-accumulate counts there",
        "GMACs: every product, one a multiply-accumulate: the same rules for all rows",
        *(f"[{index}] {reason}" for index, reason in enumerate(reasons(found), start=1)),
    ]


def markdown(found: Sequence[Recounted]) -> str:
    """The table and what stands below it, in Markdown."""
    from proscale_bench.render.table import markdown_tables

    lines = markdown_tables([table(found)], markdown_text, "## ")
    return "\n".join([*lines, *(f"- {markdown_text(line)}" for line in footer(found)), ""])


def json_row(one: Recounted) -> dict[str, Any]:
    """A recount as a row of `--export-json`."""
    recount, row = one.recount, one.recount.row
    return {
        "id": recount.id,
        "family": row.family,
        "model": row.name,
        "backbone": row.backbone,
        "size": recount.input_size or None,
        "convention": row.convention,
        "source": row.source,
        "counted": recount.model or None,
        "arguments": recount.given,
        "rules": recount.rules or None,
        "part": recount.part if recount.model else None,
        "without": recount.without.split(),
        "published_gflops": recount.published,
        "recounted_gflops": one.gflops,
        "difference_pct": one.difference_pct,
        "complete_gmacs": one.complete_gmacs,
        "why": recount.why or None,
    }
