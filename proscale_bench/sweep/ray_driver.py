"""The process that talks to Ray: `python -m proscale_bench.sweep.ray_driver FD`, started by `ray_executor`.

It is apart from the sweep, so that nothing that Ray does (hang, end its process, print) happens to the sweep. The two
hold the ends of one connection; when the sweep's end closes, however it ended, this process ends all that it started.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import signal
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from proscale_bench import cache
from proscale_bench.config.catalogue import catalogue_dir
from proscale_bench.errors import BenchError
from proscale_bench.sweep import ray_worker
from proscale_bench.sweep.ray_messages import Alive, Broken, Start
from proscale_bench.sweep.ray_worker import Parcel

LAST_ORDERS_S = 10.0  # after the sweep is gone, before this process is ended by force
LOCAL = "local"
SHORT = "/tmp"  # the path of a socket has 107 characters at the most, and Ray adds 70
PACKAGE = Path(__file__).parents[1]


def main(connection: Connection) -> None:
    start: Start = connection.recv()
    left = Event()
    Thread(target=watch, args=(connection, left), daemon=True).start()
    try:
        with cluster(start.address):
            serve(start, connection, left)
    except BenchError as error:
        connection.send(Broken(error.message, error.hint or ""))
    except BrokenPipeError:
        pass  # nobody is left to tell
    except Exception as error:
        connection.send(
            Broken(f"Ray at {start.address}: {gist(error)}", "what is done is kept; run the same command to go on")
        )


def serve(start: Start, connection: Connection, left: Event) -> None:
    """Run the jobs and tell how each ended, until all have or the sweep is gone."""
    from proscale_bench.sweep.ray_dispatch import Dispatch

    connection.send(Alive())
    code = sent(Path("code.zip"), code_archive())
    files = {}
    for path in dict.fromkeys(path for job in start.jobs for path in job.files):
        files[path] = sent(path, path.read_bytes())
        connection.send(Alive())
    with closing(Dispatch(start.jobs, code, files, start.patience_s).run()) as events:
        for event in events:
            if left.is_set():
                return
            connection.send(event or Alive())


def watch(connection: Connection, left: Event) -> None:
    """Wait for the sweep to close its end. Should this process not end then, its group is ended."""
    try:
        connection.recv()
    except (EOFError, OSError):
        left.set()
    Event().wait(LAST_ORDERS_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connected to Ray; to one of our own on this machine where the address is `local`.

    Raises:
        BenchError: no connection, or the versions differ.
    """
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    with ExitStack() as stack:
        if address == LOCAL:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the user's home
            folder = tempfile.TemporaryDirectory(prefix="ray-", dir=SHORT, ignore_cleanup_errors=True)
            settings |= {"include_dashboard": False, "_temp_dir": stack.enter_context(folder)}
        import ray
        from ray import cloudpickle

        for module in (ray_worker, cache):  # nodes do not have them yet
            cloudpickle.register_pickle_by_value(module)
        try:
            ray.init(address=address, **settings)
        except (RuntimeError, ConnectionError, ValueError, OSError) as error:
            raise no_connection(address, error) from error
        stack.callback(ray.shutdown)
        yield


def no_connection(address: str, error: Exception) -> BenchError:
    """What Ray says at length, in a line."""
    first = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if "ersion mismatch" in str(first):
        hint = "both need the same Ray and Python: pip install 'ray[client]==VERSION' with the cluster's"
        return BenchError(f"Ray at {address}: {' '.join(str(first).split())}", hint)
    if "AuthToken" in str(first) or "AuthenticationError" in type(first).__name__:
        hint = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token as the cluster has it"
        return BenchError(f"Ray at {address} asks for a token, and was given none or another", hint)
    hint = "does `ray status` know it? if it asks for a token, set RAY_AUTH_MODE=token"
    return BenchError(f"cannot reach Ray at {address}: {gist(first)}", hint)


def gist(error: Exception) -> str:
    """A line of what an error says: the first, or the last of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if "Traceback" in str(error) else 0]


def sent(path: Path, content: bytes) -> Parcel:
    """A parcel whose bytes Ray has."""
    import ray

    return Parcel(path, hashlib.sha256(content).hexdigest(), ray.put(content))


def code_archive() -> bytes:
    """The package and the catalogue as a zip file, the same bytes for the same code. Weights are sent as files."""
    found = {path: f"{PACKAGE.name}/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*") if path.is_file()}
    found |= {path: f"{PACKAGE.name}/schedules/{path.name}" for path in catalogue_dir().glob("*.yaml")}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path, name in sorted(found.items(), key=lambda entry: entry[1]):
            if path.suffix not in (".pyc", ".safetensors"):
                file.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
