"""What a schedule costs on paper, takes on a device and is worth, side by side. Pure functions of records.

A joined row is a record whose sections come from several, so every metric, axis and table reads it like any other.
Weights of several seeds are one row: accuracies are means, and intervals are of the mean.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proscale_bench.analysis.runs import Setting, by_setting, evaluated, profiled, setting_of
from proscale_bench.results.accuracy import ACCURACIES, EXTRAS, Accuracy
from proscale_bench.results.record import Record
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import interval_of

Model = tuple[str, str]  # backbone, name

# Student's t, 97.5 %, by degrees of freedom: how far the mean of a few seeds may be off. Beyond, the normal's.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NORMAL_975 = 1.96


@dataclass(frozen=True)
class Join:
    """Rows of one table.

    Args:
        counted: at what their costs were counted; None: nothing was.
        timed: how their latencies were taken.
        judged: what their accuracies are of.
        rows: a record a schedule and backbone, in the order of tables.
        seeds: how many trainings are behind a row's accuracy, by (backbone, name).
    """

    counted: Setting | None
    timed: Setting | None
    judged: Setting | None
    rows: tuple[Record, ...]
    seeds: dict[Model, int]

    @property
    def is_measured(self) -> bool:
        """Something was found on a device, and not on paper alone."""
        return self.timed is not None or self.judged is not None


def joined(records: Iterable[Record]) -> list[Join]:
    """One join for every way in which something was timed or judged; none where nothing was.

    Latencies go with costs at the same size, and with accuracies found on the same kind of device, if there are any.
    """
    groups = by_setting(records)
    everything = [record for group in groups.values() for record in group]
    timed, judged = list(profiled(everything)), list(evaluated(everything))
    counted = [setting for setting in groups if setting.execution is None]
    failed = [record for record in everything if record.error and record.input.dataset]
    pairs: list[tuple[Setting | None, Setting | None]] = [(setting, _same_device(setting, judged)) for setting in timed]
    pairs += [(None, setting) for setting in judged if all(setting != other for _, other in pairs)]
    if failed and not pairs:
        pairs = [(None, None)]
    return [_Joining(groups, _same_size(one, counted), one, other, failed).join() for one, other in pairs]


def _same_device(timed: Setting, judged: Sequence[Setting]) -> Setting | None:
    kind = timed.execution.device if timed.execution else None
    alike = [setting for setting in judged if setting.execution and setting.execution.device == kind]
    return next(iter(alike or judged), None)


def _same_size(timed: Setting | None, counted: Sequence[Setting]) -> Setting | None:
    if timed is None:
        return next(iter(counted), None)
    return next((setting for setting in counted if setting.where == timed.where), None)


class _Joining:
    """Puts the sections of several records into one row a model.

    Costs are all of one setting: what was counted at another size stands in another table.
    """

    def __init__(
        self,
        groups: dict[Setting, list[Record]],
        counted: Setting | None,
        timed: Setting | None,
        judged: Setting | None,
        failed: Sequence[Record],
    ) -> None:
        self.counted, self.timed, self.judged = counted or timed or judged, timed, judged
        self.costs, self.times, self.worths = (
            groups.get(setting, []) if setting else [] for setting in (self.counted, timed, judged)
        )
        self.failed = failed
        self.rows: dict[Model, Record] = {}

    def join(self) -> Join:
        for record in (*self.costs, *self.times, *self.worths, *self.failed):
            bare = {"profile": None, "execution": None}
            if self.counted is None or setting_of(record) != self.counted:
                bare["cost"] = None
            self.rows.setdefault(_model(record), record.model_copy(update=bare))
        for record in self.times:
            self._add(record, execution=record.execution, profile=record.profile)
        seeds: dict[Model, int] = {}
        for model, trainings in self._trainings().items():
            seeds[model] = len(trainings)
            accuracies = [record.accuracy for record in trainings if record.accuracy]
            self._add(trainings[0], accuracy=mean_accuracy(accuracies))
        for record in self.failed:
            self._add(record)
        return Join(self.counted, self.timed, self.judged, tuple(self.rows.values()), seeds)

    def _trainings(self) -> dict[Model, list[Record]]:
        """The evaluations of every model, one of each weights."""
        found: dict[Model, dict[str | None, Record]] = {}
        for record in self.worths:
            found.setdefault(_model(record), {})[record.identity.weights] = record
        return {model: list(records.values()) for model, records in found.items()}

    def _add(self, record: Record, **sections: object) -> None:
        row = self.rows[_model(record)]
        self.rows[_model(record)] = row.model_copy(update={**sections, "error": row.error or record.error})


def mean_accuracy(found: Sequence[Accuracy]) -> Accuracy | None:
    """The accuracy of one training, or the mean of several with its interval.

    The interval of a mean has two parts: the images that were drawn (the seeds' draws are the same, so their
    replicates are averaged draw by draw) and the trainings (Student's t); it is the wider of the two.
    """
    if len(found) < 2:
        return found[0] if found else None
    first = found[0]
    names = (*ACCURACIES, *EXTRAS)
    means = {name: _mean([getattr(one, name) for one in found]) for name in names}
    how = first.evaluated
    if how is not None:
        intervals = {name: interval for name in how.intervals if (interval := _interval(found, name, means[name]))}
        how = how.model_copy(update={"intervals": intervals, "replicates": {}, "classes": (), "training_seed": None})
    return first.model_copy(update={**means, "evaluated": how, "source": f"mean of {len(found)} trainings"})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _interval(found: Sequence[Accuracy], name: str, mean: float | None) -> Interval | None:
    values = [getattr(one, name) for one in found]
    if mean is None:
        return None
    off = _t(len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    low, high = mean - off, mean + off
    draws = [one.evaluated.replicates.get(name) if one.evaluated else None for one in found]
    if all(draws) and len({len(drawn) for drawn in draws if drawn}) == 1:
        of_images = interval_of([statistics.fmean(drawn) for drawn in zip(*draws, strict=True)])
        low, high = min(low, of_images[0]), max(high, of_images[1])
    return low, high


def _t(degrees: int) -> float:
    return T_975[degrees - 1] if degrees <= len(T_975) else NORMAL_975


def _model(record: Record) -> Model:
    return record.identity.backbone, record.identity.name
