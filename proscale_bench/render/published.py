"""Published numbers as tables: one for each data set and task, since only their accuracies are of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from proscale_bench.render.style import backbone_name
from proscale_bench.render.table import Row, Table, markdown_tables, markdown_text

if TYPE_CHECKING:
    from proscale_bench.cost.rules import Convention
    from proscale_bench.results.registry import PublishedRow

ACCURACIES = {"pq": "PQ", "ap": "mask AP", "ap_bbox": "box AP", "miou": "mIoU"}
WORTH = {"mac": "1", "flop": "2", "unknown": "?", None: ""}  # FLOPs of a multiply-accumulate
FACTORS = {"mac": 1, "flop": 2}
MAIN = {"panoptic": "PQ", "instance": "mask AP", "semantic": "mIoU", "boxes": "box AP"}
Cell = Callable[["PublishedRow"], str]


def converted(gflops: float | None, worth: str | None, to: Convention | None) -> tuple[float | None, bool]:
    """A number of GFLOPs in another convention, and whether it was converted. What is unknown stays as it is.

    The whole is scaled, for no source prints its products alone: of what is counted, all but 1 % are products.
    """
    if gflops is None or to is None or worth not in FACTORS or worth == to:
        return gflops, False
    return gflops * FACTORS[to] / FACTORS[worth], True


def tables(rows: Sequence[PublishedRow], to: Convention | None = None) -> list[Table]:
    """A table for each data set and task, with the columns that any of its rows fills."""
    groups: dict[str, list[PublishedRow]] = {}
    for row in rows:
        groups.setdefault(f"{row.dataset}, {row.task}", []).append(row)
    marks = {source: index for index, source in enumerate(sources(rows), start=1)}
    return [_table(title, group, marks, to) for title, group in groups.items()]


def _table(title: str, rows: Sequence[PublishedRow], marks: dict[str, int], to: Convention | None) -> Table:
    def gflops(name: str) -> Cell:
        def cell(row: PublishedRow) -> str:
            value, changed = converted(getattr(row, name), row.convention, to)
            return "" if value is None else f"{'≈' if changed else ''}{value:.6g}"

        return cell

    def number(name: str) -> Cell:
        return lambda row: "" if (value := getattr(row, name)) is None else f"{value:g}"

    columns: dict[str, Cell] = {
        "backbone": backbone_words,
        "size": lambda row: (row.size or "").removeprefix("coco-"),
        **{shown: number(name) for name, shown in ACCURACIES.items()},
        "GFLOPs": gflops("gflops"),
        "encoder": gflops("encoder_gflops"),
        "MAC": lambda row: WORTH[_shown(row, to)],
        "params, M": number("params_m"),
        "images/s": number("fps"),
        "from": lambda row: f"[{marks[row.source]}]",
    }
    filled = {name: cell for name, cell in columns.items() if any(map(cell, rows))}
    found = tuple(Row(row.name, tuple(cell(row) for cell in filled.values())) for row in rows)
    header = ("model", *filled)
    others = [name for name in ACCURACIES.values() if name != MAIN[rows[0].task]]
    spare = ("params, M", *others[::-1], "encoder", "images/s", "backbone", "size")  # the last goes last
    return Table(title, header, found, tuple(header.index(name) for name in spare if name in filled))


def backbone_words(row: PublishedRow) -> str:
    """The backbone as papers abbreviate it: `R50`, `Swin-L 21k`."""
    name = backbone_name(row.backbone).replace("ResNet-", "R")
    return f"{name} 21k" if row.pretraining == "ImageNet-21k" else name


def _shown(row: PublishedRow, to: Convention | None) -> str | None:
    """The convention of a row as it is shown."""
    return to if to is not None and row.convention in FACTORS else row.convention


def sources(rows: Sequence[PublishedRow]) -> list[str]:
    return list(dict.fromkeys(row.source for row in rows))


def footer(rows: Sequence[PublishedRow], to: Convention | None = None) -> list[str]:
    """Notes below the tables: how GFLOPs were counted, what images a second are of, and the numbered sources."""
    lines = []
    shown = dict.fromkeys(_shown(row, to) for row in rows if row.convention)
    if shown:
        lines.append("MAC: FLOPs that a multiply-accumulate counts; ?: not stated")
    sets = {"coco-first100": "the first 100 images of COCO val2017", "coco-val": "all images of COCO val2017"}
    for size in dict.fromkeys(row.size for row in rows if row.size in sets):
        lines.append(f"{size.removeprefix('coco-')}: the mean over {sets[size]}")
    if any(row.encoder_gflops for row in rows):
        lines.append("encoder: GFLOPs of the encoder or pixel decoder alone")
    if len(shown) > 1:
        lines.append("GFLOPs that count a MAC differently cannot be compared: --convention mac shows all in one")
    if any(converted(row.gflops, row.convention, to)[1] for row in rows):
        lines.append("≈: converted as a whole, though norms and sampling count the same in both conventions")
    scopes: dict[str, list[PublishedRow]] = {}
    for row in rows:
        if row.fps is not None:
            words = f"{row.device}, {row.scope}" if row.device != row.scope else "not stated where and how"
            scopes.setdefault(words, []).append(row)
    for words, timed in scopes.items():
        others = [row for other, found in scopes.items() if other != words for row in found]
        names = []
        for source in dict.fromkeys(row.source for row in timed):
            mark = f"[{sources(rows).index(source) + 1}]"
            own = dict.fromkeys(f"{row.model} {row.backbone}".strip() for row in timed if row.source == source)
            is_shared = any(row.source == source for row in others)  # with another device or scope
            names.append(f"{mark} ({', '.join(own)})" if is_shared else mark)
        lines.append(f"images/s of {', '.join(names)}: {words}")
    return [*lines, *(f"[{index}] {source}" for index, source in enumerate(sources(rows), start=1))]


def markdown(rows: Sequence[PublishedRow], to: Convention | None = None) -> str:
    """The tables and what stands below them, in Markdown."""
    lines = [*markdown_tables(tables(rows, to), markdown_text, "## ")]
    return "\n".join([*lines, *(f"- {markdown_text(line)}" for line in footer(rows, to)), ""])


def json_row(row: PublishedRow, to: Convention | None = None) -> dict[str, Any]:
    """The row for `--export-json` and CSV: its columns, and GFLOPs in the convention that was asked for."""
    plain = {name: None if value == "" else value for name, value in asdict(row).items()}
    if to is not None:
        plain["converted"] = {
            "convention": _shown(row, to),
            **{name: converted(plain[name], row.convention, to)[0] for name in ("gflops", "encoder_gflops")},
        }
    return plain
