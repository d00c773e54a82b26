"""A training's log, the same whether the training was interrupted or not; and the same for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.files import write_atomic
from proscale_bench.results.training import LogLine, TrainingStep, ValidationScores, read_log

EVERY = 10  # iterations


class LogWriter:
    """Appends lines to a log.

    Args:
        path: file of the log; lines of iterations that are not done, and are trained once more, are cut off.
        done: number of iterations done.
        unlogged: the last of those, which no line tells of yet.
        seconds: time spent so far.
        batch_size: images of an iteration.
        last: an iteration after which there is a line in any case.
        board: is given every line, too.

    Raises:
        BenchError: what is there is no log, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        done: int,
        unlogged: Sequence[TrainingStep],
        seconds: float,
        batch_size: int,
        last: int,
        board: TensorBoardWriter | None = None,
    ) -> None:
        self.unlogged = list(unlogged)
        self._seconds, self._batch_size, self._last, self._board = seconds, batch_size, last, board
        self.lines = [line for line in read_log(path) if line.iteration <= done]
        if self.lines and self.lines[-1].iteration == done:
            self.unlogged.clear()  # it was killed between a validation's line and the next state
        write_atomic(path, "".join(line.text() for line in self.lines))
        self._file = path.open("a", encoding="utf-8")

    @property
    def best(self) -> LogLine | None:
        """The line of the best validation, the last of equal ones; None where there is none."""
        validated = [line for line in self.lines if line.validation is not None]
        return max(validated, key=_score, default=None)

    def add(self, step: TrainingStep, *, held: bool = False) -> None:
        """Take an iteration in, and write the line that it completes, unless it is held until it is validated."""
        self.unlogged.append(step)
        self._seconds += step.seconds
        if not held and (step.iteration % EVERY == 0 or step.iteration == self._last):
            self.write()

    def write(self, validation: ValidationScores | None = None) -> None:
        """Write the line of all iterations since the last one, with what their validation found."""
        line = summed_up(self.unlogged, self._seconds, self._batch_size, validation)
        self.unlogged.clear()
        self.lines.append(line)
        self._file.write(line.text())
        self._file.flush()
        if self._board is not None:
            self._board.add(line)

    def keep(self) -> None:
        """Wait until all lines are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def _score(line: LogLine) -> tuple[float, int]:
    return (line.validation.decisive[1] if line.validation else -1.0, line.iteration)


def summed_up(
    steps: Sequence[TrainingStep], seconds: float, batch_size: int, validation: ValidationScores | None = None
) -> LogLine:
    """A line of at least one iteration."""
    spent = sum(step.seconds for step in steps)
    return LogLine(
        iteration=steps[-1].iteration,
        loss=_mean([step.total for step in steps]),
        loss_class=_mean([step.class_loss for step in steps]),
        loss_mask=_mean_of_some([step.mask_loss for step in steps]),
        loss_dice=_mean_of_some([step.dice_loss for step in steps]),
        loss_box=_mean_of_some([step.box_loss for step in steps]),
        loss_giou=_mean_of_some([step.giou_loss for step in steps]),
        gradient_norm=_mean_of_some([step.gradient_norm for step in steps]),
        learning_rate=steps[-1].learning_rate,
        images_per_second=batch_size * len(steps) / spent if spent else 0.0,
        seconds=seconds,
        validation=validation,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_of_some(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None where none is."""
    there = [value for value in values if value is not None]
    return _mean(there) if there else None


class TensorBoardWriter:
    """Writes every line of the log into a folder.

    Args:
        done: iterations; what was written of later ones is not shown.

    Raises:
        BenchError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BenchError(
                "TensorBoard is not installed", "pip install 'proscale-bench[tensorboard]', or leave --tensorboard out"
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=done + 1)

    def add(self, line: LogLine) -> None:
        validation = dict(line.validation) if line.validation else {}
        for name, value in {**dict(line), **validation}.items():
            if name != "iteration" and isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, line.iteration)

    def close(self) -> None:
        self._writer.close()
