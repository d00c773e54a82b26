"""Tasks in processes of this machine: failures, deaths, order, and that nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proscale_bench.results.record import Record
from proscale_bench.sweeps.local import LocalExecutor
from proscale_bench.sweeps.tasks import Needs, SweepTask, TaskResult
from tests.sweeps.toys import Toy

PATIENCE_S = 120.0
ROOT = Path(__file__).parents[2]


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Not gone, and no zombie whose parent has yet to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_of(folder: Path, name: str) -> int:
    wait_for(lambda: list(folder.glob(f"{name}.*")))
    return int(next(folder.glob(f"{name}.*")).suffix[1:])


def test_what_tasks_find_comes_back_and_failures_stop_nobody() -> None:
    news: list[tuple[str, str, float | None]] = []

    def hear(task: SweepTask, what: str, share: float | None) -> None:
        news.append((str(task), what, share))

    toys = [Toy(what, what=what) for what in ("refuse", "break", "die", "find")]  # type: ignore[arg-type]
    ended = {str(end.task): end for end in LocalExecutor(1, hear).run(toys)}
    assert list(ended) == ["refuse", "break", "die", "find"]
    found = ended["find"].records
    assert found is not None
    assert [one["identity"]["schedule"] for one in found] == ["3,3,3"]
    failures = {name: end.failure for name, end in ended.items() if end.failure}
    assert [(one.message, one.hint, one.exit_code) for one in (failures["refuse"],)] == [("no such toy", "buy one", 3)]
    assert failures["break"].message == "ZeroDivisionError: oh"
    assert "ended by signal 9: " in failures["die"].message
    assert "last words" in failures["die"].message
    assert ("find", "playing", 0.5) in news


def test_what_cannot_be_sent_is_a_failure_and_no_hang() -> None:
    unsent = Toy("unsent", files=(lambda: None,))  # type: ignore[arg-type]
    ended = {str(end.task): end for end in LocalExecutor(1).run([unsent, Toy("find")])}
    assert ended["find"].records
    assert ended["unsent"].failure is not None
    assert "lambda" in ended["unsent"].failure.message


def test_those_that_need_to_be_alone_come_first_and_one_by_one(tmp_path: Path) -> None:
    others = [Toy(f"other{n}", folder=tmp_path) for n in range(3)]
    alone = [Toy(f"alone{n}", folder=tmp_path, needs=Needs(alone=True)) for n in range(2)]
    ends = LocalExecutor(2).run([*others, *alone])
    assert [str(next(ends).task) for _ in range(2)] == ["alone0", "alone1"]
    assert not list(tmp_path.glob("other*"))
    assert {str(end.task) for end in ends} == {"other0", "other1", "other2"}


def test_several_run_at_once(tmp_path: Path) -> None:
    toys = [Toy(name, what="wait", folder=tmp_path) for name in ("a", "b")]
    ends = LocalExecutor(2).run([*toys, Toy("never", folder=tmp_path)])
    threading.Thread(target=lambda: list(ends), daemon=True).start()
    pids = [pid_of(tmp_path, "a"), pid_of(tmp_path, "b")]
    assert pids[0] != pids[1]
    os.kill(pids[0], signal.SIGKILL)  # from outside, mid-task; its place is taken by another process
    pid_of(tmp_path, "never")
    os.kill(pids[1], signal.SIGKILL)


def test_closing_ends_all_workers(tmp_path: Path) -> None:
    ends = LocalExecutor(2).run([Toy("first"), Toy("second", what="wait", folder=tmp_path)])
    assert str(next(ends).task) == "first"
    pid = pid_of(tmp_path, "second")
    ends.close()  # type: ignore[attr-defined]
    wait_for(lambda: not alive(pid))


SWEEP = """
import sys
from pathlib import Path
from proscale_bench.sweeps.tasks import Needs
from proscale_bench.sweeps.local import LocalExecutor
from tests.sweeps.toys import Toy

folder = Path(sys.argv[1])
toys = [Toy(name, what="wait", folder=folder) for name in ("one", "two")]
list(LocalExecutor(2).run(toys))
"""


def test_workers_end_with_a_killed_sweep(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path)], cwd=ROOT) as sweep:
        pids = [pid_of(tmp_path, "one"), pid_of(tmp_path, "two")]
        assert all(map(alive, pids))
        sweep.kill()
    wait_for(lambda: not any(map(alive, pids)))


def test_ctrl_c_is_for_the_sweep_and_ends_its_workers(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE) as sweep:
        pids = [pid_of(tmp_path, "one"), pid_of(tmp_path, "two")]
        os.kill(pids[0], signal.SIGINT)
        assert alive(pids[0])
        sweep.send_signal(signal.SIGINT)
        _, said = sweep.communicate(timeout=PATIENCE_S)
    assert b"KeyboardInterrupt" in said
    wait_for(lambda: not any(map(alive, pids)))


def test_a_record_survives_the_way_back() -> None:
    (end,) = LocalExecutor(1).run([Toy("one", schedules=("1,1,1", "baseline"))])
    assert isinstance(end, TaskResult)
    back = [Record.model_validate_json(json.dumps(one)) for one in end.records or ()]
    expected = Toy("one", schedules=("1,1,1", "baseline")).found()
    assert [one.model_copy(update={"provenance": two.provenance}) for one, two in zip(back, expected, strict=True)] == (
        expected
    )


@pytest.mark.parametrize("processes", [1, 3])
def test_no_more_processes_than_tasks_are_started(tmp_path: Path, processes: int) -> None:
    toys = [Toy(f"t{n}", folder=tmp_path) for n in range(2)]
    assert len(list(LocalExecutor(processes).run(toys))) == 2
    pids = {path.suffix for path in tmp_path.iterdir()}
    assert 1 <= len(pids) <= min(processes, 2)


def test_a_process_that_cannot_be_started_has_the_systems_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    (end,) = LocalExecutor(1).run([Toy("a")])
    assert end.failure is not None
    assert end.failure.message == "cannot start a process: No such file or directory: /nonexistent/python"
