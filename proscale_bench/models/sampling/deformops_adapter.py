"""Deformable attention's core by the package deformops (Stolle 2026), which compiles Triton kernels of its own.

Import it where it is used: it needs deformops.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from deformops.registry import Backend, msda
from torch import Tensor

from proscale_bench.models.position import once_per_size
from proscale_bench.units import Size

msda.is_registered(Backend.TRITON)  # has it load its kernels now, and not while a compiler is tracing


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`. The output has the type of the values, and the weights are rounded to it.

    On a GPU its Triton kernels run and no other; they sum in float32, the gradient of the values included, and use
    no tensor cores. What they do not compute, float64 and the CPU, its form in plain PyTorch does.
    """
    kernels = value.is_cuda and value.dtype != torch.float64
    shapes, starts = _levels(tuple(sizes), value.device)
    output: Tensor = msda(
        value,
        shapes,
        starts,
        locations if kernels else locations.to(value.dtype),
        weights.to(value.dtype),
        backend=Backend.TRITON if kernels else Backend.EAGER,
    )
    return output


@once_per_size
def _levels(sizes: tuple[Size, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(h, w) of every level, [L, 2], and where it starts, [L]."""
    starts, tokens = [], 0
    for height, width in sizes:
        starts.append(tokens)
        tokens += height * width
    sides = [side for size in sizes for side in size]
    numbers = [torch.full((), number, dtype=torch.int32, device=device) for number in (*sides, *starts)]
    table = torch.stack(numbers)  # by the device's own arithmetic: nothing is copied from the host
    return table[: len(sides)].view(-1, 2), table[len(sides) :]
