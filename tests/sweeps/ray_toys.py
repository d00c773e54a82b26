"""Tasks for tests of executors: small, and plain about what happens to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.sweeps.tasks import Needs


@dataclass(frozen=True)
class Toy:
    """A task whose record says where and when it ran.

    Args:
        name: as progress shows it.
        log: a folder in which each attempt leaves a file named by its process.
        seconds: that it takes, at the most.
        until: a file that ends it before.
        fault: `""`, `"error"` (a BenchError), `"bug"` or `"kill"`.
    """

    name: str
    log: Path
    seconds: float = 0.0
    until: str = ""
    fault: str = ""
    needs: Needs = field(default_factory=Needs)
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.name

    def moved(self, places: Mapping[Path, Path]) -> Toy:
        return replace(self, files=tuple(places.get(path, path) for path in self.files))

    def run(self) -> list[dict[str, Any]]:
        started = time.time()
        (self.log / f"{self.name}.{os.getpid()}.{os.getppid()}").touch()
        while time.time() - started < self.seconds and not (self.until and (self.log / self.until).exists()):
            time.sleep(0.02)
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "error":
            raise BenchError(f"{self.name} cannot work", "try another")
        if self.fault == "bug":
            raise ZeroDivisionError("by zero")
        print("what a task prints is no record")
        texts = [path.read_text() if path.exists() else "gone" for path in self.files]
        return [
            {
                "started": started,
                "ended": time.time(),
                "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
                "threads": os.environ.get("OMP_NUM_THREADS", ""),
                "files": texts,
            }
        ]

    @property
    def attempts(self) -> list[tuple[int, int]]:
        """The processes that began it, each with its parent."""
        names = [path.name.split(".") for path in self.log.glob(f"{self.name}.*.*")]
        return [(int(process), int(parent)) for _, process, parent in names]
