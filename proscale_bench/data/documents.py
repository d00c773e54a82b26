"""Reading JSON documents that somebody else wrote: every fault named with its file and its place in it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from proscale_bench.data.dataset import Id
from proscale_bench.errors import BenchError

MAX_BYTES = 2 << 30  # instances_train2017.json has 0.45 GiB
BIG_BYTES = 64 << 20  # from here on memory counts: orjson holds a tree of its own of the whole document
LIMIT = 2**63  # ids and areas below it fit numpy's integers

Field = TypeVar("Field")


def read_json(path: Path) -> Any:
    """The document in a file. NaN and infinity are read, as Python writes them.

    Raises:
        BenchError: missing, no regular file, not UTF-8, cut off, or no JSON: with line and column.
    """
    try:
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            what = "a folder" if stat.S_ISDIR(mode.st_mode) else "not a regular file"
            raise BenchError(f"{path}: {what}", "give the path of a JSON file")
        if mode.st_size > MAX_BYTES:
            raise BenchError(f"{path}: over {MAX_BYTES >> 30} GiB", "is this the right file?")
        return _parsed(path.read_bytes())
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror or error}", "check the path") from error
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: byte {error.start}: not UTF-8", "is this a JSON file?") from error
    except json.JSONDecodeError as error:
        raise BenchError(
            f"{path}:{error.lineno}:{error.colno}: {error.msg[:1].lower()}{error.msg[1:]}",
            "the file is cut off, or not JSON: copy it again",
        ) from error
    except RecursionError as error:
        raise BenchError(f"{path}: nested too deeply", "is this the right file?") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise BenchError(f"{path}: {error}", "is this the right file?") from error


def _parsed(text: bytes) -> Any:
    """The document as Python's parser reads it, but that a whole number past 64 bits may come as the next float."""
    import orjson

    if len(text) > BIG_BYTES:
        return json.loads(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # stricter: no NaN, infinity, other encodings, or lone surrogates
        return json.loads(text)


class Reader:
    """Takes fields out of a document's objects, and names the place of one that is missing or of another type.

    Args:
        path: the document's file.
        where: the place in it, as `annotations[3]`; empty for the whole.
        document: value at that place.
    """

    def __init__(self, path: Path, where: str, document: Any) -> None:
        if not isinstance(document, Mapping):
            raise BenchError(f"{path}: {where or 'the document'}: expected an object, found {kind_of(document)}")
        self.path = path
        self.where = where
        self.document = document

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; a float that is one, as some tools write areas, counts too."""
        return self._field(key, whole_number, "a whole number", default)

    def identifier(self, key: str) -> Id:
        """A whole number or text."""
        read: Callable[[Any], Any] = identifier
        found: Id = self._field(key, read, "a whole number or text", None)
        return found

    def number(self, key: str, default: float | None = None) -> float:
        """Any number, NaN and infinity included."""
        return self._field(key, lambda value: value if is_number(value) else None, "a number", default)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True, false, 1 or 0: whether it equals 1, as the reference tools read it."""
        return self._field(
            key, lambda value: value == 1 if isinstance(value, (int, float)) else None, "true, false, 1 or 0", default
        )

    def text(self, key: str, default: str | None = None) -> str:
        return self._field(key, lambda value: value if isinstance(value, str) else None, "text", default)

    def objects(self, key: str, *, required: bool = True) -> list[Reader]:
        """A list of objects."""
        default: list[Any] | None = None if required else []
        found = self._field(key, lambda value: value if isinstance(value, list) else None, "a list", default)
        inside = f"{self.where}.{key}" if self.where else key
        return [Reader(self.path, f"{inside}[{index}]", item) for index, item in enumerate(found)]

    def error(self, problem: str, hint: str | None = None) -> BenchError:
        """A problem at this place, to be raised."""
        return BenchError(f"{self.path}: {f'{self.where}: ' if self.where else ''}{problem}", hint)

    def _field(self, key: str, read: Callable[[Any], Field | None], expected: str, default: Field | None) -> Field:
        if key not in self.document:
            if default is None:
                raise self.error(f"'{key}' is missing")
            return default
        value = read(self.document[key])
        if value is None:
            raise self.error(f"'{key}': expected {expected}, found {kind_of(self.document[key])}")
        return value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole_number(value: Any) -> int | None:
    """A whole number below `LIMIT`, which a float may be; None for anything else."""
    return int(value) if is_number(value) and abs(value) < LIMIT and value == int(value) else None


def identifier(value: Any) -> Id | None:
    """A whole number or text, None for anything else."""
    return value if isinstance(value, str) else whole_number(value)


def plain_integers(item: Any, *keys: str) -> list[int] | None:
    """The values of these keys where all are plainly right; None where a `Reader` must look."""
    try:
        values = [item[key] for key in keys]
    except (KeyError, TypeError, IndexError):
        return None
    return values if all(type(value) is int and -LIMIT < value < LIMIT for value in values) else None


def kind_of(value: Any) -> str:
    """The words of an error for what it found: `null`, `a list`, `'abc'`, `1.5`."""
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()[:40]
    if isinstance(value, str):
        return f"'{value[:40]}{'…' if len(value) > 40 else ''}'"
    return "a list" if isinstance(value, list) else "an object"
