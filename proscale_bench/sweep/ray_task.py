"""The process of one task on a node: `python -m proscale_bench.sweep.ray_task`, started by `ray_worker`.

It reads the task from stdin and writes its outcome to stdout. The end of stdin means that the worker is gone.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.record import Failure


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a task prints is no answer
    places, task = pickle.load(sys.stdin.buffer)
    Thread(target=end_with_worker, daemon=True).start()
    json.dump(outcome(task, places), answer)
    answer.close()


def outcome(task: bytes, places: Mapping[Path, Path]) -> dict[str, Any]:
    """The task's records, or why it has none."""
    loaded = pickle.loads(task)
    try:
        return {"records": loaded.moved(places).run()}
    except BenchError as error:
        failure = Failure(message=error.message, hint=error.hint, exit_code=int(error.exit_code))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        hint = "this is a fault of the tool: please report it"
        failure = Failure(message=message, hint=hint, exit_code=ExitCode.UNTRUSTED.value)
    return {"failure": failure.model_dump(mode="json")}


def end_with_worker() -> None:
    """Wait for the end of stdin; then end this process, and what it started."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
