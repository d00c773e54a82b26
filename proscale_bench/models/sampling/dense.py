"""The core of multi-scale deformable attention as dense products: the fast one for training at small sizes on a CPU.

A query's output is a weighted sum of pixels (see `embedding_bag`). Written into a matrix of queries by pixels, the
weights make it a product, and its gradients are products too, where those of a bag are scattered row by row. The matrix
of one head of one image stays in the cache, for some hundreds of tokens; time grows with queries times pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proscale_bench.models.position import once_per_size
from proscale_bench.units import Size


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`. It has no second derivatives."""
    found: Tensor = _Sampled.apply(value, tuple(sizes), locations, weights.flatten(3), False)
    return found


def attend(value: Tensor, sizes: Sequence[Size], locations: Tensor, logits: Tensor) -> Tensor:
    """`sample` by weights that are the softmax of logits [B, N, heads, L * P], several times as fast as apart."""
    found: Tensor = _Sampled.apply(value, tuple(sizes), locations, logits, True)
    return found


class _Sampled(torch.autograd.Function):
    """The sampling with its gradient written out: PyTorch's own goes back through every step of the arithmetic.

    Queries are innermost in that arithmetic, lanes (level, point) outermost: operators are slow along axes of twelve.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, sizes: tuple[Size, ...], locations: Tensor, weights: Tensor, normalise: bool
    ) -> Tensor:
        batch, queries, heads, lanes = weights.shape
        size, last, start = _lanes(sizes, lanes // len(sizes), locations.dtype, value.device)
        places = _lanes_first(locations.flatten(3)).view(heads, lanes, 2, -1)  # x and y, of [B * N] queries
        shares = _lanes_first(weights).to(places.dtype)  # [heads, L * P, B * N]
        if normalise:
            shares = shares.softmax(1)
        places = (places * size).sub_(0.5)
        first = places.floor()  # the pixel to the left or above; the next one is the other
        far = places.sub_(first)
        pixels = torch.stack((first, first + 1))
        kept = torch.minimum(pixels.clamp(min=0), last)
        inside = (pixels == kept).to(far.dtype)
        near = (1 - far).mul_(inside[0])
        far = far.mul_(inside[1])
        (left, above), (right, below) = (one.unbind(2) for one in kept)
        above, below = above * size[:, 0] + start, below * size[:, 0] + start
        of_above, of_below = near[:, :, 1] * shares, far[:, :, 1] * shares
        corners = torch.stack((above + left, above + right, below + left, below + right), 1).flatten(1, 2)
        factors = torch.stack(
            (of_above * near[:, :, 0], of_above * far[:, :, 0], of_below * near[:, :, 0], of_below * far[:, :, 0]), 1
        ).flatten(1, 2)  # [heads, 4 * L * P, B * N]
        by_query = [
            (corners[head].T.contiguous().long(), factors[head].T.contiguous().to(value.dtype)) for head in range(heads)
        ]
        output = value.new_empty(batch, queries, *value.shape[2:])
        matrix = value.new_empty(queries, value.shape[1])
        for image, head, rows in _each(batch, heads, queries):
            _fill(matrix, by_query[head], rows)
            torch.mm(matrix, value[image, :, head], out=output[image, :, head])
        ctx.save_for_backward(value, near, far, inside, shares, size, *(tensor for pair in by_query for tensor in pair))
        ctx.normalise, ctx.points = normalise, locations.shape[3:5]
        return output.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        value, near, far, inside, shares, size, *flat = ctx.saved_tensors
        by_query = list(zip(flat[::2], flat[1::2], strict=True))
        batch, _, heads, _ = value.shape
        slope = slope.view(*slope.shape[:2], heads, -1)  # [B, N, heads, d]
        queries, corners = slope.shape[1], by_query[0][0].shape[1]
        of_value = torch.empty_like(value)
        matrix = value.new_empty(queries, value.shape[1])
        of_factors = near.new_empty(heads, corners, batch * queries)
        for image, head, rows in _each(batch, heads, queries):
            _fill(matrix, by_query[head], rows)
            torch.mm(matrix.T, slope[image, :, head], out=of_value[image, :, head])
            torch.mm(slope[image, :, head], value[image, :, head].T, out=matrix)
            of_factors[head, :, rows] = matrix.gather(1, by_query[head][0][rows]).T
        upper_left, upper_right, lower_left, lower_right = of_factors.view(heads, 4, -1, batch * queries).unbind(1)
        (near_x, near_y), (far_x, far_y) = near.unbind(2), far.unbind(2)
        above = upper_left * near_x + upper_right * far_x
        below = lower_left * near_x + lower_right * far_x
        left = upper_left * near_y + lower_left * far_y
        right = upper_right * near_y + lower_right * far_y
        of_shares = above * near_y + below * far_y
        of_places = torch.stack((right, below), 2) * inside[1] - torch.stack((left, above), 2) * inside[0]
        of_places = (of_places * shares[:, :, None]).mul_(size)
        if ctx.normalise:
            of_shares = shares * (of_shares - (shares * of_shares).sum(1, keepdim=True))
        of_locations = _queries_first(of_places).view(batch, queries, heads, *ctx.points, 2)
        return of_value, None, of_locations, _queries_first(of_shares).view(batch, queries, heads, -1), None


def _each(batch: int, heads: int, queries: int) -> list[tuple[int, int, slice]]:
    """Every image and head, and the place of the image's queries among all."""
    places = [slice(image * queries, (image + 1) * queries) for image in range(batch)]
    return [(image, head, places[image]) for image in range(batch) for head in range(heads)]


def _fill(matrix: Tensor, by_query: tuple[Tensor, Tensor], rows: slice) -> None:
    """Write the factors of some queries into a matrix of queries by pixels."""
    corners, factors = by_query
    matrix.zero_().scatter_add_(1, corners[rows], factors[rows])


def _lanes_first(tensor: Tensor) -> Tensor:
    """[B, N, heads, K] to [heads, K, B * N]."""
    return tensor.flatten(0, 1).flatten(1).T.contiguous().view(*tensor.shape[2:], -1)


def _queries_first(tensor: Tensor) -> Tensor:
    """[heads, K, ..., B * N] to [B * N, heads * K * ...]."""
    return tensor.flatten(0, -2).T.contiguous()


@once_per_size
def _lanes(
    sizes: tuple[Size, ...], points: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Width and height, the last column and line, and the first pixel of the level that each of the L * P lanes reads.

    [L * P, 2, 1], the same, and [L * P, 1].
    """
    size = torch.tensor([(width, height) for height, width in sizes], dtype=dtype, device=device)
    areas = size.prod(1)
    start = areas.cumsum(0) - areas
    size = size.repeat_interleave(points, dim=0)[:, :, None]
    return size, size - 1, start.repeat_interleave(points)[:, None]
