"""The mean of several trainings, and how far it may be off."""

from __future__ import annotations

import statistics

import pytest

from proscale_bench.analysis.evaluations import mean_accuracy
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.record import Record
from proscale_bench.results.statistics import interval_of
from tests.results.evaluations import DRAWS, draws, evaluated


def of(one: Record) -> Accuracy:
    assert one.accuracy is not None
    return one.accuracy


def interval(found: list[Accuracy]) -> tuple[float, float]:
    mean = mean_accuracy(found)
    assert mean is not None
    assert mean.evaluated is not None
    return mean.evaluated.intervals["pq"]


def with_draws(one: Accuracy, **changes: object) -> Accuracy:
    assert one.evaluated is not None
    return one.model_copy(update={"evaluated": one.evaluated.model_copy(update=changes)})


def test_the_interval_of_a_mean_is_of_trainings_and_of_images() -> None:
    far = [of(evaluated(pq=value)) for value in (30.0, 40.0, 50.0)]
    off = 4.302653 * statistics.stdev((30.0, 40.0, 50.0)) / 3**0.5  # Student's t, 97.5 %, two degrees of freedom
    images = interval_of(draws(40.0), 40.0, 256)
    sides = [(off**2 + (end - 40) ** 2) ** 0.5 for end in images]
    assert interval(far) == pytest.approx((40 - sides[0], 40 + sides[1]), rel=1e-6)
    alike = [of(evaluated(pq=40.0)) for _ in range(2)]  # the trainings agree: what is left are the images
    assert interval(alike) == pytest.approx((39.0, 41.0), abs=0.1)


def test_draws_of_other_seeds_or_numbers_are_not_averaged_as_if_they_were_the_same() -> None:
    one, other = of(evaluated(pq=40.0)), of(evaluated(pq=40.0, shift=DRAWS // 2))
    same = interval([one, other])  # what one gains in a draw the other loses
    assert same[1] - same[0] < 1.1
    assert other.evaluated is not None
    drawn = other.evaluated.replicates["pq"]
    unlike: list[dict[str, object]] = [{"seed": 1}, {"replicates": {"pq": drawn[:-1]}}, {"replicates": {}}]
    for changes in unlike:
        low, high = interval([one, with_draws(other, **changes)])
        assert (low, high) == pytest.approx((39.0, 41.0), abs=0.01)  # the means of the ends


def test_a_mean_has_no_interval_where_a_training_has_none() -> None:
    found = mean_accuracy([of(evaluated(pq=40.0)), of(evaluated(pq=41.0, resamples=0))])
    assert found is not None
    assert found.evaluated is not None
    assert found.evaluated.intervals == {}


def test_what_one_training_lacks_has_no_mean() -> None:
    accuracies = [of(evaluated()), of(evaluated()).model_copy(update={"ap": None})]
    mean = mean_accuracy(accuracies)
    assert mean is not None
    assert mean.ap is None
    assert mean.pq == 40.0
    assert mean_accuracy([]) is None
    assert mean_accuracy(accuracies[:1]) is accuracies[0]


def test_a_caution_of_any_training_is_one_of_the_mean() -> None:
    one, other = of(evaluated()), of(evaluated())
    assert other.evaluated is not None
    warned = other.model_copy(update={"evaluated": other.evaluated.model_copy(update={"warnings": ("beware",)})})
    mean = mean_accuracy([one, warned])
    assert mean is not None
    assert mean.evaluated is not None
    assert mean.evaluated.warnings == ("beware",)
