"""One process of a `torchrun`, or the only one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from proscale_bench.errors import BenchError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
TO_MEET = timedelta(minutes=2)  # at the start
TO_FINISH = timedelta(days=7)  # at the end: a dead process is noticed at once, a slow one may be slow


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many; `local_rank` is its place on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    wait: Callable[[], None] = lambda: None

    @property
    def is_first(self) -> bool:
        """The one that reports."""
        return self.rank == 0


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return all(name in os.environ for name in VARIABLES)


@contextmanager
def join_processes() -> Iterator[Processes]:
    """The processes of this `torchrun`, ready to wait for each other; one process elsewhere.

    Raises:
        BenchError: torchrun's variables make no sense, the processes do not find each other, or one of them ended
            before its time while another waited for it.
    """
    if not under_torchrun():
        yield Processes()
        return
    import torch.distributed as dist

    try:
        rank, size, local_rank = (int(os.environ[name]) for name in VARIABLES[:3])
        dist.init_process_group("gloo", timeout=TO_MEET)
        patient = dist.new_group(timeout=TO_FINISH)
    except (ValueError, RuntimeError) as error:
        raise BenchError(
            f"the processes of torchrun do not find each other: {str(error).splitlines()[0]}",
            "start them as in: torchrun --nproc-per-node 2 -m proscale_bench eval ...",
        ) from error

    def wait() -> None:
        try:
            dist.barrier(patient)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise BenchError(
                f"process {rank} of {size}: another process of this run has ended",
                "its error is further up; what is evaluated is kept, and the same command goes on",
            ) from error

    yield Processes(rank, size, local_rank, wait)
    dist.destroy_process_group()  # not after an error: it would wait for those who wait for us
