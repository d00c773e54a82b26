"""What a schedule costs on paper, takes on a device and is worth, side by side. Pure functions of records.

A view is one input, and one device where something was timed; what was counted at a size joins what was timed there.
Accuracies belong to weights and data, not to a view, so they are joined to every row of their model; weights of several
trainings on the same data are one accuracy, their mean. Every renderer reads this: page, figure, table and text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from proscale_bench.analysis.settings import Setting, by_setting, model_order, setting_of
from proscale_bench.analysis.trainings import mean_accuracy
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.metrics import metric
from proscale_bench.results.published import DATASET
from proscale_bench.results.record import Record

Model = tuple[str, str]  # backbone, name
COCO_IMAGES = 5000


class Judged(NamedTuple):
    """How an accuracy was found here. Machines of one kind find the same."""

    data: str
    images: int
    digest: str | None  # of the images
    device: str
    dtype: str


@dataclass(frozen=True)
class Worth:
    """What a model is worth on some data: published, or found here.

    Args:
        data: their name, which no other data have.
        accuracy: of one training, or the mean of several.
        records: where it comes from, a record a training.
        judged: how it was found; None: by others.
    """

    data: str
    accuracy: Accuracy
    records: tuple[Record, ...]
    judged: Judged | None = None

    @property
    def trainings(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class Row:
    """One schedule on one backbone.

    Args:
        record: its cost, and its profile where it was timed; its error where something of it failed.
        worths: published ones first.
    """

    record: Record
    worths: tuple[Worth, ...]

    def on(self, data: str) -> list[Worth]:
        return [worth for worth in self.worths if worth.data == data]

    def found(self, way: Judged | None) -> Worth | None:
        """What was found in one way; None: what was published."""
        return next((worth for worth in self.worths if worth.judged == way), None)

    def with_accuracy(self, worth: Worth | None) -> Record:
        """As one record, which every metric and axis reads like any other."""
        return self.record.model_copy(update={"accuracy": worth.accuracy if worth else None})


@dataclass(frozen=True)
class View:
    """Rows that may be compared in cost and latency, in the order of tables."""

    setting: Setting
    rows: tuple[Row, ...]

    @property
    def data(self) -> list[str]:
        """What the rows' accuracies are of; the data that most of them were judged on come first."""
        counts = Counter(data for row in self.rows for data in {worth.data: None for worth in row.worths})
        return [name for name, _ in counts.most_common()]

    @property
    def points(self) -> list[Record]:
        """A record for each accuracy on the first data; what has none there is there once, for its cost."""
        shown = next(iter(self.data), "")
        alike = [(row, worth) for row in self.rows for worth in (*row.on(shown),) or (None,)]
        return [row.with_accuracy(worth) for row, worth in alike]

    def judged_by(self, way: Judged) -> int:
        """How many rows have an accuracy that was found so."""
        return sum(row.found(way) is not None for row in self.rows)

    def knows(self, metrics: Sequence[str]) -> bool:
        """Some point has a value of each of these."""
        return any(all(metric(point, name) is not None for name in metrics) for point in self.points)


@dataclass(frozen=True)
class SideBySide:
    """A view beside what was found in one way: a record a model, in the order of tables.

    Args:
        judged: what accuracies are of; None: of what was published.
        trainings: how many are behind a row's accuracy.
    """

    setting: Setting
    judged: Judged | None
    rows: tuple[Record, ...]
    trainings: dict[Model, int]


def views(records: Iterable[Record]) -> list[View]:
    """Every view of a run, in the order of `by_setting`.

    An evaluation is a view of its own only where nothing else has its model; one that failed is a row of every view.
    """
    found = [record for group in by_setting(records).values() for record in group]
    failed = [_bare(record) for record in found if _is_failed_evaluation(record)]
    worths = _worths(found)
    groups = by_setting(record for record in found if not record.is_evaluated and not _is_failed_evaluation(record))
    timed = {replace(setting, execution=None) for setting in groups if setting.execution}
    shown = []
    for setting, group in groups.items():
        alike = groups.get(replace(setting, execution=None), []) if setting.execution else []
        if setting.execution or setting not in timed:
            shown.append(_view(setting, (group, alike, failed), worths))
    known = {model_of(row.record) for view in shown for row in view.rows}
    for setting, group in by_setting(record for record in found if record.is_evaluated).items():
        if not {model_of(record) for record in group} <= known:
            shown.append(_view(setting, (group, failed), worths))
            known |= {model_of(record) for record in group}
    return shown or [_view(setting_of(one), (failed,), worths) for one in failed[:1]]


def side_by_side(records: Sequence[Record]) -> list[SideBySide]:
    """One for every way in which something was timed or judged; none where nothing was, and nothing failed to be.

    Latencies go with accuracies found on the same kind of device, if there are any.
    """
    found = views(records)
    ordered = [record for group in by_setting(records).values() for record in group]
    ways = list(dict.fromkeys(judged_of(record) for record in ordered if record.is_evaluated))
    pairs: list[tuple[View, Judged | None]] = [
        (view, _same_device(view, ways)) for view in found if view.setting.is_timed
    ]
    shown = {way for _, way in pairs}
    pairs += [(max(found, key=lambda view: view.judged_by(way)), way) for way in ways if way not in shown]
    if not pairs and any(map(_is_failed_evaluation, records)):
        pairs = [(found[0], None)]
    return [_table(view, way, found) for view, way in pairs]


def main_view(found: Sequence[View], x: Sequence[str], y: str) -> View | None:
    """What a figure shows and the page opens with: the first view that has a point on every axis, else on the first,
    else a cost; None where nothing has."""
    wanted = ([*x, y], [x[0], y], ["total_gflops"])
    return next((view for metrics in wanted for view in found if view.knows(metrics)), None)


def model_of(record: Record) -> Model:
    return record.identity.backbone, record.identity.name


def judged_of(record: Record) -> Judged:
    """How an evaluation's accuracy was found."""
    accuracy, execution = record.accuracy, record.execution
    data = data_of(accuracy) if accuracy else record.input.size
    device, dtype = (execution.device, execution.dtype) if execution else ("", "")
    return Judged(data, record.input.images, record.input.dataset, device, dtype)


def data_of(accuracy: Accuracy) -> str:
    """The data that an accuracy is of. All of `val2017` is what others published results on."""
    how = accuracy.evaluated
    is_coco = how is not None and how.images == COCO_IMAGES and DATASET.endswith(f" {accuracy.dataset}")
    return DATASET if is_coco else accuracy.dataset


def _is_failed_evaluation(record: Record) -> bool:
    return record.input.dataset is not None and not record.is_evaluated


def _same_device(view: View, ways: Sequence[Judged]) -> Judged | None:
    device = view.setting.execution.device if view.setting.execution else None
    return next((way for way in ways if way.device == device), next(iter(ways), None))


def _table(view: View, judged: Judged | None, found: Sequence[View]) -> SideBySide:
    """Models that were judged and are not in the view have neither cost nor latency there."""
    rows: dict[Model, tuple[Record, int]] = {}
    for row in view.rows:
        worth = row.found(judged)
        rows[model_of(row.record)] = (row.with_accuracy(worth), worth.trainings if worth else 1)
    for row in (row for other in found for row in other.rows if judged):
        if model_of(row.record) not in rows and (worth := row.found(judged)):
            rows[model_of(row.record)] = (_bare(row.with_accuracy(worth)), worth.trainings)
    ordered = sorted(rows.items(), key=lambda item: model_order(item[1][0]))
    return SideBySide(
        view.setting,
        judged,
        tuple(record for _, (record, _) in ordered),
        {model: trainings for model, (_, trainings) in ordered},
    )


def _bare(record: Record) -> Record:
    """Without what was found at other settings."""
    return record.model_copy(update={"cost": None, "profile": None, "execution": None})


def _view(setting: Setting, parts: Sequence[Sequence[Record]], worths: dict[Model, tuple[Worth, ...]]) -> View:
    """Of two records of a model in one part, the first; what it lacks is taken from the parts that follow."""
    rows: dict[Model, Record] = {}
    for part in parts:
        first: dict[Model, Record] = {}
        for record in part:
            first.setdefault(model_of(record), record)
        rows |= {model: _filled(rows[model], record) if model in rows else record for model, record in first.items()}
    ordered = sorted(rows.items(), key=lambda item: model_order(item[1]))
    return View(setting, tuple(Row(record, worths.get(model, ())) for model, record in ordered))


def _filled(record: Record, other: Record) -> Record:
    sections = ("cost", "references", "error")
    return record.model_copy(update={name: getattr(record, name) or getattr(other, name) for name in sections})


def _worths(records: Sequence[Record]) -> dict[Model, tuple[Worth, ...]]:
    """Of every model. What is published is the same wherever it stands; of two records of one training, the last."""
    published: dict[tuple[Model, str], Record] = {}
    judged: dict[tuple[Model, Judged], dict[str | None, Record]] = {}
    for record in records:
        if record.accuracy is None:
            continue
        if record.is_evaluated:
            judged.setdefault((model_of(record), judged_of(record)), {})[record.identity.weights] = record
        else:
            published.setdefault((model_of(record), record.accuracy.model_dump_json()), record)
    names = _names(judged)
    found: dict[Model, list[Worth]] = {}
    for (model, _), record in published.items():
        assert record.accuracy is not None
        found.setdefault(model, []).append(Worth(data_of(record.accuracy), record.accuracy, (record,)))
    for (model, how), trainings in judged.items():
        own = tuple(sorted(trainings.values(), key=_training_order))
        mean = mean_accuracy([one.accuracy for one in own if one.accuracy])
        assert mean is not None
        found.setdefault(model, []).append(Worth(names[how], mean, own, how))
    return {model: tuple(worths) for model, worths in found.items()}


def _training_order(record: Record) -> tuple[int, str]:
    """By seed, where the weights tell."""
    seed = record.accuracy.evaluated.training_seed if record.accuracy and record.accuracy.evaluated else None
    return (-1 if seed is None else seed, record.identity.weights or "")


def _names(judged: Iterable[tuple[Model, Judged]]) -> dict[Judged, str]:
    """Data that are called alike are told apart by their digests."""
    digests: dict[str, set[str | None]] = {}
    ways = {how for _, how in judged}
    for how in ways:
        digests.setdefault(how.data, set()).add(how.digest)
    return {how: how.data if len(digests[how.data]) == 1 else f"{how.data} ({(how.digest or '')[:8]})" for how in ways}
