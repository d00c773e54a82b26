"""The embedded validation split: Shapes of one seed, made on first use in the user's cache folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from proscale_bench.cache import cache_dir
from proscale_bench.data.shapes.scene import VERSION
from proscale_bench.data.shapes.writing import OnProgress, write_split
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import read_regular_file

SPLIT = "val"
IMAGES = 256
SEED = 20_170_901  # no training split has it
NAME = f"shapes-v{VERSION}-{SPLIT}"
MARKER = "made.json"  # what was made, and how large each file is
MAX_BYTES = 1 << 20

# Of the decoded images and maps, and of the annotations: what every machine makes.
DIGEST = "d12d76c3594512ac4068cc2c1d2468e0acad92a85057d7c0f42b0e5cd89281a2"


def embedded_validation(progress: OnProgress | None = None) -> Path:
    """The folder of the embedded split `val`, 256 images as COCO lies on disk; made where it is missing or damaged.

    Processes that ask at the same time wait for the one that makes it.

    Raises:
        BenchError: the cache folder cannot be written; or this machine makes other pixels than all others (exit
            code 3).
    """
    from filelock import FileLock

    cache = cache_dir()
    folder = cache / NAME
    if _is_whole(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{NAME}.lock"):
            if not _is_whole(folder):  # nobody made it while we waited
                _make(folder, progress)
    except OSError as error:
        raise BenchError(
            f"cannot write {cache}: {error.strerror or error}",
            "make room there, or name another folder in $PROSCALE_BENCH_CACHE",
        ) from error
    return folder


def _make(folder: Path, progress: OnProgress | None) -> None:
    """Made beside its place and moved there whole. Only one process is here."""
    prefix = f".{NAME}-"
    for left_over in folder.parent.glob(f"{prefix}*"):  # by a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as name:
        made = Path(name) / NAME
        written = write_split(made, IMAGES, SEED, SPLIT, progress)
        if written.digest != DIGEST:
            raise BenchError(
                f"Shapes came out as {written.digest[:12]}, and is {DIGEST[:12]} everywhere else",
                "please report this with the versions of Python, numpy and pycocotools",
                ExitCode.UNTRUSTED,
            )
        (made / MARKER).write_text(json.dumps({"digest": DIGEST, "bytes": _sizes(made)}, indent=0, sort_keys=True))
        if folder.exists():
            folder.rename(Path(name) / "damaged")
        made.rename(folder)


def _is_whole(folder: Path) -> bool:
    """Whether all files are there and as long as they were, which takes 12 ms."""
    try:
        marker = json.loads(read_regular_file(folder / MARKER, MAX_BYTES))
        return bool(marker["digest"] == DIGEST and marker["bytes"] == _sizes(folder))
    except (BenchError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != MARKER
    }
