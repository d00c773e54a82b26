"""A session at one machine: the same size and settings, several models in turns, batch by batch."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.machine import OthersCpu, no_garbage_collection
from proscale_bench.measure.any_stages import take_any_apart
from proscale_bench.measure.engines import IN_TORCH, TORCH, EngineChoice, EngineModel, OnStage, OpenModel, Runtime, Turn
from proscale_bench.measure.environment import Environment, read_environment
from proscale_bench.measure.latency import Limits, RoundDone, Samples, Subject, TimedStage, run_rounds
from proscale_bench.measure.memory import MIB, first_pass_memory, is_out_of_memory, memory_guard, pass_memory
from proscale_bench.measure.nvml import Board, Energy, pass_energy
from proscale_bench.measure.stages import take_apart
from proscale_bench.measure.timers import timer_for
from proscale_bench.models.build import OwnModel, build
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.models.running import autocast, check_device, device_name, global_state
from proscale_bench.results.profile import NO_SAMPLING, DeviceType, DType, Execution, Memory, Mode
from proscale_bench.specs.custom import CustomSpec
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.model import ModelSpec
from proscale_bench.units import Size

DEFAULT_LIMITS = Limits()
FAILURES = (RuntimeError, MemoryError)  # PyTorch says RuntimeError to all that goes wrong on a device
OnProfileStage = OnStage


@dataclass(frozen=True)
class ProfileSettings:
    """The settings that models are run with. `threads` None: as many as PyTorch likes."""

    device: DeviceType
    dtype: DType = "fp32"
    compiled: bool = False
    cuda_graphs: bool = False
    sampling: str = "auto"
    optimizations: bool = True
    threads: int | None = None
    seed: int = 0
    limits: Limits = DEFAULT_LIMITS
    engines: EngineChoice = IN_TORCH

    def __post_init__(self) -> None:
        check_device(self.device, self.dtype)
        if self.device != "cpu" and self.engines.exports:
            raise BenchError("exported files are run on the CPU", "use --device cpu")
        if self.device == "cpu" and self.cuda_graphs:
            raise BenchError("--cuda-graphs needs a GPU", "leave it out, or use --device cuda where there is one")

    @property
    def mode(self) -> Mode:
        if self.cuda_graphs:
            return "compiled_cuda_graphs" if self.compiled else "cuda_graphs"
        return "compiled" if self.compiled else "eager"


@dataclass(frozen=True)
class MeasuredProfile:
    """The measurements of one schedule at one batch size."""

    spec: ModelSpec
    execution: Execution
    samples: Samples
    stages: tuple[TimedStage, ...]
    note: str  # how the whole was not run as asked
    memory: Memory | None
    energy: Energy
    warmup_rounds: int
    warm: bool
    throttled_by: tuple[str, ...]
    others_cpu_pct: float | None = None  # that other programs used meanwhile, of all processors


@dataclass(frozen=True)
class FailedProfile:
    """The reason why a schedule could not be measured at a batch size."""

    spec: ModelSpec
    execution: Execution
    message: str
    out_of_memory: bool


ProfileResult = MeasuredProfile | FailedProfile


class Session:
    """Models ready to be measured: use it as a context, which sets PyTorch's global state and puts it back.

    Args:
        open_model: opens a model in another engine; none is needed for torch.
    """

    def __init__(
        self, settings: ProfileSettings, specs: Sequence[ModelSpec], open_model: OpenModel | None = None
    ) -> None:
        self.settings = settings
        self.specs = tuple(specs)
        self._open_model = open_model
        if len({spec.variant for spec in self.specs}) < len(self.specs):
            raise ValueError("models that take turns need different spellings")
        self.device = torch.device(settings.device)
        self.board: Board | str = "no GPU"
        if self.device.type == "cuda":
            self.board = Board.open(str(torch.cuda.get_device_properties(self.device).uuid))
        self.environment: Environment
        self._models: list[nn.Module] = []
        self._sampling: list[str] = []  # of each model

    def __enter__(self) -> Session:
        with ExitStack() as stack:
            stack.enter_context(global_state(self.settings.dtype, self.settings.threads))
            stack.callback(self._models.clear)
            self._sampling.clear()  # and not at the end: what was measured still says it
            self.environment = read_environment(self.device, self.board)
            try:
                self._build()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise BenchError(
                    f"{len(self.specs)} models on {self.specs[0].backbone_name} do not fit into memory",
                    "profile fewer schedules at a time, or a smaller backbone",
                    ExitCode.UNTRUSTED,
                ) from error
            self._state = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._state.close()

    def execution(self, batch_size: int, runtime: Runtime = TORCH, place: int = 0) -> Execution:
        """The way that a model runs, by its place among `specs`."""
        sampling = self._sampling[place] if place < len(self._sampling) else self.settings.sampling
        found = Execution(
            device=self.settings.device,
            device_name=device_name(self.device),
            dtype=self.settings.dtype,
            batch_size=batch_size,
            mode=self.settings.mode,
            sampling=sampling,
            optimizations=self.settings.optimizations and sampling != NO_SAMPLING,
            threads=torch.get_num_threads(),
        )
        return runtime.execution(found, self.settings.sampling)

    def measure(
        self, batch_size: int, size: Size, output_size: Size, progress: OnProfileStage = lambda what, share: None
    ) -> list[ProfileResult]:
        """Measure every schedule at a batch size, in turns, in every engine. One that fails, for want of memory say, is
        a result too."""
        guard = memory_guard() if self.device.type == "cpu" else nullcontext()
        turns = list(self._turns(batch_size, size, progress))  # nothing can be exported in inference mode
        gc.collect()
        with torch.inference_mode(), guard, no_garbage_collection():
            return self._measure(turns, batch_size, size, output_size, progress)

    def _turns(self, batch_size: int, size: Size, progress: OnProfileStage) -> Iterator[Turn]:
        """Every model in every engine, ready to run."""
        for runtime in self.settings.engines.runtimes:
            for index, spec in enumerate(self.specs):
                if runtime == TORCH:
                    yield Turn(spec, self._models[index], self.execution(batch_size, place=index))
                    continue
                assert self._open_model is not None
                model: EngineModel | Exception
                try:
                    model = self._open_model(spec, runtime, batch_size, size, progress)
                    runtime = Runtime(runtime.engine, model.precision, model.engine_version)  # noqa: PLW2901
                except (BenchError, *FAILURES) as error:
                    model = error.with_traceback(None)
                execution = self.execution(batch_size, runtime, index)
                if isinstance(spec, CustomSpec):  # as it is
                    execution = execution.model_copy(update={"sampling": NO_SAMPLING, "optimizations": False})
                yield Turn(spec, model, execution)

    def _measure(
        self, turns: Sequence[Turn], batch_size: int, size: Size, output_size: Size, progress: OnProfileStage
    ) -> list[ProfileResult]:
        subjects: list[Subject] = []
        memories: dict[str, Memory | None] = {}
        failures: dict[str, Exception] = {}
        for turn in turns:
            name, spec, model = turn.name, turn.spec, turn.model
            progress(f"{name}: first passes", None)
            try:
                if isinstance(model, Exception):
                    raise model
                if not isinstance(model, nn.Module):
                    subject, memories[name] = self._prepare_exported(name, model, batch_size, size)
                elif isinstance(spec, CustomSpec):
                    subject, memories[name] = self._prepare_any(spec, model, batch_size, size)
                else:
                    images = self._images(batch_size, size)
                    subject, memories[name] = self._prepare(spec, cast(OwnModel, model), images, output_size)
                subjects.append(subject)
            except (BenchError, *FAILURES) as error:
                failures[name] = error.with_traceback(None)  # which would keep the tensors

        def show(step: RoundDone) -> None:
            limits = self.settings.limits
            done = step.elapsed_s / (limits.max_seconds * len(subjects))
            if limits.repeats is not None:
                done = step.round / limits.repeats
            what = "warming up" if step.warming_up else "measuring"
            progress(f"{what}, round {step.round}", None if step.warming_up else min(1.0, done))

        timer, is_failure = timer_for(self.device), lambda error: isinstance(error, FAILURES)
        others = OthersCpu()
        rounds = run_rounds(subjects, timer, self.settings.limits, is_failure=is_failure, on_round=show)
        others_cpu_pct = others.pct
        throttled_by = self.board.throttled_by() if isinstance(self.board, Board) else ()
        failures |= rounds.failures
        synchronize = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        found: list[ProfileResult] = []
        for turn in turns:
            name, spec = turn.name, turn.spec
            if name in failures:
                found.append(_failed(spec, turn.execution, failures[name]))
                continue
            subject = next(subject for subject in subjects if subject.name == name)
            progress(f"{name}: energy", None)
            energy = pass_energy(subject.whole.call, synchronize, self.board, batch_size)
            found.append(
                MeasuredProfile(
                    spec,
                    turn.execution,
                    samples=rounds.samples[name],
                    stages=subject.stages,
                    note=subject.whole.note,
                    memory=memories[name],
                    energy=energy,
                    warmup_rounds=rounds.warmup_rounds,
                    warm=rounds.warm,
                    throttled_by=throttled_by,
                    others_cpu_pct=others_cpu_pct,
                )
            )
        if self.device.type == "cuda":
            subjects.clear()
            torch.cuda.empty_cache()
        return found

    def _prepare(
        self, spec: ModelSpec, model: OwnModel, images: torch.Tensor, output_size: Size
    ) -> tuple[Subject, Memory | None]:
        def one_pass() -> None:
            with torch.inference_mode(), self._autocast():
                model(images)

        one_pass()  # loads, tunes and compiles
        memory = pass_memory(model, one_pass, self.device)
        subject = take_apart(model, spec, images, output_size, self._autocast, graphs=self.settings.cuda_graphs)
        return subject, memory

    def _prepare_exported(
        self, name: str, model: EngineModel, batch_size: int, size: Size
    ) -> tuple[Subject, Memory | None]:
        images = self._images(batch_size, size).to(torch.uint8).numpy()
        memory = first_pass_memory(lambda: model.run(images), model.bytes / MIB)
        return Subject(name, TimedStage("total", lambda: model.run(images)), ()), memory

    def _prepare_any(
        self, spec: CustomSpec, model: nn.Module, batch_size: int, size: Size
    ) -> tuple[Subject, Memory | None]:
        inputs = spec.opener(spec).inputs(model, size, batch_size).to(lambda tensor: tensor.to(self.device))

        def one_pass() -> None:
            with torch.inference_mode(), self._autocast():
                inputs.call(model)

        one_pass()
        memory = pass_memory(model, one_pass, self.device)
        return take_any_apart(model, spec, inputs, self._autocast, graphs=self.settings.cuda_graphs), memory

    def _build(self) -> None:
        """Every model, freshly initialised: weights change no time. Models of one backbone share it."""
        settings = self.settings
        for spec in self.specs if "torch" in settings.engines.names else ():
            torch.manual_seed(settings.seed)
            if isinstance(spec, CustomSpec):  # as it is: no rewriting is known to be exact
                self._models.append(spec.opener(spec).build().to(self.device))
                if settings.compiled:
                    self._models[-1].compile()  # type: ignore[no-untyped-call,unused-ignore]
                self._sampling.append(NO_SAMPLING)
                continue
            model = build(spec, device=self.device)
            sampling = prepare_for_inference(
                model, optimizations=settings.optimizations, sampling_name=settings.sampling, compiled=settings.compiled
            )
            built = zip(self.specs, self._models, strict=False)
            if alike := next((other for one, other in built if _shares_backbone(spec, one)), None):
                model.backbone = cast(OwnModel, alike).backbone
            self._models.append(model)
            self._sampling.append(sampling)

    def _images(self, batch_size: int, size: Size) -> torch.Tensor:
        """Noise, the same for every schedule: RGB, 0 to 255."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        return (255 * torch.rand(batch_size, 3, *size, generator=generator)).to(self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        # A graph's replay would read casts that were cached outside of it, and freed since.
        return autocast(self.device, self.settings.dtype, cached=not self.settings.cuda_graphs)


def _shares_backbone(one: ModelSpec, other: ModelSpec) -> bool:
    return isinstance(one, OwnSpec) and isinstance(other, OwnSpec) and one.backbone == other.backbone


def _failed(spec: ModelSpec, execution: Execution, error: Exception) -> FailedProfile:
    if isinstance(error, BenchError):
        return FailedProfile(spec, execution, error.message, False)
    lost = is_out_of_memory(error)
    reason = (str(error).splitlines() or [""])[0]
    message = f"out of memory at batch size {execution.batch_size}" if lost else f"{type(error).__name__}: {reason}"
    return FailedProfile(spec, execution, message, lost)
