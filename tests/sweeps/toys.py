"""Tasks that measure nothing: what executors and the runner are tested with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from proscale_bench.bench.count import failure_record
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.record import Failure, Record
from proscale_bench.sweeps.tasks import Needs, StepName, SweepTask, TaskResult, tell
from tests.results.evaluations import EXECUTION
from tests.results.records import record


@dataclass(frozen=True)
class Toy:
    """Finds records of some schedules, as if it had run them.

    Args:
        what: `find` them; `refuse` with an error of ours, `break` with one that nobody foresaw, `die` by SIGKILL,
            `wait` for ever.
        folder: where it leaves a file with its process's id when it begins; None: nowhere.
    """

    name: str
    schedules: tuple[str, ...] = ("3,3,3",)
    what: Literal["find", "refuse", "break", "die", "wait"] = "find"
    folder: Path | None = None
    needs: Needs = field(default_factory=Needs)
    group: str = "a" * 64
    step: StepName = "profile"
    scratch: Path | None = None
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        return f"{self.name} {self.schedules}"

    def moved(self, places: Mapping[Path, Path]) -> Toy:
        return self

    def run(self) -> list[dict[str, Any]]:
        if self.folder:
            (self.folder / f"{self.name}.{os.getpid()}").touch()
        tell("playing", 0.5)
        print("a library that prints")
        if self.what == "refuse":
            raise BenchError("no such toy", "buy one", ExitCode.UNTRUSTED)
        if self.what == "break":
            raise ZeroDivisionError("oh")
        if self.what == "die":
            os.write(2, b"last words\n")
            os.kill(os.getpid(), signal.SIGKILL)
        while self.what == "wait":
            time.sleep(60)
        return [one.model_dump(mode="json") for one in self.found()]

    def found(self) -> list[Record]:
        how = EXECUTION.model_copy(update={"batch_size": sum(self.name.encode())})
        return [record(word).model_copy(update={"execution": how}) for word in self.schedules]

    def failed(self, failure: Failure) -> list[Record]:
        return [failure_record(one.identity, one.input, failure, execution=EXECUTION) for one in self.found()]


class InProcess:
    """Runs tasks here, one after another, and remembers which."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, tasks: Sequence[SweepTask]) -> Iterator[TaskResult]:
        for task in tasks:
            self.ran.append(str(task))
            try:
                yield TaskResult(task, task.run(), None)
            except BenchError as error:
                yield TaskResult(task, None, Failure(message=error.message, hint=error.hint, exit_code=3))
