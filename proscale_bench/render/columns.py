"""Columns of a run's tables, written once: terminal, Markdown and LaTeX choose among them.

A cell is plain text: `-51.74%`, `52.9*` (published by others), `124.9 ± 0.2%`, `n.s.` (not significant). A format that
has signs of its own for these writes them in their place, so the same numbers stand in every document. An interval that
is longer on one side is shown as it is, `[47.4, 81.5]` or `60.5 +21.0 -13.1`, and never as its wider half.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal

from proscale_bench.results.metrics import get_metric
from proscale_bench.results.profile import Profile, RealisedSaving
from proscale_bench.results.record import Record
from proscale_bench.results.section import Interval
from proscale_bench.units import show_change, show_gflops, show_ms, show_reduction

FAILED = "failed"
NOT_SIGNIFICANT, FEW = "n.s.", "?"
MARKS = f"{NOT_SIGNIFICANT}: not significant; {FEW}: from too few samples"
PUBLISHED = "*"

SectionName = Literal["cost", "profile", "accuracy"]
COST_ALONE: tuple[SectionName, ...] = ("cost",)
Cell = Callable[[Record], str]


@dataclass(frozen=True)
class Column:
    """A column: its title, its cell of a record (empty where nothing is known), and the section that the cell reads."""

    title: str
    cell: Cell
    section: SectionName = "cost"


def cells(
    columns: Sequence[Column], records: Sequence[Record], expected: Collection[SectionName] = COST_ALONE
) -> tuple[str, ...]:
    """The cells of one row.

    Args:
        columns: those of a section stand together.
        records: one configuration, once for each of its accuracies; these share a cell.
        expected: sections that the row should have. Where a failure left one out, its first cell says so.
    """
    row, blamed = [], set[str]()
    for column in columns:
        shown = [column.cell(record) for record in (records if column.section == "accuracy" else records[:1])]
        lost = column.section in expected and column.section not in blamed
        blamed.add(column.section)
        if lost and records[0].error and all(getattr(record, column.section) is None for record in records):
            shown = [FAILED]
        row.append(" / ".join(filter(None, shown)))
    return tuple(row)


def known(columns: Sequence[Column], rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles and rows without the columns of which no row knows anything."""
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    return tuple(columns[index].title for index in kept), [tuple(row[index] for index in kept) for row in rows]


def number(name: str, digits: str = ".2f") -> Cell:
    """A metric's value in one of Python's formats."""

    def cell(record: Record) -> str:
        value = get_metric(name).read(record)
        return "" if value is None else format(value, digits)

    return cell


def gflops(name: str) -> Cell:
    """A cost in GFLOPs, by the name of its part in a record: `encoder`, `total_with_postprocessing`."""

    def cell(record: Record) -> str:
        value = record.cost.gflops.get(name) if record.cost else None
        return "" if value is None else show_gflops(value)

    return cell


def saved(part: str, digits: int = 2) -> Cell:
    """The saving of a part against the baseline, in percent; empty for the baseline itself."""
    show = show_reduction if digits == 2 else show_change

    def cell(record: Record) -> str:
        saving = record.cost.reduction_pct.get(part) if record.cost and not record.is_baseline else None
        return "" if saving is None else show(saving)

    return cell


def accuracy(name: str, digits: int = 1, with_interval: bool = False) -> Cell:
    """An accuracy in percent, marked where it was published by others."""

    def cell(record: Record) -> str:
        value = get_metric(name).read(record)
        if record.accuracy is None or value is None:
            return ""
        shown = f"{value:.{digits}f}"
        ends = get_metric(name).interval(record) if with_interval else None
        if ends is not None:
            below, above = _sides(value, ends)
            shown = f"{shown} ± {above:.1f}" if below == above else f"{value:.1f} {above:+.1f} {-below:+.1f}"
        return shown + (PUBLISHED if record.accuracy.provenance == "published" else "")

    return cell


def of_boxes_alone(cell: Cell) -> Cell:
    """A cell of the box AP, which is shown where nothing else is evaluated: it is what a detector is judged by."""

    def shown(record: Record) -> str:
        found = record.accuracy
        return cell(record) if found and found.pq is None and found.ap is None and found.miou is None else ""

    return shown


def interval(name: str) -> Cell:
    """The 95 % interval of an accuracy: `±0.4`, or its ends where it is longer on one side: `[47.4, 81.5]`."""

    def cell(record: Record) -> str:
        value, ends = get_metric(name).read(record), get_metric(name).interval(record)
        if value is None or ends is None:
            return ""
        below, above = _sides(value, ends)
        return f"±{above:.1f}" if below == above else "[{:.1f}, {:.1f}]".format(*ends)

    return cell


def _sides(value: float, ends: Interval) -> tuple[float, float]:
    """The distances from a value down and up to an interval's ends; equal where a tenth, which tables show, says so."""
    below, above = value - ends[0], ends[1] - value
    if f"{below:.1f}" == f"{above:.1f}" or isclose(below, above, rel_tol=1e-6):
        below = above = max(below, above)
    return below, above


def latency(record: Record) -> str:
    """The median latency in milliseconds."""
    return show_ms(record.profile.latency_median_ms) if record.profile else ""


def latency_precision(record: Record) -> str:
    """The 95 % interval of the latency: `±0.2%` of the median, or its ends in ms where it is longer on one side."""
    if record.profile is None:
        return ""
    below, above = _sides_pct(record.profile)
    ends = map(show_ms, record.profile.latency_interval_ms)
    return f"±{above:.1f}%" if below == above else "[{}, {}]".format(*ends)


def latency_with_precision(record: Record) -> str:
    """The median latency with the sides of its interval in percent of it: `124.9 ± 0.2%`, `51.94 +6.5% -2.3%`."""
    if record.profile is None:
        return ""
    below, above = _sides_pct(record.profile)
    return latency(record) + (f" ± {above:.1f}%" if below == above else f" {above:+.1f}% {-below:+.1f}%")


def _sides_pct(profile: Profile) -> tuple[float, float]:
    """The distances from a median down and up to its interval's ends, in percent of it."""
    middle = profile.latency_median_ms
    if not middle:  # a clock too coarse for what it timed
        return 0.0, 0.0
    low, high = profile.latency_interval_ms
    return _sides(100, (100 * low / middle, 100 * high / middle))


def time_saved(record: Record) -> str:
    """The saving of time against the baseline, in percent."""
    return show_saving(record.profile.realised_saving_pct) if record.profile else ""


def show_saving(saving: RealisedSaving | None) -> str:
    """A measured saving, `-22.4%`, or the mark of one that may be chance."""
    if saving is None:
        return ""
    if saving.verdict == "not significant":
        return NOT_SIGNIFICANT
    return show_change(saving.value) + ("" if saving.significant else FEW)


ENCODER, ENCODER_SAVED = Column("encoder", gflops("encoder")), Column("", saved("encoder"))
TOTAL, TOTAL_SAVED = Column("total", gflops("total")), Column("", saved("total"))
ENERGY = Column("J/image", number("energy_j", ".3g"), "profile")

BOXES = (
    Column("box AP", of_boxes_alone(accuracy("ap_bbox")), "accuracy"),
    Column("", of_boxes_alone(interval("ap_bbox")), "accuracy"),
)

# The costs of a run in the terminal.
COSTS = (
    ENCODER,
    ENCODER_SAVED,
    Column("tokens", saved("encoder_token_layers")),
    TOTAL,
    TOTAL_SAVED,
    Column("PQ", accuracy("pq", 2), "accuracy"),
)
DETECTORS_ACCURACY = Column(
    "box AP", of_boxes_alone(accuracy("ap_bbox", 2)), "accuracy"
)  # after those, where there are
# Costs, times and accuracies side by side. Numbers are short, so that tables of large models fit too; the other tables
# have every digit.
SHORT = (
    Column("encoder", saved("encoder", 1)),
    TOTAL,
    Column("", saved("total", 1)),
    Column("ms", latency, "profile"),
    Column("", time_saved, "profile"),
    Column("PQ", accuracy("pq"), "accuracy"),
    Column("", interval("pq"), "accuracy"),
    Column("AP", accuracy("ap"), "accuracy"),
    Column("mIoU", accuracy("miou"), "accuracy"),
    *BOXES,
)
LONG = (
    ENCODER,
    Column("", saved("encoder", 1)),
    Column("tokens", saved("encoder_token_layers", 1)),
    TOTAL,
    Column("", saved("total", 1)),
    Column("params, M", number("params_m")),
    Column("ms", latency, "profile"),
    Column("", latency_precision, "profile"),
    Column("", time_saved, "profile"),
    Column("MiB", number("peak_memory_mib", ",.0f"), "profile"),
    ENERGY,
    *SHORT[5:7],
    Column("things", accuracy("pq_things"), "accuracy"),
    Column("stuff", accuracy("pq_stuff"), "accuracy"),
    Column("AP", accuracy("ap"), "accuracy"),
    Column("", interval("ap"), "accuracy"),
    Column("mIoU", accuracy("miou"), "accuracy"),
    Column("", interval("miou"), "accuracy"),
    *BOXES,
)
# The costs of a run in its report, to which it adds accuracies with their sources.
REPORT = (
    ENCODER,
    ENCODER_SAVED,
    Column("token layers", gflops("encoder_token_layers")),
    Column("", saved("encoder_token_layers")),
    TOTAL,
    TOTAL_SAVED,
    Column("with post-processing", gflops("total_with_postprocessing")),
    Column("parameters, M", number("params_m")),
)
# A table of a paper.
PAPER = (
    Column("encoder G", gflops("encoder")),
    ENCODER_SAVED,
    Column("total G", gflops("total")),
    TOTAL_SAVED,
    Column("params M", number("params_m")),
    Column("ms", latency_with_precision, "profile"),
    Column("", time_saved, "profile"),
    ENERGY,
    Column("PQ %", accuracy("pq", 2, with_interval=True), "accuracy"),
    Column("AP %", accuracy("ap", 2, with_interval=True), "accuracy"),
    Column("mIoU %", accuracy("miou", 2, with_interval=True), "accuracy"),
    Column("box AP %", of_boxes_alone(accuracy("ap_bbox", 2, with_interval=True)), "accuracy"),
)
