"""The cores of multi-scale deformable attention for GPUs: a Triton kernel of ours, and the package deformops.

Neither is imported before it is used. Ours is an operator of PyTorch, `proscale_bench::deformable_sampling`: it
compiles as a whole, is captured in CUDA graphs, and has a shape on the meta device, where both are counted by it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from proscale_bench.units import Size

TRITON = find_spec("triton") is not None
INSTALLED = {
    # torch 2.7 brings Triton 3.3, the first to take a tuple of numbers
    "triton": TRITON and torch.__version__ >= "2.7",
    "deformops": TRITON
    and find_spec("deformops") is not None
    and torch.__version__ >= "2.11"
    and sys.version_info >= (3, 12),
}
REMEDIES = {
    "triton": "it comes with torch 2.7 or newer for CUDA on Linux",
    "deformops": "pip install 'proscale-bench[gpu]' with Python 3.12 or 3.13, torch 2.11 or newer, on Linux",
}
OLDEST_GPU = 7  # major compute capability that Triton compiles for
NUMBERS_A_BLOCK = 1024  # of the output that one program of the kernel computes
MOST_TOKENS = 2**24  # an image, which the kernels count in float32


def obstacle(name: str, device: torch.device) -> tuple[str, str] | None:
    """The obstacle between a sampling and a device, and what to do about it; None where it runs.

    Every sampling is welcome on the meta device, which computes nothing.
    """
    if name not in INSTALLED or device.type == "meta":
        return None
    if device.type != "cuda":
        return f"needs a GPU and does not run on {device.type}", "move the model to a GPU"
    if not INSTALLED[name]:
        return "is not installed", REMEDIES[name]
    properties = torch.cuda.get_device_properties(device)  # which a compiler may ask for, too
    if properties.major < OLDEST_GPU:
        return f"does not run on {properties.name}", f"take a GPU of compute capability {OLDEST_GPU}.0 or newer"
    return None


def sample_by_triton(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`. The types may differ, as they do under autocast; the output has that of the values.

    The arithmetic is done in float32, or in float64 if anything comes in it.

    Raises:
        ValueError: the levels do not have as many pixels as there are values, or more than the kernel can count.
    """
    pixels = sum(height * width for height, width in sizes)
    if pixels != value.shape[1]:
        raise ValueError(f"{len(sizes)} levels have {pixels} pixels, and there are {value.shape[1]} values")
    if pixels > MOST_TOKENS:
        raise ValueError(f"{pixels} values an image are more than {MOST_TOKENS}")
    output: Tensor = deformable_sampling(value, [side for size in sizes for side in size], locations, weights)
    return output


def sample_by_deformops(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample` and `deformops_adapter`."""
    from proscale_bench.models.sampling import deformops_adapter

    return deformops_adapter.sample(value, sizes, locations, weights)


@torch.library.custom_op(
    "proscale_bench::deformable_sampling",
    mutates_args=(),
    schema="(Tensor value, SymInt[] sizes, Tensor locations, Tensor weights) -> Tensor",
)
def deformable_sampling(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    """The operator: `sizes` are the height and width of each level, one after another."""
    from proscale_bench.models.sampling import triton_kernels

    output: Tensor = _empty_output(value, sizes, locations, weights)
    inputs = value.contiguous(), tuple(map(float, sizes)), locations.contiguous(), weights.contiguous()
    grid, constants = _launch(value, locations, weights)
    with torch.cuda.device_of(value):  # type: ignore[no-untyped-call]
        triton_kernels.forward[grid](*inputs, output, value.shape[1], locations.shape[1], **constants)
    return output


@torch.library.custom_op(
    "proscale_bench::deformable_sampling_backward",
    mutates_args=(),
    schema="(Tensor slope, Tensor value, SymInt[] sizes, Tensor locations, Tensor weights) -> (Tensor, Tensor, Tensor)",
)
def deformable_sampling_backward(
    slope: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of values, locations and weights, given that of the output."""
    from proscale_bench.models.sampling import triton_kernels

    floats = tuple(map(float, sizes))  # see triton_kernels
    inputs = slope.contiguous(), value.contiguous(), floats, locations.contiguous(), weights.contiguous()
    _, locations_slope, weights_slope = _empty_slopes(slope, value, sizes, locations, weights)
    value_slope = torch.zeros(value.shape, dtype=_precision(value, locations, weights), device=value.device)
    slopes = value_slope, locations_slope, weights_slope
    grid, constants = _launch(value, locations, weights)
    with torch.cuda.device_of(value):  # type: ignore[no-untyped-call]
        triton_kernels.backward[grid](*inputs, *slopes, value.shape[1], locations.shape[1], **constants)
    return value_slope.to(value.dtype), locations_slope, weights_slope


@deformable_sampling.register_fake
def _empty_output(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    batch, queries, heads = locations.shape[:3]
    return value.new_empty(batch, queries, heads * value.shape[-1])


@deformable_sampling_backward.register_fake
def _empty_slopes(
    slope: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return value.new_empty(value.shape), locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Sequence[int], Tensor, Tensor], output: Tensor) -> None:
    value, ctx.sizes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)


def _differentiate(ctx: Any, slope: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
    value, locations, weights = ctx.saved_tensors
    of_value, of_locations, of_weights = deformable_sampling_backward(slope, value, ctx.sizes, locations, weights)
    return of_value, None, of_locations, of_weights


deformable_sampling.register_autograd(_differentiate, setup_context=_keep)


def _precision(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in [tensor.dtype for tensor in tensors] else torch.float32


def _launch(value: Tensor, locations: Tensor, weights: Tensor) -> tuple[tuple[int], dict[str, Any]]:
    """The grid of a launch, and what a kernel is compiled for."""
    import triton
    import triton.language as tl

    batch, queries, heads, levels, points, _ = locations.shape
    channels = value.shape[-1]
    block_channels = triton.next_power_of_2(channels)
    block_queries = max(NUMBERS_A_BLOCK // block_channels, 1)
    precision = tl.float64 if _precision(value, locations, weights) == torch.float64 else tl.float32
    constants = {
        "heads": heads,
        "channels": channels,
        "levels": levels,
        "points": points,
        "block_queries": block_queries,
        "block_channels": block_channels,
        "precision": precision,
    }
    return (triton.cdiv(queries, block_queries) * heads * batch,), constants
