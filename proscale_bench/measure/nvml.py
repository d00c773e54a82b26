"""The GPU as NVIDIA's management library (NVML) sees it: energy, clocks, what throttles it, who else is on it.

The library (`pip install 'proscale-bench[gpu]'`) and the driver are optional: without them there is no board and a
reason why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 2.0  # of passes at the least: the energy counter moves every few tens of milliseconds
MIN_PASSES = 5
# Bits of nvmlDeviceGetCurrentClocksEventReasons that slow a busy GPU: nvml.h.
THROTTLES = {
    0x0000000000000004: "its power cap",
    0x0000000000000008: "a hardware slowdown",
    0x0000000000000020: "heat",
    0x0000000000000040: "heat, in hardware",
    0x0000000000000080: "the power brake",
}


@dataclass(frozen=True)
class Board:
    """A GPU under NVML. `library` is the module `pynvml`, `handle` its handle of the device."""

    library: Any
    handle: Any

    @classmethod
    def open(cls, uuid: str) -> Board | str:
        """The board of a UUID, or why there is none."""
        try:
            import pynvml
        except ImportError:
            return "nvidia-ml-py is not installed (pip install 'proscale-bench[gpu]')"
        try:
            pynvml.nvmlInit()
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}"))
        except pynvml.NVMLError as error:
            return f"NVML does not answer: {error}"

    def energy_mj(self) -> int | None:
        """The whole board's energy since the driver was loaded, in mJ; None on boards without the counter."""
        value = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if value is None else int(value)

    @property
    def driver(self) -> str:
        try:
            version = self.library.nvmlSystemGetDriverVersion()
        except self.library.NVMLError:
            return "unknown"
        return version.decode() if isinstance(version, bytes) else str(version)

    def clocks_mhz(self) -> dict[str, int]:
        """The clocks now, and the most there is: `sm`, `sm_max`, `memory`."""
        asked = {
            "sm": ("nvmlDeviceGetClockInfo", self.library.NVML_CLOCK_SM),
            "sm_max": ("nvmlDeviceGetMaxClockInfo", self.library.NVML_CLOCK_SM),
            "memory": ("nvmlDeviceGetClockInfo", self.library.NVML_CLOCK_MEM),
        }
        found = {name: self._ask(*question) for name, question in asked.items()}
        return {name: int(value) for name, value in found.items() if value is not None}

    def throttled_by(self) -> tuple[str, ...]:
        """The reasons that hold the clocks down at this moment."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(words for bit, words in THROTTLES.items() if reasons & bit)

    def other_processes(self) -> int:
        """The number of other processes that compute on the board; in a container the driver may not show them."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses") or []
        return sum(process.pid != os.getpid() for process in processes)

    def _ask(self, function: str, *arguments: Any) -> Any:
        """The answer of NVML, or None where this board or driver does not support the question."""
        try:
            return getattr(self.library, function)(self.handle, *arguments)
        except self.library.NVMLError:
            return None


@dataclass(frozen=True)
class Energy:
    """Joules of one image, or None; `note` says how it was measured, or why not."""

    per_image_j: float | None
    note: str


def pass_energy(
    run: Callable[[], object],
    synchronize: Callable[[], None],
    board: Board | str,
    batch_size: int,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Energy:
    """Measure passes for a while.

    Args:
        run: one pass over a batch.
        synchronize: waits until the device has done what was asked.
        board: or the reason why there is none.
        batch_size: images of a pass.
        clock: seconds.
    """
    if isinstance(board, str):
        return Energy(None, board)
    synchronize()
    start_mj, start = board.energy_mj(), clock()
    if start_mj is None:
        return Energy(None, "this GPU has no energy counter (Volta and later do)")
    passes = 0
    while passes < MIN_PASSES or clock() - start < SECONDS:
        run()
        synchronize()
        passes += 1
    end_mj = board.energy_mj()
    if end_mj is None or end_mj <= start_mj:
        return Energy(None, "the GPU's energy counter did not move")
    joules = (end_mj - start_mj) / 1000 / (passes * batch_size)
    return Energy(joules, f"NVML's counter of the whole board over {passes} passes, its idle power included")
