"""The cores of multi-scale deformable attention: one function, several ways to compute it.

Each core is a `Sampler`; all agree with `grid_sample`, the reference, to rounding, and count the same FLOPs.
`choose` picks the fastest for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from proscale_bench.errors import BenchError, look_up
from proscale_bench.models.sampling import dense, embedding_bag, fused, gather, gpu, grid_sample
from proscale_bench.units import Size

# value [B, S, heads, d], (h, w) of each of L levels, locations [B, N, heads, L, P, 2], weights [B, N, heads, L, P]
# -> [B, N, heads * d]: see `grid_sample.sample`.
Sampler = Callable[[Tensor, Sequence[Size], Tensor, Tensor], Tensor]

# Queries [B, N, heads, d] and keys in the place of weights: see `grid_sample.sample_by_keys`.
KeyAwareSampler = Callable[[Tensor, Tensor, Tensor | None, Sequence[Size], Tensor], Tensor]

AUTO = "auto"
SAMPLERS: dict[str, Sampler] = {
    "grid_sample": grid_sample.sample,
    "embedding_bag": embedding_bag.sample,
    "embedding_bag_compiled": embedding_bag.sample_compiled,
    "dense": dense.sample,
    "fused": fused.sample,
    "gather": gather.sample,
    "triton": gpu.sample_by_triton,
    "deformops": gpu.sample_by_deformops,
}
# These take the softmax of the weights' logits [B, N, heads, L * P] with them.
WITH_SOFTMAX: dict[Sampler, Sampler] = {dense.sample: dense.attend, fused.sample: fused.attend}
# By type of device, the first that runs there; elsewhere the reference.
FASTEST = {"cpu": ("embedding_bag",), "cuda": ("deformops", "triton")}
COMPILED = {"embedding_bag": "embedding_bag_compiled"}


def choose(name: str, device: torch.device, compiled: bool = False) -> str:
    """The sampler that a device uses: the one named, or for `auto` the fastest that runs there.

    Args:
        compiled: `auto` may take one that is compiled at its first use, which takes seconds and a C++ compiler.

    Raises:
        BenchError: unknown name, or one that is not installed or does not run on the device.
    """
    if name == AUTO:
        candidates = (*FASTEST.get(device.type, ()), "grid_sample")
        running = [core for core in candidates if obstacle(core, device) is None]
        name = COMPILED.get(running[0], running[0]) if compiled else running[0]
    look_up(SAMPLERS, name, "sampling")
    if (found := obstacle(name, device)) is not None:
        problem, remedy = found
        runs = ", ".join(core for core in SAMPLERS if obstacle(core, device) is None)
        raise BenchError(f"the sampling '{name}' {problem}", f"{remedy}, or use one that runs here: {runs}")
    return name


def obstacle(name: str, device: torch.device) -> tuple[str, str] | None:
    """The obstacle between a sampling and a device, and what to do about it; None where it runs."""
    if name in COMPILED.values() and device.type == "cpu" and not embedding_bag.has_compiler():
        return "needs a C++ compiler and Python's headers", "install them (on Debian g++ and python3-dev)"
    if name == "fused":
        return fused.obstacle(device)
    return gpu.obstacle(name, device)


def sampler(name: str, device: torch.device) -> Sampler:
    """The function behind `choose`.

    The meta device, which computes nothing, has one operator for all but the reference: counts are alike.
    """
    chosen = choose(name, device)
    on_meta = device.type == "meta" and chosen != "grid_sample"
    return gpu.sample_by_triton if on_meta else SAMPLERS[chosen]


def key_aware_sampler(name: str, device: torch.device) -> KeyAwareSampler:
    """The core of key-aware attention beside the one of this name; the reference where there is no other."""
    if device.type == "cpu" and choose(name, device).startswith("embedding_bag"):
        return embedding_bag.sample_by_keys
    return grid_sample.sample_by_keys
