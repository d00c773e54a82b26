"""How a training gets on, on stderr: a bar where that is a terminal, else a line now and then."""

from __future__ import annotations

import time
from types import TracebackType

from proscale_bench.config.recipe import Recipe
from proscale_bench.render.console import note, shows_progress, stderr_console
from proscale_bench.render.training import line, losses
from proscale_bench.results.training import TrainingStep
from proscale_bench.training.job import Watcher

EVERY_S = 30.0  # a line
STEADY = 0.9  # how much of the pace stays at each iteration


class Progress(Watcher):
    """Shows images being made, then iterations: losses, images/s and time left.

    Args:
        what: is trained.
    """

    def __init__(self, recipe: Recipe, what: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.iterations, self.batch_size, self.what = recipe.iterations, recipe.batch_size, what
        columns = (
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self.bars = Bars(*columns, console=stderr_console(), transient=True, disable=not shows_progress())
        self.task = self.bars.add_task("loading", total=None)
        self.pace_s: float | None = None  # of an iteration
        self.told = float("-inf")

    def __enter__(self) -> Progress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def making(self, done: int, total: int) -> None:
        self.bars.update(self.task, completed=done, total=total, description="making the embedded data")

    def begins(self, iteration: int) -> None:
        self.bars.reset(self.task, total=self.iterations, completed=iteration, description=self.what)
        if iteration:
            where = "nothing is left to do" if iteration == self.iterations else "going on"
            note(f"{iteration:,} of {self.iterations:,} iterations are done: {where}")

    def step(self, step: TrainingStep) -> None:
        self.pace_s = step.seconds if self.pace_s is None else STEADY * self.pace_s + (1 - STEADY) * step.seconds
        images_per_second = self.batch_size / self.pace_s
        self.bars.update(
            self.task, completed=step.iteration, description=f"{images_per_second:.1f} images/s, {losses(step)}"
        )
        now = time.monotonic()
        if not shows_progress() and (now - self.told > EVERY_S or step.iteration == self.iterations):
            self.told = now
            note(line(step, self.iterations, images_per_second, (self.iterations - step.iteration) * self.pace_s))
