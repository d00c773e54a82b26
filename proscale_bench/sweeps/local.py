"""Runs tasks in processes of this machine: latencies alone, one at a time; the rest several at once.

A worker is a process of this module's `main`: it runs tasks one after another. They come pickled through stdin,
from the process that started it and nobody else; a line of JSON a message goes back: {"doing": ..., "share": ...}, and
for every task at its end {"records": [...]} or {"failure": {...}}. When stdin ends, however that came, the worker does:
it never outlives a killed sweep.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from proscale_bench.bench.count import failure_of
from proscale_bench.children import start
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.machine import usable_cores
from proscale_bench.results.record import Failure
from proscale_bench.sweeps.tasks import Listener, SweepTask, TaskResult

OnNews = Callable[[SweepTask, str, float | None], None]
LAST_WORDS = 300  # characters


class LocalExecutor:
    """Runs tasks in processes of this machine; see `Executor`.

    Args:
        processes: number of workers for tasks that need neither the machine nor a GPU for themselves; None: one a core.
        on_news: called from other threads with a task, what it is doing, and the share of it that is done.
    """

    def __init__(self, processes: int | None = None, on_news: OnNews = lambda task, what, share: None) -> None:
        self.processes = processes or usable_cores()
        self.on_news = on_news

    def run(self, tasks: Sequence[SweepTask]) -> Iterator[TaskResult]:
        """Yield each task as it ends: first those that need to be alone. Closing ends all workers."""
        alone = [task for task in tasks if task.needs.alone or task.needs.gpus]
        others = [task for task in tasks if task not in alone]
        workers = [Worker(self.on_news) for _ in range(max(1, min(self.processes, len(others))))]
        try:
            yield from (workers[0].finish(task) for task in alone)
            yield from _share_out(others, workers)
        finally:
            for worker in workers:
                worker.end()


def _share_out(tasks: Sequence[SweepTask], workers: Sequence[Worker]) -> Iterator[TaskResult]:
    """Every worker takes the next task when it is free."""
    waiting: queue.SimpleQueue[SweepTask] = queue.SimpleQueue()
    ended: queue.SimpleQueue[TaskResult] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def work(worker: Worker) -> None:
        while not worker.is_ended:
            try:
                ended.put(worker.finish(waiting.get_nowait()))
            except queue.Empty:
                return

    for worker in workers:
        threading.Thread(target=work, args=(worker,), daemon=True).start()
    for _ in tasks:
        yield ended.get()


class Worker:
    """A process that runs tasks (see above), started when it is needed and again when it died."""

    def __init__(self, on_news: OnNews) -> None:
        self._on_news = on_news
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self._lock = threading.Lock()  # one starts or ends it at a time
        self.is_ended = False

    def finish(self, task: SweepTask) -> TaskResult:
        """Run one task to its end. A process that dies over it is its failure, as is whatever else goes wrong."""
        try:
            process = self._started()
        except OSError as error:
            what = f"cannot start a process: {error.strerror or error}{f': {error.filename}' if error.filename else ''}"
            hint = "it is the system's limit or refusal: use fewer --processes, or look at its permissions"
            return TaskResult(task, None, failure_of(BenchError(what, hint, ExitCode.UNTRUSTED)))
        try:
            process.stdin.write(pickle.dumps(task))
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "doing" in message:
                    self._on_news(task, message["doing"], message["share"])
                elif "records" in message:
                    return TaskResult(task, message["records"], None)
                else:
                    return TaskResult(task, None, Failure.model_validate(message["failure"]))
        except (OSError, ValueError):  # it died while it was told, or over half a line
            pass
        except Exception as error:  # nobody would wait for a thread that ended
            self._death()
            return TaskResult(task, None, failure_of(error))
        return TaskResult(task, None, self._death())

    def end(self) -> None:
        """Kill the process, whatever it does: it has sent what is finished."""
        with self._lock:
            self.is_ended = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def _started(self) -> Any:
        with self._lock:
            if self.is_ended:
                raise OSError
            if self._process is None:
                self._errors.seek(0)
                self._errors.truncate()
                self._process = start(
                    "proscale_bench.sweeps.local",
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    start_new_session=True,  # the terminal's Ctrl-C is for the sweep
                )
            return self._process

    def _death(self) -> Failure:
        """Find out why the process ended, as far as that can be seen; the next task gets another one."""
        with self._lock:
            process, self._process = self._process, None
        code = None
        if process is not None:
            process.kill()
            code = process.wait()
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-LAST_WORDS:]
        return Failure(
            message=f"its process ended {how}{f': {said}' if said else ''}",
            hint="it may have run out of memory: use fewer --processes, or run the sweep again",
            exit_code=ExitCode.UNTRUSTED.value,
        )


NEWS_EVERY_S = 0.5  # what is drawn takes time from what is measured


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which ends its workers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints says it there
    tasks: queue.SimpleQueue[SweepTask] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, tasks), daemon=True).start()
    Listener.tell = staticmethod(Teller(answers))
    while True:
        _say(answers, outcome_of(tasks.get()))


def _receive(pipe: IO[bytes], tasks: queue.SimpleQueue[SweepTask]) -> None:
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
    """Sends a task's progress, not too often."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers
        self._last_s = 0.0

    def __call__(self, what: str, share: float | None) -> None:
        if time.monotonic() - self._last_s >= NEWS_EVERY_S:
            self._last_s = time.monotonic()
            _say(self._answers, {"doing": what, "share": share})


def outcome_of(task: SweepTask) -> dict[str, Any]:
    """Run a task: its records as JSON, or its failure."""
    try:
        return {"records": task.run()}
    except Exception as error:
        return {"failure": failure_of(error).model_dump(mode="json")}


def _say(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
