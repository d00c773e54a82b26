"""The journal of an evaluation, so that nothing finished is lost: a line of JSON an image.

Every process writes a file of its own, a batch at a time, and reads all of them at the end. A line ends with its own
CRC-32, so a last line without an end, as a killed process leaves it, and one that was altered count as not written.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from proscale_bench.data.dataset import Id
from proscale_bench.errors import BenchError

PATTERN = "process-*.jsonl"
CHECK = b',"crc32":'


class JournalWriter:
    """Appends the results of batches to a file of this process; use it as a context."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.path = folder / f"process-{rank}-{time.time_ns()}.jsonl"  # never one that was cut off in a line
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write(self, documents: Sequence[dict[str, Any]]) -> None:
        """Append a batch's lines at once.

        Raises:
            BenchError: the disk is full, say.
        """
        lines = b"".join(_line(document) for document in documents)
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()


LinePlace = tuple[Path, int, int]  # of an image's line: its file, first byte and length


class Journal:
    """The lines that a folder holds, by image. Only their places are kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[Id, LinePlace] = {}
        try:
            for path in sorted(folder.glob(PATTERN)):
                self._places.update(_scan(path))
        except OSError as error:
            raise BenchError(f"cannot read {folder}: {error.strerror or error}", "check its permissions") from error

    @property
    def image_ids(self) -> Collection[Id]:
        return self._places.keys()

    def read(self, image_ids: Sequence[Id]) -> Iterator[dict[str, Any]]:
        """The documents of these images, in this order.

        Raises:
            KeyError: an image has none.
        """
        files: dict[Path, Any] = {}
        try:
            for image_id in image_ids:
                path, offset, length = self._places[image_id]
                if path not in files:
                    files[path] = path.open("rb")
                files[path].seek(offset)
                yield json.loads(files[path].read(length))
        finally:
            for file in files.values():
                file.close()

    def remove(self) -> None:
        """Once all is evaluated, or to start over; the folder goes too, and the one that it lies in, where empty."""
        for path in self.folder.glob(PATTERN):
            path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _scan(path: Path) -> Iterator[tuple[Id, LinePlace]]:
    """The whole lines of a file. What is no line of ours is left out: its image is evaluated again."""
    offset = 0
    if not path.is_file():  # opening a pipe would wait for a writer
        return
    with path.open("rb") as file:
        for line in file:
            place = (path, offset, len(line))
            offset += len(line)
            if not line.endswith(b"}\n"):
                continue
            try:
                text, _, check = line[:-2].rpartition(CHECK)
                image_id = json.loads(line)["image_id"] if zlib.crc32(text) == int(check) else None
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
            if isinstance(image_id, (int, str)):
                yield image_id, place


def _line(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"))[:-1].encode("ascii")
    return text + CHECK + b"%d}\n" % zlib.crc32(text)


def _cannot_write(path: Path, error: OSError) -> BenchError:
    return BenchError(
        f"cannot write {path}: {error.strerror or error}",
        "make room, or choose another folder with --out; what is evaluated is kept, and the same command goes on",
    )
