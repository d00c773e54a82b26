"""Intervals of medians and of their ratio: how often they hold the truth of simulated worlds."""

from __future__ import annotations

import numpy as np
import pytest

from proscale_bench.results.statistics import median_interval, ratio_of_medians

WORLDS = 400  # 0.95 of them is found to 0.011, one standard deviation


@pytest.mark.parametrize("rounds", [10, 20])
def test_medians_and_ratios_lie_in_their_intervals_as_often_as_these_say(rounds: int) -> None:
    generator = np.random.default_rng(1)
    weather = generator.lognormal(0, 0.1, (WORLDS, 1, rounds))  # what slows both in a round
    samples = weather * generator.lognormal(0, 0.02, (WORLDS, 2, rounds)) * np.array([[100.0], [90.0]])
    medians = ratios = 0
    for old, new in samples.tolist():
        low, high = median_interval(old)
        medians += low <= 100 <= high
        ratio = ratio_of_medians(new, old)
        ratios += ratio.low <= 0.9 <= ratio.high
    assert medians / WORLDS >= 0.93
    assert ratios / WORLDS >= 0.94
