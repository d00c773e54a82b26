"""A process that runs tasks one after another: `python -m proscale_bench.sweep.worker`.

Tasks come pickled through stdin, from the process that started this one and nobody else; a line of JSON a message goes
back: {"doing": ..., "share": ...}, and for every task at its end {"records": [...]} or {"failure": {...}}. When stdin
ends, however that came, this process does: it never outlives a killed sweep.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import sys
import threading
import time
from typing import IO, Any

from proscale_bench.errors import BenchError
from proscale_bench.sweep.executors import Task
from proscale_bench.sweep.tasks import Listener, failure_of, fault

NEWS_EVERY_S = 0.5  # what is drawn takes time from what is measured


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which ends its workers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints says it there
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, tasks), daemon=True).start()
    Listener.tell = staticmethod(Teller(answers))
    while True:
        _say(answers, outcome_of(tasks.get()))


def _receive(pipe: IO[bytes], tasks: queue.SimpleQueue[Task]) -> None:
    """Pass tasks on; end the process with the pipe, or with what is no task."""
    while True:
        try:
            tasks.put(pickle.load(pipe))
        except EOFError:
            os._exit(0)
        except Exception as error:
            os.write(2, f"{type(error).__name__}: {error}".encode())
            os._exit(1)


class Teller:
    """Sends what a task is doing, not too often."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers
        self._last_s = 0.0

    def __call__(self, what: str, share: float | None) -> None:
        if time.monotonic() - self._last_s >= NEWS_EVERY_S:
            self._last_s = time.monotonic()
            _say(self._answers, {"doing": what, "share": share})


def outcome_of(task: Task) -> dict[str, Any]:
    """What a task found, as JSON, or why it did not."""
    try:
        return {"records": task.run()}
    except BenchError as error:
        failure = failure_of(error)
    except Exception as error:
        failure = fault(error)
    return {"failure": failure.model_dump(mode="json")}


def _say(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
