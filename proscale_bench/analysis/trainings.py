"""What several trainings of one schedule are worth: their mean, with an interval. Pure functions of accuracies."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from proscale_bench.results.accuracy import ACCURACIES, EXTRAS, Accuracy
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import interval_of

# Student's t, 97.5 %, by degrees of freedom: how far the mean of a few seeds may be off. Beyond, the normal's.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NORMAL_975 = 1.96


def mean_accuracy(found: Sequence[Accuracy]) -> Accuracy | None:
    """The accuracy of one training, or the mean of several with its interval.

    The interval of a mean has two parts: the images that were drawn (the seeds' draws are the same, so their
    replicates are averaged draw by draw) and the trainings (Student's t); it is the wider of the two.
    """
    if len(found) < 2:
        return found[0] if found else None
    first = found[0]
    names = (*ACCURACIES, *EXTRAS)
    means = {name: _mean([getattr(one, name) for one in found]) for name in names}
    how = first.evaluated
    if how is not None:
        intervals = {name: interval for name in how.intervals if (interval := _interval(found, name, means[name]))}
        own: dict[str, object] = {"replicates": {}, "classes": (), "training_seed": None}  # of a single one alone
        warnings = tuple(dict.fromkeys(line for one in found if one.evaluated for line in one.evaluated.warnings))
        how = how.model_copy(update={**own, "intervals": intervals, "warnings": warnings})
    return first.model_copy(update={**means, "evaluated": how, "source": f"mean of {len(found)} trainings"})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _interval(found: Sequence[Accuracy], name: str, mean: float | None) -> Interval | None:
    values = [getattr(one, name) for one in found]
    if mean is None:
        return None
    off = _t(len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    low, high = mean - off, mean + off
    draws = [one.evaluated.replicates.get(name) if one.evaluated else None for one in found]
    if all(draws) and len({len(drawn) for drawn in draws if drawn}) == 1:
        of_images = interval_of([statistics.fmean(drawn) for drawn in zip(*draws, strict=True)])
        low, high = min(low, of_images[0]), max(high, of_images[1])
    return low, high


def _t(degrees: int) -> float:
    return T_975[degrees - 1] if degrees <= len(T_975) else NORMAL_975
