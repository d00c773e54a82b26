"""Small JSON documents in the user's cache folder, which belong to no run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file, write_atomic

VARIABLE = "PROSCALE_BENCH_CACHE"
MAX_BYTES = 1 << 20


def cache_dir() -> Path:
    """`$PROSCALE_BENCH_CACHE`, else `$XDG_CACHE_HOME/proscale-bench`, else `~/.cache/proscale-bench`."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "proscale-bench"  # noqa: PTH117


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
