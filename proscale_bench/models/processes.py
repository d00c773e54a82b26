"""One process of a `torchrun`, or the only one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from proscale_bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
TO_MEET = timedelta(minutes=2)  # at the start
TO_FINISH = timedelta(days=7)  # at the end: a dead process is noticed at once, a slow one may be slow

Mean = Callable[["Tensor"], "Tensor"]
Wrap = Callable[["nn.Module", bool], "nn.Module"]


@dataclass(frozen=True)
class Processes:
    """This process among those of a `torchrun`, and how they work together.

    Args:
        local_rank: its place on this machine.
        wait: waits for all others to come here too.
        mean: replaces a tensor on the CPU by its mean over all processes.
        wrap: makes a model whose gradients are the mean over processes after each backward pass; the flag says if
            there are parameters that never have a gradient.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    wait: Callable[[], None] = lambda: None
    mean: Mean = lambda tensor: tensor
    wrap: Wrap = lambda model, unused: model

    @property
    def is_first(self) -> bool:
        """The one that reports."""
        return self.rank == 0


@contextmanager
def join_processes(command: str = "eval") -> Iterator[Processes]:
    """The processes of this `torchrun`, ready to wait for each other; one process elsewhere.

    Args:
        command: that hints name.

    Raises:
        BenchError: torchrun's variables make no sense, the processes do not find each other, or one of them ended
            before its time while another waited for it.
    """
    if not all(name in os.environ for name in VARIABLES):  # not started by torchrun
        yield Processes()
        return
    import torch
    import torch.distributed as dist

    try:
        rank, size, local_rank = (int(os.environ[name]) for name in VARIABLES[:3])
        # Numbers are added up on the CPU, gradients where they are.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TO_MEET)
        patient = dist.new_group(timeout=TO_FINISH)
    except (ValueError, RuntimeError) as error:
        raise BenchError(
            f"the processes of torchrun do not find each other: {str(error).splitlines()[0]}",
            f"start them as in: torchrun --nproc-per-node 2 -m proscale_bench {command} ...",
        ) from error

    def mean(tensor: Tensor) -> Tensor:
        try:
            dist.all_reduce(tensor, group=patient)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise BenchError(
                f"process {rank} of {size}: another process of this run has ended",
                "its error is further up; what is done is kept, and the same command goes on",
            ) from error
        return tensor.div_(size)

    def wait() -> None:
        mean(torch.zeros(1))

    def wrap(model: nn.Module, unused: bool) -> nn.Module:
        from inspect import signature

        from torch.nn.parallel import DistributedDataParallel

        known = signature(DistributedDataParallel).parameters
        syncs_buffers = (
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        )  # its older name
        options: dict[str, Any] = {syncs_buffers: False}  # those that change are shared once an iteration
        return DistributedDataParallel(
            model,
            **options,
            process_group=patient,
            find_unused_parameters=unused,  # finding out takes time
            gradient_as_bucket_view=True,
        )

    yield Processes(rank, size, local_rank, wait, mean, wrap)
    dist.destroy_process_group()  # not after an error: it would wait for those who wait for us
