"""Clocks: `perf_counter` on the CPU, events and synchronisation on CUDA. Milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Protocol

import torch

Call = Callable[[], object]
MS = 1e-6  # of a nanosecond


@dataclass(frozen=True)
class Wall:
    """One call as its caller waits for it, and how long it took to launch: on the CPU, all of it."""

    ms: float
    launch_ms: float


class Timer(Protocol):
    def wall(self, call: Call) -> Wall:
        """Time one call, from an idle device to a finished result."""

    def each_ms(self, calls: Sequence[Call]) -> list[float]:
        """Time several calls one after another, each as long as the device is at it."""


class CpuTimer:
    """A call has done its work when it returns."""

    def wall(self, call: Call) -> Wall:
        (ms,) = self.each_ms([call])
        return Wall(ms, ms)

    def each_ms(self, calls: Sequence[Call]) -> list[float]:
        times = []
        for call in calls:
            start = perf_counter_ns()
            call()
            times.append(max(1, perf_counter_ns() - start) * MS)
        return times


class CudaTimer:
    """A call only launches work.

    Stages are timed by events on the device, with one synchronisation at the end of the row, so that measuring does not
    slow what it measures. The whole model is timed by the wall clock between two synchronisations, which sees the
    time that a launch-bound model loses.
    """

    def wall(self, call: Call) -> Wall:
        torch.cuda.synchronize()
        start = perf_counter_ns()
        call()
        launched = perf_counter_ns()
        torch.cuda.synchronize()
        end = perf_counter_ns()
        return Wall(max(1, end - start) * MS, (launched - start) * MS)

    def each_ms(self, calls: Sequence[Call]) -> list[float]:
        pairs = [(_event(), _event()) for _ in calls]
        torch.cuda.synchronize()
        for call, (start, end) in zip(calls, pairs, strict=True):
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [float(start.elapsed_time(end)) for start, end in pairs]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call,unused-ignore]


def timer_for(device: torch.device) -> Timer:
    return CudaTimer() if device.type == "cuda" else CpuTimer()
