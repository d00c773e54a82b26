"""The change of a metric from one record to another, and whether it is more than chance. Pure functions of records.

Counts are exact. Accuracies are compared draw by draw: both were found on the same images, drawn anew alike
(`results/accuracy.py`), so what is common to two models drops out. What a clock, a meter or an allocator says is paired
by round where two models took turns; else it takes several sessions a side: from one alone a change cannot be told from
the machine. Times of two runs are then held against each other net of the baseline that both timed; those of the
baseline itself, and of what has none, by how far sessions differ. Savings are paired in their own sessions already, and
those of one session with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, nan

from proscale_bench.results.metrics import Metric
from proscale_bench.results.profile import Profile, Verdict
from proscale_bench.results.record import EvaluationProtocol, Record, protocol_of
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import (
    INSTANCE,
    MIN_PAIRS,
    NORMAL,
    Estimate,
    Ratio,
    difference_of,
    in_sessions,
    independent_ratio,
    interval_of,
    paired_ratio,
    ratio_of_sittings,
)

BUSY_PCT = 10.0  # of all processors: where others use more, milliseconds hang on them
ONE_SESSION = (  # the reach of `INSTANCE`
    "of one session, whose rounds cannot tell less than 3 %, by which two instances of one thing may differ: "
    "'profile --sessions 5' measures that"
)
BUSY = "the machine was busy"
SAMPLED = ("latency_median_ms", "throughput_ips")  # read off a clock in every round


@dataclass(frozen=True)
class Change:
    """One metric before and after.

    Args:
        difference: points for metrics in percent, percent of the old for all else; None where that is nothing.
        verdict: what can be said of the difference.
        interval: 95 %, of the difference; None where there is none, or none is needed.
        note: more about a verdict, and what it leaves open.
        baseline_pct: what the baseline changed by meanwhile, in percent, where the difference is net of it.
    """

    metric: Metric
    old: float
    new: float
    difference: float | None
    verdict: Verdict
    interval: Interval | None = None
    note: str = ""
    baseline_pct: float | None = None

    @property
    def is_less(self) -> bool:
        """The metric fell, by its difference where it has one."""
        return (self.new - self.old if self.difference is None else self.difference) < 0

    @property
    def significant(self) -> bool | None:
        """None where nothing tells."""
        return {"significant": True, "not significant": False}.get(self.verdict)

    @property
    def apart(self) -> float:
        """The ratio of the two values by that of the difference: what the baseline changed by or, of models that took
        turns, the ratio of their medians by the median ratio of rounds."""
        if self.metric.in_points or self.difference is None or self.interval is None:
            return 1.0
        return self.new / self.old / ((1 + self.difference / 100) or 1.0)


def change(metric: Metric, old: Record, new: Record, before: float, after: float) -> Change:
    """The change of a metric from one record, which says `before`, to another, which says `after`."""
    if metric.section == "accuracy":
        return _accuracy_change(metric, old, new, before, after)
    difference = after - before if metric.in_points else 100 * (after / before - 1) if before else None
    if metric.section == "cost" or before == after:
        return Change(metric, before, after, difference, "not significant" if before == after else "significant")
    assert old.profile is not None
    assert new.profile is not None
    if metric.in_points:
        return _saving_change(metric, old, new, before, after)
    if metric.name in SAMPLED and min(before, after) > 0 and (net := _net_change(metric, old, new, before, after)):
        return net
    ratio = _ratio(metric, old.profile, new.profile)
    if not isinstance(ratio, Ratio):
        busy = ratio == "another session" and _is_busy(old.profile, new.profile)
        return Change(metric, before, after, difference, ratio, note=BUSY if busy else "")
    difference, interval = 100 * (ratio.value - 1), (100 * (ratio.low - 1), 100 * (ratio.high - 1))
    verdict = clear(interval)
    if metric.name not in SAMPLED and _overlap(metric, old.profile, new.profile):
        verdict = "not significant"
    if metric.name in SAMPLED and ratio.pairs < MIN_PAIRS:
        verdict = "too few samples"
    note = _of_one_session(verdict, old.profile, new.profile)
    return Change(metric, before, after, difference, verdict, interval, note)


def _net_change(metric: Metric, old: Record, new: Record, before: float, after: float) -> Change | None:
    """The change of a time from one run of several sessions to another, net of that of the baseline, which both timed
    in the same rounds: what a machine does to one sitting it does to both models. None where the runs are one, where a
    side has no such baseline, or one session alone, or the machine was busy.

    Of 36 sessions of one thing, rows of eight differed in milliseconds by more than their spread in over a quarter of
    cases, and in none net of the baseline: docs/profiling.md.
    """
    assert old.profile is not None
    assert new.profile is not None
    then, now = _left(old.profile), _left(new.profile)
    if then is None or now is None or min(then.sessions, now.sessions) < 2:
        return None
    if (
        old.profile.session == new.profile.session
        or not _share_a_baseline(old, new)
        or _is_busy(old.profile, new.profile)
    ):
        return None
    if metric.better == "higher":  # images a time, not time an image
        then, now = now, then
    by = exp(now.value - then.value)
    low, high = (100 * (exp(end) - 1) for end in difference_of(now, then))
    few = min(len(one.samples_ms) for one in (old.profile, new.profile)) < MIN_PAIRS
    verdict: Verdict = "too few samples" if few else clear((low, high))
    of_baseline = 100 * (after / before / by - 1)
    return Change(metric, before, after, 100 * (by - 1), verdict, (low, high), baseline_pct=of_baseline)


def _left(profile: Profile) -> Estimate | None:
    """The logarithm of a model's time against that of its baseline in the same rounds."""
    if (saved := profile.realised_saving_pct) is None:
        return None
    value, low, high = (log(max(1 - pct / 100, 1e-9)) for pct in (saved.value, saved.interval[1], saved.interval[0]))
    return Estimate(value, (low, high), len(profile.rounds))


def _ratio(metric: Metric, old: Profile, new: Profile) -> Ratio | Verdict:
    """The new against the old of what is measured anew in every session, or why there is none."""
    in_turns = _in_turns(old, new)
    before, after = _by_session(metric, old), _by_session(metric, new)
    if before is None or after is None or not all(map(all, (*before, *after))):  # of nothing there is no ratio
        return "too few samples"
    if metric.name == "throughput_ips":  # images a time, not time an image
        before, after = after, before
    if in_turns and (len(before) > 1 or metric.name in SAMPLED):
        return paired_ratio(after, before)
    if in_turns:
        return "too few samples"
    if min(len(before), len(after)) < 2:
        return "another session"
    if metric.name == "peak_memory_mib":
        return independent_ratio(after, before)
    return "another session" if _is_busy(old, new) else ratio_of_sittings(after, before)


def _overlap(metric: Metric, old: Profile, new: Profile) -> bool:
    """The ranges of both sides meet: one number a session comes in steps, as pages of memory do."""
    before, after = ([number for (number,) in _by_session(metric, one) or ()] for one in (old, new))
    return min(before) <= max(after) and min(after) <= max(before)


def _is_busy(*profiles: Profile) -> bool:
    """Others used the machine: sessions in a row share their load, so their spread says too little of other minutes.
    It does not drop out against a baseline: under a load of half the processors a saving of 11.7 % was one of 9.9."""
    return any((session.others_cpu_pct or 0) > BUSY_PCT for one in profiles for session in one.sessions)


def _by_session(metric: Metric, profile: Profile) -> Sequence[Sequence[float]] | None:
    """The samples of each session, of the throughput as times of an image, or the one number that a session has; None
    where one has none."""
    if metric.name in SAMPLED:
        images = profile.throughput_ips * profile.latency_median_ms if metric.name == "throughput_ips" else 1.0
        return in_sessions([ms / (images or 1.0) for ms in profile.samples_ms], profile.rounds)
    numbers = [getattr(one, metric.name) for one in profile.sessions]
    return None if None in numbers or not numbers else [[number] for number in numbers]


def _saving_change(metric: Metric, old: Record, new: Record, before: float, after: float) -> Change:
    """Two savings: against one baseline in the same rounds, by the ratio of the two models in these rounds; each in its
    own sessions, by errors that have nothing in common and add up in squares."""
    assert old.profile is not None
    assert new.profile is not None
    few = min(len(one.samples_ms) for one in (old.profile, new.profile)) < MIN_PAIRS
    if _in_turns(old.profile, new.profile) and _share_a_baseline(old, new):
        ratio, left = paired_ratio(_saved_of(metric, new.profile), _saved_of(metric, old.profile)), 100 - before
        difference, interval = left * (1 - ratio.value), (left * (1 - ratio.high), left * (1 - ratio.low))
    elif _is_busy(old.profile, new.profile):
        return Change(metric, before, after, after - before, "another session", note=BUSY)
    else:
        now, then = (_saving(metric, one, value) for one, value in ((new, after), (old, before)))
        difference, interval = after - before, difference_of(now, then)
    verdict = "too few samples" if few else clear(interval)
    return Change(
        metric, before, after, difference, verdict, interval, _of_one_session(verdict, old.profile, new.profile)
    )


def _of_one_session(verdict: Verdict, *profiles: Profile) -> str:
    """A note on what a side of one session leaves open."""
    single = verdict == "not significant" and any(len(one.rounds) == 1 for one in profiles)
    return ONE_SESSION if single else ""


def _in_turns(old: Profile, new: Profile) -> bool:
    return old.session == new.session and old.rounds == new.rounds


def _share_a_baseline(old: Record, new: Record) -> bool:
    """They were timed against the same rounds of it: of several families or engines each has its own."""
    baselines = [
        (one.identity.model, one.identity.backbone, one.cost and one.cost.baseline, one.execution.engine_words)
        for one in (old, new)
        if one.execution
    ]
    return len(baselines) == 2 and baselines[0] == baselines[1]


def _saved_of(metric: Metric, profile: Profile) -> Sequence[Sequence[float]]:
    """The samples, by session, of what a saving is of: the encoder, or the whole."""
    timed = profile.stages["encoder"] if metric.name.startswith("encoder") else profile
    return in_sessions(timed.samples_ms, profile.rounds)


def _saving(metric: Metric, record: Record, value: float) -> Estimate:
    """A saving with its interval; of one session that knows no less than how instances differ, which intervals of
    earlier versions leave out."""
    low, high = metric.interval(record) or (nan, nan)
    sessions, left = len(record.profile.rounds) if record.profile else 1, 100 - value
    if sessions == 1:
        reach = exp(NORMAL * INSTANCE)
        low, high = min(low, 100 - left * reach), max(high, 100 - left / reach)
    return Estimate(value, (low, high), sessions)


def clear(interval: Interval) -> Verdict:
    """The verdict on a difference of which all is known: whether its interval is clear of zero."""
    return "not significant" if interval[0] <= 0 <= interval[1] else "significant"


def _accuracy_change(metric: Metric, old: Record, new: Record, before: float, after: float) -> Change:
    difference = after - before
    first, second = old.evaluated, new.evaluated
    if first is None or second is None:
        return Change(metric, before, after, difference, "too few samples", note="published")
    if first.images_digest != second.images_digest:
        return Change(metric, before, after, difference, "other data", note="other images")
    if differ := _differing(protocol_of(old), protocol_of(new)):
        return Change(metric, before, after, difference, "other data", note=f"other {', '.join(differ)}")
    draws = first.replicates.get(metric.name), second.replicates.get(metric.name)
    if not draws[0] or not draws[1] or len(draws[0]) != len(draws[1]) or first.seed != second.seed:
        return Change(metric, before, after, difference, "too few samples", note="no common draws")
    interval = interval_of(subtracted(draws[1], draws[0]), difference, first.images)
    return Change(metric, before, after, difference, clear(interval), interval)


def subtracted(new: Sequence[float], old: Sequence[float]) -> list[float]:
    """The difference in each draw."""
    import numpy as np

    found: list[float] = np.subtract(new, old).tolist()
    return found


def _differing(old: EvaluationProtocol | None, new: EvaluationProtocol | None) -> list[str]:
    """The fields in which two evaluations differ; what one of them does not say differs from what the other says."""
    if old is None or new is None:
        return []
    return [name for name in EvaluationProtocol.model_fields if getattr(old, name) != getattr(new, name)]
