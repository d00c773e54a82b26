"""Measured accuracies beside a search: the cheapest that is good enough, and what to train next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from proscale_bench.analysis.evaluations import Evaluation, EvaluationKey, evaluations_of
from proscale_bench.analysis.search import Found, SearchRow
from proscale_bench.analysis.significance import change
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.search import capacity_of
from proscale_bench.errors import BenchError
from proscale_bench.results.metrics import Metric, get_metric
from proscale_bench.results.record import Record
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import rank_correlation


@dataclass(frozen=True)
class Known:
    """An encoder whose accuracy is known.

    Args:
        count: its cost in the model and at the size of the search.
        capacity: as a share of the baseline's.
        value: the accuracy in percent; of several trainings the mean.
        difference: from the baseline's, in points; None for the baseline itself.
        interval: 95 %, of the difference; None where nothing tells.
    """

    count: FlopCount
    capacity: float
    value: float
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Advice:
    """Advice that known accuracies give.

    Args:
        metric: which accuracy.
        data: what it is of.
        within: points below the baseline that are good enough.
        known: the cheapest first.
        cheapest: the cheapest that is good enough; None where none is cheaper than the baseline.
        train_next: of what is cheaper than that and has no accuracy yet, the one with the most capacity.
        agreement: Spearman's rank correlation of capacity and accuracy; None of fewer than three.
    """

    metric: Metric
    data: str
    within: float
    known: tuple[Known, ...]
    cheapest: Known | None
    train_next: SearchRow | None
    agreement: float | None


def advise(found: Found, records: Sequence[Record], within: float, metric: str = "pq") -> Advice:
    """Read the accuracies of a run.

    Those count that were found alike, on the search's backbone: of several data or ways those with most models, and
    measured ones before published ones.

    Raises:
        BenchError: no accuracy of the baseline and another encoder on this backbone.
    """
    shown = get_metric(metric)
    groups: dict[EvaluationKey | None, dict[str, Evaluation]] = {}
    name = found.request.spec.backbone_name
    for evaluations in evaluations_of([one for one in records if one.identity.backbone == name]).values():
        for one in evaluations:
            if getattr(one.accuracy, metric) is not None and one.records[0].identity.schedule is not None:
                groups.setdefault(one.key, {}).setdefault(one.records[0].identity.schedule, one)
    spelling = found.request.spec.baseline().variant
    usable = {key: group for key, group in groups.items() if spelling in group and len(group) > 1}
    if not usable:
        what = f"no {shown.title} of '{spelling}' and of another schedule on {name}, found alike"
        raise BenchError(f"--records: {what}", "evaluate both on the same data, or give --backbone of the records")
    key = max(usable, key=lambda key: (key is not None, len(usable[key])))
    base = usable[key][spelling]
    tally = found.request.tally()
    known = []
    for schedule, one in usable[key].items():
        try:
            spec = found.request.with_encoder(parse_schedule(schedule))
        except BenchError:
            continue  # of a family that this version does not know
        count = count_model(spec, found.request.size, found.request.rules)
        value = float(getattr(one.accuracy, metric))
        capacity = capacity_of(tally.row(spec.encoder), found.candidates.baseline)
        difference, interval = _difference(shown, base, one) if one is not base else (None, None)
        known.append(Known(count, capacity, value, difference, interval))
    known.sort(key=lambda one: one.count.gflops["total"])
    total = found.baseline.gflops["total"]
    good = [one for one in known if one.difference is not None and one.difference >= -within]
    cheapest = next((one for one in good if one.count.gflops["total"] < total), None)
    seen = {one.count.spec.encoder for one in known}
    below = cheapest.count.gflops["total"] if cheapest else total
    rows = [row for row in found.rows if row.count.spec.encoder not in seen and row.count.gflops["total"] < below]
    agreement = rank_correlation([one.capacity for one in known], [one.value for one in known])
    return Advice(shown, base.data, within, tuple(known), cheapest, next(iter(rows), None), agreement)


def _difference(metric: Metric, base: Evaluation, one: Evaluation) -> tuple[float, Interval | None]:
    """Points that an accuracy is above the baseline's: draw by draw of single trainings; of means as if their errors
    had nothing in common, which is never too narrow."""
    before, after = (float(getattr(side.accuracy, metric.name)) for side in (base, one))
    if base.trainings == one.trainings == 1:
        found = change(metric, base.records[0], one.records[0], before, after)
        return after - before, found.interval
    old, new = (side.accuracy.evaluated and side.accuracy.evaluated.intervals.get(metric.name) for side in (base, one))
    if not old or not new:
        return after - before, None
    (old_low, old_high), (new_low, new_high) = old, new
    below, above = hypot(after - new_low, old_high - before), hypot(new_high - after, before - old_low)
    return after - before, (after - before - below, after - before + above)
