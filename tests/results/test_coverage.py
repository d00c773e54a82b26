"""Intervals of medians and of median ratios: how often they hold the truth of simulated worlds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from proscale_bench.results.statistics import median_interval, median_of_ratios

WORLDS = 1500  # 0.95 of them is found to 0.006, one standard deviation
ROUNDS = [6, 10, 15, 20, 50]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_medians_and_ratios_lie_in_their_intervals_as_often_as_these_say(rounds: int) -> None:
    generator = np.random.default_rng(1)
    weather = generator.lognormal(0, 0.1, (WORLDS, 1, rounds))  # what slows both in a round
    samples = weather * generator.lognormal(0, 0.02, (WORLDS, 2, rounds)) * np.array([[100.0], [90.0]])
    medians = ratios = 0
    for old, new in samples.tolist():
        low, high = median_interval(old)
        medians += low <= 100 <= high
        ratio = median_of_ratios(new, old)
        ratios += ratio.low <= 0.9 <= ratio.high
    assert 0.94 <= medians / WORLDS <= 0.98
    assert 0.94 <= ratios / WORLDS <= 0.98


@pytest.mark.parametrize(("rounds", "least"), [(20, 0.88), (50, 0.91), (100, 0.92)])
def test_rounds_that_share_what_slows_them_say_less(rounds: int, least: float) -> None:
    """A round has 0.4 of what slowed the one before; taken as independent, 0.83 of the intervals hold the median."""
    generator = np.random.default_rng(2)
    slowed = generator.normal(0, 1, (WORLDS, rounds + 20))
    for place in range(1, rounds + 20):
        slowed[:, place] += 0.4 * slowed[:, place - 1]
    held = [low <= 0 <= high for low, high in map(median_interval, slowed[:, 20:].tolist())]
    assert np.mean(held) >= least


def test_the_interval_is_that_of_the_ranks() -> None:
    """The second and the eighth hold the median in 0.961 of cases: the ends lie a little within."""
    assert 1 - 2 * binom.cdf(1, 9, 0.5) == pytest.approx(0.961, abs=1e-3)
    samples = [5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0]  # in an order that says nothing of the next one
    low, high = median_interval(samples)
    assert 2.0 < low < 2.3
    assert 7.7 < high < 8.0
    assert median_interval(samples[:5]) == (1.0, 9.0)  # too few for 0.95: all that there is
    assert median_interval([3.0]) == (3.0, 3.0)
