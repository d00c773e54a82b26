"""The core of multi-scale deformable attention as a dense product: the fast one for training on a CPU at small sizes.

A query's output is a weighted sum of pixels (see `embedding_bag`). Written into a matrix of queries by pixels, the
weights make it one matrix product, and so are its gradients, where those of a bag are scattered row by row. Memory and
time grow with queries times pixels: for some hundreds of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from proscale_bench.models.sampling.embedding_bag import corners, lanes
from proscale_bench.units import Size


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`."""
    batch, tokens, heads, channels = value.shape
    queries, points = locations.shape[1], weights.shape[-1]
    width, height, start = lanes(tuple(sizes), heads, points, 0, weights.dtype, value.device)
    pixels, factors = corners(locations, weights, width, height, start)
    shares = value.new_zeros(batch * heads * queries, tokens)  # by query and pixel
    shares.scatter_add_(1, pixels.view(len(shares), -1).long(), factors.view(len(shares), -1).to(value.dtype))
    rows = value.transpose(1, 2).reshape(batch * heads, tokens, channels)
    output = torch.bmm(shares.view(batch * heads, queries, tokens), rows)
    return output.view(batch, heads, queries, channels).transpose(1, 2).flatten(2)
