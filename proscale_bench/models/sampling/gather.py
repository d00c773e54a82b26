"""The core of multi-scale deformable attention by indexing alone, for engines that cannot sample a grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from proscale_bench.units import Size


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], weights.shape[-1]
    per_level = torch.split(value, [height * width for height, width in sizes], dim=1)
    total = value.new_zeros(())
    for level, (pixels, (height, width)) in enumerate(zip(per_level, sizes, strict=True)):
        rows = pixels.transpose(1, 2).flatten(0, 1)  # [B*heads, h*w, d]
        x = (locations[:, :, :, level, :, 0] * width - 0.5).transpose(1, 2).flatten(0, 1)  # [B*heads, N, P]
        y = (locations[:, :, :, level, :, 1] * height - 0.5).transpose(1, 2).flatten(0, 1)
        share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        left, top = x.floor(), y.floor()
        for column, row, part in (
            (left, top, (left + 1 - x) * (top + 1 - y)),
            (left + 1, top, (x - left) * (top + 1 - y)),
            (left, top + 1, (left + 1 - x) * (y - top)),
            (left + 1, top + 1, (x - left) * (y - top)),
        ):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)  # what lies outside is zero
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1)  # [B*heads, N*P]
            found = rows.gather(1, place[..., None].expand(-1, -1, channels)).view(-1, queries, points, channels)
            total = total + (found * (part * share * inside)[..., None]).sum(2)  # [B*heads, N, d]
    return total.view(batch, heads, queries, channels).transpose(1, 2).flatten(2)
