"""The code that runs on a node of a cluster: it puts code and weights in place and runs a task in a new process.

A node may know nothing of the package, so this module is sent to it by value, with what it uses of others. What arrives
is kept in the node's cache folder under its digest: the next task, and the next sweep, find it there.

The new process runs this module's `main`: it reads the task from stdin and writes its outcome to
stdout. The end of stdin means that the worker is gone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Any

from proscale_bench.cache import cache_dir
from proscale_bench.children import start
from proscale_bench.sweeps.local import outcome_of

PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Parcel:
    """A file that is sent to nodes.

    Args:
        path: its path at home.
        digest: SHA-256 of its bytes.
        content: Ray's reference to them, fetched by a node that does not have them.
    """

    path: Path
    digest: str
    content: Any


def run_task(task: bytes, code: Parcel, files: Sequence[Parcel], all_threads: bool) -> dict[str, Any]:
    """Run a pickled task: `{"records": [...]}`, `{"failure": {...}}`, or `{"died": why}` where a signal ended it.

    Args:
        all_threads: numeric libraries choose their number of threads; else Ray's choice stands, one a CPU reserved.

    Raises:
        ValueError: what arrived is not what was sent.
        OSError: the cache folder cannot be written.
    """
    root = cache_dir() / "ray"
    environment = dict(os.environ)
    if all_threads:
        environment.pop("OMP_NUM_THREADS", None)
    message = pickle.dumps(({parcel.path: placed(parcel, root) for parcel in files}, task))
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        with start(
            "proscale_bench.sweeps.ray.node",
            root=unpacked(code, root),
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=errors,
            env=environment,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already, and its errors say why
                process.stdin.write(message)
                process.stdin.flush()  # and stays open: its end would tell the process that we are gone
            status = process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it may have started
        return outcome(status, answer, errors)


def outcome(status: int, answer: IO[bytes], errors: IO[bytes]) -> dict[str, Any]:
    """The answer of a process that ended with this status."""
    if status < 0:
        return {"died": signal.strsignal(-status) or f"signal {-status}"}
    if status > 0:
        errors.seek(0)
        lines = errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit code {status}")
        hint = "does the node have the Python packages that proscale-bench needs?"
        return {"failure": {"message": f"its process ended: {last[:1000]}", "hint": hint, "exit_code": 2}}
    answer.seek(0)
    found: dict[str, Any] = json.load(answer)
    return found


def unpacked(code: Parcel, root: Path) -> Path:
    """The folder that the package lies in; made whole or not at all."""
    folder = root / "code" / code.digest
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        zipfile.ZipFile(io.BytesIO(fetched(code))).extractall(temporary)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another task was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def placed(parcel: Parcel, root: Path) -> Path:
    """Find or put a file on this node: at its path at home, if it is the same there, else in the cache."""
    place = root / "files" / parcel.digest / parcel.path.name
    for path in (parcel.path, place):
        if path.is_file() and sha256_of(path) == parcel.digest:
            return path
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
        file.write(fetched(parcel))
    Path(file.name).replace(place)
    return place


def fetched(parcel: Parcel) -> bytes:
    """The bytes of a parcel, checked."""
    import ray

    content: bytes = ray.get(parcel.content)
    if hashlib.sha256(content).hexdigest() != parcel.digest:
        raise ValueError(f"{parcel.path.name}: other bytes arrived than were sent")
    return content


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a task prints is no answer
    places, task = pickle.load(sys.stdin.buffer)
    Thread(target=end_with_worker, daemon=True).start()
    with answer:
        json.dump(outcome_of(pickle.loads(task).moved(places)), answer)


def end_with_worker() -> None:
    """Wait for the end of stdin; then end this process, and what it started."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
