"""The cores of multi-scale deformable attention: one function, several ways to compute it.

Each core is a `Sampler`; all agree with `grid_sample`, the reference, to rounding, and count the same FLOPs.
`choose` picks the fastest for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from proscale_bench.errors import look_up
from proscale_bench.models.position import Size
from proscale_bench.models.sampling import embedding_bag, grid_sample

# value [B, S, heads, d], (h, w) of each of L levels, locations [B, N, heads, L, P, 2], weights [B, N, heads, L, P]
# -> [B, N, heads * d]: see `grid_sample.sample`.
Sampler = Callable[[Tensor, Sequence[Size], Tensor, Tensor], Tensor]

AUTO = "auto"
SAMPLERS: dict[str, Sampler] = {
    "grid_sample": grid_sample.sample,
    "embedding_bag": embedding_bag.sample,
    "embedding_bag_compiled": embedding_bag.sample_compiled,
}
FASTEST = {"cpu": "embedding_bag"}  # by type of device; elsewhere the reference
COMPILED = {"embedding_bag": "embedding_bag_compiled"}


def choose(name: str, device: torch.device, compiled: bool = False) -> str:
    """The sampler that a device uses: the one named, or for `auto` the fastest that runs there.

    Args:
        compiled: `auto` may take one that is compiled at its first use, which takes seconds and a C++ compiler.

    Raises:
        BenchError: unknown name.
    """
    if name == AUTO:
        fastest = FASTEST.get(device.type, "grid_sample")
        return COMPILED.get(fastest, fastest) if compiled else fastest
    look_up(SAMPLERS, name, "sampling")
    return name
