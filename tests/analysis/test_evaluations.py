"""The mean of several trainings, and how far it may be off."""

from __future__ import annotations

import statistics

import pytest

from proscale_bench.analysis.evaluations import mean_accuracy
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.record import Record
from tests.results.evaluations import evaluated


def of(one: Record) -> Accuracy:
    assert one.accuracy is not None
    return one.accuracy


def test_the_interval_of_a_mean_is_of_trainings_and_of_images() -> None:
    far = [of(evaluated(pq=value)) for value in (30.0, 40.0, 50.0)]
    mean = mean_accuracy(far)
    assert mean is not None
    assert mean.evaluated is not None
    low, high = mean.evaluated.intervals["pq"]
    off = 4.303 * statistics.stdev((30.0, 40.0, 50.0)) / 3**0.5  # Student's t, 97.5 %, two degrees of freedom
    assert (low, high) == pytest.approx((40 - off, 40 + off))
    alike = [of(evaluated(pq=40.0)) for _ in range(2)]  # the trainings agree: what is left are the images
    mean = mean_accuracy(alike)
    assert mean is not None
    assert mean.evaluated is not None
    low, high = mean.evaluated.intervals["pq"]
    assert (low, high) == pytest.approx((39.0, 41.0), abs=0.1)


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
