"""Statistics of samples: medians with intervals, ratios, outliers, drift. Never a bare mean.

Intervals are percentile bootstraps at 95 %, with a fixed seed: the same samples give the same interval.
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

CONFIDENCE_PCT = 95.0
RESAMPLES = 2000
SEED = 0
MIN_PAIRS = 6  # fewer that all point one way happen by chance in over 5 % of cases: 2 / 2^5
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
OUTLIER_DEVIATIONS = 5.0
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


def independent_ratio(new: Sequence[float], old: Sequence[float]) -> Ratio:
    """`new` against `old` where they share no rounds: each is resampled by itself; the pairs are the fewer samples."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    tops, bottoms = (_medians(one, generator.integers(len(one), size=(RESAMPLES, len(one)))) for one in (new, old))
    low, high = _interval(tops / bottoms)
    return Ratio(median(new) / median(old), low, high, min(len(new), len(old)))


def interval_of(replicates: Sequence[float]) -> tuple[float, float]:
    """The interval that holds the middle 95 % of replicates."""
    import numpy as np

    return _interval(np.asarray(replicates, dtype=float))


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
