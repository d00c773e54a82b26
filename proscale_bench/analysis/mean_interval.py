"""The interval of the mean of a few trainings: of the images that it was found on, and of the luck of training."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import hypot

from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import CONFIDENCE_PCT


def interval_of_mean(values_pct: Sequence[float], of_images: Interval) -> Interval:
    """The 95 % interval of a mean over images and trainings, which are drawn independently of each other.

    What either adds to the mean is a distance to each side: to the end of the images' interval, and Student's t over
    the trainings. Variances of independent sources add up, so each side is the root of the sum of their squares; an
    interval that is longer on one side stays so. No accuracy lies outside 0 to 100 %.

    Args:
        values_pct: an accuracy of each training in percent, two at least.
        of_images: interval of their mean, over the images alone.
    """
    from scipy.special import stdtrit  # Student's t: the quantile of so many degrees of freedom

    mean, count = statistics.fmean(values_pct), len(values_pct)
    quantile = float(stdtrit(count - 1, 0.5 + CONFIDENCE_PCT / 200))
    of_trainings = quantile * statistics.stdev(values_pct) / count**0.5
    low, high = of_images
    below, above = (hypot(max(0.0, side), of_trainings) for side in (mean - low, high - mean))
    return max(0.0, mean - below), min(100.0, mean + above)
