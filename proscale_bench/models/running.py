"""Settings while a model runs: its device is there, number formats and threads are as asked, and put back after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from proscale_bench.errors import BenchError
from proscale_bench.machine import cpu_name
from proscale_bench.results.profile import DeviceType, DType

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_device(device: DeviceType, dtype: DType) -> None:
    """Make sure that the device is there and knows the number format.

    Raises:
        BenchError: no GPU, or tf32 without one.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise BenchError(f"no GPU: torch {torch.__version__} sees no CUDA device", "use --device cpu")
    if device == "cpu" and dtype == "tf32":
        raise BenchError("tf32 is a number format of GPUs", "use --dtype fp32, or --device cuda where there is one")


def autocast(device: torch.device, dtype: DType, *, cached: bool = True) -> AbstractContextManager[object]:
    """bf16 and fp16 by autocast; nothing for the others. `cached`: a weight is cast once a pass."""
    cast = AUTOCAST.get(dtype)
    return nullcontext() if cast is None else torch.autocast(device.type, cast, cache_enabled=cached)


@contextmanager
def global_state(dtype: DType, threads: int | None) -> Iterator[None]:
    """Threads and tf32, put back afterwards. `threads` None: as many as PyTorch likes."""
    before_threads = torch.get_num_threads()
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, convolution.allow_tf32)
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        matmul.allow_tf32 = convolution.allow_tf32 = dtype == "tf32"
        yield
    finally:
        torch.set_num_threads(before_threads)
        matmul.allow_tf32, convolution.allow_tf32 = before


def device_name(device: torch.device) -> str:
    """The name of a device as its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
