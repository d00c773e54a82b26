"""A file that stays the same between being looked at and being loaded, by whoever loads it."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from proscale_bench.errors import BenchError


class SameFile(NamedTuple):
    """A file that is open, so that what is vetted and what is loaded are one, whatever comes to lie at its path.

    Args:
        path: the path that it was opened at, for messages.
        size: in bytes.
    """

    path: Path
    file: BinaryIO
    size: int

    @property
    def name(self) -> str:
        """A path of the open file, where the system has one, for readers that open it themselves."""
        own = f"/proc/self/fd/{self.file.fileno()}"
        return own if os.path.exists(own) else str(self.path)  # noqa: PTH110 - a link of the system's

    @contextmanager
    def mapped(self) -> Iterator[BinaryIO]:
        """The file as memory that is read."""
        with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            yield cast(BinaryIO, memory)


@contextmanager
def open_same(path: Path) -> Iterator[SameFile]:
    """Open a file for the block.

    Raises:
        BenchError: it cannot be opened, is no regular file, or was written into while the block ran.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            raise BenchError(f"{path}: not a regular file", "give the path of a checkpoint")
        file = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise BenchError(f"{path}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    with file:
        size, written_ns = _state_of(file)
        yield SameFile(path, file, size)
        if _state_of(file) != (size, written_ns):
            raise BenchError(f"{path}: somebody wrote into it while it was read", "load it again")


def _state_of(file: BinaryIO) -> tuple[int, int]:
    """Bytes, and the time of the last write in nanoseconds."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
