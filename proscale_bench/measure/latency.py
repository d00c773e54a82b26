"""Rounds: every model once whole and once stage by stage, in turns, until the answer is stable or time is up.

Models that are compared take turns within a round, in an order that rotates, so that what drifts (heat, clocks, other
programs) meets them all alike, and their samples are paired by round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proscale_bench.measure.timers import Call, Timer
from proscale_bench.results.statistics import half_width, median

WINDOW = 3  # rounds whose medians are compared while warming up
WARM = 0.03  # two windows differ by less: warm
WARM_UP_SHARE = 0.25  # of the time budget, at the most
NARROW = 0.01  # the median's interval reaches no further: enough
MIN_ROUNDS, MAX_ROUNDS = 10, 1000
LOOK_EVERY = 5  # rounds


@dataclass(frozen=True)
class TimedStage:
    """A call that can be repeated: a part of a model, or all of it. `min_bytes` must move at the least."""

    name: str
    call: Call
    min_bytes: int = 0
    note: str = ""


@dataclass(frozen=True)
class Subject:
    """A model that takes its turn."""

    name: str
    whole: TimedStage
    stages: tuple[TimedStage, ...]


@dataclass(frozen=True)
class Limits:
    """The end of measuring: after exactly `repeats` rounds, or once it is stable, in `max_seconds` a subject."""

    max_seconds: float = 30.0
    repeats: int | None = None


@dataclass
class Samples:
    """The times of one subject, by round."""

    whole_ms: list[float] = field(default_factory=list)
    launch_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundDone:
    """The progress after a round."""

    warming_up: bool
    round: int
    elapsed_s: float


@dataclass(frozen=True)
class Rounds:
    """Samples or, for a subject that could not go on, the reason why. `warm` if warm-up got stable."""

    samples: dict[str, Samples]
    failures: dict[str, Exception]
    warmup_rounds: int
    warm: bool


def run_rounds(
    subjects: Sequence[Subject],
    timer: Timer,
    limits: Limits,
    *,
    is_failure: Callable[[Exception], bool] = lambda error: False,
    on_round: Callable[[RoundDone], None] = lambda step: None,
    clock: Callable[[], float] = time.monotonic,
) -> Rounds:
    """Measure subjects in turns.

    Args:
        subjects: with names of their own.
        timer: timer of their device.
        limits: when to stop.
        is_failure: True for errors that end one subject and leave the others; any other ends all.
        on_round: told after each round.
        clock: seconds.
    """
    going, failures = list(subjects), dict[str, Exception]()

    def one_round(number: int, samples: dict[str, Samples]) -> None:
        turn = number % len(going)
        for subject in going[turn:] + going[:turn]:
            try:
                _take_turn(subject, timer, samples[subject.name])
            except Exception as error:
                if not is_failure(error):
                    raise
                failures[subject.name] = error
                going.remove(subject)

    start, budget_s = clock(), limits.max_seconds * len(subjects)
    warm_up = {subject.name: Samples() for subject in subjects}
    warmup_rounds, warm = 0, False
    while going and not warm:
        one_round(warmup_rounds, warm_up)
        warmup_rounds += 1
        on_round(RoundDone(True, warmup_rounds, clock() - start))
        warm = all(is_warm(warm_up[subject.name].whole_ms) for subject in going)
        if not warm and _warm_up_is_over(limits, warmup_rounds, clock() - start, budget_s):
            break

    samples = {subject.name: Samples() for subject in subjects}
    done, start = 0, clock()
    while going and not _enough(limits, done, clock() - start, budget_s, [samples[s.name].whole_ms for s in going]):
        one_round(done, samples)
        done += 1
        on_round(RoundDone(False, done, clock() - start))
    return Rounds({subject.name: samples[subject.name] for subject in going}, failures, warmup_rounds, warm)


def is_warm(samples_ms: Sequence[float]) -> bool:
    """The last window's median is that of the window before, to a few percent."""
    if len(samples_ms) < 2 * WINDOW:
        return False
    before, last = median(samples_ms[-2 * WINDOW : -WINDOW]), median(samples_ms[-WINDOW:])
    return abs(last - before) <= WARM * before


def _warm_up_is_over(limits: Limits, rounds: int, elapsed_s: float, budget_s: float) -> bool:
    """Patience has an end: a share of the time, or as many rounds as will be measured, but two windows."""
    if limits.repeats is not None and rounds >= max(limits.repeats, 2 * WINDOW):
        return True
    return elapsed_s >= WARM_UP_SHARE * budget_s


def _enough(
    limits: Limits, rounds: int, elapsed_s: float, budget_s: float, samples_ms: Sequence[Sequence[float]]
) -> bool:
    if limits.repeats is not None:
        return rounds >= limits.repeats
    if rounds and (elapsed_s >= budget_s or rounds >= MAX_ROUNDS):
        return True
    if rounds < MIN_ROUNDS or rounds % LOOK_EVERY:
        return False
    return all(half_width(samples) <= NARROW for samples in samples_ms)


def _take_turn(subject: Subject, timer: Timer, samples: Samples) -> None:
    """The whole, then its stages in forward order, so that caches are about as warm as in the whole."""
    whole = timer.wall(subject.whole.call)
    stages = timer.each_ms([stage.call for stage in subject.stages])
    samples.whole_ms.append(whole.ms)  # all of a round or nothing
    samples.launch_ms.append(whole.launch_ms)
    for stage, ms in zip(subject.stages, stages, strict=True):
        samples.stages_ms.setdefault(stage.name, []).append(ms)
