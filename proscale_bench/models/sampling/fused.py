"""The core of multi-scale deformable attention in one pass over the queries: the fastest for training on a CPU.

The other cores write down, for every query, which pixels it reads and how much of each, before they read; here both
happen at once, in C (`fused.c`), and likewise in the gradient. The C compiler of the machine builds it, in a second, at
the first use in a process: nothing built is kept, so none that somebody else built is ever loaded.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from subprocess import SubprocessError
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proscale_bench.children import compile_with
from proscale_bench.models.sampling import dense
from proscale_bench.units import Size

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC")
BUILT_WITHIN_S = 60
MOST_TOKENS = 2**24  # an image, which are counted in float32


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """See `grid_sample.sample`. For float32 in eager mode (`dense` does the rest), without second derivatives."""
    return _sample(value, sizes, locations, weights.flatten(3), normalise=False)


def attend(value: Tensor, sizes: Sequence[Size], locations: Tensor, logits: Tensor) -> Tensor:
    """`sample` by weights that are the softmax of logits [B, N, heads, L * P]."""
    return _sample(value, sizes, locations, logits, normalise=True)


def _sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, logits: Tensor, normalise: bool) -> Tensor:
    if torch.compiler.is_compiling() or any(one.dtype != torch.float32 for one in (value, locations, logits)):
        core = dense.attend if normalise else dense.sample
        return core(value, sizes, locations, logits if normalise else logits.view(locations.shape[:-1]))
    found: Tensor = _Sampled.apply(value, tuple(sizes), locations, logits, normalise)
    return found


def obstacle(device: torch.device) -> tuple[str, str] | None:
    """The obstacle between it and a device, and what to do about it; None where it runs. See `gpu.obstacle`."""
    if device.type == "meta":
        return None
    if device.type != "cpu":
        return f"does not run on {device.type}", "move the model to the CPU"
    if shutil.which(_compiler()[0]) is None:
        return "needs a C compiler", "install one (on Debian gcc)"
    return None if _library() else ("cannot be built by this machine's C compiler", "set CC to one that builds it")


class _Sampled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, sizes: tuple[Size, ...], locations: Tensor, logits: Tensor, normalise: bool
    ) -> Tensor:
        value, locations, logits = value.contiguous(), locations.contiguous(), logits.contiguous()
        shares = torch.empty_like(logits) if normalise else logits
        output = value.new_empty(*logits.shape[:3], value.shape[3])
        _call("forward", value, sizes, locations, (logits, normalise, shares, output))
        ctx.save_for_backward(value, locations, shares)
        ctx.sizes, ctx.normalise = sizes, normalise
        return output.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, shares = ctx.saved_tensors
        slopes = slope.contiguous()
        found = torch.empty_like(value), torch.empty_like(locations), torch.empty_like(shares)
        _call("backward", value, ctx.sizes, locations, (shares, slopes, ctx.normalise, *found))
        return found[0], None, found[1], found[2], None


def _call(
    name: str, value: Tensor, sizes: tuple[Size, ...], locations: Tensor, rest: tuple[Tensor | bool, ...]
) -> None:
    """Call a function of the library, its slices shared among as many threads as PyTorch uses."""
    images, tokens, heads, channels = value.shape
    _, queries, _, levels, points, _ = locations.shape
    first, of_levels = 0, []
    for height, width in sizes:
        of_levels += [height, width, first]
        first += height * width
    if first != tokens or levels != len(sizes):
        raise ValueError(f"{len(sizes)} levels have {first} pixels, and there are {tokens} values on {levels} levels")
    if tokens > MOST_TOKENS:
        raise ValueError(f"{tokens} values an image are more than {MOST_TOKENS}")
    library = _library()
    assert library is not None  # by `obstacle`
    arguments = (
        (ctypes.c_int64 * 7)(images, queries, heads, channels, tokens, levels, points),
        (ctypes.c_int64 * len(of_levels))(*of_levels),
        *(
            ctypes.c_void_p(one.data_ptr()) if isinstance(one, Tensor) else ctypes.c_int32(one)
            for one in (value, locations, *rest)
        ),
    )
    function, slices = library[name], images * heads
    threads = min(torch.get_num_threads(), slices)
    borders = [ctypes.c_int64(slices * thread // threads) for thread in range(threads + 1)]
    if threads == 1:
        function(*arguments, *borders)
    elif threads > 1:
        calls = [_pool(threads).submit(function, *arguments, *pair) for pair in pairwise(borders)]
        for call in calls:
            call.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "sampling")


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "")) or ["cc"]


@cache
def _library() -> ctypes.CDLL | None:
    """The library, built anew in each process; None where the compiler does not build it."""
    with TemporaryDirectory(prefix="proscale-bench-") as folder:
        built = Path(folder, "fused.so")
        command = [*_compiler(), *FLAGS, str(SOURCE), "-lm", "-o", str(built)]
        try:
            compile_with(command, Path(folder), BUILT_WITHIN_S)
            library = ctypes.CDLL(str(built))
        except (OSError, SubprocessError):
            return None
    for name in ("forward", "backward"):
        library[name].restype = None
    return library
