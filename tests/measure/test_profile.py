"""A session: what is set and put back, what is a failure and what an error, ceilings and their cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.measure import ceilings, profile
from proscale_bench.measure.ceilings import cached_ceilings, keep_ceilings, measure_ceilings
from proscale_bench.measure.latency import Limits
from proscale_bench.measure.profile import FailedProfile, MeasuredProfile, ProfileResult, ProfileSettings, Session
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.mask2former import mask2former
from tests.sweeps.profiles import CEILINGS, execution

SIZE = (64, 64)
SPECS = [mask2former(parse_schedule(schedule), "tiny") for schedule in ("baseline", "1,1,1")]


def settings(**changes: object) -> ProfileSettings:
    return ProfileSettings(**{"device": "cpu", "threads": 1, "limits": Limits(repeats=2), **changes})  # type: ignore[arg-type]


def measure(how: ProfileSettings, batch_size: int = 1) -> list[ProfileResult]:
    with Session(how, SPECS) as session:
        return session.measure(batch_size, SIZE, SIZE)


def test_schedules_are_measured_together_on_one_backbone() -> None:
    with Session(settings(), SPECS) as session:
        first, second = session._models
        assert first.backbone is second.backbone
        found = session.measure(2, SIZE, (32, 48))
        assert torch.get_num_threads() == 1
    assert [one.spec for one in found] == SPECS
    for one in found:
        assert isinstance(one, MeasuredProfile)
        assert one.execution == session.execution(2).model_copy(update={"threads": 1})
        assert (one.execution.batch_size, one.execution.mode, one.execution.dtype) == (2, "eager", "fp32")
        assert len(one.samples.whole_ms) == 2
        assert {len(values) for values in one.samples.stages_ms.values()} == {2}
        assert one.energy.note == "no GPU"


def test_pytorchs_state_is_put_back_even_after_an_error() -> None:
    import gc

    def state() -> tuple[object, ...]:
        backends = torch.backends
        return torch.get_num_threads(), backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, gc.isenabled()

    before = state()
    with Session(settings(), SPECS):
        assert torch.get_num_threads() == 1
        assert not torch.backends.cudnn.allow_tf32
    assert state() == before
    with pytest.raises(BenchError, match="unknown sampling"), Session(settings(sampling="none"), SPECS):
        pass
    assert state() == before


def test_low_precision_is_by_autocast() -> None:
    for one in measure(settings(dtype="bf16", sampling="grid_sample")):
        assert isinstance(one, MeasuredProfile)
        assert one.execution.dtype == "bf16"


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception, schedule: str = "1,1,1") -> None:
    """Have the models of a schedule fail."""
    forward = Mask2Former.forward

    def fail(self: Mask2Former, *args: object, **kwargs: object) -> object:
        if self.encoder.schedule.compact == schedule:  # type: ignore[union-attr]
            raise error
        return forward(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Mask2Former, "forward", fail)


@pytest.mark.parametrize(
    ("error", "message", "out_of_memory"),
    [
        (MemoryError(), "out of memory at batch size 3", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore"), "out of memory at batch size 3", True),
        (RuntimeError("no kernel for this\nmore"), "RuntimeError: no kernel for this", False),
    ],
)
def test_a_failure_is_a_result_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str, out_of_memory: bool
) -> None:
    broken(monkeypatch, error)
    good, bad = measure(settings(), batch_size=3)
    assert isinstance(good, MeasuredProfile)
    assert isinstance(bad, FailedProfile)
    assert (bad.message, bad.out_of_memory) == (message, out_of_memory)


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, TypeError("a bug"))
    with pytest.raises(TypeError, match="a bug"):
        measure(settings())


def test_models_that_do_not_fit_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(profile, "build", build)
    with pytest.raises(BenchError, match="do not fit") as caught:
        measure(settings())
    assert caught.value.exit_code == ExitCode.UNTRUSTED


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, "eager"),
        ({"compiled": True}, "compiled"),
        ({"cuda_graphs": True}, "cuda_graphs"),
        ({"compiled": True, "cuda_graphs": True}, "compiled_cuda_graphs"),
    ],
)
def test_modes_have_names(monkeypatch: pytest.MonkeyPatch, changes: dict[str, bool], mode: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert settings(device="cuda", **changes).mode == mode


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("changes", [{"device": "cuda"}, {"dtype": "tf32"}, {"cuda_graphs": True}])
def test_what_a_cpu_cannot_do_is_an_error_with_a_hint(changes: dict[str, object]) -> None:
    with pytest.raises(BenchError) as caught:
        settings(**changes)
    assert caught.value.hint


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("changes", [{}, {"dtype": "tf32"}, {"dtype": "fp16"}, {"cuda_graphs": True}])
def test_a_gpu_is_profiled(changes: dict[str, object]) -> None:
    for one in measure(settings(device="cuda", sampling="grid_sample", **changes)):
        assert isinstance(one, MeasuredProfile)
        assert one.memory is not None
        assert one.memory.reserved_mib is not None


# --- Ceilings ---


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ceilings, "SIDES", {"cpu": (16, 32)})
    monkeypatch.setattr(ceilings, "COPY_BYTES", {"cpu": 1 << 16})


@pytest.mark.usefixtures("small")
def test_ceilings_are_measured_and_kept_by_device_dtype_and_threads() -> None:
    told: list[str] = []
    found = measure_ceilings(execution(), torch.device("cpu"), told.append)
    assert found.matmul_gflops_per_s > 0
    assert found.copy_gb_per_s > 0
    assert found.matmul_side in (16, 32)
    assert len(told) == 3
    assert cached_ceilings(execution()) is None
    keep_ceilings(execution(), found)
    keep_ceilings(execution(dtype="bf16"), CEILINGS)
    assert cached_ceilings(execution(batch_size=8, mode="compiled")) == found
    assert cached_ceilings(execution(dtype="bf16")) == CEILINGS
    assert cached_ceilings(execution(threads=1)) is None
    assert cached_ceilings(execution(device_name="another")) is None


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}', "[" * 100_000])
def test_a_broken_cache_is_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "ceilings.json").write_text(content)
    assert cached_ceilings(execution()) is None
    keep_ceilings(execution(), CEILINGS)
    assert cached_ceilings(execution()) == CEILINGS


@pytest.mark.usefixtures("small")
def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BenchError, match="cannot write"):
        keep_ceilings(execution(), CEILINGS)
