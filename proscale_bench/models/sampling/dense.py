"""The core of multi-scale deformable attention as dense products: the fast one for training at small sizes on a CPU.

A query's output is a weighted sum of pixels (see `embedding_bag`). Written into a matrix of queries by pixels, the
weights make it a product, and its gradients are products too, where those of a bag are scattered row by row. One image
at a time, the matrices stay in the cache, for some hundreds of tokens; time grows with queries times pixels.
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
        corners, factors = _by_image(corners, batch).long(), _by_image(factors, batch).to(value.dtype)
        output = value.new_empty(batch, queries, *value.shape[2:])
        matrix = value.new_empty(heads, queries, value.shape[1])
        for image, rows in enumerate(value.transpose(1, 2)):
            matrix.zero_().scatter_add_(2, corners[image], factors[image])
            torch.bmm(matrix, rows, out=output[image].transpose(0, 1))
        ctx.save_for_backward(value, near, far, inside, shares, size, corners, factors)
        ctx.normalise, ctx.points = normalise, locations.shape[3:5]
        return output.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        value, near, far, inside, shares, size, corners, factors = ctx.saved_tensors
        batch, heads, queries, _ = corners.shape
        slopes = slope.view(batch, queries, heads, -1).transpose(1, 2)
        of_value, of_factors = torch.empty_like(value), torch.empty_like(factors)
        matrix = value.new_empty(heads, queries, value.shape[1])
        for image, rows in enumerate(value.transpose(1, 2)):
            matrix.zero_().scatter_add_(2, corners[image], factors[image])
            torch.bmm(matrix.transpose(1, 2), slopes[image], out=of_value[image].transpose(0, 1))
            torch.bmm(slopes[image], rows.transpose(1, 2), out=matrix)
            torch.gather(matrix, 2, corners[image], out=of_factors[image])
        of_factors = of_factors.to(near.dtype).permute(1, 3, 0, 2).reshape(heads, -1, batch * queries)
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


def _by_image(tensor: Tensor, batch: int) -> Tensor:
    """[heads, K, B * N] to [B, heads, N, K]."""
    return tensor.view(*tensor.shape[:2], batch, -1).permute(2, 0, 3, 1).contiguous()


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
