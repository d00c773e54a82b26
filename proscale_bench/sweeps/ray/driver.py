"""The process that talks to Ray: this module's `main`, started by `executor`.

It is apart from the sweep, so that nothing that Ray does (hang, end its process, print) happens to the sweep. The two
hold the ends of one connection; when the sweep's end closes, however it ended, this process ends all that it started.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from proscale_bench import cache, children
from proscale_bench.config.catalogue import catalogue_dir
from proscale_bench.errors import BenchError
from proscale_bench.sweeps.ray import node as on_nodes
from proscale_bench.sweeps.ray.executor import Alive, Broken, Ended, Job, Start
from proscale_bench.sweeps.ray.node import Parcel, run_task
from proscale_bench.sweeps.tasks import Needs


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, with all CPUs and GPUs that it has."""

    id: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Demand:
    """The CPUs and GPUs that a task reserves of one node; of a certain one where `node` is its id."""

    cpus: int
    gpus: int
    node: str | None = None


def nodes_alive(rows: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The nodes that tasks can run on, of what `ray.nodes()` lists."""
    return [
        Node(row["NodeID"], int(row["Resources"].get("CPU", 0)), int(row["Resources"].get("GPU", 0)))
        for row in rows
        if row["Alive"]
    ]


def fits(needs: Needs, node: Node) -> bool:
    """Tell whether the node, were it idle, has what a task needs."""
    return node.gpus >= needs.gpus and (node.cpus >= 1 or (needs.gpus > 0 and not needs.alone))


def demand(needs: Needs, nodes: Iterable[Node], taken: Collection[str]) -> Demand | None:
    """Choose what a task reserves: its GPUs and nothing else, or one CPU; alone, all of one node.

    A node's GPUs are reserved with its CPUs, since a GPU task reserves no CPU. Of the nodes that fit, one with the
    fewest GPUs is taken.

    Args:
        taken: ids of the nodes that other tasks wait for or hold alone.

    Returns:
        None where a task that must be alone has no node at this moment.
    """
    if not needs.alone:
        return Demand(cpus=0 if needs.gpus else 1, gpus=needs.gpus)
    free = [node for node in nodes if fits(needs, node) and node.id not in taken]
    if not free:
        return None
    node = min(free, key=lambda node: (node.gpus, node.id))
    return Demand(node.cpus, node.gpus, node.id)


TICK_S = 0.5
ATTEMPTS = 3


class Dispatch:
    """Gives a sweep's jobs to the cluster: some wait for a node of their own, the others Ray has.

    Args:
        patience_s: seconds for which a job may fit no node.
    """

    def __init__(self, jobs: Sequence[Job], code: Parcel, files: Mapping[Path, Parcel], patience_s: float) -> None:
        import ray

        self.code, self.files, self.patience_s = code, files, patience_s
        self.waiting = list(jobs)
        self.running: dict[Any, tuple[Job, Demand]] = {}  # by Ray's reference to what it will return
        self.deaths: Counter[int] = Counter()
        self.fits_since = dict.fromkeys((job.number for job in jobs), time.monotonic())  # or did so last
        self.remote = ray.remote(run_task)

    def run(self) -> Generator[Ended | None, None, None]:
        """Yield each job as it ends, and None at least every half a second. Closed, it ends all that runs."""
        import ray

        try:
            while self.waiting or self.running:
                nodes = nodes_alive(ray.nodes())
                yield from self.give_up(nodes)
                self.submit(nodes)
                yield self.next_ended()
        finally:
            for reference in self.running:
                ray.cancel(reference, force=True)

    def submit(self, nodes: Sequence[Node]) -> None:
        """Give Ray what waits. A job that must be alone waits here for a node that no other such job has."""
        still_waiting = []
        for job in self.waiting:
            taken = {reserved.node for _, reserved in self.running.values() if reserved.node}
            reserved = demand(job.needs, nodes, taken)
            if reserved is None:
                still_waiting.append(job)
            else:
                self.running[self.start(job, reserved)] = job, reserved
        self.waiting = still_waiting

    def start(self, job: Job, reserved: Demand) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(reserved.node, soft=False) if reserved.node else "DEFAULT"
        remote = self.remote.options(
            name=job.name,
            num_cpus=reserved.cpus,
            num_gpus=reserved.gpus,
            scheduling_strategy=strategy,
            max_retries=0,  # they are counted here
        )
        all_threads = bool(reserved.gpus or reserved.node)
        return remote.remote(job.task, self.code, [self.files[path] for path in job.files], all_threads)

    def next_ended(self) -> Ended | None:
        """The next job that ends within a tick, for good or bad; None where none does, or one is tried again."""
        import ray

        if not self.running:
            time.sleep(TICK_S)
            return None
        ready, _ = ray.wait(list(self.running), timeout=TICK_S)
        if not ready:
            return None
        job, _ = self.running.pop(ready[0])
        answer = result(ready[0])
        if "died" not in answer:
            return Ended(job.number, answer.get("records"), answer.get("failure"))
        self.deaths[job.number] += 1
        if self.deaths[job.number] < ATTEMPTS:
            self.waiting.append(job)
            return None
        return failed(job, f"its worker died {ATTEMPTS} times, the last time: {answer['died']}", "out of memory?")

    def give_up(self, nodes: Sequence[Node]) -> Iterator[Ended]:
        """End the jobs that no node has been able to hold for too long: nodes may come, but not for ever."""
        now = time.monotonic()
        held = {needs: any(fits(needs, node) for node in nodes) for needs in {job.needs for job in self.jobs}}
        self.fits_since.update((job.number, now) for job in self.jobs if held[job.needs])
        for job in [job for job in self.jobs if now - self.fits_since[job.number] > self.patience_s]:
            self.forget(job)
            asked = f"{job.needs.gpus} GPU{'s' * (job.needs.gpus > 1)}" if job.needs.gpus else "a CPU"
            has = "; ".join(f"{node.cpus} CPUs and {node.gpus} GPUs" for node in nodes) or "none"
            message = f"it needs {asked}, and no node has had that for {self.patience_s:.0f} s"
            yield failed(job, message, f"the nodes of the cluster have: {has}")

    @property
    def jobs(self) -> list[Job]:
        """The jobs that have not ended."""
        return [*self.waiting, *(job for job, _ in self.running.values())]

    def forget(self, job: Job) -> None:
        """Have no more to do with it."""
        import ray

        self.waiting = [other for other in self.waiting if other is not job]
        for reference in [reference for reference, (other, _) in self.running.items() if other is job]:
            ray.cancel(reference, force=True)
            del self.running[reference]


def result(reference: Any) -> dict[str, Any]:
    """The answer of a job, or the fate of its worker."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        answer: dict[str, Any] = ray.get(reference)
    except RayTaskError as error:
        cause = error.cause if error.cause is not None else error
        message = f"{type(cause).__name__}: {cause}"[:1000]
        return {"failure": {"message": message, "hint": "look at the node that it ran on", "exit_code": 3}}
    except RayError as error:
        return {"died": str(error).partition("\n")[0][:1000] or type(error).__name__}
    return answer


def failed(job: Job, message: str, hint: str) -> Ended:
    return Ended(job.number, None, {"message": message, "hint": hint, "exit_code": 3})


LAST_ORDERS_S = 10.0  # after the sweep is gone, before this process is ended by force
LOCAL = "local"
SHORT = "/tmp"  # the path of a socket has 107 characters at the most, and Ray adds 70
PACKAGE = Path(__file__).parents[2]


def main(connection: Connection) -> None:
    start: Start = connection.recv()
    left = Event()
    Thread(target=watch, args=(connection, left), daemon=True).start()
    try:
        with cluster(start.address):
            serve(start, connection, left)
    except BenchError as error:
        connection.send(Broken(error.message, error.hint or ""))
    except BrokenPipeError:
        pass  # nobody is left to tell
    except Exception as error:
        connection.send(
            Broken(f"Ray at {start.address}: {gist(error)}", "what is done is kept; run the same command to go on")
        )


def serve(start: Start, connection: Connection, left: Event) -> None:
    """Run the jobs and tell how each ended, until all have or the sweep is gone."""
    connection.send(Alive())
    code = sent(Path("code.zip"), code_archive())
    files = {}
    for path in dict.fromkeys(path for job in start.jobs for path in job.files):
        files[path] = sent(path, path.read_bytes())
        connection.send(Alive())
    with closing(Dispatch(start.jobs, code, files, start.patience_s).run()) as events:
        for event in events:
            if left.is_set():
                return
            connection.send(event or Alive())


def watch(connection: Connection, left: Event) -> None:
    """Wait for the sweep to close its end. Should this process not end then, its group is ended."""
    try:
        connection.recv()
    except (EOFError, OSError):
        left.set()
    Event().wait(LAST_ORDERS_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connected to Ray; to one of our own on this machine where the address is `local`.

    Raises:
        BenchError: no connection, or the versions differ.
    """
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    with ExitStack() as stack:
        if address == LOCAL:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the user's home
            folder = tempfile.TemporaryDirectory(prefix="ray-", dir=SHORT, ignore_cleanup_errors=True)
            settings |= {"include_dashboard": False, "_temp_dir": stack.enter_context(folder)}
        import ray
        from ray import cloudpickle

        for module in (on_nodes, cache, children):  # nodes do not have them yet
            cloudpickle.register_pickle_by_value(module)
        try:
            ray.init(address=address, **settings)
        except (RuntimeError, ConnectionError, ValueError, OSError) as error:
            raise no_connection(address, error) from error
        stack.callback(ray.shutdown)
        yield


def no_connection(address: str, error: Exception) -> BenchError:
    """Put what Ray says at length into a line."""
    first = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if "ersion mismatch" in str(first):
        hint = "both need the same Ray and Python: pip install 'ray[client]==VERSION' with the cluster's"
        return BenchError(f"Ray at {address}: {' '.join(str(first).split())}", hint)
    if "AuthToken" in str(first) or "AuthenticationError" in type(first).__name__:
        hint = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token as the cluster has it"
        return BenchError(f"Ray at {address} asks for a token, and was given none or another", hint)
    hint = "does `ray status` know it? if it asks for a token, set RAY_AUTH_MODE=token"
    return BenchError(f"cannot reach Ray at {address}: {gist(first)}", hint)


def gist(error: Exception) -> str:
    """One line of an error: the first, or the last of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if "Traceback" in str(error) else 0]


def sent(path: Path, content: bytes) -> Parcel:
    """A parcel whose bytes Ray has."""
    import ray

    return Parcel(path, hashlib.sha256(content).hexdigest(), ray.put(content))


def code_archive() -> bytes:
    """The package and the catalogue as a zip file, the same bytes for the same code. Weights are sent as files."""
    found = {path: f"{PACKAGE.name}/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*") if path.is_file()}
    found |= {path: f"{PACKAGE.name}/schedules/{path.name}" for path in catalogue_dir().glob("*.yaml")}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path, name in sorted(found.items(), key=lambda entry: entry[1]):
            if path.suffix not in (".pyc", ".safetensors"):
                file.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
