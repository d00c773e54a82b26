"""Writing files so that a full disk or a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from proscale_bench.errors import BenchError


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write beside `path` and move into place; folders on the way are made.

    Raises:
        BenchError: the path cannot be written, or the disk is full. What stood there before still does.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # a temporary file is private; a report is not
        temporary.replace(path)
    except OSError as error:
        raise BenchError(
            f"cannot write {path}: {error.strerror or error}",
            "check the path, its permissions and the disk's space",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_overwrite(path: Path, force: bool) -> None:
    """Nothing is overwritten without `--force`.

    Raises:
        BenchError: the file is there already, or is a folder.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder", "give the path of a file")
    if path.exists() and not force:
        raise BenchError(f"{path} exists", "choose another path, or overwrite it with --force")


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
