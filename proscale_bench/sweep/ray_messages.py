"""What the sweep and the driver that talks to Ray tell each other. Both run the same code, so pickles do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proscale_bench.sweep.executors import Needs


@dataclass(frozen=True)
class Job:
    """A task as the driver needs to know it.

    Args:
        number: its place among the tasks.
        name: as errors show it.
        task: pickled; unpickled by nobody but the process that runs it.
        files: absolute paths, here.
    """

    number: int
    name: str
    task: bytes
    needs: Needs
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Start:
    """To the driver, once. After it, the end of the connection is the order to end all.

    Args:
        address: `local`, or what `ray.init` takes.
        patience_s: for which a task may fit no node.
    """

    address: str
    jobs: tuple[Job, ...]
    patience_s: float


@dataclass(frozen=True)
class Alive:
    """From the driver, every few seconds: the cluster still answers. The first says that it is connected."""


@dataclass(frozen=True)
class Ended:
    """From the driver: a task's records as JSON, or the fields of its `Failure`."""

    number: int
    records: list[dict[str, Any]] | None
    failure: dict[str, Any] | None


@dataclass(frozen=True)
class Broken:
    """From the driver, at last: it cannot go on."""

    message: str
    hint: str


Message = Alive | Ended | Broken
