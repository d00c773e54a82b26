"""Statistics: against their definitions, and properties that hold for any samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.results.statistics import (
    MIN_PAIRS,
    Estimate,
    difference_of,
    drift,
    half_width,
    in_sessions,
    independent_ratio,
    interval_of,
    median,
    median_interval,
    median_of_ratios,
    outliers,
    paired_ratio,
    percentile,
    typical,
    typical_interval,
)

SAMPLES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(SAMPLES, st.floats(0, 100))
def test_percentiles_are_numpys(samples: list[float], percent: float) -> None:
    assert percentile(samples, percent) == pytest.approx(float(np.percentile(samples, percent)))
    assert median(samples) == pytest.approx(percentile(samples, 50))


@settings(max_examples=40, deadline=None)
@given(SAMPLES)
def test_the_interval_holds_the_median_lies_within_the_samples_and_is_the_same_every_time(samples: list[float]) -> None:
    low, high = median_interval(samples)
    assert min(samples) - 1e-9 <= low <= median(samples) + 1e-9
    assert median(samples) - 1e-9 <= high <= max(samples) + 1e-9
    assert median_interval(samples) == (low, high)


@settings(max_examples=40, deadline=None)
@given(SAMPLES, st.floats(0.1, 10))
def test_scaled_samples_have_a_scaled_interval_and_an_exact_ratio(samples: list[float], factor: float) -> None:
    scaled = [factor * sample for sample in samples]
    assert median_interval(scaled) == pytest.approx([factor * side for side in median_interval(samples)])
    ratio = median_of_ratios(scaled, samples)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((factor, factor, factor))


def test_the_interval_of_the_median_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        low, high = median_interval(list(generator.lognormal(0, 0.3, size=30)))
        covered += low <= 1 <= high
    assert 180 <= covered <= 199


def test_the_interval_of_a_median_of_ratios_covers_as_often_as_it_says() -> None:
    """15 rounds in turns, with what slows both in a round: 0.95 of 300 is found to 0.013, one standard deviation."""
    generator, covered = np.random.default_rng(8), 0
    for _ in range(300):
        weather = generator.lognormal(0, 0.1, size=15)
        new, old = (list(weather * generator.lognormal(0, 0.05, size=15)) for _ in range(2))
        found = median_of_ratios(new, old)
        covered += found.low <= 1 <= found.high
    assert 0.925 <= covered / 300 <= 0.99


def test_what_slows_both_in_a_round_does_not_count_against_either() -> None:
    generator = np.random.default_rng(1)
    weather = generator.uniform(1, 3, size=40)  # another program
    old = list(100 * weather)
    new = list(90 * weather * generator.normal(1, 0.005, size=40))
    paired = median_of_ratios(new, old)
    assert paired.significant
    assert paired.high - paired.low < 0.1
    assert half_width(new) > 0.1  # either alone says little
    shuffled = median_of_ratios(list(generator.permutation(new)), old)
    assert not shuffled.significant


def test_equal_samples_are_not_significantly_different() -> None:
    samples = [10.0, 11.0, 12.0, 10.5, 11.5, 10.2, 11.8]
    ratio = median_of_ratios(samples, list(reversed(samples)))
    assert ratio.value == 1
    assert not ratio.significant


@pytest.mark.parametrize("pairs", [1, 3, MIN_PAIRS - 1, MIN_PAIRS])
def test_few_pairs_are_never_significant(pairs: int) -> None:
    assert median_of_ratios([50.0] * pairs, [100.0] * pairs).significant is (pairs >= MIN_PAIRS)


@pytest.mark.parametrize(("new", "old"), [([1.0], [1.0, 2.0]), ([], [])])
def test_samples_of_other_rounds_are_refused(new: list[float], old: list[float]) -> None:
    with pytest.raises(ValueError, match="pairs"):
        median_of_ratios(new, old)


def test_outliers_are_found_and_a_steady_clock_makes_none() -> None:
    assert outliers([10.0, 10.1, 9.9, 10.05, 30.0, 10.0, 9.95]) == [4]
    assert outliers([10.0] * 9) == []
    assert outliers([10.0] * 9 + [10.001]) == []
    assert outliers([10.0] * 9 + [20.0]) == [9]


def test_drift_is_the_second_half_against_the_first() -> None:
    assert drift([10.0] * 5 + [11.0] * 5) == pytest.approx(0.1)
    assert drift([10.0] * 5 + [99.0] + [9.0] * 5) == pytest.approx(-0.1)
    assert drift([1.0, 2.0, 3.0]) == 0


def test_the_interval_of_replicates_holds_95_percent_and_more_of_few_images() -> None:
    replicates = [float(value) for value in range(1001)]
    assert interval_of(replicates, 500.0, 10**6) == pytest.approx((24.05, 975.95), abs=0.01)
    low, high = interval_of(replicates, 500.0, 50)  # Student's t of 49 degrees of freedom times sqrt(50 / 49): 2.0300
    assert (low, high) == pytest.approx((20.22, 979.78), abs=0.01)
    assert interval_of(replicates, 500.0, 1) == (0.0, 1000.0)  # one image says nothing of others


def test_the_interval_is_corrected_for_bias_and_holds_its_value() -> None:
    replicates = [float(value) for value in range(1001)]
    shifted = interval_of(replicates, 400.0, 10**6)  # z = -0.2533: shares Phi(-0.5066 -+ 1.96)
    assert shifted == pytest.approx((5.84, 927.84), abs=0.02)
    mirrored = interval_of(replicates, 600.0, 10**6)
    assert mirrored == pytest.approx((1000 - shifted[1], 1000 - shifted[0]), abs=0.01)
    for value in (-50.0, 0.0, 1000.0, 1050.0):  # beyond a standard deviation no tail is trusted
        low, high = interval_of(replicates, value, 256)
        assert low <= value <= high
        assert high - low >= 480
    assert interval_of([7.0] * 100, 7.0, 256) == (7.0, 7.0)


# --- Sessions: a simulated clock, in which whole sessions are slower or faster by a percent or two ---

PAIRS = 120


def simulated(
    generator: np.random.Generator, sessions: int, between: float = 0.01, within: float = 0.01, slower: float = 1.0
) -> list[list[float]]:
    """Rounds of several sessions of one model, in milliseconds."""
    levels = 100 * slower * np.exp(generator.normal(0, between, size=sessions))
    return [list(level * np.exp(generator.normal(0, within, size=15))) for level in levels]


def found_different(seed: int, slower: float, **how: float) -> float:
    """The share of pairs of five sessions a side that are called different."""
    generator = np.random.default_rng(seed)
    sides = ((simulated(generator, 5, slower=slower, **how), simulated(generator, 5, **how)) for _ in range(PAIRS))
    return sum(independent_ratio(new, old).significant for new, old in sides) / PAIRS


def test_the_same_thing_in_other_sessions_is_not_called_different() -> None:
    assert found_different(1, 1.0) <= 0.05
    assert found_different(2, 1.0, between=0.0, within=0.03) <= 0.05


def test_a_slowdown_of_3_percent_is_found_over_sessions() -> None:
    assert found_different(3, 1.03) >= 0.8


def test_one_session_a_side_would_be_called_different_most_of_the_time() -> None:
    """The rounds of a session do not know how sessions differ: this is why one is never enough."""
    generator = np.random.default_rng(4)
    pairs = [(simulated(generator, 1)[0], simulated(generator, 1)[0]) for _ in range(PAIRS)]
    assert sum(median_of_ratios(new, old).significant for new, old in pairs) > 0.4 * PAIRS
    with pytest.raises(ValueError, match="two sessions"):
        independent_ratio([pairs[0][0]], [pairs[0][1]])


def test_the_saving_of_one_session_is_paired_so_that_the_session_drops_out() -> None:
    """Rounds tell 6 %. Less than 3 % they cannot tell, however many: two instances in one process differ so."""
    generator = np.random.default_rng(5)

    def share_found(slower: float) -> float:
        count = 0
        for _ in range(PAIRS):
            rounds = np.exp(generator.normal(0, 0.05, size=20))
            new, old = (list(100 * by * rounds * np.exp(generator.normal(0, 0.01, size=20))) for by in (slower, 1.0))
            count += paired_ratio([new], [old]).significant
        return count / PAIRS

    assert share_found(1.0) <= 0.05
    assert share_found(1.03) < 0.5
    assert share_found(1.06) >= 0.95


def spiky(generator: np.random.Generator, by: float = 1.0) -> tuple[list[list[float]], list[list[float]]]:
    """Eight sessions of 100 rounds of a model and its baseline, some rounds of either far slower than the others."""

    def times() -> np.ndarray:
        late = np.where(generator.random((8, 100)) < 0.25, np.exp(generator.exponential(0.3, (8, 100))), 1.0)
        return 25 * late * np.exp(generator.normal(0, 0.04, (8, 100)))

    speed = np.exp(generator.normal(0, 0.02, (8, 1)))  # of a session: both have it
    return (by * 0.9 * speed * times()).tolist(), (speed * times()).tolist()


def test_savings_over_sessions_tell_3_percent_though_rounds_are_slowed() -> None:
    """The paired saving of eight sessions a side: one thing is seldom called different, and 3 % is found."""
    generator = np.random.default_rng(6)

    def share_found(by: float) -> float:
        count = 0
        for _ in range(30):
            before, after = (paired_ratio(*spiky(generator, slower)) for slower in (1.0, by))
            old, new = (Estimate(1 - one.value, (1 - one.high, 1 - one.low), 8) for one in (before, after))
            low, high = difference_of(new, old)
            assert low <= new.value - old.value <= high
            count += not low <= 0 <= high
        return count / 30

    assert share_found(1.0) <= 0.05
    assert share_found(1.03) >= 0.95


def test_the_difference_of_two_estimates() -> None:
    one, other = Estimate(10.0, (9.0, 12.0), 1), Estimate(6.0, (4.0, 7.0), 1)  # a session each: as squares add up
    assert difference_of(one, other) == pytest.approx((4 - 2**0.5, 4 + 8**0.5))
    few, more = (Estimate(10.0, (10 - by, 10 + by), 5) for by in (2.776445, 2.776445))  # t of four degrees of freedom
    assert difference_of(few, more) == pytest.approx((-2.306004 * 2**0.5, 2.306004 * 2**0.5))  # of eight, together
    exact = Estimate(3.0, (3.0, 3.0), 5)
    assert difference_of(exact, exact) == (0.0, 0.0)


def test_sessions_are_split_and_summarised() -> None:
    samples = [1.0, 2.0, 3.0, 40.0, 50.0]
    sessions = in_sessions(samples, (3, 2))
    assert sessions == [[1.0, 2.0, 3.0], [40.0, 50.0]]
    assert typical(sessions) == pytest.approx((2 * 45) ** 0.5)
    low, high = typical_interval(sessions)
    assert low < 2
    assert high > 45  # two sessions know next to nothing
    assert in_sessions(samples, ()) == [samples]
    assert typical([samples]) == median(samples)
    assert typical_interval([samples]) == median_interval(samples)
    with pytest.raises(ValueError, match="expected 4 samples"):
        in_sessions(samples, (2, 2))
