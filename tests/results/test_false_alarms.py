"""A simulated clock whose sessions, instances and rounds vary: the same is seldom called different, and 3 % is found.

It makes the claims of docs/profiling.md, which `benchmarks/false_alarms.py` holds to a machine.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from proscale_bench.results.statistics import (
    Estimate,
    Ratio,
    difference_of,
    independent_ratio,
    median_of_ratios,
    paired_ratio,
    ratio_of_sittings,
)

Times = list[list[float]]  # by session
SESSION = 0.01  # one standard deviation: of a process, whatever runs in it
INSTANCES = 0.012  # of a ratio of two in one process
SLOWER = 1.03


def measured(
    generator: np.random.Generator, sessions: int, rounds: int = 40, by: float = 1.0, level: float = 0.0
) -> tuple[Times, Times]:
    """Milliseconds of a model that is `by` times slower, and of its baseline, in turns.

    Args:
        level: of the machine in this sitting, in logarithms.

    What slows a round slows the next ones less and less (a coefficient of 0.5); some rounds of either are far slower,
    as where another program takes the core; each instance in a process has a speed of its own.
    """
    weather = generator.normal(0, 0.02, (sessions, rounds))
    for place in range(1, rounds):
        weather[:, place] += 0.5 * weather[:, place - 1]

    def times(speed: float) -> np.ndarray:
        late = np.where(generator.random((sessions, rounds)) < 0.15, generator.exponential(0.3, (sessions, rounds)), 0)
        own = generator.normal(0, INSTANCES / 2**0.5, (sessions, 1)) + late
        return speed * np.exp(own_level + weather + own + generator.normal(0, 0.01, (sessions, rounds)))

    own_level = level + generator.normal(0, SESSION, (sessions, 1))
    return times(20.0 * by).tolist(), times(25.0).tolist()


def is_clear(low: float, high: float) -> bool:
    return not low <= 0 <= high


def saving(ratio: Ratio, sessions: int) -> Estimate:
    return Estimate(100 * (1 - ratio.value), (100 * (1 - ratio.high), 100 * (1 - ratio.low)), sessions)


def log_of(ratio: Ratio, sessions: int = 8) -> Estimate:
    return Estimate(math.log(ratio.value), (math.log(ratio.low), math.log(ratio.high)), sessions)


def share_of_savings(sessions: int, by: float, pairs: int) -> float:
    """The share of pairs whose paired savings are called different."""
    generator, found = np.random.default_rng(sessions), 0
    for _ in range(pairs):
        old, new = (saving(paired_ratio(*measured(generator, sessions, by=slower)), sessions) for slower in (1.0, by))
        found += is_clear(*difference_of(new, old))
    return found / pairs


def test_savings_of_one_session_a_side_are_seldom_called_different() -> None:
    assert share_of_savings(1, 1.0, 300) <= 0.05


def test_savings_over_eight_sessions_a_side_are_seldom_called_different_and_tell_3_percent() -> None:
    assert share_of_savings(8, 1.0, 80) <= 0.05
    assert share_of_savings(8, SLOWER, 60) >= 0.95


def test_two_that_do_the_same_in_one_session_are_seldom_called_different() -> None:
    """Their rounds alone call them so more often than not: no round shows how two instances differ."""
    generator, found, by_rounds = np.random.default_rng(2), 0, 0
    for _ in range(300):
        (new,), (old,) = measured(generator, 1, rounds=100, by=25 / 20)
        found += paired_ratio([new], [old]).significant
        by_rounds += median_of_ratios(new, old).significant
    assert found / 300 <= 0.05
    assert by_rounds / 300 >= 0.4


@pytest.mark.parametrize(("by", "least", "most"), [(1.0, 0.0, 0.05), (SLOWER, 0.8, 1.0)])
def test_times_net_of_the_baseline_over_eight_sessions_a_side(by: float, least: float, most: float) -> None:
    """As `compare` has them, of sittings between which the machine became a tenth slower."""
    generator, found = np.random.default_rng(3), 0
    for _ in range(80):
        old, new = (
            log_of(paired_ratio(*measured(generator, 8, by=one, level=place / 10)))
            for place, one in ((0, 1.0), (1, by))
        )
        found += is_clear(*difference_of(new, old))
    assert least <= found / 80 <= most


def test_times_of_two_sittings_are_seldom_called_different_though_the_machine_drifts() -> None:
    """By the spread of sessions over their number they are, most of the time."""
    generator, found, as_many = np.random.default_rng(4), 0, 0
    for _ in range(400):
        drift = np.cumsum(generator.normal(0, 0.02, 16))  # of sessions in a row
        times = [[[20.0 * math.exp(one)] * 10 for one in side] for side in (drift[:8], drift[8:])]
        found += ratio_of_sittings(*times).significant
        as_many += independent_ratio(*times).significant
    assert found / 400 <= 0.05
    assert as_many / 400 >= 0.3


def test_times_of_two_sittings_tell_what_no_session_reaches() -> None:
    generator = np.random.default_rng(5)
    (old, _), (new, _) = (measured(generator, 8, by=by) for by in (1.0, 1.2))
    found = ratio_of_sittings(new, old)
    assert found.significant
    assert found.low < 1.2 < found.high
    with pytest.raises(ValueError, match="two sessions"):
        ratio_of_sittings(new, old[:1])


def test_sessions_in_a_row_that_go_alike_say_less() -> None:
    """A load that comes and goes over sessions: they are not so many independent ones."""
    rises = [[10.0 + 0.1 * place] * 10 for place in range(8)]
    mixed = [rises[place] for place in (0, 7, 1, 6, 2, 5, 3, 4)]
    base = [[10.0 + 0.001 * place] * 10 for place in (0, 7, 1, 6, 2, 5, 3, 4)]
    alike, apart = (independent_ratio(one, base) for one in (rises, mixed))
    assert alike.value == pytest.approx(apart.value)
    assert alike.high - alike.low > 1.3 * (apart.high - apart.low)
