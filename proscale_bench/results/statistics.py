"""Statistics of samples: medians with intervals, ratios, outliers, drift. Never a bare mean.

Intervals are at 95 %, and the same samples give the same interval. Of one session they are found by ranks. Over several
they are Student's t of the logarithms of what each session found, with Welch's degrees of freedom for two sides: how
these spread holds the luck of sessions and, within them, of rounds. Drawing sessions and rounds within them anew is too
narrow by sqrt((S - 1) / S) and by Student's t (Davison and Hinkley 1997, "Bootstrap Methods and their Application",
3.8); widened by both, it called the same different more often than t does, and 3 % less often.
Rounds in a row, and sessions in a row, that go alike say less than so many: `_autocorrelation`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Sessions = Sequence[Sequence[float]]  # samples by session

CONFIDENCE_PCT = 95.0
MIN_PAIRS = 6  # fewer that all point one way happen by chance in over 5 % of cases: 2 / 2^5
INSTANCE = 0.015  # one standard deviation of a ratio of two that do the same in one process: see docs/profiling.md
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
OUTLIER_DEVIATIONS = 5.0
NORMAL = statistics.NormalDist().inv_cdf((1 + CONFIDENCE_PCT / 100) / 2)
LEAST = 1e-12  # nothing that is measured is less
MOST_BIAS = 1.0  # standard deviations of the replicates: beyond it their tails, of which few are drawn, would decide
FINEST_DEVIATION = 0.001  # of the median: a clock that always says the same makes nothing an outlier


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its interval, from so many pairs."""

    value: float
    low: float
    high: float
    pairs: int

    @property
    def significant(self) -> bool:
        """The interval does not contain 1, and there are pairs enough."""
        return self.pairs >= MIN_PAIRS and not self.low <= 1 <= self.high


@dataclass(frozen=True)
class PredictionError:
    """The errors of predictions, in percent of what was measured.

    Args:
        rank_correlation: Spearman's; None of one or two.
        models: number of them.
    """

    median_pct: float
    p95_pct: float
    rank_correlation: float | None
    models: int


def prediction_error(pairs: Sequence[tuple[float, float]]) -> PredictionError:
    """Compute the errors of predictions from pairs of (predicted, measured), of which there is one at least."""
    errors = [100 * abs(predicted - measured) / measured for predicted, measured in pairs]
    ranks = rank_correlation(*zip(*pairs, strict=True))
    return PredictionError(median(errors), percentile(errors, 95), ranks, len(pairs))


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's; None of fewer than three pairs, and where one side is the same throughout."""
    from scipy.stats import spearmanr

    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)


def median(samples: Sequence[float]) -> float:
    """The middle one, or the mean of the middle two."""
    return float(statistics.median(samples))


def percentile(samples: Sequence[float], percent: float) -> float:
    """Linear between the samples, the first at 0 and the last at 100 %, as numpy has it."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """The interval of the median, by ranks: sorted samples hold it as often as a fair coin falls so, whatever they are.

    Ranks are interpolated to 95 % (Hettmansperger and Sheather 1986, "Confidence Intervals Based on Interpolated Order
    Statistics"). Of fewer than six samples the ends are the least and the greatest, which hold it less often. Rounds
    in a row that share what slows them say less than so many: the reach is stretched by `_autocorrelation`.
    """
    import numpy as np

    ordered = np.sort(np.asarray(samples, dtype=float))
    count, middle = len(ordered), (len(ordered) - 1) / 2
    reach = (middle - _rank(count)) * math.sqrt(_autocorrelation(samples))
    ends = max(middle - reach, 0.0), min(middle + reach, count - 1.0)
    low, high = np.interp(ends, np.arange(count), ordered)
    return float(low), float(high)


def median_of_ratios(new: Sequence[float], old: Sequence[float]) -> Ratio:
    """`new` against `old`, round by round: what slowed both in one round does not count against either, nor do rounds
    in which one was slowed, as long as they are few. The interval is of these rounds alone.

    Raises:
        ValueError: they are not of the same rounds.
    """
    if len(new) != len(old) or not len(new):
        raise ValueError(f"expected pairs of samples, got {len(new)} and {len(old)}")
    ratios = _by_round(new, old)
    return Ratio(median(ratios), *median_interval(ratios), len(ratios))


def in_sessions(samples: Sequence[float], rounds: Sequence[int]) -> Sessions:
    """Samples, one session after another, by session.

    Args:
        rounds: the number of samples of each session; of none, all are of one.

    Raises:
        ValueError: they do not add up.
    """
    if not rounds:
        return [samples]
    if sum(rounds) != len(samples):
        raise ValueError(f"expected {sum(rounds)} samples of {len(rounds)} sessions, got {len(samples)}")
    ends = [sum(rounds[: index + 1]) for index in range(len(rounds))]
    return [samples[end - count : end] for end, count in zip(ends, rounds, strict=True)]


def typical(sessions: Sessions) -> float:
    """The median of one session; of several, the geometric mean of their medians."""
    return math.exp(statistics.fmean(map(_log, map(median, sessions)))) if len(sessions) > 1 else median(sessions[0])


def typical_interval(sessions: Sessions) -> tuple[float, float]:
    """The interval of `typical`: of one session by its rounds alone, of several by sessions and rounds."""
    if len(sessions) == 1:
        return median_interval(sessions[0])
    low, high = _log_mean(map(median, sessions)).interval
    return math.exp(low), math.exp(high)


def paired_ratio(new: Sessions, old: Sessions) -> Ratio:
    """`new` against `old`, which took turns in every session: the geometric mean of each session's median ratio.

    The interval of one session holds its rounds and, as a second independent source, what two instances of one thing
    in one process differ by (`INSTANCE`), which rounds do not show. Of several sessions the spread shows it.

    Raises:
        ValueError: they are not of the same rounds of the same sessions.
    """
    if len(new) != len(old):
        raise ValueError(f"expected the same sessions, got {len(new)} and {len(old)}")
    if len(new) == 1:
        rounds = median_of_ratios(new[0], old[0])
        value, low, high = map(_log, (rounds.value, rounds.low, rounds.high))
        below, above = (math.hypot(side, NORMAL * INSTANCE) for side in (value - low, high - value))
        return Ratio(rounds.value, math.exp(value - below), math.exp(value + above), rounds.pairs)
    if any(len(one) != len(other) for one, other in zip(new, old, strict=True)):
        raise ValueError("expected pairs of samples in every session")
    found = _log_mean(median(_by_round(*pair)) for pair in zip(new, old, strict=True))
    return found.ratio(sum(map(len, new)))


def independent_ratio(new: Sessions, old: Sessions) -> Ratio:
    """`new` against `old` of other sessions, of what no drift of the machine moves. The pairs are the fewer samples.

    Raises:
        ValueError: one session on a side: it cannot tell how sessions differ.
    """
    if min(len(new), len(old)) < 2:
        raise ValueError("expected two sessions a side at the least")
    top, bottom = (_log_mean(map(median, side)) for side in (new, old))
    variance = top.variance + bottom.variance
    parts = sum(side.variance**2 / side.freedom for side in (top, bottom))
    freedom = variance**2 / parts if parts else 1.0  # Welch's
    difference = _LogMean(top.value - bottom.value, variance, freedom)
    return difference.ratio(min(sum(map(len, side)) for side in (new, old)))


def ratio_of_sittings(new: Sessions, old: Sessions) -> Ratio:
    """`new` against `old`, each of sessions in a row at some time of its own. The pairs are the fewer samples.

    What drifts in a machine is shared by the sessions of a sitting and not by the two sittings, so a sitting is worth
    no more than one session, and the spread of its sessions is only taken for how far one may be off. Student's t has
    the freedom of the shorter sitting.

    Raises:
        ValueError: one session on a side: it cannot tell how sessions differ.
    """
    if min(len(new), len(old)) < 2:
        raise ValueError("expected two sessions a side at the least")
    top, bottom = ([_log(median(session)) for session in side] for side in (new, old))
    variance = statistics.variance(top) + statistics.variance(bottom)
    value, freedom = statistics.fmean(top) - statistics.fmean(bottom), min(len(new), len(old)) - 1
    return _LogMean(value, variance, freedom).ratio(min(sum(map(len, side)) for side in (new, old)))


@dataclass(frozen=True)
class _LogMean:
    """A mean of logarithms over sessions, or a difference of two, with its variance and the freedom of that."""

    value: float
    variance: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        reach = student(self.freedom) * math.sqrt(self.variance)
        return self.value - reach, self.value + reach

    def ratio(self, pairs: int) -> Ratio:
        low, high = self.interval
        return Ratio(math.exp(self.value), math.exp(low), math.exp(high), pairs)


def _log_mean(found: Iterable[float]) -> _LogMean:
    """Average what several sessions found, one number each."""
    logs = [_log(one) for one in found]
    variance = statistics.variance(logs) * _autocorrelation(logs) / len(logs)
    return _LogMean(statistics.fmean(logs), variance, len(logs) - 1)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, from so many sessions."""

    value: float
    interval: tuple[float, float]
    sessions: int


def difference_of(new: Estimate, old: Estimate) -> tuple[float, float]:
    """The interval of the difference of two that were found apart: their errors add up in squares.

    The interval of few sessions is as long as Student's t of their number; both sides together have Welch's degrees of
    freedom, so neither is as long there.
    """
    sides = (new, old)
    reach = [student(side.sessions - 1) if side.sessions > 1 else NORMAL for side in sides]
    variances = [((side.interval[1] - side.interval[0]) / (2 * by)) ** 2 for side, by in zip(sides, reach, strict=True)]
    total = sum(variances)
    few = sum(found**2 / (side.sessions - 1) for found, side in zip(variances, sides, strict=True) if side.sessions > 1)
    together = student(total**2 / few) if few else NORMAL
    (new_by, old_by), difference = [together / by for by in reach], new.value - old.value
    below = math.hypot(new_by * (new.value - new.interval[0]), old_by * (old.interval[1] - old.value))
    above = math.hypot(new_by * (new.interval[1] - new.value), old_by * (old.value - old.interval[0]))
    return difference - below, difference + above


def interval_of(replicates: Sequence[float], value: float, images: int) -> tuple[float, float]:
    """The 95 % interval of a metric of so many images, which is `value`, from replicates on images drawn anew.

    The middle 95 % of replicates are too narrow by sqrt((n - 1) / n), lack Student's t, and are off twice where the
    metric is off once. So its ends are at the shares Phi(2 z - q) and Phi(2 z + q) of the replicates: q is the quantile
    of Student's t times sqrt(n / (n - 1)) (the expanded percentile interval: Hesterberg 2015, "What Teachers Should
    Know About the Bootstrap"), and z = Phi^-1(share of replicates below the value) corrects the bias (BC: Efron 1987,
    "Better Bootstrap Confidence Intervals"; its acceleration gained nothing, and draws that lack a class upset it).
    How often it holds the truth: `tests/evaluation/test_coverage.py`.
    """
    import numpy as np

    normal, found = statistics.NormalDist(), np.asarray(replicates, dtype=float)
    if images < 2:  # which say nothing of others
        return min(float(found.min()), value), max(float(found.max()), value)
    below = float(np.mean(found < value) + np.mean(found == value) / 2)
    bias = normal.inv_cdf(min(max(below, normal.cdf(-MOST_BIAS)), normal.cdf(MOST_BIAS)))
    reach = student(images - 1) * math.sqrt(images / (images - 1))
    shares = [normal.cdf(2 * bias - reach), normal.cdf(2 * bias + reach)]
    low, high = np.quantile(found, shares, method="weibull")  # the k-th of B has k / (B + 1) below it, not k / B
    return min(float(low), value), max(float(high), value)


def outliers(samples: Sequence[float]) -> list[int]:
    """Indices of samples that are far from the median, by the median absolute deviation."""
    middle = median(samples)
    deviations = [abs(sample - middle) for sample in samples]
    scale = max(MAD_TO_DEVIATION * median(deviations), FINEST_DEVIATION * middle)
    return [index for index, deviation in enumerate(deviations) if deviation > OUTLIER_DEVIATIONS * scale]


def half_width(samples: Sequence[float]) -> float:
    """The reach of the median's interval, as a fraction of the median."""
    middle = median(samples)
    low, high = median_interval(samples)
    return max(high - middle, middle - low) / middle if middle else 0.0


def drift(samples: Sequence[float]) -> float:
    """The slowdown of the second half against the first, as a fraction of it; 0 for fewer than four samples."""
    half = len(samples) // 2
    first, second = samples[:half], samples[len(samples) - half :]
    return median(second) / median(first) - 1 if half > 1 and median(first) else 0.0


def _by_round(new: Sequence[float], old: Sequence[float]) -> list[float]:
    return [one / max(other, LEAST) for one, other in zip(new, old, strict=True)]


def _rank(count: int) -> float:
    """The rank, from 0, of the sample at the lower end of the median's interval, between two samples."""
    import numpy as np
    from scipy.special import bdtr

    confidence = CONFIDENCE_PCT / 100
    held = 1 - 2 * bdtr(np.arange(max(count // 2, 1)), count, 0.5)  # by the samples of rank k and count - 1 - k
    if len(held) < 2 or held[0] <= confidence:
        return 0.0
    rank = int(np.flatnonzero(held >= confidence)[-1])
    if rank + 1 == len(held):
        return float(rank)
    share = float((held[rank] - confidence) / (held[rank] - held[rank + 1]))
    place = rank + 1  # from 1, as the source has it
    return rank + (count - place) * share / (place + (count - 2 * place) * share)


def _autocorrelation(samples: Sequence[float]) -> float:
    """The integrated autocorrelation time, in rounds: by how many times fewer these samples tell of the median than
    independent ones would. Of being above the median, to the first lag that has none (Sokal 1997, "Monte Carlo
    Methods in Statistical Mechanics", 3)."""
    import numpy as np

    values = np.asarray(samples, dtype=float)
    above = np.sign(values - np.median(values))
    power, found = float(above @ above), 1.0
    for lag in range(1, len(above) // 2):
        shared = float(above[lag:] @ above[:-lag])
        if shared <= 0:
            break
        found += 2 * shared / power
    return found


def student(freedom: float) -> float:
    """The two-sided quantile of Student's t at 95 %."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE_PCT / 100) / 2))


def _log(value: float) -> float:
    return math.log(max(value, LEAST))
