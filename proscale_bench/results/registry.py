"""The registry of published numbers: one row a model, size and source, as `data/published.csv` has them.

Every row says where its number stands, and of a number of FLOPs what it is worth: how much a multiply-accumulate
counts, at which size, of which part of a model, and under which rules as far as that is known. Numbers that differ in
the first two are never comparable.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from proscale_bench.errors import BenchError, did_you_mean, look_up
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.tasks import Task

Worth = Literal["mac", "flop", "unknown"]
Counted = Literal["network", "with post-processing", "encoder alone", "unknown"]

FILE = "published.csv"
MAX_BYTES = 16 << 20
SIZE = re.compile(r"[1-9]\d*x[1-9]\d*|[1-9]\d*,[1-9]\d*|coco-first100|coco-val")
IDENTIFIER = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
RULES = ("fvcore", "published", "products", "complete")
PERCENTAGES = ("pq", "ap", "ap_bbox", "miou")
AMOUNTS = ("gflops", "encoder_gflops", "params_m", "fps")
REQUIRED = ("id", "family", "model", "dataset", "task", "source")


@dataclass(frozen=True)
class PublishedRow:
    """The numbers that one source prints of one model at one size.

    Args:
        id: name of the row, by which a recount knows it.
        family: of models, as in `--family`.
        variant: the model among those of its name and backbone, in its authors' words.
        schedule: canonical compact spelling, where this tool builds the very model and joins the row to its records.
        task: of the accuracies: `pq`, `ap` (masks), `ap_bbox` and `miou` in percent.
        gflops: giga FLOPs of what `counted` says; `encoder_gflops`: of the encoder or pixel decoder alone.
        convention: FLOPs of a multiply-accumulate: 1 (`mac`), 2 (`flop`) or `unknown`; None where nothing was counted.
        rules: the rule set that comes nearest to the source's counter; None: not known.
        size: `640x640`, height first; `coco-first100` or `coco-val`: the mean over these images; `800,1333`: the short
            side and the limit of the long one, no images named; None: not stated.
        fps: images a second on `device`; `scope`: what a pass contains, and how it was run.
        source: repository and path, or paper and table; `cost_source`: of the costs, where that is another one.
    """

    id: str
    family: str
    model: str
    backbone: str
    variant: str
    schedule: str
    pretraining: str
    dataset: str
    task: Task
    pq: float | None
    ap: float | None
    ap_bbox: float | None
    miou: float | None
    gflops: float | None
    encoder_gflops: float | None
    convention: Worth | None
    rules: str | None
    counted: Counted | None
    size: str | None
    params_m: float | None
    fps: float | None
    device: str
    scope: str
    source: str
    cost_source: str
    note: str

    @property
    def name(self) -> str:
        """The model in words, without its backbone: `Lite-DINO H2L2-(2+1)x3`."""
        return f"{self.model} {self.variant}".strip()


COLUMNS = tuple(field.name for field in fields(PublishedRow))


def read_registry(path: Path) -> tuple[PublishedRow, ...]:
    """The rows of a file in the format of the one that ships.

    Raises:
        BenchError: the file cannot be read, or rows are wrong: every fault with its line and column's name.
    """
    from proscale_bench.files import read_regular_file

    try:
        return parse_registry(read_regular_file(path, MAX_BYTES).decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: not UTF-8", "save it as CSV in UTF-8") from error


@cache
def shipped_registry() -> tuple[PublishedRow, ...]:
    """Every row that ships, in the order of the file. A test holds them to `parse_registry`, which takes 20 ms."""
    header, *rows = csv.reader(shipped_text().splitlines(keepends=True))
    return tuple(_row(dict(zip(header, cells, strict=True))) for cells in rows)


def shipped_text() -> str:
    return resources.files(__package__).joinpath(f"data/{FILE}").read_text("utf-8")


def parse_registry(text: str, place: str) -> tuple[PublishedRow, ...]:
    """The rows of a registry's text; `place` is the name of its file.

    Raises:
        BenchError: rows are wrong.
    """
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    problems: list[str] = []
    rows: list[PublishedRow] = []
    lines: dict[str, int] = {}
    try:
        header = next(reader, [])
        if header != list(COLUMNS):
            raise BenchError(f"{place}:1: {_wrong_header(header)}", f"the columns are {', '.join(COLUMNS)}")
        for cells in reader:
            at = f"{place}:{reader.line_num}"
            if len(cells) != len(COLUMNS):
                problems.append(f"{at}: {len(cells)} cells, not {len(COLUMNS)}")
                continue
            values = dict(zip(COLUMNS, cells, strict=True))
            problems += [f"{at}: {problem}" for problem in _problems(values)]
            if (before := lines.setdefault(values["id"], reader.line_num)) != reader.line_num:
                problems.append(f"{at}: id: '{values['id']}' is that of line {before}")
            if not problems:
                rows.append(_row(values))
    except csv.Error as error:
        raise BenchError(f"{place}:{reader.line_num}: {error}", "save it as CSV, in the format of Excel") from error
    if problems:
        raise BenchError(problems, f"the form is that of {FILE}, which ships beside results/registry.py")
    return tuple(rows)


def families(rows: tuple[PublishedRow, ...]) -> list[str]:
    return list(dict.fromkeys(row.family for row in rows))


def of_families(rows: tuple[PublishedRow, ...], names: list[str]) -> tuple[PublishedRow, ...]:
    """The rows of these families, whatever the case of their names; all where none is named.

    Raises:
        BenchError: unknown family.
    """
    known = {name.lower(): name for name in families(rows)}
    wanted = [look_up(known, name.lower(), "family") for name in names]
    return tuple(row for row in rows if not wanted or row.family in wanted)


def convention_note(model_type: str) -> str | None:
    """A sentence on the published GFLOPs of a family, where they are not of one FLOP a multiply-accumulate.

    Args:
        model_type: the family as transformers names it, such as `rt_detr`.
    """

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    rows = [row for row in shipped_registry() if plain(row.family) == plain(model_type) and row.convention]
    found = {row.convention for row in rows} & {"flop", "unknown"}
    if not found:
        return None
    if found == {"unknown"}:
        return f"published GFLOPs of {rows[0].family} do not say whether a multiply-accumulate counts 1 or 2"
    return f"published GFLOPs of {rows[0].family} count 2 FLOPs a multiply-accumulate, as --convention flop does"


def _wrong_header(header: list[str]) -> str:
    number = Counter(header)
    for name in header:
        if name not in COLUMNS:
            near = did_you_mean(name, COLUMNS)
            return f"unknown column '{name}'{f', {near}' if near else ''}"
        if number[name] > 1:
            return f"column '{name}' stands twice"
    missing = [name for name in COLUMNS if name not in number]
    return f"missing columns: {', '.join(missing)}" if missing else "the columns stand in another order"


def _row(values: dict[str, str]) -> PublishedRow:
    return PublishedRow(**{name: _value(name, text) for name, text in values.items()})


def _value(name: str, text: str) -> Any:
    if name in PERCENTAGES or name in AMOUNTS:
        return float(text) if text else None
    return text or None if name in ("convention", "rules", "counted", "size") else text


def _problems(row: dict[str, str]) -> list[str]:
    """All that is wrong with a row, each with the name of its column."""
    found = [f"{name}: empty" for name in REQUIRED if not row[name]]
    found += [f"{name}: spaces around '{row[name]}'" for name in COLUMNS if row[name] != row[name].strip()]
    found += [f"{name}: {fault}" for name in (*PERCENTAGES, *AMOUNTS) if (fault := _number_fault(name, row[name]))]
    words: list[tuple[str, tuple[str, ...]]] = [
        ("task", get_args(Task)),
        ("convention", get_args(Worth)),
        ("rules", RULES),
        ("counted", get_args(Counted)),
    ]
    for name, known in words:
        if row[name] and row[name] not in known:
            found.append(f"{name}: '{row[name]}' is none of {', '.join(known)}")
    if row["id"] and not IDENTIFIER.fullmatch(row["id"]):
        found.append(f"id: '{row['id']}' is not of small letters, digits, dots and hyphens")
    if row["size"] and not SIZE.fullmatch(row["size"]):
        found.append(f"size: '{row['size']}' is neither HxW, SHORT,LONG, coco-first100 nor coco-val")
    if row["source"] and " " not in row["source"]:
        found.append(f"source: '{row['source']}' names no place in it: a repository and path, or a paper and table")
    is_counted = bool(row["gflops"] or row["encoder_gflops"])
    for name in ("convention", "counted"):
        if is_counted != bool(row[name]):
            found.append(f"{name}: {'empty beside a number of GFLOPs' if is_counted else 'no GFLOPs that it is of'}")
    for name in ("device", "scope"):
        if bool(row["fps"]) != bool(row[name]):
            found.append(f"{name}: {'empty beside images a second' if row['fps'] else 'no images a second'}")
    return [*found, *_schedule_fault(row["schedule"])]


def _number_fault(name: str, text: str) -> str:
    """The fault of a cell that holds a number or nothing; empty where there is none."""
    if not text:
        return ""
    try:
        number = float(text)
    except ValueError:
        return f"'{text}' is not a number"
    if not (isfinite(number) and number > 0):
        return f"'{text}' is not above 0"
    return f"'{text}' is above 100 %" if name in PERCENTAGES and number > 100 else ""


def _schedule_fault(schedule: str) -> list[str]:
    if not schedule:
        return []
    try:
        canonical = parse_compact(schedule).compact
    except BenchError as error:
        return [f"schedule: {error.message}"]
    return [] if canonical == schedule else [f"schedule: '{schedule}' is spelled '{canonical}'"]
