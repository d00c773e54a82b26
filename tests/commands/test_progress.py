"""A log of long work, where no bar is seen, says what is there of an earlier run, then a line now and then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.commands import progress, zoo
from proscale_bench.commands.evaluate import shower
from proscale_bench.commands.progress import Bars, progress_bar
from proscale_bench.commands.sweep import SweepDisplay
from proscale_bench.evaluation.runner import BatchDone
from proscale_bench.sweeps.runner import SweepProgress


@dataclass
class Clock:
    now_s: float = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_the_first_line_one_every_half_minute_and_the_last(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("x", 100) as bar:
        for done in range(1, 101):
            clock.now_s += 1
            bar.show("x", done, line=lambda done=done: f"line {done}")
    assert lines(capsys) == ["line 1", "line 31", "line 61", "line 91", "line 100"]


def test_what_is_mostly_short_says_nothing_before_it_is_long(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("x", 3, line_after_s=30) as bar:
        bar.show("x", 3, line=lambda: "short")
        assert lines(capsys) == []
        clock.now_s += 31
        bar.show("x", 1, line=lambda: "long")
        bar.show("x", 3, line=lambda: "last")
    assert lines(capsys) == ["long", "last"]


@dataclass(frozen=True)
class Task:
    step: str
    name: str

    def __str__(self) -> str:
        return self.name


def test_a_sweep_says_what_is_resumed_then_what_is_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    tasks: list[Any] = [Task("profile", name) for name in ("a", "b\n::error::", "c")]
    display = SweepDisplay([], tasks)
    with display.bars:
        display.show(SweepProgress("profile", "a", "kept", 1, 3))
        display.news(tasks[1], "warming up", 0.1)
        clock.now_s += 31
        display.news(tasks[1], "timing", 0.5)
        display.show(SweepProgress("profile", "b", "found", 2, 3))
        display.show(SweepProgress("profile", "c", "failed", 3, 3))
    assert lines(capsys) == [
        "latency: 1 of 3 are done: going on",
        "latency: 1 of 3 done, b\\n::error::: warming up",
        "latency: 1 of 3 done, b\\n::error::: timing",
        "latency: 3 of 3 done, c: failed",
    ]


def test_a_count_is_over_before_a_line_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    display = SweepDisplay([object()], [])  # type: ignore[list-item]
    with display.bars:
        display.show(SweepProgress("count", "a", "found", 1, 1))
    assert lines(capsys) == []


def test_an_evaluation_says_so_too(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("images") as bar:
        show = shower(bar, "w.pth")
        for done in (44, 48, 200):
            show(BatchDone(done, 200, 4.0, 51.23, 40))
    assert lines(capsys) == [
        "40 of 200 images are done: going on with w.pth",
        "44 of 200 images, 4.0 images/s, PQ 51.2 so far: w.pth",
        "200 of 200 images, 4.0 images/s, PQ 51.2 so far: w.pth",
    ]


@dataclass(frozen=True)
class Training:
    title: str
    iteration: int
    seed: int = 0
    iterations: int = 1000

    @property
    def is_done(self) -> bool:
        return self.iteration == self.iterations


def test_a_zoo_says_so_too(monkeypatch: pytest.MonkeyPatch, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    plan: Any = [Training("trunk", 1000), Training("1,1,1", 400), Training("3,3,3", 0)]

    def train(plan: Any, jobs: int, device: str | None, show: Any) -> list[Any]:
        for running in (plan[1:2], plan[1:2], plan[1:], plan[1:]):
            show(running)
            clock.now_s += 16
        return []

    monkeypatch.setattr("proscale_bench.sweeps.zoo.train_missing", train)
    zoo._train(plan, 1, "cpu", Path("out"))
    assert lines(capsys) == [
        "1 of 3 trainings are done, and 1 begun: going on",
        "1 of 3 trainings are done; 1,1,1 of seed 0 at 400 of 1,000, 3,3,3 of seed 0 at 0 of 1,000 running",
    ]


def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from proscale_bench.render.console import settings

    monkeypatch.setattr(settings, "quiet", True)
    with Bars() as bars:
        bars.say("x")
        bars.log(lambda: "x")
    assert lines(capsys) == []
