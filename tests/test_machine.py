"""The machine: the share of it that others use is what is left of its work without ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proscale_bench.machine import OthersCpu, busy_seconds


def test_our_own_work_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(0.0, 0.0, 100.0), (10.0, 2.0, 107.0)])  # of the wall, of this process, of all that work
    monkeypatch.setattr(OthersCpu, "_now", lambda self: next(times))
    assert OthersCpu().pct == pytest.approx(100 * 5 / (10 * (os.cpu_count() or 1)))


def test_a_system_that_does_not_tell_is_no_quiet_one(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(0.0, 0.0, None), (10.0, 2.0, None)])
    monkeypatch.setattr(OthersCpu, "_now", lambda self: next(times))
    assert OthersCpu().pct is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux alone has /proc/stat")
def test_the_seconds_of_all_work_grow() -> None:
    before = busy_seconds()
    assert before is not None
    sum(range(2_000_000))
    assert (busy_seconds() or 0) >= before
