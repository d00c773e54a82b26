"""A sweep's tasks on a Ray of two workers on this machine: what comes back, who dies, and that nothing is left."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.sweeps.ray import executor as ray_executor
from proscale_bench.sweeps.ray.executor import RayExecutor
from proscale_bench.sweeps.tasks import Executor, Needs, TaskResult
from tests.sweeps.ray_toys import Toy

pytestmark = pytest.mark.xdist_group("ray")  # one cluster, in one process
ROOT = Path(__file__).parents[2]
LONG_S = 300.0
CLUSTER = """
import ray, sys, tempfile
quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
    context = ray.init(address="local", num_cpus=2, num_gpus=2, _temp_dir=folder, **quiet)
    print(context.address_info["gcs_address"], flush=True)
    sys.stdin.read()
    ray.shutdown()
"""
SWEEP = """
import sys
from pathlib import Path
from proscale_bench.errors import BenchError
from proscale_bench.sweeps.ray.executor import RayExecutor
from tests.sweeps.ray_toys import Toy
for _ in range(3):  # see `cluster`
    try:
        list(RayExecutor("local").run([Toy("long", Path(sys.argv[1]), seconds=300)]))
    except BenchError:
        pass
"""


def environment(cache: Path) -> dict[str, str]:
    changes = {"PYTHONPATH": str(ROOT), "PROSCALE_BENCH_CACHE": str(cache), "RAY_USAGE_STATS_ENABLED": "0"}
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | changes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one with two CPUs, and two GPUs that are there by name alone. It asks for a token."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for _ in range(3):  # Ray gives up after 30 s on a very busy machine
            with subprocess.Popen(
                [sys.executable, "-c", CLUSTER],
                env=environment(tmp_path_factory.mktemp("node")),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                if address := process.stdout.readline().strip():
                    yield address
                    process.stdin.close()
                    return
    pytest.fail("Ray does not start")


def eventually(holds: Callable[[], object]) -> bool:
    """Tell whether it holds within a time that no machine is too slow for."""
    until = time.monotonic() + 100
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def is_running(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass(frozen=True)
class Ran:
    """All tasks of a run, in the order in which they ended."""

    finished: list[TaskResult]

    @property
    def names(self) -> list[str]:
        return [str(one.task) for one in self.finished]

    def record(self, name: str) -> dict[str, Any]:
        records = self.finished[self.names.index(name)].records
        assert records is not None, name
        return records[0]

    def failure(self, name: str) -> tuple[str, str | None, int]:
        failure = self.finished[self.names.index(name)].failure
        assert failure is not None, name
        return failure.message, failure.hint, failure.exit_code

    def overlap(self, one: str, other: str) -> bool:
        a, b = self.record(one), self.record(other)
        return bool(a["started"] < b["ended"] and b["started"] < a["ended"])


ALONE = ("alone 1", "alone 2")
WITH_GPUS = {"gpu 1": 1, "gpu 2": 1, "gpu 3": 1, "both gpus": 2}
PLAIN = ("reads", "short", "late")


@pytest.fixture(scope="module")
def ran(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    log = tmp_path_factory.mktemp("log")
    weights = log / "weights"
    weights.write_text("1 2 3")
    toys = [
        Toy("late", log, LONG_S, until="go"),
        Toy("short", log),
        Toy("reads", log, files=(weights, log / "gone")),
        Toy("error", log, fault="error"),
        Toy("bug", log, fault="bug"),
        Toy("greedy", log, needs=Needs(gpus=3)),
        *(Toy(name, log, 0.3, needs=Needs(gpus=gpus)) for name, gpus in WITH_GPUS.items()),
        *(Toy(name, log, 0.3, needs=Needs(alone=True)) for name in ALONE),
    ]
    executor: Executor = RayExecutor(cluster, patience_s=1.0)
    finished = []
    for one in executor.run(toys):
        finished.append(one)
        (log / "go").touch()
    return Ran(finished)


def test_every_task_comes_back_once(ran: Ran) -> None:
    assert sorted(ran.names) == sorted([*PLAIN, *ALONE, *WITH_GPUS, "error", "bug", "greedy"])


def test_results_stream_as_they_end(ran: Ran) -> None:
    late = ran.record("late")  # it waits for the first result to be seen here
    assert late["ended"] - late["started"] < LONG_S


def test_a_task_reads_its_files_and_has_a_thread_a_cpu(ran: Ran) -> None:
    assert ran.record("reads")["files"] == ["1 2 3", "gone"]
    assert ran.record("reads")["threads"] == "1"
    assert ran.record("alone 1")["threads"] == ""


def test_a_task_that_fails_is_a_failure_and_the_others_go_on(ran: Ran) -> None:
    assert ran.failure("error") == ("error cannot work", "try another", 2)
    assert ran.failure("bug") == ("ZeroDivisionError: by zero", "this is a fault of the tool: please report it", 3)


def test_a_task_that_fits_no_node_is_given_up(ran: Ran) -> None:
    message, hint, _ = ran.failure("greedy")
    assert message == "it needs 3 GPUs, and no node has had that for 1 s"
    assert hint == "the nodes of the cluster have: 2 CPUs and 2 GPUs"


def test_a_gpu_belongs_to_one_task(ran: Ran) -> None:
    has = {name: set(ran.record(name)["gpus"].split(",")) for name in WITH_GPUS}
    assert {name: len(gpus) for name, gpus in has.items()} == WITH_GPUS
    for one, other in combinations(WITH_GPUS, 2):
        assert not (has[one] & has[other] and ran.overlap(one, other))


def test_a_task_that_is_to_be_alone_is(ran: Ran) -> None:
    for name in ALONE:
        assert not [other for other in (*PLAIN, *ALONE, *WITH_GPUS) if other != name and ran.overlap(name, other)]


def test_a_task_whose_worker_dies_is_tried_again_and_then_given_up(cluster: str, tmp_path: Path) -> None:
    victim, survivor = Toy("victim", tmp_path, LONG_S), Toy("survivor", tmp_path, LONG_S, until="go")
    orphans = []

    def kill() -> None:
        eventually(lambda: survivor.attempts)
        for process, worker in survivor.attempts:  # once, and Ray's own process
            orphans.append(process)
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(survivor.attempts) == 2)
        (tmp_path / "go").touch()
        for attempt in (1, 2, 3):
            eventually(lambda: len(victim.attempts) == attempt)  # noqa: B023 - called at once
            for process, _ in victim.attempts:
                if is_running(process):
                    os.kill(process, signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    ran = Ran(list(RayExecutor(cluster).run([victim, survivor])))
    killer.join()
    assert ran.record("survivor")["ended"]
    assert ran.failure("victim")[:2] == ("its worker died 3 times, the last time: Killed", "out of memory?")
    assert len(victim.attempts) == 3
    assert eventually(lambda: not any(map(is_running, orphans)))


def test_closing_the_iterator_ends_what_runs(cluster: str, tmp_path: Path) -> None:
    opener, long = Toy("opener", tmp_path), Toy("long", tmp_path, LONG_S)
    with closing(RayExecutor(cluster).run([long, opener])) as run:  # type: ignore[type-var]
        assert str(next(run).task) == "opener"
        assert eventually(lambda: long.attempts)
    (process, _), *again = long.attempts
    assert eventually(lambda: not is_running(process))
    assert not again


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_cluster_of_our_own_ends_with_a_sweep_that_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    toy = Toy("long", tmp_path, LONG_S)
    marker = str(tmp_path / "cache").encode()

    def ours() -> list[Path]:
        return [folder for folder in Path("/proc").glob("[0-9]*") if marker in read(folder / "environ")]

    with subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path)], env=environment(tmp_path / "cache")) as sweep:
        assert eventually(lambda: toy.attempts)
        assert len(ours()) > 3
        sweep.kill()
    assert eventually(lambda: not ours()), [read(folder / "cmdline") for folder in ours()]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def test_no_tasks_need_no_cluster() -> None:
    assert list(RayExecutor("local").run([])) == []


@pytest.mark.parametrize("address", ["", "somewhere", "http://host:1", "host:port", "ray://", "host:1/x", "LOCAL"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BenchError, match="is no address of Ray"):
        RayExecutor(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_nothing_answers(address: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing answers at") as raised:
        next(RayExecutor(address).run([Toy("toy", tmp_path)]))
    assert raised.value.exit_code == 2


def test_what_answers_is_not_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "CONNECT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BenchError, match=f"Ray at 127.0.0.1:{port} has not answered for 1 s"):
            next(RayExecutor(f"127.0.0.1:{port}").run([Toy("toy", tmp_path)]))


def test_nothing_of_the_working_folder_runs(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "numpy", "torch", "pydantic", "proscale_bench", "psutil"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'EXECUTED')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    (end,) = RayExecutor(cluster).run([Toy("toy", tmp_path)])
    assert end.records is not None, end.failure
    assert not (tmp_path / "EXECUTED").exists()


def test_a_driver_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "without_memory.py").write_text("import sys; sys.exit('no memory')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(ray_executor, "DRIVER", "without_memory")
    with pytest.raises(BenchError, match="the connection to Ray at local ended: no memory"):
        next(RayExecutor("local").run([Toy("toy", tmp_path)]))


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="Ray is not installed") as raised:
        RayExecutor("local")
    assert raised.value.hint == "pip install 'proscale-bench[ray]'"


def test_more_than_a_gibibyte_is_not_sent(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((1 << 30) + 1)  # a file with a hole: it takes no space
    with pytest.raises(BenchError, match=r"the weights have 1\.00 GiB"):
        next(RayExecutor("local").run([Toy("toy", tmp_path, files=(large,))]))
