"""The memory that an operator takes on a CPU while it runs, beside what it is given and what it makes.

Convolutions in float32 run in oneDNN, which works on blocks of channels: input, weights and output have copies in that
layout, and the output is copied back (PyTorch's aten/src/ATen/native/mkldnn/Conv.cpp). One that is too small for it
(`ConvParams::use_mkldnn`, aten/src/ATen/native/Convolution.cpp) unfolds its input into columns instead. This is so on
two threads and more; on one, 1x1 convolutions of up to 15 images need no copies.
"""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor

from proscale_bench.measure.operators import aten

BLOCK = 16  # channels, of vectors of 512 bits; an input of fewer, as an image, is read as it is
SMALL = 20480  # elements of an input


def workspace_bytes(operator: Any, args: Any, result: Any) -> int:
    """The most that an operator takes at a time beyond its arguments and results.

    Args:
        operator: what ran, as `aten.convolution`.
        args: the arguments by place.
        result: what it returned.
    """
    if operator is not aten.convolution or result.ndim > 4:
        return 0
    given, weight, _, stride, _, dilation, is_transposed, _, groups = args
    kernel = weight.shape[2:]
    is_plain = {*stride, *dilation} == {1} and not is_transposed and groups == 1
    if is_plain and len(given) == 1 and min(kernel) <= 3 and given.numel() <= SMALL:
        columns = 0 if set(kernel) == {1} else given.shape[1] * prod(kernel) * prod(result.shape[2:])
        return int(columns * given.element_size())
    channels = given.shape[1]
    is_read_plain = channels < BLOCK
    if groups > 1:
        weights = weight.numel()
    else:
        weights = _filled(result.shape[1]) * (channels if is_read_plain else _filled(channels)) * prod(kernel)
    if not result.is_contiguous():  # channels come last already, and oneDNN takes input and output as they are
        return int(weights * weight.element_size())
    copied = 0 if is_read_plain else _blocked(given)
    output = _blocked(result)
    # The result is not there while the product runs, and what that took is gone when the output is copied back.
    return int(max(copied + weights + output - result.numel(), output) * weight.element_size())


def _blocked(tensor: Tensor) -> int:
    """The elements of a tensor [N, C, ...] whose channels fill whole blocks."""
    return tensor.numel() // tensor.shape[1] * _filled(tensor.shape[1])


def _filled(channels: int) -> int:
    return -(-channels // BLOCK) * BLOCK
