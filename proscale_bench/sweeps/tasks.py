"""A sweep's tasks, and where they run: one interface for this machine's processes and for a cluster.

A task is plain data, so that it can be sent to any process or machine and its key follows from it alone; what comes
back is records as JSON, so that nobody who waits for them needs torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from proscale_bench.results.record import Failure, Record


@dataclass(frozen=True)
class Needs:
    """The resources that a task reserves.

    Args:
        gpus: number of GPUs; a task has them for itself.
        alone: whether nothing else of the sweep may run on its machine meanwhile, as for a CPU's latency.
    """

    gpus: int = 0
    alone: bool = False


class SweepTask(Protocol):
    """A frozen dataclass of plain data: picklable, the same on every machine."""

    @property
    def needs(self) -> Needs:
        """The resources that it reserves."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it reads, such as weights; they are sent along to other machines."""
        return ()

    def __str__(self) -> str:
        """Its name in a progress display."""

    def moved(self, places: Mapping[Path, Path]) -> SweepTask:
        """The same task, with its files elsewhere."""
        return self

    def run(self) -> list[dict[str, Any]]:
        """Find the records, as JSON; called in a worker's process.

        Raises:
            BenchError: the reason that a record's `error` will give.
        """


@dataclass(frozen=True)
class TaskResult:
    """A task that ended.

    Args:
        records: its records as JSON; None where it failed.
        failure: why it failed; None where it did not.
    """

    task: SweepTask
    records: list[dict[str, Any]] | None
    failure: Failure | None


class Executor(Protocol):
    """Runs tasks somewhere."""

    def run(self, tasks: Sequence[SweepTask]) -> Iterator[TaskResult]:
        """Yield each as it ends, in any order; closing the iterator (or Ctrl-C) ends all workers.

        A worker that dies (SIGKILL, out of memory) is a `TaskResult` with a failure, or a retry, never a hang; the
        others go on.
        """


StepName = Literal["count", "profile", "evaluate"]
News = Callable[[str, float | None], None]  # what is being done, and how much of it is, 0 to 1


class Measurement(SweepTask, Protocol):
    """A task whose records a run keeps."""

    @property
    def step(self) -> StepName:
        """The step of the sweep's file that asks for it."""

    @property
    def group(self) -> str:
        """The digest of what it is about: another measurement of the same group replaces what an earlier one found."""
        return self.key

    @property
    def key(self) -> str:
        """The digest of all that decides what it finds."""

    @property
    def scratch(self) -> Path | None:
        """The folder of its own files, which is removed once its records are kept."""
        return None

    def failed(self, failure: Failure) -> list[Record]:
        """Records that say why there are no results."""


class Listener:
    """The one place that tasks report to; nobody listens unless a worker says otherwise."""

    tell: News = staticmethod(lambda what, share: None)


def tell(what: str, share: float | None = None) -> None:
    """Report progress: what is being done, and the share of it that is done, 0 to 1."""
    Listener.tell(what, share)


def digest_of(**fields: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()
