"""What every measurement of a sweep has: a name for what it finds, and records where it fails.

A measurement is a `Task` for executors. It is plain data, so that it can be sent to any process or machine and its key
follows from it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.export import environment, now
from proscale_bench.results.record import Failure, Identity, Input, Origin, Record
from proscale_bench.sweep.executors import Needs
from proscale_bench.version import __version__

StepName = Literal["count", "profile", "evaluate"]
News = Callable[[str, float | None], None]  # what is being done, and how much of it is, 0 to 1


class Measurement(Protocol):
    """A task of a sweep; see `executors.Task`.

    `slot` names what it is about, `key` all that decides what it finds. Another measurement of the same slot replaces
    what an earlier one found.
    """

    @property
    def step(self) -> StepName: ...
    @property
    def slot(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def needs(self) -> Needs: ...
    @property
    def files(self) -> tuple[Path, ...]: ...
    @property
    def scratch(self) -> Path | None:
        """The folder of what it keeps until its records are kept."""

    def __str__(self) -> str: ...
    def moved(self, places: Mapping[Path, Path]) -> Measurement: ...
    def run(self) -> list[dict[str, Any]]: ...
    def failed(self, failure: Failure) -> list[Record]:
        """The rows that say why there is nothing else."""


class Listener:
    """Who is told what a task is doing; nobody, unless a worker says otherwise."""

    tell: News = staticmethod(lambda what, share: None)


def tell(what: str, share: float | None = None) -> None:
    """Say what is being done, for a progress display."""
    Listener.tell(what, share)


def digest_of(**fields: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()


def fault(error: Exception) -> Failure:
    """What nobody foresaw: the others go on, and the sweep's exit code says that something failed."""
    return Failure(
        message=f"{type(error).__name__}: {error}"[:1000],
        hint="this is a fault of the tool: please report it",
        exit_code=ExitCode.UNTRUSTED.value,
    )


def failure_of(error: BenchError) -> Failure:
    return Failure(message=error.message, hint=error.hint, exit_code=int(error.exit_code))


def failure_record(identity: Identity, given: Input, failure: Failure, **fields: Any) -> Record:
    """A record that says why there is no other."""
    return Record(
        identity=identity,
        input=given,
        convention="mac",
        rules="fvcore",
        error=failure,
        provenance=Origin(tool_version=__version__, created=now()),
        environment=environment(),
        **fields,
    )
