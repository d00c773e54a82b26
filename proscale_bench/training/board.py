"""The log of a training for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.results.training import LogLine


class Board:
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
        for name, value in line:
            if name != "iteration" and value is not None:
                self._writer.add_scalar(name, value, line.iteration)

    def close(self) -> None:
        self._writer.close()
