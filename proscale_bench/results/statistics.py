"""Statistics of samples: medians with intervals, ratios, outliers, drift. Never a bare mean.

Intervals are percentile bootstraps at 95 %, with a fixed seed: the same samples give the same interval. Over several
sessions the sessions are drawn first and the rounds within them. That few sessions vary less among themselves than
sessions do makes such draws too narrow by sqrt((S - 1) / S), and that their values differ by the luck of their rounds
already, which is drawn once more, too wide (Davison and Hinkley 1997, "Bootstrap Methods and their Application", 3.8).
So draws of ratios in turns are scaled to the variance between sessions, or within them where that is larger. Those of
milliseconds are widened alone: sessions in a row share the load of their minutes, which their spread does not show.
Both are stretched by Student's t over the normal quantile (Hesterberg 2015, "What Teachers Should Know About the
Bootstrap", 3.2), with Welch's degrees of freedom for two sides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

Sessions = Sequence[Sequence[float]]  # samples by session

CONFIDENCE_PCT = 95.0
RESAMPLES = 2000
SEED = 0
MIN_PAIRS = 6  # fewer that all point one way happen by chance in over 5 % of cases: 2 / 2^5
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
    """The interval of the median."""
    return _interval(_medians(samples, _resampled(len(samples))))


def ratio_of_medians(new: Sequence[float], old: Sequence[float]) -> Ratio:
    """`new` against `old`, paired by round: what slowed both in one round does not count against either.

    Raises:
        ValueError: they are not of the same rounds.
    """
    if len(new) != len(old) or not len(new):
        raise ValueError(f"expected pairs of samples, got {len(new)} and {len(old)}")
    rounds = _resampled(len(new))
    tops, bottoms = (_medians(samples, rounds) for samples in (new, old))
    low, high = _interval(tops / bottoms)
    return Ratio(median(new) / median(old), low, high, len(new))


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
    side = _Side([_LogMedian(samples) for samples in sessions])
    low, high = side.interval()
    return math.exp(low), math.exp(high)


def paired_ratio(new: Sessions, old: Sessions) -> Ratio:
    """`new` against `old`, which took turns in every session, paired by round.

    Of one session it is the ratio of medians; of several the geometric mean of each session's median ratio.

    Raises:
        ValueError: they are not of the same rounds of the same sessions.
    """
    if len(new) != len(old):
        raise ValueError(f"expected the same sessions, got {len(new)} and {len(old)}")
    if len(new) == 1:
        return ratio_of_medians(new[0], old[0])
    if any(len(one) != len(other) for one, other in zip(new, old, strict=True)):
        raise ValueError("expected pairs of samples in every session")
    side = _Side([_LogMedian(*pair) for pair in zip(new, old, strict=True)], in_turns=True)
    low, high = map(math.exp, side.interval())
    return Ratio(math.exp(side.middle), low, high, sum(map(len, new)))


def independent_ratio(new: Sessions, old: Sessions) -> Ratio:
    """`new` against `old` of other sessions. The pairs are the fewer samples.

    Raises:
        ValueError: one session on a side: it cannot tell how sessions differ.
    """
    if min(len(new), len(old)) < 2:
        raise ValueError("expected two sessions a side at the least")
    tops, bottoms = (_Side([_LogMedian(one) for one in side], seed) for seed, side in enumerate((new, old)))
    low, high = map(math.exp, tops.interval(bottoms))
    value = math.exp(tops.middle - bottoms.middle)
    return Ratio(value, low, high, min(sum(map(len, side)) for side in (new, old)))


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


def _resampled(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Indices of samples drawn with replacement: [RESAMPLES, count]."""
    import numpy as np

    return np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))


def _medians(samples: Sequence[float], draws: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Values:
    """The median of each row of `draws`, which are indices of samples."""
    import numpy as np

    found: Values = np.median(np.asarray(samples, dtype=float)[draws], axis=1)
    return found


def _interval(values: Values) -> tuple[float, float]:
    import numpy as np

    tail = (100 - CONFIDENCE_PCT) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


class _LogMedian:
    """The logarithm of a session's median or, of two that took turns in it, of the median of their ratios by round:
    what slows some rounds of either moves the ratio of medians, and the median of ratios hardly."""

    def __init__(self, samples: Sequence[float], against: Sequence[float] | None = None) -> None:
        if against is not None:
            samples = [one / max(other, LEAST) for one, other in zip(samples, against, strict=True)]
        self.samples = samples
        self.value = _log(median(samples))

    def drawn(self, count: int, generator: np.random.Generator) -> Values:
        """The same of rounds drawn anew, so many times."""
        import numpy as np

        draws = generator.integers(len(self.samples), size=(count, len(self.samples)))
        found: Values = np.log(np.maximum(_medians(self.samples, draws), LEAST))
        return found


class _Side:
    """Several sessions of one thing: their mean, and how it scatters where sessions and rounds are drawn anew."""

    def __init__(self, sessions: Sequence[_LogMedian], seed: int = 0, in_turns: bool = False) -> None:
        import numpy as np

        self.count = len(sessions)
        values = [one.value for one in sessions]
        self.middle = statistics.fmean(values)
        self.variance = statistics.variance(values) / self.count  # of the mean
        generator = np.random.default_rng((SEED, seed))
        means, within = np.zeros(RESAMPLES), 0.0  # within: the variance of a session's value by the luck of its rounds
        for chosen in generator.integers(self.count, size=(self.count, RESAMPLES)):
            for index, session in enumerate(sessions):
                here = chosen == index
                drawn = session.drawn(int(here.sum()), generator)
                means[here] += drawn / self.count
                within += float(np.sum((drawn - session.value) ** 2)) / (self.count * RESAMPLES)
        spread = statistics.variance(values)
        drawn_twice = spread * (self.count - 1) / self.count + within
        variance = max(spread, within) if in_turns else spread + within * self.count / (self.count - 1)
        scale = math.sqrt(variance / drawn_twice) if drawn_twice else 1.0
        self.deviations: Values = (means - self.middle) * scale

    def interval(self, against: _Side | None = None) -> tuple[float, float]:
        """The interval of the mean, or of its distance from that of other sessions."""
        sides = [self, *([against] if against else [])]
        middle = self.middle - (against.middle if against else 0.0)
        deviations = self.deviations - (against.deviations if against else 0.0)
        low, high = _interval(deviations)
        stretch = student(_freedom(sides)) / NORMAL
        return middle + stretch * low, middle + stretch * high


def _freedom(sides: Sequence[_Side]) -> float:
    """Welch's degrees of freedom."""
    total = sum(side.variance for side in sides)
    if not total:
        return float(min(side.count for side in sides) - 1)
    return total**2 / sum(side.variance**2 / (side.count - 1) for side in sides)


def student(freedom: float) -> float:
    """The two-sided quantile of Student's t at 95 %."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE_PCT / 100) / 2))


def _log(value: float) -> float:
    return math.log(max(value, LEAST))
