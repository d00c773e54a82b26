"""The core of multi-scale deformable attention as one weighted sum of pixels a query: the fast ones on the CPU.

A bilinear sample is a weighted sum of four pixels, and a query's output is a weighted sum of samples: together one
weighted sum of 4 * L * P rows of the values, which is what an embedding bag computes. Heads are outermost throughout,
so that the rows of the head in hand stay in the cache.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.models.position import once_per_size
from proscale_bench.units import Size

Corners = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`."""
    return _sample(value, sizes, locations, weights, corners)


def sample_compiled(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """The same with the arithmetic around the embedding bag compiled: once for all sizes, in some seconds."""
    return _sample(value, sizes, locations, weights, _compiled_corners())


def _sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor, find_corners: Corners) -> Tensor:
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    rows, factors = _rows(value, sizes, locations, weights, find_corners)
    output = F.embedding_bag(
        rows.view(batch * heads * queries, -1),
        value.transpose(1, 2).reshape(-1, channels),  # [B * heads * S, d]
        per_sample_weights=factors.view(batch * heads * queries, -1).to(value.dtype),
        mode="sum",
    )
    return output.view(batch, heads, queries, channels).transpose(1, 2).flatten(2)


def sample_points(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """The value read at each location, times its weight, before any sum: [B, heads, N, L * P, d]. See `sample`."""
    return _by_point(value, *_rows(value, sizes, locations, weights, corners))


def sample_by_keys(
    query: Tensor, value: Tensor, key: Tensor | None, sizes: Sequence[Size], locations: Tensor
) -> Tensor:
    """See `grid_sample.sample_by_keys`. The values are summed as in `sample`."""
    batch, _, heads, channels = value.shape
    ones = locations.new_ones(()).expand(locations.shape[:-1])
    rows, factors = _rows(value, sizes, locations, ones, corners)
    keys = _by_point(value if key is None else key, rows, factors)
    logits = keys @ query.transpose(1, 2)[..., None]  # [B, heads, N, L * P, 1]
    weights = (logits * channels**-0.5).softmax(dim=-2).transpose(-1, -2)
    output = F.embedding_bag(
        rows.flatten(0, 2).flatten(1),
        value.transpose(1, 2).reshape(-1, channels),
        per_sample_weights=(factors * weights).flatten(0, 2).flatten(1).to(value.dtype),
        mode="sum",
    )
    return output.view(batch, heads, -1, channels).transpose(1, 2).flatten(2)


def _by_point(value: Tensor, rows: Tensor, factors: Tensor) -> Tensor:
    """The weighted sum of the four pixels of each point, [B, heads, N, L * P, d]. See `corners`."""
    channels = value.shape[-1]
    bags = F.embedding_bag(
        rows.transpose(3, 4).reshape(-1, 4),
        value.transpose(1, 2).reshape(-1, channels),
        per_sample_weights=factors.transpose(3, 4).reshape(-1, 4).to(value.dtype),
        mode="sum",
    )
    return bags.view(*rows.shape[:3], -1, channels)


def _rows(
    value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor, find_corners: Corners
) -> tuple[Tensor, Tensor]:
    """The rows of [B * heads * S, d] that samples read, and their factors: see `corners`."""
    batch, tokens, heads, _ = value.shape
    width, height, start = lanes(tuple(sizes), heads, weights.shape[-1], tokens, weights.dtype, value.device)
    if batch > 1:
        images = torch.arange(batch, dtype=torch.int32, device=value.device)
        start = start + images[:, None, None] * (heads * tokens)
    return find_corners(locations, weights, width, height, start)


def corners(locations: Tensor, weights: Tensor, width: Tensor, height: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The four pixels around each location, and the share that each has in the query's output.

    Args:
        locations: [B, N, heads, L, P, 2].
        weights: [B, N, heads, L, P].
        width, height: size of the level that each of the heads * L * P lanes reads, in pixels.
        start: the row of that level's first pixel, int32; [B, 1, lanes] for a batch.

    Returns:
        Rows [B, heads, N, 4, L * P], int32, and factors alike, 0 outside the level.
    """
    batch, queries, heads = weights.shape[:3]
    x = locations[..., 0].flatten(2) * width - 0.5  # [B, N, lanes], in pixels
    y = locations[..., 1].flatten(2) * height - 0.5
    left, top, share = x.floor(), y.floor(), weights.flatten(2)
    right_share, bottom_share = x - left, y - top
    rows, factors = [], []
    for row, row_share in ((top, share * (1 - bottom_share)), (top + 1, share * bottom_share)):
        in_rows = torch.where((row >= 0) & (row < height), row_share, 0)
        before = torch.minimum(row.clamp(min=0), height - 1) * width
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            pixel = before + torch.minimum(column.clamp(min=0), width - 1)
            rows.append(pixel.to(torch.int32) + start)
            factors.append(torch.where((column >= 0) & (column < width), in_rows * column_share, 0))
    by_head = (batch, queries, heads, -1)
    return (
        torch.stack([row.view(by_head).transpose(1, 2) for row in rows], dim=3),
        torch.stack([factor.view(by_head).transpose(1, 2) for factor in factors], dim=3),
    )


def has_compiler() -> bool:
    """True if there is a C++ compiler where torch looks for one, and Python's headers, which it needs too."""
    return _is_installed(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


@cache
def _is_installed(program: str) -> bool:
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    return shutil.which(program) is not None and headers.is_file()


@cache
def _compiled_corners() -> Corners:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA, on a CPU
    compiled: Corners = torch.compile(corners, dynamic=True)
    return compiled


@once_per_size
def lanes(
    sizes: tuple[Size, ...], heads: int, points: int, tokens: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Width, height and first row of what each lane (head, level, point) reads: [heads * L * P] each."""
    starts = [sum(h * w for h, w in sizes[:level]) for level in range(len(sizes))]

    def each(numbers: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(numbers, dtype=dtype, device=device).repeat_interleave(points).repeat(heads)

    head = torch.arange(heads, dtype=torch.int32, device=device).repeat_interleave(len(sizes) * points)
    return (
        each([w for _, w in sizes], dtype),
        each([h for h, _ in sizes], dtype),
        each(starts, torch.int32) + head * tokens,
    )
