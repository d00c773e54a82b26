"""Reading and writing files: no surprise from a device or a pipe, never half a file, one writer a folder.

A full disk or a killed process leaves the old file or the new one.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proscale_bench.errors import BenchError
from proscale_bench.units import printable

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
        shown = printable(str(path))
        raise BenchError(f"{shown}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    if len(raw) > max_bytes:
        raise BenchError(f"{path}: over {max_bytes // 1024} KiB", "is this the right file?")
    return raw


def write_atomic(path: Path, data: str | bytes, overwrite: bool = True) -> None:
    """Write beside `path` and move into place; folders on the way are made, links are followed.

    Raises:
        BenchError: see `replacing`.
    """
    with replacing(path, overwrite) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`, to be written inside the block; it takes the path's place at the end.

    It has the mode of the file that it replaces. What killed processes left behind of the same path is removed.

    Args:
        overwrite: False refuses to take the place of a file, also of one that another process writes meanwhile.

    Raises:
        BenchError: the path cannot be written, is no regular file, or the disk is full. What stood there before
            still does.
    """
    temporary, held = None, None
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise BenchError(f"cannot write {path}: not a regular file", "give another path, or - for stdout")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary, held = _begin(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(_mode(path))
        if overwrite:
            temporary.replace(path)
        else:
            _publish(temporary, path)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def unwritable(path: Path, error: Exception) -> BenchError:
    """The error of a path that cannot be written."""
    what = f"cannot write {path}: {getattr(error, 'strerror', None) or error}"
    return BenchError(what, "check the path, its permissions and the disk's space")


def _begin(path: Path) -> tuple[Path, int]:
    """A temporary file, and a descriptor by which it is held: while it is, nobody takes it for a leftover."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        if _hold(descriptor, Path(name)) is not False:
            return Path(name), descriptor
        os.close(descriptor)  # somebody took it for a leftover before it was held


def _publish(temporary: Path, path: Path) -> None:
    """Move into place where nothing is. A link is refused where a file is; not every file system has links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise _exists(path) from None
        temporary.replace(path)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of this path that no living process holds."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")  # as `tempfile` names them
    with os.scandir(path.parent) as entries:
        left_over = [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    for one in left_over:
        with suppress(OSError):
            descriptor = os.open(one, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode) and _hold(descriptor, one):
                    one.unlink()
            finally:
                os.close(descriptor)


def _hold(descriptor: int, path: Path) -> bool | None:
    """Lock an open file for this process: False where another has it, or it is no longer the one at its path; None
    where the file system has no locks. The system lets go when the process ends, however it ends."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def refuse_overwrite(path: Path, force: bool) -> None:
    """Refuse to overwrite anything without `--force`.

    Raises:
        BenchError: the file is there already, or is a folder.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder", "give the path of a file")
    if os.path.lexists(path) and not force:
        raise _exists(path)


def _exists(path: Path) -> BenchError:
    return BenchError(f"{path} exists", "choose another path, or overwrite it with --force")


DYING_S = 2.0  # a process that was just killed holds its lock until it has given its memory back


@contextmanager
def locked(run: Path, what: str = "sweep") -> Iterator[None]:
    """Hold a run's folder for this process, a `what`. The system lets go when the process ends, however it ends.

    A folder that was made for it and has stayed empty is removed again.

    Raises:
        BenchError: another process holds it, or the folder cannot be written.
    """
    is_new = not run.exists()
    try:
        descriptor = _lock(run)
    except OSError as error:
        raise BenchError(
            f"cannot write {run}: {error.strerror or error}", "choose another folder with --out"
        ) from error
    if descriptor is None:
        raise BenchError(
            f"another {what} is running in {run}", "wait for it to end, or choose another folder with --out"
        )
    try:
        yield
    finally:
        if is_new and run.is_dir() and [path.name for path in run.iterdir()] == [LOCK]:
            with suppress(OSError):  # while it is held: who opened the same file finds that it is gone, and tries again
                (run / LOCK).unlink()
                run.rmdir()
        os.close(descriptor)


def _lock(run: Path) -> int | None:
    """The descriptor by which the folder is held; None where another process goes on holding it."""
    until = time.monotonic() + DYING_S
    while True:
        run.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        except FileNotFoundError:
            continue  # the folder was removed meanwhile
        try:
            is_held = _hold(descriptor, run / LOCK)
        except BaseException:
            os.close(descriptor)
            raise
        if is_held:
            return descriptor
        os.close(descriptor)
        if is_held is None:
            raise OSError(f"{run / LOCK}: the file system has no locks")
        if time.monotonic() > until:
            return None
        time.sleep(0.05)


def _mode(path: Path) -> int:
    """That of the file that is there, or what the umask leaves of a new one: a temporary file is private."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0o666 & ~_umask()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
