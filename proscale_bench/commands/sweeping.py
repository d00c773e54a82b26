"""What `sweep` does between its flags and its tables: where tasks run, and what is shown of them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from proscale_bench.render.console import detail, shows_progress, stderr_console

if TYPE_CHECKING:
    from rich.progress import TaskID

    from proscale_bench.bench.count import Configuration
    from proscale_bench.results.record import Record
    from proscale_bench.sweep.local import OnNews
    from proscale_bench.sweep.runner import SweepOutcome, SweepProgress
    from proscale_bench.sweep.tasks import Executor, Measurement, SweepTask

TITLES = {"count": "on paper", "profile": "latency", "evaluate": "accuracy"}


def executor_of(ray: str | None, processes: int | None, on_news: OnNews) -> Executor:
    """This machine's processes, or a Ray cluster.

    Raises:
        BenchError: Ray is not installed, or this is no address of one.
    """
    from proscale_bench.sweep.local import LocalExecutor

    if ray is None:
        return LocalExecutor(processes, on_news)
    from proscale_bench.sweep.ray.executor import RayExecutor

    return RayExecutor(ray)


def run_with_progress(
    configurations: Sequence[Configuration],
    measurements: Sequence[Measurement],
    run: Path,
    *,
    name: str,
    start_over: bool,
    ray: str | None,
    processes: int | None,
    on_counted: Callable[[Sequence[Record]], None],
) -> SweepOutcome:
    """Run the sweep with a bar a step on stderr, where stderr is a terminal.

    Args:
        on_counted: given the costs on paper before anything is measured.
    """
    from proscale_bench.sweep.runner import run_sweep

    with Display(configurations, measurements) as display:

        def show_counted(records: Sequence[Record]) -> None:
            with display.paused():
                on_counted(records)

        executor = executor_of(ray, processes, display.news) if measurements else None
        try:
            return run_sweep(
                configurations,
                run,
                measurements,
                executor,
                name=name,
                start_over=start_over,
                on_progress=display.show,
                on_counted=show_counted,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what is done is kept in {run}; run the same command to go on") from None


class Display(AbstractContextManager["Display"]):
    """A line a step: how much of it is done, the time that is left, and what runs.

    It is drawn when there is news, not by a clock: what is drawn takes time from what is measured.
    """

    def __init__(self, configurations: Sequence[Configuration], measurements: Sequence[Measurement]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # of the line, and never more
        columns = (
            TextColumn("{task.fields[title]}", table_column=Column(min_width=8)),
            BarColumn(16, table_column=Column(min_width=16)),
            TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(min_width=5)),
            TextColumn("{task.description}", markup=False, table_column=rest),
        )
        self._bar = Progress(
            *columns,
            console=stderr_console(),
            transient=True,
            disable=not shows_progress(),
            auto_refresh=False,
            expand=True,
        )
        steps = [*["count"] * len(configurations), *(measurement.step for measurement in measurements)]
        self._tasks: dict[str, TaskID] = {
            step: self._bar.add_task("", total=steps.count(step), title=TITLES[step], count=f"0/{steps.count(step)}")
            for step in dict.fromkeys(steps)
        }
        self._shares: dict[str, dict[str, float]] = {step: {} for step in self._tasks}
        self._done = dict.fromkeys(self._tasks, 0)
        self._lock = Lock()  # news comes from threads

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Not drawn inside, so that something else can be printed."""
        self._bar.stop()
        yield
        self._bar.start()

    def show(self, progress: SweepProgress) -> None:
        """That something ended."""
        step = progress.step
        with self._lock:
            self._shares[step].pop(progress.what, None)
            self._done[step] = progress.done
            count = f"{progress.done}/{progress.total}"
            what = "" if progress.done == progress.total else progress.what
            self._bar.update(self._tasks[step], completed=self._amount(step), count=count, description=what)
            self._bar.refresh()
        detail(f"{progress.what}: {progress.outcome}")

    def news(self, task: SweepTask, what: str, share: float | None) -> None:
        """What a running task does; from any thread."""
        step = task.step  # type: ignore[attr-defined]
        with self._lock:
            self._shares[step][str(task)] = share or self._shares[step].get(str(task), 0.0)
            self._bar.update(self._tasks[step], completed=self._amount(step), description=f"{task}: {what}")
            self._bar.refresh()

    def _amount(self, step: str) -> float:
        return self._done[step] + sum(self._shares[step].values())
