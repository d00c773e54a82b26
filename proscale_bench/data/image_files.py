"""Pictures that somebody names by files, folders and patterns: found, put in an order, and looked at."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proscale_bench.data.batches import load_ahead
from proscale_bench.data.dataset import Id, ImageEntry
from proscale_bench.data.pictures import read_image
from proscale_bench.errors import BenchError

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_NAMED = 20  # unreadable pictures that a message names


@dataclass(frozen=True)
class ImageFiles:
    """Pictures below one folder, with ids; `file_name` is seen from `root`."""

    root: Path
    images: tuple[ImageEntry, ...]


def find_pictures(words: Sequence[str]) -> tuple[Path, tuple[Path, ...]]:
    """The files that are meant, each once: in the order of the words, and by name within a folder or pattern.

    Args:
        words: files of any ending; folders, of which the pictures are taken, at any depth; patterns (`*`, `?`, `[]`
            and `**`) that no shell has put into words.

    Returns:
        The folder that all of them lie in, and their paths.

    Raises:
        BenchError: a path that is not there, a folder without pictures, a pattern that nothing matches.
    """
    found: dict[Path, None] = {}
    folders = []
    for word in words:
        for path in _meant(word):
            if path.is_dir():
                inside = tuple(_pictures_in(path))
                if not inside:
                    raise BenchError(f"{path}: no picture in this folder", f"pictures end in {' '.join(ENDINGS)}")
                found |= dict.fromkeys(inside)
                folders.append(path)
            else:
                found[Path(os.path.abspath(path))] = None  # noqa: PTH100 - links stay what they are called
                folders.append(path.parent)
    if not found:
        raise BenchError("no pictures are given", "give files, folders or patterns, as in photos/*.jpg")
    root = Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))  # noqa: PTH100
    return root, tuple(found)


def look_at(
    root: Path,
    paths: Sequence[Path],
    known_ids: Mapping[str, Id] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImageFiles:
    """Decode every picture once, so that one that cannot be read is named before long work begins.

    Args:
        known_ids: ids by file name, of an annotation file; see `_ids`.
        progress: called with how many are looked at, of how many.

    Raises:
        BenchError: pictures cannot be read; each is named.
    """
    sizes, faults = [], []
    for done, (size, fault) in enumerate(load_ahead(paths, _size_or_fault), start=1):
        sizes.append(size)
        faults += [fault] if fault else []
        progress(done, len(paths))
    if faults:
        more = [f"and {len(faults) - MAX_NAMED} more"] if len(faults) > MAX_NAMED else []
        count = "a picture cannot be read" if len(faults) == 1 else f"{len(faults)} pictures cannot be read"
        raise BenchError("\n  ".join([f"{count}:", *faults[:MAX_NAMED], *more]), "leave them out, or copy them again")
    names = [path.relative_to(root).as_posix() for path in paths]
    _refuse_shared(names)
    entries = zip(_ids(names, known_ids or {}), names, sizes, strict=True)
    return ImageFiles(root, tuple(ImageEntry(id_, name, *size) for id_, name, size in entries))


def _meant(word: str) -> list[Path]:
    try:
        if os.path.lexists(word):
            return [Path(word)]
        matches = sorted(glob.glob(word, recursive=True)) if glob.has_magic(word) else []  # noqa: PTH207 - as typed
    except ValueError as error:  # a zero byte
        raise BenchError(f"{word}: {error}", "check the path") from error
    if not matches:
        what = "nothing matches this pattern" if glob.has_magic(word) else "no such file or folder"
        raise BenchError(f"{word}: {what}", "give files, folders or patterns, as in photos/*.jpg")
    return [Path(match) for match in matches if not Path(match).is_dir()] or [Path(match) for match in matches]


def _pictures_in(folder: Path) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise BenchError(f"{error.filename}: {error.strerror}", "check its permissions")

    for place, below, names in os.walk(os.path.abspath(folder), onerror=stop):  # noqa: PTH100
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield Path(place) / name


def _size_or_fault(path: Path) -> tuple[tuple[int, int], str]:
    try:
        height, width = read_image(path).shape[:2]
        return (height, width), ""
    except BenchError as error:
        return (0, 0), error.message


def _ids(names: Sequence[str], known: Mapping[str, Id]) -> Sequence[Id]:
    """Those of the annotation file where it lists every picture, by its path or by a name that is there once; else
    COCO's, whose files are called by their ids; else 1, 2, 3 in order."""
    times = Counter(Path(name).name for name in known)
    by_name = {Path(name).name: id_ for name, id_ in known.items() if times[Path(name).name] == 1}
    listed = [known.get(name, by_name.get(Path(name).name)) for name in names]
    found = [id_ for id_ in listed if id_ is not None]
    if len(set(found)) == len(names):
        return found
    stems = [Path(name).stem for name in names]
    if all(stem.isascii() and stem.isdecimal() and len(stem) < 19 for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return range(1, len(names) + 1)


def _refuse_shared(names: Sequence[str]) -> None:
    """A prediction is called as its picture is, with the ending .png."""
    taken: dict[str, str] = {}
    for name in names:
        other = taken.setdefault(Path(name).with_suffix("").as_posix(), name)
        if other != name:
            raise BenchError(
                f"{other} and {name} differ in the ending alone",
                "their predictions would be one file: leave one out, or rename it",
            )
