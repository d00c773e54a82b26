"""The max-pool of the light pixel embedding: PyTorch's bits, whatever the size, layout, type and values."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from proscale_bench.models.encoders.pooling import ROWS, NeighbourMaxPool

SIZES = [(1, 1), (1, 5), (5, 1), (2, 2), (3, 3), (ROWS, 7), (ROWS + 1, 2), (2 * ROWS - 1, 5), (2 * ROWS + 1, 33)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", SIZES)
def test_it_has_the_bits_of_pytorchs(size: tuple[int, int], dtype: torch.dtype, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, *size, dtype=dtype).contiguous(memory_format=layout)
    maps[0, 0, 0, 0], maps[1, 1, -1, -1] = float("nan"), float("-inf")
    before, pooled = maps.clone(), NeighbourMaxPool()(maps)
    assert torch.equal(pooled.nan_to_num(7.0), F.max_pool2d(before, 3, 1, 1).nan_to_num(7.0))
    assert torch.equal(maps.nan_to_num(7.0), before.nan_to_num(7.0)), "what it reads stays"


def test_it_learns_as_pytorchs() -> None:
    maps = torch.randn(1, 3, 20, 9, requires_grad=True)
    (ours,) = torch.autograd.grad(NeighbourMaxPool()(maps).square().sum(), maps)
    (theirs,) = torch.autograd.grad(F.max_pool2d(maps, 3, 1, 1).square().sum(), maps)
    assert torch.equal(ours, theirs)


def test_it_is_one_operator_where_it_is_traced() -> None:
    (node,) = (
        one
        for one in torch.export.export(NeighbourMaxPool(), (torch.randn(1, 3, 20, 9),)).graph.nodes
        if one.op == "call_function"
    )
    assert "max_pool2d" in str(node.target)
    assert NeighbourMaxPool()(torch.empty(1, 3, 20, 9, device="meta")).shape == (1, 3, 20, 9)
