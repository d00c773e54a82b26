"""The machine that a number was measured on: what it is, and what it is busy with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from proscale_bench.machine import cpu_name, usable_cores
from proscale_bench.measure.nvml import Board
from proscale_bench.models.running import device_name
from proscale_bench.results.export import environment
from proscale_bench.results.profile import DeviceType

CPU = Path("/sys/devices/system/cpu")
GOVERNOR = CPU / "cpu0/cpufreq/scaling_governor"
NO_TURBO, BOOST = CPU / "intel_pstate/no_turbo", CPU / "cpufreq/boost"


@dataclass(frozen=True)
class Environment:
    """The facts of a machine that may explain a number. None is what the system does not tell."""

    device: DeviceType
    device_name: str
    cpu: str
    cores: int  # that this process may use
    threads: int
    load: float | None  # average of the last minute, before measuring
    governor: str | None
    turbo: bool | None
    driver: str | None
    clocks_mhz: dict[str, int]
    other_gpu_processes: int

    def strings(self) -> dict[str, str]:
        """The environment of a record, with versions; only what is known."""
        on_gpu = self.device == "cuda"
        known = {
            **environment(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "cuda": torch.version.cuda if on_gpu else None,
            "cudnn": str(torch.backends.cudnn.version()) if on_gpu else None,  # type: ignore[no-untyped-call,unused-ignore]
            "driver": self.driver,
            "device": self.device_name,
            "clocks": ", ".join(f"{name} {mhz} MHz" for name, mhz in self.clocks_mhz.items()) or None,
            "cpu": self.cpu,
            "cores": str(self.cores),
            "threads": str(self.threads),
            "load": None if self.load is None else f"{self.load:.2f}",
            "governor": self.governor,
            "turbo": None if self.turbo is None else ("on" if self.turbo else "off"),
        }
        return {key: value for key, value in known.items() if value}


def read_environment(device: torch.device, board: Board | str) -> Environment:
    """The environment now. Ask before measuring: afterwards the load is our own."""
    gpu = board if isinstance(board, Board) else None
    return Environment(
        device="cuda" if device.type == "cuda" else "cpu",
        device_name=device_name(device),
        cpu=cpu_name(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        load=_load(),
        governor=_read(GOVERNOR),
        turbo=_turbo(),
        driver=gpu.driver if gpu else None,
        clocks_mhz=gpu.clocks_mhz() if gpu else {},
        other_gpu_processes=gpu.other_processes() if gpu else 0,
    )


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _turbo() -> bool | None:
    if (off := _read(NO_TURBO)) is not None:
        return off == "0"
    on = _read(BOOST)
    return None if on is None else on == "1"


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
