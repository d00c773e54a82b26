"""Runs a sweep's tasks on a Ray cluster. The sweep's process never imports Ray: see `driver`.

The sweep and the driver run the same code, so what they tell each other is pickled.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from proscale_bench.children import start as start_process
from proscale_bench.errors import BenchError
from proscale_bench.results.record import Failure
from proscale_bench.sweeps.tasks import Needs, SweepTask, TaskResult


@dataclass(frozen=True)
class Job:
    """A task as the driver needs to know it.

    Args:
        task: the pickled task; unpickled by nobody but the process that runs it.
        files: absolute paths on this machine.
    """

    number: int
    name: str
    task: bytes
    needs: Needs
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Start:
    """The first message to the driver, and the only one: after it, the end of the connection is the order to end all.

    Args:
        address: `local`, or what `ray.init` takes.
        patience_s: seconds for which a task may fit no node.
    """

    address: str
    jobs: tuple[Job, ...]
    patience_s: float


@dataclass(frozen=True)
class Alive:
    """A message from the driver, every few seconds: the cluster still answers. The first says that it is connected."""


@dataclass(frozen=True)
class Ended:
    """A message from the driver: a task's records as JSON, or the fields of its `Failure`."""

    number: int
    records: list[dict[str, Any]] | None
    failure: dict[str, Any] | None


@dataclass(frozen=True)
class Broken:
    """The last message from the driver: it cannot go on."""

    message: str
    hint: str


Message = Alive | Ended | Broken


ADDRESS = re.compile(r"local|auto|(?P<client>ray://)?(?P<host>[\w.-]+)(:(?P<port>\d{1,5}))?")
CLIENT_PORT = 10001
KNOCK_S = 5.0
CONNECT_S = 90.0  # a cluster of our own is there in seconds on an idle machine, and in a minute on a busy one
SILENCE_S = 120.0  # the driver is heard every half a second, but while it sends a file of 1 GiB
GOODBYE_S = 15.0
MAX_FILES_BYTES = 1 << 30
DRIVER = "proscale_bench.sweeps.ray.driver"
NEUTRAL = "/"  # Ray puts the working folder of its driver on the path of every worker
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # when a cluster is lost, Ray would start one here
}


class RayExecutor:
    """Runs tasks on a cluster.

    Args:
        address: `local` (a cluster on this machine, for this sweep alone), `auto` (the cluster that this machine is a
            node of), `HOST:PORT` (the same, by name) or `ray://HOST[:PORT]` (from outside).
        patience_s: seconds for which a task may fit no node, before it is a failure.

    Raises:
        BenchError: Ray is not installed, or the address is none.
    """

    def __init__(self, address: str, patience_s: float = 300.0) -> None:
        parsed = ADDRESS.fullmatch(address)
        if parsed is None or (parsed["host"] and not parsed["port"] and not parsed["client"]):
            raise BenchError(f"'{address}' is no address of Ray", "give local, auto, HOST:PORT or ray://HOST[:PORT]")
        if find_spec("ray") is None:
            raise BenchError("Ray is not installed", "pip install 'proscale-bench[ray]'")
        self.host, self.port = parsed["host"], int(parsed["port"] or CLIENT_PORT)
        self.address = f"ray://{self.host}:{self.port}" if parsed["client"] else address
        self.patience_s = patience_s

    def run(self, tasks: Sequence[SweepTask]) -> Iterator[TaskResult]:
        """Yield each as it ends (see `Executor`).

        Raises:
            BenchError: the cluster cannot be reached, or breaks off.
        """
        if not tasks:
            return
        start = Start(self.address, tuple(job(number, task) for number, task in enumerate(tasks)), self.patience_s)
        refuse_large(start)
        self.knock()
        left = len(tasks)
        with Driver(start) as driver:
            timeout_s = CONNECT_S
            while left:
                message = driver.hear(timeout_s)
                timeout_s = SILENCE_S
                if isinstance(message, Broken):
                    raise BenchError(message.message, message.hint)
                if isinstance(message, Ended):
                    left -= 1
                    failure = Failure.model_validate(message.failure) if message.failure else None
                    yield TaskResult(tasks[message.number], message.records, failure)

    def knock(self) -> None:
        """Refuse a host that does not answer within seconds; Ray would try for minutes."""
        if self.host is None:
            return
        try:
            socket.create_connection((self.host, self.port), KNOCK_S).close()
        except (OSError, OverflowError) as error:
            hint = "is the cluster up, and the port open? its head node prints the address when it starts"
            raise BenchError(f"nothing answers at {self.host}:{self.port}: {error}", hint) from error


class Driver:
    """A driver's process, our end of its connection, and all that it and Ray print.

    It has a session of its own, so that Ctrl-C does not reach it before it is told what to do.
    """

    def __init__(self, start: Start) -> None:
        self.address = start.address
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the driver
        self.connection, its = Pipe()
        with its:
            self.process = start_process(
                DRIVER,
                str(its.fileno()),
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                env=os.environ | SETTINGS,
                cwd=NEUTRAL,
                start_new_session=True,
            )
        with suppress(OSError):  # it has died already, and `hear` says why
            self.connection.send(start)

    def hear(self, timeout_s: float) -> Message:
        """Wait for its next message.

        Raises:
            BenchError: it says nothing for too long, or has ended.
        """
        kept = "what is done is kept; run the same command to go on"
        try:
            if self.connection.poll(timeout_s):
                message: Message = self.connection.recv()
                return message
        except (EOFError, OSError):
            raise BenchError(f"the connection to Ray at {self.address} ended: {self.last_words()}", kept) from None
        self.kill()
        raise BenchError(f"Ray at {self.address} has not answered for {timeout_s:.0f} s", kept)

    def last_words(self) -> str:
        """The last line that it printed, or how it ended."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines()]
        said = next((line[:500] for line in reversed(lines) if line), None)
        return said or f"its process has exit status {self.process.wait(GOODBYE_S)}"

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        """Tell it to end all that it started, and wait for that."""
        self.connection.close()
        try:
            self.process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        self.log.close()


def job(number: int, task: SweepTask) -> Job:
    """A task for the driver. A file that cannot be read is not sent: the task will say so, and the others go on."""
    files = tuple(path for path in task.files if path.is_file() and os.access(path, os.R_OK))
    return Job(number, str(task), pickle.dumps(task), task.needs, files)


def refuse_large(start: Start) -> None:
    """Refuse to send more than 1 GiB."""
    size = sum(path.stat().st_size for path in {path for job in start.jobs for path in job.files})
    if size > MAX_FILES_BYTES:
        hint = "sweep over fewer weights at a time"
        raise BenchError(f"the weights have {size / 2**30:.2f} GiB, and 1 GiB at most is sent to a cluster", hint)
