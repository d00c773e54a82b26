"""The core of multi-scale deformable attention in plain PyTorch, with `F.grid_sample`.

The reference that every faster core must agree with. Source: Zhu et al. 2021, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.units import Size


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of values read bilinearly at each query's locations.

    A location is a fraction of a level's width and height; pixel centres are at (i + 0.5) / size. What lies
    outside the level is zero.

    Args:
        value: [B, S, heads, d], the S = sum of h*w pixels of L levels one after another.
        sizes: (h, w) of each level.
        locations: [B, N, heads, L, P, 2], (x, y).
        weights: [B, N, heads, L, P], over levels and points together.

    Returns:
        [B, N, heads * d], heads outermost.
    """
    batch, queries = locations.shape[:2]
    weights = weights.transpose(1, 2).flatten(0, 1)[:, None]  # [B*heads, 1, N, L, P]
    total = (_samples(value, sizes, locations) * weights).flatten(-2).sum(-1)  # [B*heads, d, N]
    return total.view(batch, -1, queries).transpose(1, 2)


def sample_by_keys(
    query: Tensor, value: Tensor, key: Tensor | None, sizes: Sequence[Size], locations: Tensor
) -> Tensor:
    """Weighted sum of values read at each query's locations; the weights follow from the keys read there.

    A weight is the softmax of query * key / sqrt(d) over levels and points together. What lies outside a level has a
    key of zeros.

    Args:
        query: [B, N, heads, d].
        value: see `sample`.
        key: of the values' shape; None where the values that are read are the keys.
        sizes, locations: see `sample`.

    Returns:
        [B, N, heads * d], heads outermost.

    Source: Li et al. 2023 (Lite DETR), section 4.3.
    """

    def read(source: Tensor) -> Tensor:
        """[B, N, heads, L * P, d]."""
        samples = _samples(source, sizes, locations).flatten(-2)  # [B*heads, d, N, L * P]
        return samples.view(len(query), -1, *samples.shape[1:]).permute(0, 3, 1, 4, 2)

    values = read(value)
    keys = values if key is None else read(key)
    logits = keys @ query[..., None]  # [B, N, heads, L * P, 1]
    weights = (logits * query.shape[-1] ** -0.5).softmax(dim=-2)
    output: Tensor = weights.transpose(-1, -2) @ values  # [B, N, heads, 1, d]
    return output.flatten(2)


def _samples(value: Tensor, sizes: Sequence[Size], locations: Tensor) -> Tensor:
    """[B*heads, d, N, L, P]."""
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # [B*heads, N, L, P, 2], -1 to 1
    per_level = torch.split(value, [height * width for height, width in sizes], dim=1)
    sampled = [
        F.grid_sample(
            pixels.permute(0, 2, 3, 1).reshape(-1, value.shape[-1], *size),  # [B*heads, d, h, w]
            grids[:, :, level],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )  # [B*heads, d, N, P]
        for level, (pixels, size) in enumerate(zip(per_level, sizes, strict=True))
    ]
    return torch.stack(sampled, dim=-2)
