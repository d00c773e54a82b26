"""Small JSON documents in the user's cache folder, which belong to no run."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file, write_atomic

VARIABLE = "PROSCALE_BENCH_CACHE"
MAX_BYTES = 1 << 20


def cache_dir() -> Path:
    """`$PROSCALE_BENCH_CACHE`, else `$XDG_CACHE_HOME/proscale-bench`, else `~/.cache/proscale-bench`.

    A user without a home, as in many containers, has a folder of the system's for what is temporary.

    Raises:
        BenchError: that folder is somebody else's.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    try:
        return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "proscale-bench"  # noqa: PTH117
    except RuntimeError:  # no HOME, and no entry among the system's users
        return _temporary()


def _temporary() -> Path:
    folder = Path(tempfile.gettempdir(), f"proscale-bench-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        raise BenchError(f"{folder}: of another user", f"name a folder of your own as {VARIABLE}")
    return folder


def read_cache(name: str) -> dict[str, Any]:
    """A document; empty where there is none, or none that can be read: a cache is made again, never mourned."""
    try:
        document = json.loads(read_regular_file(cache_dir() / f"{name}.json", MAX_BYTES))
    except (BenchError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def write_cache(name: str, document: dict[str, Any]) -> Path:
    """Put a document in its place, atomically.

    Raises:
        BenchError: the folder cannot be written.
    """
    path = cache_dir() / f"{name}.json"
    write_atomic(path, json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path
