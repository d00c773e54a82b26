"""The embedded data: Shapes of one seed, made on first use and kept in the user's cache folder.

The validation split lies there as COCO does on disk. Images to train on are read one by one, so every process of every
training of a seed shares one copy in the system's page cache, 1.0 GB for 8,192 images, and none counts it as its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.cache import cache_dir
from proscale_bench.children import start
from proscale_bench.data.pictures import Pixels
from proscale_bench.data.shapes.categories import CATEGORIES
from proscale_bench.data.shapes.scene import VERSION, make_scene, scene_size
from proscale_bench.data.shapes.writing import OnImageMade, write_split
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import read_regular_file
from proscale_bench.machine import usable_cores

MARKER = "made.json"  # what was made, and the state of its files
MAX_MARKER_BYTES = 1 << 20

SPLIT = "val"
IMAGES = 256
SEED = 20_170_901  # no training split has it
# Of the decoded images and maps, and of the annotations: what every machine makes.
DIGEST = "d12d76c3594512ac4068cc2c1d2468e0acad92a85057d7c0f42b0e5cd89281a2"

SCENES, TABLE = "scenes.bin", "table.npy"
LAYOUT = 1  # of these two files
MAX_TABLE_BYTES = 1 << 28
MAX_SEGMENTS = 15  # of a scene; there are never more than 12
NOT_LEARNT = 255  # in place of a class: a crowd, or no segment
PART = 64  # scenes that a process makes at a time
NUMBER_BYTES = 8

ROW = np.dtype(
    [
        ("offset", "<u8"),  # of the image's first byte, behind which its map follows
        ("height", "<u2"),
        ("width", "<u2"),
        ("check", "<u4"),  # CRC-32 of image and map
        ("classes", "u1", (MAX_SEGMENTS,)),  # of the segments 1, 2, ...
    ]
)
CLASS_OF = {category.id: index for index, category in enumerate(CATEGORIES)}


def embedded_validation(progress: OnImageMade | None = None) -> Path:
    """The folder of the embedded split `val`, 256 images as COCO lies on disk; made where it is missing or damaged.

    Processes that ask at the same time wait for the one that makes it.

    Raises:
        BenchError: the cache folder cannot be written; or this machine makes other pixels than all others (exit
            code 3).
    """

    def marker(folder: Path) -> dict[str, object]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
        return {"digest": DIGEST, "bytes": sizes}

    def make(folder: Path) -> None:
        written = write_split(folder, IMAGES, SEED, SPLIT, progress)
        if written.digest != DIGEST:
            raise BenchError(
                f"Shapes came out as {written.digest[:12]}, and is {DIGEST[:12]} everywhere else",
                "please report this with the versions of Python, numpy and pycocotools",
                ExitCode.UNTRUSTED,
            )

    return _made_once(f"shapes-v{VERSION}-{SPLIT}", marker, make)


def training_shapes(
    images: int, seed: int, progress: OnImageMade | None = None, processes: int | None = None
) -> StoredShapes:
    """Images 0, 1, ... of a seed; made where they are missing or damaged, by so many processes at once.

    Processes that ask at the same time wait for the one that makes them.

    Args:
        processes: None for one a core.

    Raises:
        BenchError: the validation split's seed, or the cache folder cannot be written.
    """
    if seed == SEED:
        raise BenchError(f"seed {seed} is the validation split's", "train on any other")

    def marker(folder: Path) -> dict[str, object]:
        table = read_regular_file(folder / TABLE, MAX_TABLE_BYTES)
        state = {"bytes": (folder / SCENES).stat().st_size, "table": zlib.crc32(table)}
        return {"layout": LAYOUT, "version": VERSION, "seed": seed, "images": images, **state}

    make = partial(_make_scenes, images=images, seed=seed, progress=progress, processes=processes or usable_cores())
    room = f"{images:,} images take {images * 128_000 / 1e9:.1f} GB: "
    return StoredShapes(_made_once(f"shapes-v{VERSION}-train-seed{seed}-{images}", marker, make, room))


def identity_of_images(seed: int, images: int) -> str:
    """The name of the images of a seed: equal names stand for equal images."""
    return f"shapes-v{VERSION}-seed{seed}-{images}"


@dataclass(frozen=True)
class StoredScene:
    """An image of Shapes as it is kept.

    Args:
        image: RGB, [H, W, 3].
        segments: [H, W]: 1, 2, ...; 0 is void.
        classes: class index of each segment, from 1 on; `NOT_LEARNT` for a crowd.
    """

    image: Pixels
    segments: NDArray[np.uint8]
    classes: NDArray[np.uint8]


class StoredShapes:
    """Scenes in a folder of the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._table = np.load(folder / TABLE, allow_pickle=False)

    def __len__(self) -> int:
        return len(self._table)

    def scene(self, index: int) -> StoredScene:
        """A scene, read-only.

        Raises:
            BenchError: its bytes are not those that were written.
        """
        row = self._table[index]
        height, width, start = int(row["height"]), int(row["width"]), int(row["offset"])
        area = height * width
        found = np.fromfile(self.folder / SCENES, np.uint8, 4 * area, offset=start)
        if zlib.crc32(found.data) != row["check"]:
            raise BenchError(f"{self.folder / SCENES}: scene {index} is damaged", f"remove {self.folder}")
        image, segments = found[: 3 * area].reshape(height, width, 3), found[3 * area :].reshape(height, width)
        classes = row["classes"]
        return StoredScene(image, segments, classes[: int(segments.max(initial=0))])


def _made_once(
    name: str, marker: Callable[[Path], dict[str, object]], make: Callable[[Path], None], room: str = ""
) -> Path:
    """A folder of the cache, made where it is missing or damaged: beside its place, and moved there whole.

    Args:
        marker: contents of a folder by the state of its files, which takes some milliseconds; its marker says the same
            where it is whole. Scenes are checked when they are read.
        room: words for the room that it takes, to begin a hint with.

    Raises:
        BenchError: the cache folder cannot be written.
    """
    from filelock import FileLock

    def is_whole() -> bool:
        try:
            return bool(json.loads(read_regular_file(folder / MARKER, MAX_MARKER_BYTES)) == marker(folder))
        except (BenchError, OSError, ValueError, RecursionError):
            return False

    cache, prefix = cache_dir(), f".{name}-"
    folder = cache / name
    if is_whole():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{name}.lock"):
            if is_whole():  # somebody made it while we waited
                return folder
            for left_over in cache.glob(f"{prefix}*"):  # by a process that was killed
                shutil.rmtree(left_over, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=prefix, dir=cache) as temporary:
                made = Path(temporary) / name
                make(made)
                (made / MARKER).write_text(json.dumps(marker(made), indent=0, sort_keys=True))
                if folder.exists():
                    folder.rename(Path(temporary) / "damaged")
                made.rename(folder)
    except OSError as error:
        raise BenchError(
            f"cannot write {cache}: {error.strerror or error}",
            f"{room}make room there, or name another folder in $PROSCALE_BENCH_CACHE",
        ) from error
    return folder


def _make_scenes(folder: Path, images: int, seed: int, progress: OnImageMade | None, processes: int) -> None:
    table = np.zeros(images, ROW)
    table["height"], table["width"] = np.array([scene_size(seed, index) for index in range(images)]).T
    ends = np.cumsum(4 * table["height"].astype(np.uint64) * table["width"])
    table["offset"][1:] = ends[:-1]
    folder.mkdir()
    with (folder / SCENES).open("wb") as file:
        file.truncate(int(ends[-1]))
    done = 0
    for first, rows in _parts(folder / SCENES, table, seed, processes):
        table[first : first + len(rows)] = rows
        done += len(rows)
        if progress:
            progress(done, images)
    np.save(folder / TABLE, table, allow_pickle=False)


def _parts(path: Path, table: NDArray[np.void], seed: int, processes: int) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The table's rows as they are finished, each part with its first scene's index."""
    starts = range(0, len(table), PART)
    if processes == 1 or len(starts) == 1:
        for first in starts:
            yield first, _write_part(path, table[first : first + PART], seed, first)
        return
    # Started anew rather than forked: a copy of a process that has threads may wait for one it has not.
    count, arguments = min(processes, len(starts)), (str(path), str(seed), str(len(table)))
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    helpers = [start(__name__, *arguments, **options, start_new_session=True) for _ in range(count)]  # Ctrl-C is ours
    free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def made(first: int) -> NDArray[np.void]:
        helper = free.get()
        assert helper.stdin is not None
        assert helper.stdout is not None
        rows = table[first : first + PART]
        try:
            helper.stdin.write(first.to_bytes(NUMBER_BYTES, "little") + rows.tobytes())
            helper.stdin.flush()
            return np.frombuffer(helper.stdout.read(rows.nbytes), ROW, len(rows))
        finally:
            free.put(helper)

    with ThreadPoolExecutor(count) as pool:
        waiting = {pool.submit(made, first): first for first in starts}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except (BrokenPipeError, ValueError) as error:
            raise BenchError("a process that made Shapes ended before its time", "try again") from error
        finally:
            for helper in helpers:
                helper.kill()
                helper.wait()
            pool.shutdown(cancel_futures=True)


def main(path: str, seed: str, images: str) -> None:
    """Make parts until stdin ends: the number of a first scene comes with its part's rows, which go back completed."""
    while number := sys.stdin.buffer.read(NUMBER_BYTES):
        first = int.from_bytes(number, "little")
        rows = np.frombuffer(sys.stdin.buffer.read(min(PART, int(images) - first) * ROW.itemsize), ROW)
        written = _write_part(Path(path), rows, int(seed), first)
        try:
            sys.stdout.buffer.write(written.tobytes())
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # whoever asked is gone, and nobody is left to tell
            os._exit(1)


def _write_part(path: Path, rows: NDArray[np.void], seed: int, first: int) -> NDArray[np.void]:
    """Make scenes from `first` on and write them where their rows say; the rows, completed."""
    rows = rows.copy()
    rows["classes"] = NOT_LEARNT
    with path.open("rb+") as file:
        for number, row in enumerate(rows):
            scene = make_scene(seed, first + number)
            ids = np.array([segment.id for segment in scene.segments], np.uint32)  # in order
            segments = np.searchsorted(ids, scene.ids) + 1
            segments[scene.ids == 0] = 0
            raw = scene.image.tobytes() + segments.astype(np.uint8).tobytes()
            file.seek(int(row["offset"]))
            file.write(raw)
            row["check"] = zlib.crc32(raw)
            for place, segment in enumerate(scene.segments):
                row["classes"][place] = NOT_LEARNT if segment.is_crowd else CLASS_OF[segment.category_id]
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:])
