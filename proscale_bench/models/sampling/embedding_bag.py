"""The core of multi-scale deformable attention as one `F.embedding_bag`: the fast one on the CPU.

A bilinear sample is a weighted sum of four pixels, and a query's output is a weighted sum of samples: together one
weighted sum of 4 * L * P rows of the values, which is what an embedding bag computes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.models.position import Size


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`."""
    batch, tokens, heads, channels = value.shape
    queries = locations.shape[1]
    rows = value.transpose(1, 2).reshape(batch * heads * tokens, channels)  # head-major: a head's pixels lie together
    first = torch.arange(batch * heads, device=value.device).view(batch, 1, heads, 1) * tokens
    indices, factors = [], []
    start = 0
    for level, (height, width) in enumerate(sizes):
        x = locations[:, :, :, level, :, 0] * width - 0.5  # [B, N, heads, P]
        y = locations[:, :, :, level, :, 1] * height - 0.5
        left, top = x.floor(), y.floor()
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
                indices.append(first + start + pixel.long())
                factors.append(weights[:, :, :, level] * share_x * share_y * inside)
        start += height * width
    bags = (batch * queries * heads, -1)
    output = F.embedding_bag(
        torch.cat(indices, dim=-1).view(bags),
        rows,
        per_sample_weights=torch.cat(factors, dim=-1).view(bags),
        mode="sum",
    )
    return output.view(batch, queries, heads * channels)
