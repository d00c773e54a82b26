"""Evaluations as tables and sentences, for the terminal and as Markdown, from the same rows: functions of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from proscale_bench.analysis.runs import Setting, evaluated
from proscale_bench.render.grid import Grid, Row, markdown_table
from proscale_bench.results.accuracy import Accuracy, ClassAccuracy, Evaluated
from proscale_bench.results.record import Cost, Record
from proscale_bench.units import show_gflops, show_reduction

NOTHING = "–"
# (label, metric, indent, strong), by task; the first of a task is what its name stands for
PANOPTIC = (
    ("PQ", "pq", 0, True),
    ("SQ", "sq", 1, False),
    ("RQ", "rq", 1, False),
    ("PQ of things", "pq_things", 1, False),
    ("PQ of stuff", "pq_stuff", 1, False),
)
INSTANCE = (
    ("mask AP", "ap", 0, True),
    ("at IoU 0.50", "ap50", 1, False),
    ("at IoU 0.75", "ap75", 1, False),
    ("small, under 32² px", "ap_small", 1, False),
    ("medium", "ap_medium", 1, False),
    ("large, over 96² px", "ap_large", 1, False),
    ("box AP", "ap_bbox", 0, True),
)
SEMANTIC = (
    ("mIoU", "miou", 0, True),
    ("weighted by pixels", "fwiou", 1, False),
    ("mean accuracy", "macc", 1, False),
    ("pixel accuracy", "pacc", 1, False),
)
METRICS = {"panoptic": PANOPTIC, "instance": INSTANCE, "semantic": SEMANTIC}
COSTS: tuple[tuple[str, Callable[[Cost], float | None], Callable[[float], str]], ...] = (
    ("encoder GFLOPs", lambda cost: cost.gflops.encoder, show_gflops),
    ("against the baseline", lambda cost: cost.reduction_pct.encoder, show_reduction),
    ("total GFLOPs", lambda cost: cost.gflops.total, show_gflops),
    ("against the baseline", lambda cost: cost.reduction_pct.total, show_reduction),
    ("parameters, millions", lambda cost: cost.params_m.total, lambda number: f"{number:.2f}"),
)


def grids(records: Sequence[Record], per_class: bool = False) -> Iterator[Grid]:
    """The tables of evaluations: one a data set and way of running, then one a model by class where that is wanted."""
    for setting, group in evaluated(records).items():
        yield accuracy_grid(setting, group)
        if per_class:
            for record in group:
                yield class_grid(record)


def accuracy_grid(setting: Setting, records: Sequence[Record]) -> Grid:
    """A column a model: what it is worth, in percent with intervals, and what it costs."""
    found = [_found(record) for record in records]
    with_intervals = any(how.intervals for _, how in found)
    tasks = [task for task in METRICS if any(task in how.tasks for _, how in found)]
    rows = []
    for task in tasks:
        for label, name, indent, strong in METRICS[task]:
            cells: list[str] = []
            for accuracy, how in found:
                cells.append(_percent(getattr(accuracy, name)))
                cells += [_interval(how, name)] if with_intervals else []
            if any(cell not in ("", NOTHING) for cell in cells):
                rows.append(Row(label, tuple(cells), indent, strong))
    for index, (label, read, show) in enumerate(COSTS):
        cells = []
        for record in records:
            value = read(record.cost) if record.cost else None
            is_saving = label == COSTS[1][0]
            baseline = record.cost is not None and record.identity.schedule == record.cost.baseline.schedule
            cells.append("" if is_saving and baseline else NOTHING if value is None else show(value))
            cells += [""] if with_intervals else []
        if any(cells):
            rows.append(Row(label, tuple(cells), int(label == COSTS[1][0]), strong=index in (0, 2)))
    names = [_name(record, records) for record in records]
    header = [cell for name in names for cell in ((name, "95 %") if with_intervals else (name,))]
    return Grid(f"{setting.size}, {_images(found[0][1])}", ("", *header), tuple(rows))


def class_grid(record: Record) -> Grid:
    """A line a class, things first as the data set lists them."""
    accuracy, how = _found(record)
    columns: list[tuple[str, Callable[[ClassAccuracy], str]]] = []
    if "panoptic" in how.tasks:
        columns += [
            ("PQ", lambda one: _percent(one.pq)),
            ("SQ", lambda one: _percent(one.sq)),
            ("RQ", lambda one: _percent(one.rq)),
            ("found", lambda one: _count(one.true_positives)),
            ("wrong", lambda one: _count(one.false_positives)),
            ("missed", lambda one: _count(one.false_negatives)),
        ]
    if "instance" in how.tasks:
        columns += [("mask AP", lambda one: _percent(one.ap)), ("box AP", lambda one: _percent(one.ap_bbox))]
    if "semantic" in how.tasks:
        columns += [("IoU", lambda one: _percent(one.iou))]
    rows = tuple(
        Row(one.name, (("thing" if one.is_thing else "stuff"), *(read(one) for _, read in columns)))
        for one in how.classes
    )
    title = f"{record.identity.schedule} on {record.identity.backbone}, by class of {accuracy.dataset}"
    return Grid(title, ("", "", *(name for name, _ in columns)), rows)


def footer(records: Sequence[Record]) -> list[str]:
    """How the numbers came about."""
    lines = []
    for setting, group in evaluated(records).items():
        _, how = _found(group[0])
        if setting.execution:
            lines.append(f"run as: {setting.execution.words}")
        if how.intervals:
            lines.append(
                f"intervals: 95 %, the images drawn anew {how.resamples:,} times; they say nothing of another training"
            )
        given = "as they are" if how.resize == "none" else f"resized to a short side of {how.resize.split(',')[0]}"
        lines.append(f"images {given}; GFLOPs: a mean over them, {setting.how.partition(f', {setting.where}')[0]}")
    return lines


def section(setting: Setting, records: Sequence[Record], text: Callable[[str], str]) -> list[str]:
    """What a report says of a data set's evaluations, as lines of Markdown; `text` keeps words words."""
    lines = [f"## Accuracy on {text(setting.size)}", "", *markdown_table(accuracy_grid(setting, records)), ""]
    lines += [line for note in footer(records) for line in (text(note[:1].upper() + note[1:]) + ".", "")]
    return lines


def _found(record: Record) -> tuple[Accuracy, Evaluated]:
    if record.accuracy is None or record.accuracy.evaluated is None:
        raise ValueError(f"{record.identity.label} was not evaluated")
    return record.accuracy, record.accuracy.evaluated


def _name(record: Record, records: Sequence[Record]) -> str:
    """The schedule, with what tells it from another of the same table."""
    identity = record.identity
    alike = [other for other in records if other.identity.schedule == identity.schedule]
    if len({other.identity.backbone for other in records}) > 1:
        return f"{identity.backbone} {identity.schedule}"
    if len(alike) > 1 and record.accuracy:
        return f"{identity.schedule} {record.accuracy.source}"
    return identity.schedule


def _images(how: Evaluated) -> str:
    return f"{how.images:,} image{'s' if how.images > 1 else ''}, in percent"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _interval(how: Evaluated, name: str) -> str:
    interval = how.intervals.get(name)
    return "" if interval is None else f"{interval[0]:.1f}–{interval[1]:.1f}"


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"
