"""Costs on paper, latencies on a device and accuracies of each model, side by side. Pure functions of records.

A view is one input, and one device where something was timed; what was counted at a size joins what was timed there.
Accuracies belong to weights and data, not to a view, so they are joined to every row of their model. A row's model is
told from others by all its dimensions. Every renderer reads this: page, figure, table and text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from proscale_bench.analysis.evaluations import Evaluation, EvaluationKey, evaluation_key, evaluations_of, key_names
from proscale_bench.analysis.labels import labels
from proscale_bench.analysis.settings import Setting, by_setting, grouped, model_order, setting_of
from proscale_bench.results.metrics import metric
from proscale_bench.results.model_key import ModelKey, model_of
from proscale_bench.results.record import Record


@dataclass(frozen=True)
class ModelRow:
    """One model.

    Args:
        record: its cost, and its profile where it was timed; its error where something of it failed.
        evaluations: published ones first.
        label: the schedule, and what tells the model from others of the view; see `labels`.
        labels: of each evaluation as a point among all of the view on the same data.
    """

    record: Record
    evaluations: tuple[Evaluation, ...]
    label: str
    labels: tuple[str, ...] = ()

    def on(self, data: str) -> list[Evaluation]:
        return [one for one in self.evaluations if one.data == data]

    def found(self, key: EvaluationKey | None) -> list[Evaluation]:
        """The evaluations under one key, of single weights and means; None: the published ones."""
        return [one for one in self.evaluations if one.key == key]

    def with_accuracy(self, evaluation: Evaluation | None) -> Record:
        """The record with one of its accuracies, which every metric and axis reads like any other.

        A cost that is expected over the exits that a gate chose is that of the weights that were evaluated.
        """
        cost = self.record.cost
        if cost and cost.exits and evaluation and evaluation.key:
            cost = evaluation.records[0].cost
        return self.record.model_copy(update={"cost": cost, "accuracy": evaluation.accuracy if evaluation else None})


@dataclass(frozen=True)
class TableRow:
    """A line of a table, or a point of a figure.

    Args:
        label: unlike every other line's.
        records: the model's record, once for each accuracy that shares the line: a published one and one found here.
    """

    label: str
    records: tuple[Record, ...]

    @property
    def record(self) -> Record:
        return self.records[-1]


@dataclass(frozen=True)
class View:
    """Rows that may be compared in cost and latency, in the order of tables."""

    setting: Setting
    rows: tuple[ModelRow, ...]

    @property
    def data(self) -> list[str]:
        """The data of the rows' accuracies; those that most rows were evaluated on come first."""
        counts = Counter(data for row in self.rows for data in {one.data: None for one in row.evaluations})
        return [name for name, _ in counts.most_common()]

    @property
    def points(self) -> list[TableRow]:
        """A point for each accuracy on the first data; a model that has none there is a point once, for its cost."""
        shown = next(iter(self.data), "")
        points: list[TableRow] = []
        for row in self.rows:
            own = [
                TableRow(label, (row.with_accuracy(one),))
                for label, one in zip(row.labels, row.evaluations, strict=True)
                if one.data == shown
            ]
            points += own or [TableRow(row.label, (row.with_accuracy(None),))]
        return points

    @property
    def lines(self) -> list[TableRow]:
        """A line for each accuracy that was found here on the first data, beside what is published on them."""
        shown = next(iter(self.data), "")
        lines: list[tuple[ModelRow, list[Evaluation | None]]] = []
        for row in self.rows:
            published = [one for one in row.on(shown) if one.key is None]
            measured = [one for one in row.on(shown) if one.key is not None]
            lines.append((row, [*published, *measured[:1]] or [None]))
            lines += [(row, [one]) for one in measured[1:]]
        return _labelled(lines)

    def evaluated_by(self, key: EvaluationKey) -> int:
        """The number of rows with an accuracy under this key."""
        return sum(bool(row.found(key)) for row in self.rows)

    def knows(self, metrics: Sequence[str]) -> bool:
        """True where some point has a value of each of these metrics."""
        return any(all(metric(point.record, name) is not None for name in metrics) for point in self.points)


@dataclass(frozen=True)
class SideBySide:
    """A view beside what was found in one way: a line for each model, or file of weights, in the order of tables.

    Args:
        key: how accuracies were found; None: what was published.
        data: what the data and the way are called, unlike those of every other table.
    """

    setting: Setting
    key: EvaluationKey | None
    rows: tuple[TableRow, ...]
    data: str = field(default="")


def views(records: Iterable[Record]) -> list[View]:
    """Every view of a run, in the order of `by_setting`.

    An evaluation is a view of its own only where nothing else has its model: its cost is at the sizes of its images, so
    no other evaluation joins it there. One that failed is a row of every view.
    """
    found = [record for group in by_setting(records).values() for record in group]
    failed = [_bare(record) for record in found if _is_failed_evaluation(record)]
    evaluations = evaluations_of(found)
    groups = by_setting(record for record in found if not record.is_evaluated and not _is_failed_evaluation(record))
    timed = {replace(setting, execution=None) for setting in groups if setting.execution}
    shown = []
    for setting, group in groups.items():
        alike = groups.get(replace(setting, execution=None), []) if setting.execution else []
        if setting.execution or setting not in timed:
            shown.append(_view(setting, (group, alike, failed), evaluations))
    known = {model_of(row.record) for view in shown for row in view.rows}
    there: set[tuple[ModelKey, EvaluationKey]] = set()
    for setting, group in by_setting(record for record in found if record.is_evaluated).items():
        own = {(model_of(one), evaluation_key(one)) for one in group if model_of(one) not in known}
        if not own <= there:
            there |= own
            key = evaluation_key(group[0])
            of_key = {
                model: tuple(one for one in found_here if one.key in (None, key))
                for model, found_here in evaluations.items()
            }
            shown.append(_view(setting, (group, failed), of_key))
    return shown or [_view(setting_of(one), (failed,), evaluations) for one in failed[:1]]


def side_by_side(records: Sequence[Record]) -> list[SideBySide]:
    """One for every way in which something was timed or evaluated; none where nothing was, and nothing failed to be.

    Latencies go with accuracies found on the same kind of device, if there are any.
    """
    found = views(records)
    ordered = [record for group in by_setting(records).values() for record in group]
    names = key_names(ordered)
    pairs: list[tuple[View, EvaluationKey | None]] = [
        (view, _same_device(view, list(names))) for view in found if view.setting.is_timed
    ]
    shown = {key for _, key in pairs}
    pairs += [(max(found, key=lambda view: view.evaluated_by(key)), key) for key in names if key not in shown]
    if not pairs and any(map(_is_failed_evaluation, records)):
        pairs = [(found[0], None)]
    return [SideBySide(view.setting, key, _lines(view, key, found), names[key] if key else "") for view, key in pairs]


def main_view(found: Sequence[View], x: Sequence[str], y: str) -> View | None:
    """The view that a figure shows and the page opens with: the first with a point on every axis, else on the first,
    else with a cost; None where no view has any."""
    wanted = ([*x, y], [x[0], y], ["total_gflops"])
    return next((view for metrics in wanted for view in found if view.knows(metrics)), None)


def _is_failed_evaluation(record: Record) -> bool:
    return record.input.dataset is not None and not record.is_evaluated


def _same_device(view: View, keys: Sequence[EvaluationKey]) -> EvaluationKey | None:
    device = view.setting.execution.device if view.setting.execution else None
    alike = (key for key in keys if key.execution and key.execution.device == device)
    return next(alike, next(iter(keys), None))


def _lines(view: View, key: EvaluationKey | None, found: Sequence[View]) -> tuple[TableRow, ...]:
    """Models that were evaluated so and are not in the view have neither cost nor latency there."""
    rows = {model_of(row.record): row for row in view.rows}
    for row in (row for other in found for row in other.rows if key):
        if model_of(row.record) not in rows and row.found(key):
            rows[model_of(row.record)] = replace(row, record=_bare(row.record))
    ordered = sorted(rows.values(), key=lambda row: model_order(row.record))
    return tuple(_labelled([(row, [one]) for row in ordered for one in (*row.found(key),) or (None,)]))


def _labelled(lines: Sequence[tuple[ModelRow, Sequence[Evaluation | None]]]) -> list[TableRow]:
    """Rows with some of their evaluations, each under a name of its own."""
    rows = [tuple(row.with_accuracy(one) for one in shown) for row, shown in lines]
    sources = [one.records[0] if (one := shown[-1]) else row.record for row, shown in lines]
    return [TableRow(label, row) for label, row in zip(labels([row[-1] for row in rows], sources), rows, strict=True)]


def _bare(record: Record) -> Record:
    """Without what was found at other settings."""
    return record.model_copy(update={"cost": None, "profile": None, "execution": None})


def _view(
    setting: Setting, parts: Sequence[Sequence[Record]], evaluations: dict[ModelKey, tuple[Evaluation, ...]]
) -> View:
    """Make a view: of two records of a model in one part the first, and what it lacks of the parts that follow."""
    rows: dict[ModelKey, Record] = {}
    for part in parts:
        first: dict[ModelKey, Record] = {}
        for record in part:
            first.setdefault(model_of(record), record)
        rows |= {model: _filled(rows[model], record) if model in rows else record for model, record in first.items()}
    ordered = sorted(rows.items(), key=lambda item: model_order(item[1]))
    names = labels([record.model_copy(update={"accuracy": None}) for _, record in ordered])
    found = [
        ModelRow(record, evaluations.get(model, ()), label)
        for (model, record), label in zip(ordered, names, strict=True)
    ]
    return View(setting, tuple(_with_labels(found)))


def _with_labels(rows: Sequence[ModelRow]) -> Iterator[ModelRow]:
    """Rows whose evaluations are told apart from all others on the same data."""
    names = {}
    for data, group in grouped(
        ((row, one) for row in rows for one in row.evaluations), lambda pair: pair[1].data
    ).items():
        shown, sources = [row.with_accuracy(one) for row, one in group], [one.records[0] for _, one in group]
        names[data] = iter(labels(shown, sources, with_trainings=False))
    for row in rows:
        yield replace(row, labels=tuple(next(names[one.data]) for one in row.evaluations))


def _filled(record: Record, other: Record) -> Record:
    sections = ("cost", "references", "error")
    return record.model_copy(update={name: getattr(record, name) or getattr(other, name) for name in sections})
