"""Intervals of means of trainings, held against what they say: how often they hold the truth in simulated worlds."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from proscale_bench.analysis.mean_interval import interval_of_mean
from proscale_bench.evaluation.bootstrap import resample_weights

WORLDS, IMAGES, RESAMPLES = 2000, 256, 400  # so 0.95 of the worlds is found to 0.005, one standard deviation
DRAWS = resample_weights(IMAGES, RESAMPLES) / IMAGES
TRUTH_PCT = 50.0


def simulated(trainings: int, ratio: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies of the trainings [worlds, trainings] and their mean's interval over images [worlds, 2].

    Args:
        ratio: variance between trainings, in that of the mean of the images.
    """
    generator = np.random.default_rng(seed)
    images = generator.normal(TRUTH_PCT, 10, (WORLDS, IMAGES))  # alike for all trainings: they are of one data set
    luck = generator.normal(0, 10 * (ratio / IMAGES) ** 0.5, (WORLDS, trainings))
    means = images.mean(axis=1, keepdims=True)
    replicates = images @ DRAWS.T + luck.mean(axis=1, keepdims=True)
    return means + luck, np.percentile(replicates, [2.5, 97.5], axis=1).T


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("trainings", [2, 3, 5])
def test_the_mean_of_trainings_lies_in_its_interval_as_often_as_it_says(trainings: int, ratio: float) -> None:
    values, of_images = simulated(trainings, ratio, seed=trainings)
    pairs = zip(values.tolist(), of_images.tolist(), strict=True)
    intervals = np.array([interval_of_mean(found, (low, high)) for found, (low, high) in pairs])
    held = np.mean((intervals[:, 0] <= TRUTH_PCT) & (intervals[:, 1] >= TRUTH_PCT))
    assert held >= 0.94
    assert held <= (0.99 if trainings == 2 else 0.98)  # Student's t of one degree of freedom is generous


def test_each_side_is_the_root_of_the_sum_of_squares() -> None:
    off = 4.302653 * statistics.stdev((58.0, 60.0, 62.0)) / 3**0.5  # Student's t, 97.5 %, two degrees of freedom
    found = interval_of_mean([58.0, 60.0, 62.0], (57.0, 68.0))
    assert found == pytest.approx((60 - (off**2 + 3**2) ** 0.5, 60 + (off**2 + 8**2) ** 0.5))
    assert interval_of_mean([60.0, 60.0], (57.0, 68.0)) == (57.0, 68.0)  # trainings agree: what is left are images
    assert interval_of_mean([58.0, 60.0, 62.0], (60.0, 60.0)) == pytest.approx((60 - off, 60 + off))


def test_no_accuracy_lies_outside_0_to_100() -> None:
    assert interval_of_mean([1.0, 9.0], (4.0, 6.0))[0] == 0
    assert interval_of_mean([91.0, 99.0], (94.0, 96.0))[1] == 100


def test_a_mean_that_its_replicates_are_all_above_is_still_in_its_interval() -> None:
    low, high = interval_of_mean([40.0, 40.0], (41.0, 43.0))
    assert low <= 40 <= high


@pytest.mark.parametrize(("trainings", "quantile"), [(2, 12.7062), (5, 2.77645), (11, 2.22814), (31, 2.04227)])
def test_many_trainings_have_students_t_too(trainings: int, quantile: float) -> None:
    values = [50.0 + place for place in range(trainings)]
    mean = statistics.fmean(values)
    low, high = interval_of_mean(values, (mean, mean))
    off = quantile * statistics.stdev(values) / trainings**0.5
    assert (low, high) == pytest.approx((max(0, mean - off), min(100, mean + off)), rel=1e-5)
