"""Accuracies of models, of single trainings or as means of several. Pure functions of records.

Trainings are averaged where model, recipe, start, data and evaluation are equal and their seeds are known and differ;
everything else stands by itself. The interval of a mean says how far it may be off.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from proscale_bench.analysis.labels import MEAN, distinct, execution_traits, protocol_traits
from proscale_bench.analysis.mean_interval import interval_of_mean
from proscale_bench.results.accuracy import ACCURACIES, EXTRAS, Accuracy, Evaluated
from proscale_bench.results.model_key import ModelKey, model_of
from proscale_bench.results.profile import Execution
from proscale_bench.results.published import data_of
from proscale_bench.results.record import EvaluationProtocol, Record, protocol_of
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import interval_of


class EvaluationKey(NamedTuple):
    """The conditions of an accuracy that was found here. Two results under different conditions are never joined.

    Args:
        data: their name.
        digest: of the images.
        protocol: of an older record as far as that says it, so it is another than that of a newer one.
        execution: without the machine's name and its threads: machines of one kind find the same.
    """

    data: str
    images: int
    digest: str | None
    protocol: EvaluationProtocol | None
    execution: Execution | None


@dataclass(frozen=True)
class Evaluation:
    """An accuracy of a model on some data: published, or found here.

    Args:
        data: their name, which no other data have.
        accuracy: of one training, or the mean of several.
        records: where it comes from, a record a training.
        key: the conditions; None where others found it.
    """

    data: str
    accuracy: Accuracy
    records: tuple[Record, ...]
    key: EvaluationKey | None = None

    @property
    def trainings(self) -> int:
        return len(self.records)


def evaluation_key(record: Record) -> EvaluationKey:
    """The conditions under which an evaluation's accuracy was found."""
    accuracy, how = record.accuracy, record.execution
    return EvaluationKey(
        data_of(accuracy) if accuracy else record.input.size,
        record.input.images,
        record.input.dataset,
        protocol_of(record),
        how.model_copy(update={"device_name": "", "threads": 0}) if how else None,
    )


def key_names(records: Iterable[Record]) -> dict[EvaluationKey, str]:
    """A name for each way in which records were evaluated, unlike every other: `val, resize 400`."""
    first = {evaluation_key(one): one for one in records if one.is_evaluated}
    data = _data_names(first.values())
    names = distinct(
        [data[_data_key(one)] for one in first.values()],
        [dict([*protocol_traits(one), *execution_traits(one)]) for one in first.values()],
    )
    return dict(zip(first, names, strict=True))


def evaluations_of(records: Sequence[Record]) -> dict[ModelKey, tuple[Evaluation, ...]]:
    """The evaluations of every model: first what is published, then what was found here.

    What is published is the same wherever it stands; of two records of one file of weights, the newer.
    """
    published: dict[tuple[ModelKey, str], Record] = {}
    measured: dict[tuple[ModelKey, EvaluationKey], dict[str | None, Record]] = {}
    for record in sorted(records, key=lambda one: (one.provenance.created, one.digest)):
        if record.is_evaluated:
            measured.setdefault((model_of(record), evaluation_key(record)), {})[record.identity.trained] = record
    for record in records:
        if record.accuracy is not None and not record.is_evaluated:
            published.setdefault((model_of(record), record.accuracy.model_dump_json()), record)
    names = _data_names([record for group in measured.values() for record in group.values()])
    found: dict[ModelKey, list[Evaluation]] = {}
    for (model, _), record in published.items():
        assert record.accuracy is not None
        found.setdefault(model, []).append(Evaluation(data_of(record.accuracy), record.accuracy, (record,)))
    order = {evaluation_key(record): None for record in records if record.is_evaluated}
    for key in order:
        for model, weights in [(model, group) for (model, other), group in measured.items() if other == key]:
            for own in _trainings(list(weights.values())):
                mean = _mean_of(tuple(_Same(one.accuracy) for one in own if one.accuracy))
                assert mean is not None
                found.setdefault(model, []).append(Evaluation(names[_data_key(own[0])], mean, own, key))
    return {model: tuple(evaluations) for model, evaluations in found.items()}


class _Same(NamedTuple):
    """An accuracy that equals itself alone, so that looking it up compares no draws."""

    accuracy: Accuracy

    def __hash__(self) -> int:
        return id(self.accuracy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.accuracy is other.accuracy


@lru_cache(maxsize=10_000)
def _mean_of(found: tuple[_Same, ...]) -> Accuracy | None:
    """`mean_accuracy`, once of the same: a report asks for every view, and the draws of thousands take a minute."""
    return mean_accuracy([one.accuracy for one in found])


def _trainings(records: Sequence[Record]) -> Iterator[tuple[Record, ...]]:
    """Weights of one model that were evaluated alike, those together that are trainings of one recipe.

    Where a gate chose exits, each training has a cost of its own, and stands by itself.
    """
    groups: dict[object, list[Record]] = {}
    for record in sorted(records, key=lambda one: (_seed(one), one.identity.trained or "")):
        how = record.evaluated
        known = how and how.training_seed is not None and how.training_recipe is not None
        known = known and not (record.cost and record.cost.exits)
        recipe = (how.training_recipe, how.training_start) if how and known else len(groups)
        groups.setdefault(recipe, []).append(record)
    for group in groups.values():
        if len({_seed(one) for one in group}) == len(group):
            yield tuple(group)
        else:  # two files of one seed: nobody can tell which of them is the training
            yield from ((one,) for one in group)


def _seed(record: Record) -> int:
    how = record.evaluated
    return -1 if how is None or how.training_seed is None else how.training_seed


def _data_key(record: Record) -> tuple[str, str | None, str | None]:
    """Data that an accuracy is of: their name, the folder, and the digest of the annotations."""
    accuracy, how, protocol = record.accuracy, record.evaluated, protocol_of(record)
    assert accuracy is not None
    return data_of(accuracy), how.data_folder if how else None, protocol.annotations if protocol else None


def _data_names(records: Iterable[Record]) -> dict[tuple[str, str | None, str | None], str]:
    """Data that are called alike are told apart by their folders, or by their digests."""
    known: dict[str, dict[str | None, set[str | None]]] = {}
    keys = dict.fromkeys(map(_data_key, records))
    for name, folder, digest in keys:
        known.setdefault(name, {}).setdefault(digest, set()).add(folder)
    names = {}
    for name, folder, digest in keys:
        digests = known[name]
        folders = [folder for folders in digests.values() for folder in folders]
        told = all(len(one) == 1 for one in digests.values()) and None not in folders
        by_folder = told and len(set(folders)) == len(digests)
        names[name, folder, digest] = (
            name if len(digests) == 1 else f"{name} ({folder if by_folder else (digest or '')[:8]})"
        )
    return names


def mean_accuracy(found: Sequence[Accuracy]) -> Accuracy | None:
    """The accuracy of one training, or the mean of several with its interval; None of none.

    Its interval joins two sources, images and trainings: see `interval_of_mean`.
    """
    if len(found) < 2:
        return found[0] if found else None
    first = found[0]
    names = (*ACCURACIES, *EXTRAS)
    means = {name: _mean([getattr(one, name) for one in found]) for name in names}
    how = first.evaluated
    if how is not None:
        named = [name for name in how.intervals if means[name] is not None]
        intervals = {name: interval for name in named if (interval := _interval(found, name))}
        own: dict[str, object] = {
            "replicates": {},
            "classes": (),
            "training_seed": None,
            "different_maps": None,
        }  # of a single training
        warnings = tuple(dict.fromkeys(line for one in found if one.evaluated for line in one.evaluated.warnings))
        how = how.model_copy(update={**own, "intervals": intervals, "warnings": warnings})
    return first.model_copy(update={**means, "evaluated": how, "source": _source(found)})


def _source(found: Sequence[Accuracy]) -> str:
    """A sentence on the trainings that an accuracy is the mean of: `mean of seeds 0, 1, 2`."""
    seeds = [one.evaluated.training_seed if one.evaluated else None for one in found]
    if None in seeds:
        return f"{MEAN}{len(found)} trainings"
    return f"{MEAN}seeds {', '.join(map(str, seeds))}"[:200]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _interval(found: Sequence[Accuracy], name: str) -> Interval | None:
    """The interval of a mean; None where that of a training is not known."""
    how = [one.evaluated for one in found if one.evaluated and name in one.evaluated.intervals]
    if len(how) < len(found):
        return None
    values = [getattr(one, name) for one in found]
    return interval_of_mean(values, _over_images(how, name, statistics.fmean(values)))


def _over_images(how: Sequence[Evaluated], name: str, mean: float) -> Interval:
    """The interval of a mean over the images alone, which all trainings share.

    Replicates of the same draws are averaged draw by draw. Those of different draws cannot be: as if what is hard for
    one training were hard for all, its ends are then the means of theirs, which is never too narrow.
    """
    drawn = [one.replicates.get(name, ()) for one in how]
    draws = {(one.seed, one.images_digest, len(replicates)) for one, replicates in zip(how, drawn, strict=True)}
    if all(drawn) and len(draws) == 1:
        return interval_of([statistics.fmean(draw) for draw in zip(*drawn, strict=True)], mean, how[0].images)
    low, high = (statistics.fmean(ends) for ends in zip(*(one.intervals[name] for one in how), strict=True))
    return low, high
