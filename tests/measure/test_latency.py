"""The harness with a clock of its own: who takes turns when, when it is warm, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

import pytest

from proscale_bench.measure.latency import MIN_ROUNDS, Limits, RoundDone, Subject, TimedStage, is_warm, run_rounds
from proscale_bench.measure.timers import Call, CpuTimer, Wall


class Machine:
    """A device on which every call takes what it is told to, and the clock that goes with it. Implements `Timer`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log: list[str] = []
        self.took_ms = 0.0

    def call(self, name: str, times_ms: Iterator[float]) -> Call:
        def run() -> None:
            self.log.append(name)
            self.took_ms = next(times_ms)
            self.now_s += self.took_ms / 1000

        return run

    def subject(self, name: str, *times_ms: float) -> Subject:
        """The last time holds for ever; each stage takes half of the first."""
        forever = chain(times_ms, repeat(times_ms[-1]))
        stages = [
            TimedStage(part, self.call(f"{name}.{part}", repeat(times_ms[0] / 2))) for part in ("first", "second")
        ]
        return Subject(name, TimedStage("total", self.call(name, forever)), tuple(stages))

    def wall(self, call: Call) -> Wall:
        call()
        return Wall(self.took_ms, self.took_ms / 4)

    def each_ms(self, calls: Sequence[Call]) -> list[float]:
        times = []
        for call in calls:
            call()
            times.append(self.took_ms)
        return times

    def clock(self) -> float:
        return self.now_s


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_schedules_take_turns_in_an_order_that_rotates(machine: Machine) -> None:
    subjects = [machine.subject(name, 10.0) for name in "abc"]
    run_rounds(subjects, machine, Limits(repeats=3), clock=machine.clock)
    wholes = [name for name in machine.log if "." not in name][-9:]
    assert "".join(wholes) == "abcbcacab"


def test_a_turn_is_the_whole_and_then_its_stages_in_forward_order(machine: Machine) -> None:
    run_rounds([machine.subject("a", 10.0), machine.subject("b", 10.0)], machine, Limits(repeats=1))
    assert machine.log[-6:] == ["a", "a.first", "a.second", "b", "b.first", "b.second"]


def test_every_sample_is_kept_by_round_and_warm_up_is_not_among_them(machine: Machine) -> None:
    warm_up = [90.0, 50.0, 12.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    found = run_rounds([machine.subject("a", *warm_up, 11.0, 12.0, 13.0)], machine, Limits(repeats=3))
    samples = found.samples["a"]
    assert found.warmup_rounds == 6  # 90 50 12, 10 10 10: not yet; then the budget of repeats is used up
    assert samples.whole_ms == [10.0, 10.0, 10.0]
    assert samples.launch_ms == [2.5, 2.5, 2.5]
    assert samples.stages_ms == {"first": [45.0] * 3, "second": [45.0] * 3}


def test_it_warms_up_until_two_windows_agree(machine: Machine) -> None:
    found = run_rounds(
        [machine.subject("a", 40.0, 30.0, 20.0, 10.0)], machine, Limits(max_seconds=60), clock=machine.clock
    )
    assert found.warm
    assert found.warmup_rounds == 8  # 20 10 10 and 10 10 10
    assert is_warm([1, 1, 1, 1.02, 1.02, 1.02])
    assert not is_warm([1, 1, 1, 1.1, 1.1, 1.1])
    assert not is_warm([1, 1, 1, 1, 1])


def test_what_never_gets_warm_is_measured_all_the_same_and_said(machine: Machine) -> None:
    unsteady = [10.0 * 1.2**n for n in range(30)]
    found = run_rounds([machine.subject("a", *unsteady)], machine, Limits(max_seconds=2), clock=machine.clock)
    assert not found.warm
    assert found.samples["a"].whole_ms


def test_it_stops_when_the_interval_is_narrow(machine: Machine) -> None:
    found = run_rounds([machine.subject("a", 10.0)], machine, Limits(max_seconds=1000), clock=machine.clock)
    assert len(found.samples["a"].whole_ms) == MIN_ROUNDS


def test_it_stops_when_time_is_up(machine: Machine) -> None:
    noisy = [10.0, 30.0] * 100
    subjects = [machine.subject("a", *noisy), machine.subject("b", 10.0)]
    start = machine.now_s
    found = run_rounds(subjects, machine, Limits(max_seconds=1), clock=machine.clock)
    assert 2.0 <= machine.now_s - start < 2.8  # two subjects, and a quarter to warm up
    assert len(found.samples["a"].whole_ms) == len(found.samples["b"].whole_ms) > MIN_ROUNDS


def test_even_the_slowest_is_measured_once(machine: Machine) -> None:
    found = run_rounds([machine.subject("a", 60_000.0)], machine, Limits(max_seconds=1), clock=machine.clock)
    assert found.samples["a"].whole_ms == [60_000.0]


def failing_after(calls: int, error: Exception) -> Callable[[], None]:
    left = iter(range(calls))

    def run() -> None:
        if next(left, None) is None:
            raise error

    return run


def test_one_that_runs_out_of_memory_leaves_the_others(machine: Machine) -> None:
    error = MemoryError()
    broken = Subject("broken", TimedStage("total", failing_after(8, error)), ())
    found = run_rounds(
        [machine.subject("a", 10.0), broken, machine.subject("b", 10.0)],
        machine,
        Limits(repeats=4),
        is_failure=lambda raised: isinstance(raised, MemoryError),
    )
    assert found.failures == {"broken": error}
    assert set(found.samples) == {"a", "b"}
    assert len(found.samples["a"].whole_ms) == len(found.samples["b"].whole_ms) == 4


def test_when_all_run_out_of_memory_it_ends(machine: Machine) -> None:
    broken = Subject("broken", TimedStage("total", failing_after(0, MemoryError())), ())
    found = run_rounds([broken], machine, Limits(), is_failure=lambda raised: True)
    assert (found.samples, list(found.failures)) == ({}, ["broken"])


def test_any_other_error_ends_all(machine: Machine) -> None:
    broken = Subject("broken", TimedStage("total", failing_after(0, ValueError("a bug"))), ())
    with pytest.raises(ValueError, match="a bug"):
        run_rounds([broken], machine, Limits(), is_failure=lambda raised: isinstance(raised, MemoryError))


def test_progress_is_told_after_every_round(machine: Machine) -> None:
    steps: list[RoundDone] = []
    run_rounds([machine.subject("a", 10.0)], machine, Limits(repeats=2), on_round=steps.append)
    assert [(step.warming_up, step.round) for step in steps] == [(True, n) for n in range(1, 7)] + [
        (False, 1),
        (False, 2),
    ]


def test_the_cpu_timer_times_each_call_and_launching_is_all_of_it() -> None:
    calls: list[int] = []
    timer = CpuTimer()
    times = timer.each_ms([lambda: calls.append(1), lambda: calls.append(2)])
    assert calls == [1, 2]
    assert all(ms > 0 for ms in times)
    wall = timer.wall(lambda: None)
    assert wall.ms == wall.launch_ms > 0
