"""The memory that one forward pass takes, and how running out of it is told apart from other errors.

On CUDA PyTorch's allocator keeps the peak. On the CPU it is that of the resident set: Linux keeps a high-water mark
that a process may reset, so earlier peaks do not hide this one. The C library holds back and scatters what is freed,
which would make the peak of one and the same pass vary twofold: the pass runs in a thread, which has a heap of its own,
and every tensor gets a mapping of its own.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import nn

from proscale_bench.results.profile import Memory

MIB = 1 << 20
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_HIGH_WATER_MARK = "5"  # proc(5), clear_refs
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
SMALL_BYTES, MOST_BYTES = 64 << 10, 32 << 20  # the latter is the most that glibc adjusts it to
METHOD = "Linux's high-water mark of the resident set, reset before the pass"
OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory", re.IGNORECASE
)


def pass_memory(model: nn.Module, run: Callable[[], object], device: torch.device) -> Memory | None:
    """The peak of one pass; None where the system does not tell. Run it once before: a first pass loads and tunes.

    Args:
        model: whose weights are reported beside the peak.
        run: the pass; on the CPU it is called in another thread, so it brings its own inference mode.
        device: device that it runs on.
    """
    tensors = (*model.parameters(), *model.buffers())
    weights_mib = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MIB
    return _cuda(run, weights_mib) if device.type == "cuda" else _resident(run, weights_mib, warm=True)


def first_pass_memory(run: Callable[[], object], weights_mib: float) -> Memory | None:
    """The peak of the first pass of an engine that keeps what it has allocated; None where the system does not tell.

    Args:
        run: the pass, which nothing has called yet.
        weights_mib: size of the file that the engine loaded.
    """
    found = _resident(run, weights_mib)
    return found and found.model_copy(update={"method": f"{METHOD.removesuffix('the pass')}the engine's first pass"})


def _cuda(run: Callable[[], object], weights_mib: float) -> Memory:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return Memory(
        before_mib=before / MIB,
        allocated_mib=torch.cuda.max_memory_allocated() / MIB,
        reserved_mib=torch.cuda.max_memory_reserved() / MIB,
        weights_mib=weights_mib,
        method="PyTorch's CUDA allocator, reset before the pass",
    )


def _resident(run: Callable[[], object], weights_mib: float, warm: bool = False) -> Memory | None:
    """The peak of one pass; `warm` runs it before in that thread, whose matrix library then has its buffers, and keeps
    them: megabytes a thread, which no further pass takes."""
    try:
        with _own_mappings(), ThreadPoolExecutor(max_workers=1) as fresh:
            if warm:
                fresh.submit(run).result()
            CLEAR_REFS.write_text(RESET_HIGH_WATER_MARK)
            before = _kib("VmRSS")
            fresh.submit(run).result()
            peak = _kib("VmHWM")
    except (OSError, LookupError):  # not Linux, or not permitted
        return None
    return Memory(
        before_mib=before / 1024,
        allocated_mib=max(peak, before) / 1024,
        reserved_mib=None,
        weights_mib=weights_mib,
        method=METHOD,
    )


@contextmanager
def _own_mappings() -> Iterator[None]:
    """Have whatever is large be mapped when it is allocated and unmapped when it is freed: glibc, where it is that."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, SMALL_BYTES)
        libc.malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        yield
        return
    try:
        yield
    finally:  # where glibc's own adjustment leads once tensors of this size were freed
        libc.mallopt(M_MMAP_THRESHOLD, MOST_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * MOST_BYTES)


def _kib(key: str, file: Path = STATUS) -> int:
    """A line of this process's status, or of another file of the system's."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise LookupError(key)


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA's own error, Python's, or the CPU allocator's, which is a mere RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


@contextmanager
def memory_guard() -> Iterator[None]:
    """Have a request for more memory than is free fail at once, inside; on Linux alone.

    Without it the system promises any amount and kills the process once it is used, so that a batch size too large
    would take the others' results with it.
    """
    try:
        import resource

        before = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _kib("VmData") * 1024 + available_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (limit if before[1] < 0 else min(limit, before[1]), before[1]))
    except (ImportError, OSError, LookupError, ValueError):  # not Linux, or not permitted
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def available_bytes() -> int:
    """The bytes that are free on this machine, or in this container where that is less.

    Raises:
        OSError, LookupError: the system does not say.
    """
    free = _kib("MemAvailable", Path("/proc/meminfo")) * 1024
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such limit: "max"
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(0, free)
