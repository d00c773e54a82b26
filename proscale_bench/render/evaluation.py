"""Evaluations as tables and sentences, for the terminal and as Markdown. Pure functions of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proscale_bench.analysis.labels import labels, shared_model
from proscale_bench.analysis.significance import Change, change
from proscale_bench.render.columns import FEW, MARKS, NOT_SIGNIFICANT, Column, gflops, number, saved
from proscale_bench.render.compare import changes_row, identity_row
from proscale_bench.render.notes import notes_on_records
from proscale_bench.render.table import Row, Table, markdown_table, markdown_tables
from proscale_bench.results.accuracy import ACCURACIES, Accuracy, Evaluated
from proscale_bench.results.metrics import get_metric
from proscale_bench.results.record import Record
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import TRACED, dimension_words
from proscale_bench.units import show_difference

NOTHING = "–"
METRICS = {  # (label, metric, indent) by task; what has no indent is strong
    "panoptic": (
        ("PQ", "pq", 0),
        ("SQ", "sq", 1),
        ("RQ", "rq", 1),
        ("PQ of things", "pq_things", 1),
        ("PQ of stuff", "pq_stuff", 1),
    ),
    "instance": (
        ("mask AP", "ap", 0),
        ("at IoU 0.50", "ap50", 1),
        ("at IoU 0.75", "ap75", 1),
        ("small, under 32² px", "ap_small", 1),
        ("medium", "ap_medium", 1),
        ("large, over 96² px", "ap_large", 1),
        ("box AP", "ap_bbox", 0),
    ),
    "semantic": (
        ("mIoU", "miou", 0),
        ("weighted by pixels", "fwiou", 1),
        ("mean accuracy", "macc", 1),
        ("pixel accuracy", "pacc", 1),
    ),
    "boxes": (
        ("box AP", "ap_bbox", 0),
        ("at IoU 0.50", "ap50", 1),
        ("at IoU 0.75", "ap75", 1),
        ("small, under 32² px", "ap_small", 1),
        ("medium", "ap_medium", 1),
        ("large, over 96² px", "ap_large", 1),
    ),
}
COMPARED = ("pq", "ap", "ap_bbox", "miou")
COUNTS = {"found": "true_positives", "wrong": "false_positives", "missed": "false_negatives"}
CLASS_COLUMNS: dict[str, dict[str, str]] = {  # the field of a class by its title, by task
    "panoptic": {"PQ": "pq", "SQ": "sq", "RQ": "rq", **COUNTS},
    "instance": {"mask AP": "ap", "box AP": "ap_bbox"},
    "semantic": {"IoU": "iou"},
    "boxes": {"box AP": "ap_bbox"},
}
COSTS = (  # with their indents
    (Column("encoder GFLOPs", gflops("encoder")), 0),
    (Column("against the baseline", saved("encoder")), 1),
    (Column("total GFLOPs", gflops("total")), 0),
    (Column("against the baseline", saved("total")), 1),
    (Column("parameters, millions", number("params_m")), 0),
)


@dataclass(frozen=True)
class EvaluatedModel:
    """An accuracy and the record of its model, which is None where files of unknown origin were scored."""

    accuracy: Accuracy
    record: Record | None = None

    @property
    def how(self) -> Evaluated:
        if self.accuracy.evaluated is None:
            raise ValueError(f"{self.accuracy.source} was not evaluated here")
        return self.accuracy.evaluated

    @property
    def sees_nothing(self) -> bool:
        """True if panoptic segments were asked for, and none was found, right or wrong."""
        found = [(one.true_positives or 0) + (one.false_positives or 0) for one in self.how.classes]
        return "panoptic" in self.how.tasks and bool(found) and not any(found)

    @property
    def name(self) -> str:
        return self.record.identity.schedule if self.record else self.accuracy.source


def tables(evaluations: Sequence[EvaluatedModel], per_class: bool = False) -> Iterator[Table]:
    """One table of all models, one of how they differ, and one by class for each model where that is wanted."""
    yield accuracy_table(evaluations)
    if (found := difference_table(evaluations)).rows:
        yield found
    if per_class:
        yield from map(class_table, evaluations)


def accuracy_table(evaluations: Sequence[EvaluatedModel]) -> Table:
    """One column for each model: accuracies in percent with intervals, then costs."""
    with_intervals = any(one.how.intervals for one in evaluations)
    rows = []
    tasks = {task for one in evaluations for task in one.how.tasks}
    for task, metrics in METRICS.items():
        if task not in tasks:
            continue
        for label, name, indent in metrics:
            if (task, name) == ("boxes", "ap_bbox") and "instance" in tasks:
                continue  # one row of box AP
            cells: list[str] = []
            for one in evaluations:  # those of boxes alone have AP by threshold and size too
                of_task = task in one.how.tasks or name == "ap_bbox"
                cells.append(_shown(getattr(one.accuracy, name) if of_task else None))
                cells += [_interval(one.how, name)] if with_intervals else []
            if any(cell not in ("", NOTHING) for cell in cells):
                rows.append(Row(label, tuple(cells), indent, strong=not indent))
    rows += _cost_rows(evaluations, with_intervals)
    names = _names(evaluations)
    header = [cell for name in names for cell in ((name, "95 %") if with_intervals else (name,))]
    images = evaluations[0].how.images
    title = f"{evaluations[0].accuracy.dataset}, {images:,} image{'s' if images > 1 else ''}, in percent"
    told = shared_model([one.record for one in evaluations if one.record])
    shared = {name: value for name, value in told.items() if name not in TRACED}
    if shared:
        title = f"{', '.join(dimension_words(shared).values())}: {title}"
    return Table(title, ("", *header), tuple(rows))


def difference_table(evaluations: Sequence[EvaluatedModel]) -> Table:
    """By how many points each model differs from the baseline, or the first, of its backbone, and if that is chance.

    Both were judged on the same images, drawn anew alike, so what is common to them drops out; see `analysis.compare`.
    """
    names, held_against = _names(evaluations), references(evaluations)
    known = [(name, one, other) for name, one, other in zip(names, evaluations, held_against, strict=True) if other]
    metrics = [metric for metric in COMPARED if any(getattr(one.accuracy, metric) is not None for one in evaluations)]
    rows = [
        Row(name, tuple(_difference(metric, other, one) for metric in metrics))
        for name, one, other in known
        if other is not one
    ]
    firsts = [name for name, one, other in known if other is one]
    title = f"against {' and '.join(firsts)}, in points"
    return Table(title, ("", *(get_metric(metric).title for metric in metrics)), tuple(rows))


def references(evaluations: Sequence[EvaluatedModel]) -> list[EvaluatedModel | None]:
    """The model that each is held against: the baseline, or the first, of its backbone. None: of unknown origin."""
    first: dict[str, EvaluatedModel] = {}
    for one in sorted(evaluations, key=lambda one: not (one.record and one.record.is_baseline)):
        if one.record:
            first.setdefault(one.record.identity.backbone, one)
    return [first[one.record.identity.backbone] if one.record else None for one in evaluations]


def _change(name: str, old: EvaluatedModel, new: EvaluatedModel) -> Change | None:
    """The change of an accuracy; None where one of them lacks it."""
    assert old.record is not None
    assert new.record is not None
    before, after = (get_metric(name).read(one.record) for one in (old, new) if one.record)
    if before is None or after is None:
        return None
    return change(get_metric(name), old.record, new.record, before, after)


def _difference(name: str, old: EvaluatedModel, new: EvaluatedModel) -> str:
    """A difference and what can be said of it: `-1.23`, `-0.31 n.s.`."""
    if (found := _change(name, old, new)) is None:
        return ""
    words = {"significant": "", "not significant": NOT_SIGNIFICANT, "too few samples": FEW}
    return f"{show_difference(found.new - found.old)} {words.get(found.verdict, found.verdict)}".rstrip()


def class_table(one: EvaluatedModel) -> Table:
    """One line for each class, in the order of the data set."""
    how = one.how
    columns = {
        title: name for task in CLASS_COLUMNS if task in how.tasks for title, name in CLASS_COLUMNS[task].items()
    }
    rows = tuple(
        Row(
            found.name, ("thing" if found.is_thing else "stuff", *(_shown(getattr(found, n)) for n in columns.values()))
        )
        for found in how.classes
    )
    return Table(f"{one.name} by class of {one.accuracy.dataset}", ("", "", *columns), rows)


def footer(evaluations: Sequence[EvaluatedModel]) -> list[str]:
    """The conditions of an evaluation."""
    first, how = evaluations[0].record, evaluations[0].how
    ways = dict.fromkeys(one.record.execution for one in evaluations if one.record and one.record.execution)
    lines = [f"run as: {execution.words}" for execution in ways]
    if how.intervals:
        lines.append(
            f"intervals: 95 %, from {how.resamples:,} bootstrap draws of the images; another training may be outside"
        )
    if any(" " in cell for row in difference_table(evaluations).rows for cell in row.cells):
        lines.append(f"differences: draw by draw, with 95 %; {MARKS}")
    for one in evaluations:
        if one.how.different_maps is not None:
            same, images = one.how.images - one.how.different_maps, one.how.images
            engine = one.record.execution.engine_words if one.record and one.record.execution else "the file"
            lines.append(
                f"{one.name} in {engine}: {same:,} of {images:,} panoptic maps equal torch's to the last pixel"
            )
        if one.sees_nothing:
            lines.append(
                f"{one.name}: no panoptic segment in any image, so that PQ is 0; see the warning for the reason"
            )
    if first:
        sides = dict.fromkeys(one.how.resize for one in evaluations)
        given = " or ".join(
            "as they are"
            if side == "none"
            else f"resized to a short side of {side.split(',')[0]}"
            if "," in side
            else side
            for side in sides
        )
        counted = f"; GFLOPs: a mean over them, 1 MAC = 1 FLOP, rules {first.rules}" if first.cost else ""
        lines.append(f"images: {given}{counted}")
        if first.identity.model == CUSTOM and first.evaluation:
            lines.append(f"post-processing: {first.evaluation.postprocessing or 'ours'}")
    return lines + notes_on_records(one.record for one in evaluations if one.record)


def section(name: str, records: Sequence[Record], text: Callable[[str], str]) -> list[str]:
    """The evaluations of one way in a report, as lines of Markdown; `text` escapes words.

    Args:
        name: the data, and the way where there are several.
    """
    evaluations = [
        EvaluatedModel(record.accuracy, record) for record in records if record.accuracy and record.is_evaluated
    ]
    lines = [f"## Accuracy on {text(name)}", "", *markdown_table(accuracy_table(evaluations)), ""]
    if (differences := difference_table(evaluations)).rows:
        title = f"{differences.title[:1].upper()}{differences.title[1:]}:"
        lines += [text(title), "", *markdown_table(differences), ""]
    return lines + [line for note in footer(evaluations) for line in (text(note[:1].upper() + note[1:]) + ".", "")]


def _cost_rows(evaluations: Sequence[EvaluatedModel], with_intervals: bool) -> Iterator[Row]:
    for column, indent in COSTS:
        found = [column.cell(one.record) if one.record else "" for one in evaluations]
        cells = [cell for value in found for cell in ((value, "") if with_intervals else (value,))]
        if any(cells):
            yield Row(column.title, tuple(cells), indent, strong=not indent)


def _names(evaluations: Sequence[EvaluatedModel]) -> list[str]:
    """The models' names in the table's head, with what tells them apart."""
    records = [one.record.model_copy(update={"accuracy": one.accuracy}) for one in evaluations if one.record]
    found = iter(labels(records))
    names = [next(found) if one.record else one.name for one in evaluations]
    backbones = [one.record.identity.backbone if one.record else "" for one in evaluations]
    if len(set(backbones)) > 1:
        names = [f"{backbone} {name}" for backbone, name in zip(backbones, names, strict=True)]
    return names


def _shown(value: float | None) -> str:
    """An accuracy in percent, or a count."""
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _interval(how: Evaluated, name: str) -> str:
    interval = how.intervals.get(name)
    return "" if interval is None else f"{interval[0]:.1f}–{interval[1]:.1f}"


def rows(evaluations: Sequence[EvaluatedModel]) -> list[dict[str, Any]]:
    """The rows of `eval --export-json`, each with how it differs from what `difference_table` holds it against."""
    return [row(one, other) for one, other in zip(evaluations, references(evaluations), strict=True)]


def row(evaluation: EvaluatedModel, against: EvaluatedModel | None = None) -> dict[str, Any]:
    """One row: what was found, of a model the keys of a `flops` row, and its changes against another model."""
    accuracy, record = evaluation.accuracy, evaluation.record
    known = record.row() if record else {"backbone": None, "schedule": None, "gflops": None, "accuracy": accuracy.row()}
    found = accuracy.evaluated
    other = None if against is evaluation else against
    changes = [_change(name, other, evaluation) for name in ACCURACIES] if other else []
    return {
        **known,
        "weights": accuracy.source if record else None,
        "weights_digest": record.identity.weights if record else None,
        "images": found.images if found else None,
        **{name: getattr(accuracy, name) for name in ACCURACIES},
        "against": identity_row(other.record) if other and other.record else None,
        "changes": changes_row(one for one in changes if one),
    }


def markdown(evaluations: Sequence[EvaluatedModel]) -> str:
    """The document of `eval --export-markdown`: the terminal's tables."""
    return "\n".join(markdown_tables(tables(evaluations)))
