"""Flags as one value, and progress where no terminal is."""

from __future__ import annotations

import inspect

import pytest

from proscale_bench.commands import progress
from proscale_bench.commands.options import MaybeInt, Options, flag, takes


class Base(Options):
    size: str = flag("--size SIZE", "Size.", default="640x640")


class Of(Base):
    batch: MaybeInt = flag("--batch, -n N", "Images. [default: 1]", "Panel", min=1)


def test_a_command_takes_the_flags_of_its_class_before_those_of_its_bases() -> None:
    given = []
    command = takes(Of)(given.append)
    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["batch", "size"]
    assert parameters["batch"].default.param_decls == ("--batch", "-n")
    assert (parameters["batch"].default.metavar, parameters["batch"].default.help) == ("N", "Images. \\[default: 1]")
    assert parameters["size"].default.default == "640x640"
    command(batch=2, size="32x32")
    (options,) = given
    assert (options.batch, options.size) == (2, "32x32")
    with pytest.raises(AttributeError, match="batch"):
        options.batch = 3


def test_a_log_gets_a_line_now_and_then_and_the_last_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.progress_bar("training", 5) as bar:
        for done in range(1, 6):
            bar.show("training", done, line=lambda done=done: f"{done} of 5")
            now += 20.0
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == ["1 of 5", "3 of 5", "5 of 5"]


def test_without_a_line_a_log_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("loading") as bar:
        bar.show("measuring", 1, 2)
    with progress.Bars(titled=True, by_clock=False) as bars:
        bars.add("", 3, title="latency").show("baseline", 1, begun=0.5)
        with bars.paused():
            bars.news()
    assert capsys.readouterr() == ("", "")
