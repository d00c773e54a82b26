"""Verdicts on any two models of a view, as `compare` has them, told in advance: a page has no statistics of its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from math import hypot
from typing import Literal, TypeVar, get_args

from proscale_bench.analysis.evaluations import Evaluation
from proscale_bench.analysis.significance import change, clear, subtracted
from proscale_bench.analysis.views import View
from proscale_bench.results.metrics import METRICS, Metric
from proscale_bench.results.profile import Verdict
from proscale_bench.results.record import Record
from proscale_bench.results.statistics import NORMAL, Estimate, difference_of, interval_of, student

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
UNTOLD = "-"  # in place of a verdict: one of the two lacks the metric, or it is on another difference
MOST = 40  # models of which every two are held against each other: each takes milliseconds

One = TypeVar("One")


def between_rows(view: View) -> dict[str, list[str]]:
    """The verdicts on every two rows of a view, by metric of the profile.

    Returns:
        a text for each row, the old one, with a character for each column, the new one: the place of the verdict in
        `VERDICTS`, or `UNTOLD`. Nothing of more than `MOST` rows.
    """
    return _tables([row.record for row in view.rows], "profile", _of_rows)


def between_evaluations(evaluations: Sequence[Evaluation]) -> dict[str, list[str]]:
    """The same of every two evaluations, by metric of accuracy."""
    return _tables(evaluations, "accuracy", verdict_on)


def verdict_on(metric: Metric, old: Evaluation, new: Evaluation) -> Verdict | None:
    """The verdict on two evaluations, each of one training or of several; None where one lacks the metric.

    Of several trainings, images and trainings are two independent sources, as in `interval_of_mean`: the draws of the
    images are subtracted, and trainings differ by Student's t. One alone is as far off as those of the other side are.
    """
    sides = (old, new)
    first, second = (one.records[0].model_copy(update={"accuracy": one.accuracy}) for one in sides)
    if old.trainings == new.trainings == 1:
        return _of_records(metric, first, second)
    values = [[value for one in side.records if (value := metric.read(one)) is not None] for side in sides]
    if not all(values):
        return None
    found = {_of_records(metric, one, other) for one in old.records for other in new.records}
    if open_question := next((one for one in VERDICTS if one in found - {"significant", "not significant"}), None):
        return open_question
    spread = [statistics.stdev(of_side) if len(of_side) > 1 else None for of_side in values]
    estimates = []
    for of_side, own, other in zip(values, spread, reversed(spread), strict=True):
        mean, count = statistics.fmean(of_side), len(of_side)
        off = (student(count - 1) if count > 1 else NORMAL) * (own or other or 0.0) / count**0.5
        estimates.append(Estimate(mean, (mean - off, mean + off), count))
    before, after = estimates
    drawn = [[statistics.fmean(draw) for draw in zip(*_draws(side, metric), strict=True)] for side in sides]
    difference = after.value - before.value
    assert second.evaluated is not None  # else too few samples
    images = interval_of(subtracted(drawn[1], drawn[0]), difference, second.evaluated.images)
    trainings = difference_of(after, before)
    below, above = (hypot(one - difference, other - difference) for one, other in zip(images, trainings, strict=True))
    return clear((difference - below, difference + above))


def _draws(side: Evaluation, metric: Metric) -> list[Sequence[float]]:
    return [one.evaluated.replicates[metric.name] for one in side.records if one.evaluated]


def _of_records(metric: Metric, old: Record, new: Record) -> Verdict | None:
    before, after = metric.read(old), metric.read(new)
    return None if before is None or after is None else change(metric, old, new, before, after).verdict


def _of_rows(metric: Metric, old: Record, new: Record) -> Verdict | None:
    """None too where the verdict is on another difference than that of the two numbers, which is all that a page shows:
    net of their baselines', or, round by round, of another sign."""
    before, after = metric.read(old), metric.read(new)
    if before is None or after is None:
        return None
    found = change(metric, old, new, before, after)
    is_other = found.baseline_pct is not None or (after - before) * (found.difference or 0) < 0
    return None if is_other else found.verdict


def _tables(
    ones: Sequence[One], section: Literal["accuracy", "profile"], verdict: Callable[[Metric, One, One], Verdict | None]
) -> dict[str, list[str]]:
    """A table for each metric of the section that any two share."""
    if not 1 < len(ones) <= MOST:
        return {}
    found = {}
    for metric in METRICS.values():
        if metric.section == section:
            rows = ["".join(_digit(verdict(metric, old, new)) for new in ones) for old in ones]
            found[metric.name] = rows
    return {name: rows for name, rows in found.items() if any(set(row) != {UNTOLD} for row in rows)}


def _digit(verdict: Verdict | None) -> str:
    return UNTOLD if verdict is None else str(VERDICTS.index(verdict))
