"""Memory of a pass, running out of it, and energy: with the real system where there is one, else with a fake."""

# ruff: noqa: N802 - the fake has the library's names
from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from proscale_bench.measure.memory import MIB, is_out_of_memory, memory_guard, pass_memory
from proscale_bench.measure.nvml import MIN_PASSES, Board, pass_energy

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


def touch(mib: int) -> Callable[[], object]:
    return lambda: torch.ones(mib * MIB // 4)


@on_linux
def test_the_peak_is_that_of_the_pass_and_not_of_an_earlier_one() -> None:
    touch(300)()
    found = pass_memory(nn.Linear(512, 512), touch(64), torch.device("cpu"))
    assert found is not None
    assert 63 <= found.allocated_mib - found.before_mib <= 70
    assert found.weights_mib == (512 * 512 + 512) * 4 / MIB
    assert found.reserved_mib is None


def test_a_system_that_does_not_tell_gives_none(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from proscale_bench.measure import memory

    monkeypatch.setattr(memory, "CLEAR_REFS", memory.Path("/proc/nowhere/clear_refs"))
    assert pass_memory(nn.Linear(1, 1), touch(1), torch.device("cpu")) is None


@on_linux
def test_inside_the_guard_too_much_is_an_error_and_not_the_end() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_guard():
        assert torch.ones(MIB).sum() == MIB
        with pytest.raises(RuntimeError) as caught:
            torch.ones(1 << 42)
    assert is_out_of_memory(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_apart(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


class NVMLError(Exception):
    pass


class FakeNvml:
    """The part of `pynvml` that is used, with a GPU that draws 100 W while `clock` runs."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    NVMLError = NVMLError

    def __init__(self, counter: bool = True, reasons: int = 0) -> None:
        self.now_s, self.counter, self.reasons = 0.0, counter, reasons

    def clock(self) -> float:
        return self.now_s

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-123":
            raise NVMLError("Not Found")
        return uuid

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.1"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if not self.counter:
            raise NVMLError("Not Supported")
        return int(1000 * 100 * self.now_s)

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        return {self.NVML_CLOCK_SM: 1755, self.NVML_CLOCK_MEM: 2619}[kind]

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: int) -> int:
        raise NVMLError("Not Supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        import os

        return [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=1)]


def test_energy_is_power_times_time_by_image() -> None:
    nvml = FakeNvml()

    def one_pass() -> None:
        nvml.now_s += 0.25

    found = pass_energy(one_pass, lambda: None, Board(nvml, "GPU-123"), 2, clock=nvml.clock)
    assert found.per_image_j == pytest.approx(100 * 0.25 / 2)
    assert "8 passes" in found.note


def test_a_slow_pass_is_repeated_often_enough() -> None:
    nvml = FakeNvml()

    def one_pass() -> None:
        nvml.now_s += 10

    assert f"{MIN_PASSES} passes" in pass_energy(one_pass, lambda: None, Board(nvml, ""), 1, clock=nvml.clock).note


@pytest.mark.parametrize(
    ("board", "reason"),
    [
        ("no GPU", "no GPU"),
        (Board(FakeNvml(counter=False), ""), "no energy counter"),
        (Board(FakeNvml(), ""), "did not move"),
    ],
)
def test_no_energy_has_a_reason(board: Board | str, reason: str) -> None:
    times = iter(range(100))
    found = pass_energy(lambda: None, lambda: None, board, 1, clock=lambda: next(times))
    assert found.per_image_j is None
    assert reason in found.note


def test_the_board_tells_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(reasons=0x4 | 0x20 | 0x1))  # type: ignore[arg-type]
    board = Board.open("123")
    assert isinstance(board, Board)
    assert board.driver == "580.1"
    assert board.clocks_mhz() == {"sm": 1755, "memory": 2619}
    assert board.throttled_by() == ("its power cap", "heat")
    assert board.other_processes() == 1
    assert Board.open("GPU-123") == board
    assert "does not answer: Not Found" in str(Board.open("456"))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "proscale-bench[gpu]" in str(Board.open("123"))
