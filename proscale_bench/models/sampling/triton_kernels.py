"""The Triton kernels behind `gpu.sample`: all of a query's samples in one pass, nothing kept in between.

A program computes a block of queries of one head in one image; every tensor is contiguous. The sizes of the levels come
as floats because Triton compiles anew for integers that are 1 or multiples of 16: so a new input size compiles nothing.
Tokens are counted in floats, too, which float32 does exactly up to 2^24.
"""

# No `from __future__ import annotations`: Triton reads the annotations.

import triton
import triton.language as tl


@triton.jit
def _block(queries, heads: tl.constexpr, block_queries: tl.constexpr):
    """This program's image, head and queries, and where each query's head lies in [B, N, heads]."""
    blocks = tl.cdiv(queries, block_queries)
    program = tl.program_id(0)
    image = (program // blocks // heads).to(tl.int64)
    head = program // blocks % heads
    query = program % blocks * block_queries + tl.arange(0, block_queries)
    return image, head, query < queries, (image * queries + query) * heads + head


@triton.jit
def _corner(x, y, right: tl.constexpr, below: tl.constexpr, height, width, start, live):
    """One of the four pixels around a point: whether it is there, which token it is, its shares in x and y."""
    column, row = tl.floor(x) + right, tl.floor(y) + below
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & live  # false for nan, too
    column, row = tl.where(inside, column, 0), tl.where(inside, row, 0)
    share_x = tl.where(inside, 1 - tl.abs(x - column), 0)
    share_y = tl.where(inside, 1 - tl.abs(y - row), 0)
    return inside, (start + row * width + column).to(tl.int64), share_x, share_y


@triton.jit(do_not_specialize=["tokens", "queries"])
def forward(
    value,  # [B, tokens, heads, channels]
    sizes,  # height and width of each level, one after another, as floats
    locations,  # [B, queries, heads, levels, points, 2]
    weights,  # [B, queries, heads, levels, points]
    output,  # [B, queries, heads, channels]
    tokens,
    queries,
    heads: tl.constexpr,
    channels: tl.constexpr,
    levels: tl.constexpr,
    points: tl.constexpr,
    block_queries: tl.constexpr,
    block_channels: tl.constexpr,  # a power of two, at least `channels`
    precision: tl.constexpr,  # all arithmetic is done in it
):
    image, head, live, entry = _block(queries, heads, block_queries)
    channel = tl.arange(0, block_channels)[None]
    first = (image * tokens * heads + head) * channels + channel
    total = tl.zeros([block_queries, block_channels], dtype=precision)
    start = 0.0
    for level in tl.static_range(levels):
        height, width = sizes[2 * level], sizes[2 * level + 1]
        for point in range(points):
            at = (entry * levels + level) * points + point
            x = tl.load(locations + 2 * at, mask=live, other=0).to(precision) * width - 0.5
            y = tl.load(locations + 2 * at + 1, mask=live, other=0).to(precision) * height - 0.5
            weight = tl.load(weights + at, mask=live, other=0).to(precision)
            for below in tl.static_range(2):
                for right in tl.static_range(2):
                    inside, token, share_x, share_y = _corner(x, y, right, below, height, width, start, live)
                    offset = first + (token * (heads * channels))[:, None]
                    there = inside[:, None] & (channel < channels)
                    read = tl.load(value + offset, mask=there, other=0).to(precision)
                    total += (weight * share_x * share_y)[:, None] * read
        start += height * width
    here = live[:, None] & (channel < channels)
    tl.store(output + entry[:, None] * channels + channel, total.to(output.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=["tokens", "queries"])
def backward(
    slope,  # [B, queries, heads, channels], the gradient of the output
    value,
    sizes,
    locations,
    weights,
    value_slope,  # zeros, in `precision`: many queries add to one pixel
    locations_slope,
    weights_slope,
    tokens,
    queries,
    heads: tl.constexpr,
    channels: tl.constexpr,
    levels: tl.constexpr,
    points: tl.constexpr,
    block_queries: tl.constexpr,
    block_channels: tl.constexpr,
    precision: tl.constexpr,
):
    image, head, live, entry = _block(queries, heads, block_queries)
    channel = tl.arange(0, block_channels)[None]
    first = (image * tokens * heads + head) * channels + channel
    here = live[:, None] & (channel < channels)
    output_slope = tl.load(slope + entry[:, None] * channels + channel, mask=here, other=0).to(precision)
    start = 0.0
    for level in tl.static_range(levels):
        height, width = sizes[2 * level], sizes[2 * level + 1]
        for point in range(points):
            at = (entry * levels + level) * points + point
            x = tl.load(locations + 2 * at, mask=live, other=0).to(precision) * width - 0.5
            y = tl.load(locations + 2 * at + 1, mask=live, other=0).to(precision) * height - 0.5
            weight = tl.load(weights + at, mask=live, other=0).to(precision)
            by_x = tl.zeros([block_queries], dtype=precision)
            by_y = tl.zeros([block_queries], dtype=precision)
            by_weight = tl.zeros([block_queries], dtype=precision)
            for below in tl.static_range(2):
                for right in tl.static_range(2):
                    inside, token, share_x, share_y = _corner(x, y, right, below, height, width, start, live)
                    offset = first + (token * (heads * channels))[:, None]
                    there = inside[:, None] & (channel < channels)
                    read = tl.load(value + offset, mask=there, other=0).to(precision)
                    product = tl.sum(read * output_slope, axis=1)
                    by_x += (2 * right - 1) * share_y * product
                    by_y += (2 * below - 1) * share_x * product
                    by_weight += share_x * share_y * product
                    added = (weight * share_x * share_y)[:, None] * output_slope
                    tl.atomic_add(value_slope + offset, added, mask=there, sem="relaxed")
            kind = locations_slope.dtype.element_ty
            tl.store(locations_slope + 2 * at, (by_x * weight * width).to(kind), mask=live)
            tl.store(locations_slope + 2 * at + 1, (by_y * weight * height).to(kind), mask=live)
            tl.store(weights_slope + at, by_weight.to(weights_slope.dtype.element_ty), mask=live)
        start += height * width
