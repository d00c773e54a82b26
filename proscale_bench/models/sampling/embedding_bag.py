"""The core of multi-scale deformable attention as one weighted sum of pixels a query: the fast ones on the CPU.

A bilinear sample is a weighted sum of four pixels, and a query's output is a weighted sum of samples: together one
weighted sum of 4 * L * P rows of the values, which is what an embedding bag computes. Queries go before heads, as in
values and output, so that nothing is laid out anew: neighbours read neighbours, and find them in the cache.
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
    rows, factors = _rows(value, sizes, locations, weights, find_corners)
    return _sum(value, rows, factors)


def sample_points(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """The value read at each location, times its weight, before any sum: [B, N, heads, L * P, d]. See `sample`."""
    return _by_point(value, *_rows(value, sizes, locations, weights, corners))


def sample_by_keys(
    query: Tensor, value: Tensor, key: Tensor | None, sizes: Sequence[Size], locations: Tensor
) -> Tensor:
    """See `grid_sample.sample_by_keys`. The values are summed as in `sample`."""
    ones = locations.new_ones(()).expand(locations.shape[:-1])
    rows, factors = _rows(value, sizes, locations, ones, corners)
    keys = _by_point(value if key is None else key, rows, factors)
    logits = keys @ query[..., None]  # [B, N, heads, L * P, 1]
    weights = (logits * value.shape[-1] ** -0.5).softmax(dim=-2).transpose(-1, -2)
    return _sum(value, rows, (_corners_apart(factors) * weights).flatten(3))


def _sum(value: Tensor, rows: Tensor, factors: Tensor) -> Tensor:
    """A query's weighted sum of rows, [B, N, C]. See `corners`."""
    bags = F.embedding_bag(
        rows.flatten(0, 2),
        value.reshape(-1, value.shape[-1]),  # [B * S * heads, d]
        per_sample_weights=factors.flatten(0, 2).to(value.dtype),
        mode="sum",
    )
    return bags.view(*rows.shape[:2], -1)


def _by_point(value: Tensor, rows: Tensor, factors: Tensor) -> Tensor:
    """The weighted sum of the four pixels of each point, [B, N, heads, L * P, d]. See `corners`."""
    channels = value.shape[-1]
    bags = F.embedding_bag(
        _corners_apart(rows).transpose(3, 4).reshape(-1, 4),
        value.reshape(-1, channels),
        per_sample_weights=_corners_apart(factors).transpose(3, 4).reshape(-1, 4).to(value.dtype),
        mode="sum",
    )
    return bags.view(*rows.shape[:3], -1, channels)


def _corners_apart(lanes: Tensor) -> Tensor:
    """[..., 4 * L * P] to [..., 4, L * P]."""
    return lanes.view(*lanes.shape[:-1], 4, -1)


def _rows(
    value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor, find_corners: Corners
) -> tuple[Tensor, Tensor]:
    """The rows of [B * S * heads, d] that samples read, and their factors: see `corners`."""
    batch, tokens, heads, _ = value.shape
    width, height, start = lanes(tuple(sizes), heads, weights.shape[-1], weights.dtype, value.device)
    if batch > 1:
        images = torch.arange(batch, dtype=torch.int32, device=value.device)
        start = start + images[:, None, None, None] * (tokens * heads)
    return find_corners(locations, weights, width, height, start)


def corners(locations: Tensor, weights: Tensor, width: Tensor, height: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The four pixels around each location, and the share that each has in the query's output.

    Args:
        locations: [B, N, heads, L, P, 2].
        weights: [B, N, heads, L, P].
        width, height: size of the level that each of the heads * L * P lanes reads, in pixels.
        start: the row of that level's first pixel, int32: [heads, 4 * L * P], or [B, 1, heads, 4 * L * P] for a batch.

    Returns:
        Rows [B, N, heads, 4 * L * P], int32, and factors alike, 0 outside the level.
    """
    by_head, share = (*weights.shape[:3], -1), weights.flatten(2)
    columns = _neighbours(locations[..., 0].flatten(2), width)  # [B, N, lanes]
    rows, factors = [], []
    for line, part in _neighbours(locations[..., 1].flatten(2), height):
        before, of_line = line * width, part * share
        for column, of_column in columns:
            rows.append((before + column).view(by_head))
            factors.append((of_line * of_column).view(by_head))
    return torch.cat(rows, 3).to(torch.int32) * weights.shape[2] + start, torch.cat(factors, 3)


def _neighbours(places: Tensor, size: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two pixels beside each place along an axis, the nearest inside for one outside, and their shares of it."""
    position = places * size - 0.5
    first = position.floor()
    far, found = position - first, []
    for pixel, share in ((first, 1 - far), (first + 1, far)):
        inside = torch.minimum(pixel.clamp(min=0), size - 1)
        found.append((inside, share * (pixel == inside)))
    return found


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
    sizes: tuple[Size, ...], heads: int, points: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Width and height of what each lane (head, level, point) reads, [heads * L * P], and the first row of what each
    of its four pixels is in: [heads, 4 * L * P]."""
    starts = [sum(h * w for h, w in sizes[:level]) * heads for level in range(len(sizes))]

    def each(numbers: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(numbers, dtype=dtype, device=device).repeat_interleave(points)

    width, height = (each([size[axis] for size in sizes], dtype).repeat(heads) for axis in (1, 0))
    head = torch.arange(heads, dtype=torch.int32, device=device)[:, None]
    return width, height, each(starts, torch.int32).repeat(4) + head
