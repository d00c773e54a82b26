"""The GPU as NVIDIA's management library sees it: energy, clocks, what throttles it, who else is on it.

The library (`pip install 'proscale-bench[gpu]'`) and the driver are optional: without them there is no board and a
reason why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

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
        """Of the whole board since the driver was loaded, in mJ; None on boards without the counter."""
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
        """Now, and the most there is: `sm`, `sm_max`, `memory`."""
        asked = {
            "sm": ("nvmlDeviceGetClockInfo", self.library.NVML_CLOCK_SM),
            "sm_max": ("nvmlDeviceGetMaxClockInfo", self.library.NVML_CLOCK_SM),
            "memory": ("nvmlDeviceGetClockInfo", self.library.NVML_CLOCK_MEM),
        }
        found = {name: self._ask(*question) for name, question in asked.items()}
        return {name: int(value) for name, value in found.items() if value is not None}

    def throttled_by(self) -> tuple[str, ...]:
        """What holds the clocks down at this moment."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(words for bit, words in THROTTLES.items() if reasons & bit)

    def other_processes(self) -> int:
        """How many processes compute on the board besides this one; in a container the driver may not show them."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses") or []
        return sum(process.pid != os.getpid() for process in processes)

    def _ask(self, function: str, *arguments: Any) -> Any:
        """What NVML answers, or None where this board or driver does not support the question."""
        try:
            return getattr(self.library, function)(self.handle, *arguments)
        except self.library.NVMLError:
            return None
