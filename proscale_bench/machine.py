"""The machine that this process runs on, as the system tells it."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cpu_name() -> str:
    """The processor as the system has it: `AMD EPYC 7763 64-Core Processor`, or at least its architecture."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split()) or platform.machine()
    return platform.processor() or platform.machine() or "CPU"


def usable_cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def busy_seconds() -> float | None:
    """CPU seconds that all programs, and whoever shares the hardware, have used since the machine started; None where
    the system does not tell."""
    with suppress(OSError, ValueError):
        user, nice, system, _idle, _waiting, *interrupts_and_stolen = Path("/proc/stat").read_text().split()[1:9]
        return sum(map(int, (user, nice, system, *interrupts_and_stolen))) / os.sysconf("SC_CLK_TCK")
    return None


class OthersCpu:
    """The share of the machine's processors that other programs use, from its making on."""

    def __init__(self) -> None:
        self._start = self._now()

    @property
    def pct(self) -> float | None:
        """Percent of all processors; None where the system does not tell."""
        (wall, own, busy), (wall_then, own_then, busy_then) = self._now(), self._start
        if busy is None or busy_then is None or wall <= wall_then:
            return None
        others = max(0.0, (busy - busy_then) - (own - own_then))
        return 100 * others / ((wall - wall_then) * (os.cpu_count() or 1))

    def _now(self) -> tuple[float, float, float | None]:
        return time.monotonic(), time.process_time(), busy_seconds()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Leave cycles alone inside: looking for them takes time, and comes at any moment."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
