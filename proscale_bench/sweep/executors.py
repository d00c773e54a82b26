"""Where a sweep's tasks run: one interface for this machine's processes and for a cluster.

A task is plain data that can be sent anywhere; what comes back is records as JSON, so that nobody who waits for them
needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from proscale_bench.results.record import Failure


@dataclass(frozen=True)
class Needs:
    """What a task reserves.

    Args:
        gpus: a GPU task has its GPU for itself.
        alone: nothing else of the sweep runs on its machine meanwhile: a CPU's latency.
    """

    gpus: int = 0
    alone: bool = False


class Task(Protocol):
    """A frozen dataclass of plain data: picklable, the same on every machine."""

    @property
    def needs(self) -> Needs:
        """What it reserves."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it reads: weights; sent along to other machines."""

    def __str__(self) -> str:
        """As progress shows it."""

    def moved(self, places: Mapping[Path, Path]) -> Task:
        """The same, its files elsewhere."""

    def run(self) -> list[dict[str, Any]]:
        """The records, as JSON; called in a worker's process.

        Raises:
            BenchError: what a record's `error` will say.
        """


@dataclass(frozen=True)
class Finished:
    """A task that ended.

    Args:
        records: as JSON; None where it failed.
        failure: why; None where it did not.
    """

    task: Task
    records: list[dict[str, Any]] | None
    failure: Failure | None


class Executor(Protocol):
    """Runs tasks somewhere."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Yield each as it ends, in any order; closing the iterator (or Ctrl-C) ends all workers.

        A worker that dies (SIGKILL, out of memory) is a `Finished` with a failure, or a retry, never a hang; the
        others go on.
        """
