"""Gives tasks to a cluster that the driver is connected to, and tells how each ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from proscale_bench.sweep.ray_demand import Demand, Node, demand, fits, nodes_alive
from proscale_bench.sweep.ray_messages import Ended, Job
from proscale_bench.sweep.ray_worker import Parcel, run_task

TICK_S = 0.5
ATTEMPTS = 3


class Dispatch:
    """All jobs of a sweep: those that wait for a node of their own, and those that Ray has.

    Args:
        patience_s: for which a job may fit no node.
    """

    def __init__(self, jobs: Sequence[Job], code: Parcel, files: Mapping[Path, Parcel], patience_s: float) -> None:
        self.code, self.files, self.patience_s = code, files, patience_s
        self.waiting = list(jobs)
        self.running: dict[Any, tuple[Job, Demand]] = {}  # by Ray's reference to what it will return
        self.deaths: Counter[int] = Counter()
        self.fits_since = dict.fromkeys((job.number for job in jobs), time.monotonic())  # or did so last
        self.remote = ray.remote(run_task)

    def run(self) -> Generator[Ended | None, None, None]:
        """Yield each job as it ends, and None at least every half a second. Closed, it ends all that runs."""
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
        """All that have not ended."""
        return [*self.waiting, *(job for job, _ in self.running.values())]

    def forget(self, job: Job) -> None:
        """Have no more to do with it."""
        self.waiting = [other for other in self.waiting if other is not job]
        for reference in [reference for reference, (other, _) in self.running.items() if other is job]:
            ray.cancel(reference, force=True)
            del self.running[reference]


def result(reference: Any) -> dict[str, Any]:
    """What a job returned, or what became of its worker."""
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
