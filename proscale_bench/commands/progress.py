"""Progress for a person while something is loaded or runs: bars on a terminal, in a log a line now and then."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from proscale_bench.render.console import note, shows_progress, stderr_console
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

LINE_EVERY_S = 30.0


class Bars(AbstractContextManager["Bars"]):
    """Progress bars on stderr, one below the other, gone at the end; none where stderr is no terminal or with --quiet.

    Args:
        by_clock: False draws them only when there is news: a thread that draws takes time from what is measured.
        after_s: seconds before which nothing is drawn, for what is mostly done sooner.
        line_after_s: the same of the lines of a log.
        titled: each bar has a title on its left.
    """

    def __init__(
        self, *, by_clock: bool = True, after_s: float = 0.0, line_after_s: float = 0.0, titled: bool = False
    ) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # of the line, and never more
        title = TextColumn("{task.fields[title]}", markup=False, table_column=Column(min_width=8, no_wrap=True))
        columns = (
            *([title] if titled else []),
            BarColumn(20, table_column=Column(min_width=20)),
            TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(min_width=7)),
            TextColumn("{task.description}", markup=False, table_column=rest),
        )
        self.shown = shows_progress()
        self.by_clock = by_clock
        self.progress = Progress(
            *columns,
            console=stderr_console(),
            transient=True,
            disable=not self.shown,
            auto_refresh=by_clock,
            expand=True,
        )
        self._start_at = time.monotonic() + after_s
        self._next_line_at = time.monotonic() + line_after_s
        self._has_said = False

    def __enter__(self) -> Bars:
        self.news()
        return self

    def __exit__(self, *raised: object) -> None:
        self.progress.stop()

    def add(self, what: str, total: float | None = None, *, title: str = "", visible: bool = True) -> Bar:
        """A bar below those that are there; without a total it only moves."""
        task = self.progress.add_task(
            printable(what), total=total, visible=visible, title=printable(title), count=_count(0, total)
        )
        return Bar(self, task)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn inside, so that something else can be printed."""
        self.progress.stop()
        self._start_at = float("inf")
        yield
        self._start_at = 0.0
        self.news()

    def news(self) -> None:
        """Draw, unless it is too early or a clock does."""
        if not self.progress.live.is_started and time.monotonic() >= self._start_at:
            self.progress.start()
        if not self.by_clock:
            self.progress.refresh()

    def log(self, line: Callable[[], str], *, last: bool = False) -> None:
        """Print a line where no bar is seen: the first, one every half minute, and the last one if it has company."""
        if not self.shown and ((last and self._has_said) or time.monotonic() >= self._next_line_at):
            self._next_line_at = time.monotonic() + LINE_EVERY_S
            self._has_said = True
            note(line())

    def say(self, line: str) -> None:
        """Print a line at once where no bar is seen."""
        if not self.shown:
            note(line)


class Bar:
    """One of the bars: how much is done, the time that is left, and what is being done."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars, self._id = bars, task

    def show(
        self,
        what: str | None = None,
        done: float | None = None,
        total: float | None = None,
        *,
        begun: float = 0.0,
        visible: bool = True,
        line: Callable[[], str] | None = None,
    ) -> None:
        """Say what is being done, and how much of how much is; what is left out stays as it was.

        Args:
            begun: how much is done of what is not counted yet.
            line: makes the line of a log that says the same.
        """
        task = self._task
        what = what and printable(what)
        done = task.completed if done is None else done
        total = task.total if total is None else total
        self._bars.progress.update(
            self._id, description=what, completed=done + begun, total=total, visible=visible, count=_count(done, total)
        )
        self._bars.news()
        if line is not None:
            self._bars.log(line, last=done == total)

    def say(self, line: str) -> None:
        """Print a line at once where no bar is seen."""
        self._bars.say(line)

    def restart(self, what: str, done: float, total: float) -> None:
        """Begin with something else, whose pace is its own."""
        self._bars.progress.reset(
            self._id, description=printable(what), completed=int(done), total=total, count=_count(done, total)
        )

    @property
    def per_second(self) -> float | None:
        """The pace, once there is one."""
        return self._task.speed

    @property
    def _task(self) -> Task:
        return self._bars.progress.tasks[self._id]


@contextmanager
def progress_bar(
    what: str, total: float | None = None, *, by_clock: bool = True, after_s: float = 0.0, line_after_s: float = 0.0
) -> Iterator[Bar]:
    """One bar alone; see `Bars`."""
    with Bars(by_clock=by_clock, after_s=after_s, line_after_s=line_after_s) as bars:
        yield bars.add(what, total)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until what is imported inside is there.

    numpy and torch, interrupted half-way, swallow the interruption or fail in ways that name something else.

    Raises:
        KeyboardInterrupt: at the end, where one came.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else's handler, or a shell that does not want us to listen
        return
    came = False

    def remember(*_: object) -> None:
        nonlocal came
        came = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def _count(done: float, total: float | None) -> str:
    """`3/256`; nothing of a single thing."""
    return f"{done:.0f}/{total:.0f}" if total is not None and total > 1 else ""
