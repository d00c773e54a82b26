"""Reading and writing files: no surprise from a device or a pipe, never half a file, one writer a folder.

A full disk or a killed process leaves the old file or the new one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proscale_bench.errors import BenchError
from proscale_bench.units import one_line

LOCK = ".lock"
MEBIBYTE = 1 << 20


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that is a file: a device may have no end, a pipe no beginning.

    Raises:
        BenchError: missing, no regular file, unreadable, or larger than `max_bytes`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise BenchError(f"{path}: {what}", "give the path of a file")
        with path.open("rb") as file:
            # A read reserves what it is told to. Files of /proc say that they have no bytes.
            raw = file.read(min(max(status.st_size, MEBIBYTE), max_bytes) + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        shown = one_line(str(path))
        raise BenchError(f"{shown}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    if len(raw) > max_bytes:
        raise BenchError(f"{path}: over {max_bytes // 1024} KiB", "is this the right file?")
    return raw


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write beside `path` and move into place; folders on the way are made, links are followed.

    Raises:
        BenchError: see `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, to be written inside the block; it takes the path's place at the end.

    Raises:
        BenchError: the path cannot be written, is no regular file, or the disk is full. What stood there before
            still does.
    """
    temporary = None
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise BenchError(f"cannot write {path}: not a regular file", "give another path, or - for stdout")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # a temporary file is private; a report is not
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        raise BenchError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
            "check the path, its permissions and the disk's space",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_overwrite(path: Path, force: bool) -> None:
    """Refuse to overwrite anything without `--force`.

    Raises:
        BenchError: the file is there already, or is a folder.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder", "give the path of a file")
    if os.path.lexists(path) and not force:
        raise BenchError(f"{path} exists", "choose another path, or overwrite it with --force")


@contextmanager
def locked(run: Path, what: str = "sweep") -> Iterator[None]:
    """Hold a run's folder for this process, a `what`. The system lets go when the process ends, however it ends.

    A folder that was made for it and has stayed empty is removed again.

    Raises:
        BenchError: another process holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    is_new = not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise BenchError(
            f"another {what} is running in {run}", "wait for it to end, or choose another folder with --out"
        ) from None
    except OSError as error:
        raise BenchError(
            f"cannot write {run}: {error.strerror or error}", "choose another folder with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
        if is_new and run.is_dir() and [path.name for path in run.iterdir()] == [LOCK]:
            (run / LOCK).unlink()
            run.rmdir()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
