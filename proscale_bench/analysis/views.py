"""What stands beside each other on the report's page: a schedule's cost, its profile and what it is worth, joined.

A view is one input, and one device where something was timed. Accuracies belong to weights and data, not to a view, so
they are joined to every row of their backbone and schedule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from proscale_bench.analysis.runs import Setting, by_setting
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.published import DATASET
from proscale_bench.results.record import Record

Configuration = tuple[str, str]  # backbone, schedule
COCO_IMAGES = 5000


@dataclass(frozen=True)
class Row:
    """One schedule on one backbone.

    Args:
        record: its cost, and its profile where it was timed; or why there is neither.
        worths: the records whose accuracies are known, published ones first.
    """

    record: Record
    worths: tuple[Record, ...]


@dataclass(frozen=True)
class View:
    """Rows that may be compared in cost and latency."""

    setting: Setting
    rows: tuple[Row, ...]

    @property
    def data(self) -> list[str]:
        """What the rows' accuracies are of; the data that most of them were judged on come first."""
        counts = Counter(data_of(one.accuracy) for row in self.rows for one in row.worths if one.accuracy)
        return [name for name, _ in counts.most_common()]


def views(records: Sequence[Record]) -> list[View]:
    """Every view of a run, in the order of `by_setting`.

    What was counted alone joins what was timed at the same size; an evaluation is a view of its own only where nothing
    else has its schedules.
    """
    evaluated = [record for record in records if record.is_evaluated]
    groups = by_setting(record for record in records if not record.is_evaluated)
    timed = {replace(setting, execution=None) for setting in groups if setting.execution}
    shown = []
    for setting, group in groups.items():
        alike = groups.get(replace(setting, execution=None), []) if setting.execution else []
        if setting.execution or setting not in timed:
            shown.append(_view(setting, [*group, *alike], records))
    known = {configuration(row.record) for view in shown for row in view.rows}
    for setting, group in by_setting(evaluated).items():
        if not {configuration(record) for record in group} <= known:
            shown.append(_view(setting, group, records))
    return shown


def configuration(record: Record) -> Configuration:
    return record.identity.backbone, record.identity.schedule


def data_of(accuracy: Accuracy) -> str:
    """The data that an accuracy is of. All of `val2017` is what others published results on."""
    how = accuracy.evaluated
    is_coco = how is not None and how.images == COCO_IMAGES and DATASET.endswith(f" {accuracy.dataset}")
    return DATASET if is_coco else accuracy.dataset


def _view(setting: Setting, group: Iterable[Record], records: Sequence[Record]) -> View:
    """In the group's order; of two records of a schedule the first."""
    first: dict[Configuration, Record] = {}
    for record in group:
        first.setdefault(configuration(record), record)
    return View(setting, tuple(Row(record, _worths(record, records)) for record in first.values()))


def _worths(record: Record, records: Sequence[Record]) -> tuple[Record, ...]:
    """Of the record's schedule and backbone. What is published is the same wherever it stands."""
    found: dict[str, Record] = {}
    for one in (record, *records):
        if one.accuracy and configuration(one) == configuration(record):
            found.setdefault(one.digest if one.is_evaluated else one.accuracy.model_dump_json(), one)
    return tuple(sorted(found.values(), key=lambda one: one.is_evaluated))
