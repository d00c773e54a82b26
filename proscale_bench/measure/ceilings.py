"""The ceilings of a device, measured: a matrix product for arithmetic, a copy for memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from proscale_bench.cache import read_cache, write_cache
from proscale_bench.measure.timers import Timer, timer_for
from proscale_bench.results.export import now
from proscale_bench.results.profile import Ceilings, Execution

NAME = "ceilings"
SIDES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}  # of square products
COPY_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}  # beyond any cache
REPEATS = 7  # the best counts: a ceiling is what is reached, not what is usual
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def measure_ceilings(
    execution: Execution, device: torch.device, progress: Callable[[str], None] = lambda what: None
) -> Ceilings:
    """Measure a device's ceilings in a profile's dtype. A product that does not fit into memory is left out."""
    dtype, timer = DTYPES[execution.dtype], timer_for(device)
    best, best_side = 0.0, SIDES[execution.device][0]
    for side in SIDES[execution.device]:
        progress(f"a product of {side} x {side}")
        try:
            a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
            fastest_ms = _fastest_ms(timer, lambda a=a, b=b: a @ b)  # type: ignore[misc]
        except (torch.OutOfMemoryError, MemoryError):
            continue
        gflops_per_s = 2 * side**3 / fastest_ms * 1e-6
        if gflops_per_s > best:
            best, best_side = gflops_per_s, side
    progress("a copy")
    source = torch.zeros(COPY_BYTES[execution.device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_ms = _fastest_ms(timer, lambda: target.copy_(source))
    return Ceilings(
        matmul_gflops_per_s=best,
        matmul_side=best_side,
        copy_gb_per_s=2 * source.numel() / copy_ms * 1e-6,
        measured=now(),
    )


def cached_ceilings(execution: Execution) -> Ceilings | None:
    """The ceilings measured on this device in this dtype, with as many threads; None if there are none."""
    try:
        return Ceilings.model_validate(read_cache(NAME).get(_key(execution)))
    except ValueError:
        return None


def keep_ceilings(execution: Execution, ceilings: Ceilings) -> None:
    """Put ceilings into the cache.

    Raises:
        BenchError: it cannot be written.
    """
    write_cache(NAME, {**read_cache(NAME), _key(execution): ceilings.model_dump(mode="json")})


def _key(execution: Execution) -> str:
    threads = f", {execution.threads} threads" if execution.device == "cpu" else ""
    return f"{execution.device_name}, {execution.dtype}{threads}, torch {torch.__version__}"


def _fastest_ms(timer: Timer, call: Callable[[], object]) -> float:
    timer.each_ms([call])  # warm-up
    return min(timer.each_ms([call] * REPEATS))
