"""The process of one task on a node: `python -m proscale_bench.sweep.ray_task`, started by `ray_worker`.

It reads the task from stdin and writes its outcome to stdout. The end of stdin means that the worker is gone.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from threading import Thread

from proscale_bench.sweep.worker import outcome_of


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a task prints is no answer
    places, task = pickle.load(sys.stdin.buffer)
    Thread(target=end_with_worker, daemon=True).start()
    with answer:
        json.dump(outcome_of(pickle.loads(task).moved(places)), answer)


def end_with_worker() -> None:
    """Wait for the end of stdin; then end this process, and what it started."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
