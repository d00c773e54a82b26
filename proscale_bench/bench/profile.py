"""Profiles schedules against the baseline, in turns: records of counted savings beside realised ones, by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from proscale_bench.bench.count import Configuration, closed_form_cost, measure
from proscale_bench.cost.count import FlopCount, as_given, count_model
from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import get_rules
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import locked
from proscale_bench.results.export import now
from proscale_bench.results.profile import (
    NO_SAMPLING,
    Caution,
    Ceilings,
    CountedSaving,
    Execution,
    PassPart,
    Profile,
    ProfileSession,
    RealisedSaving,
    StageGflops,
    StageProfile,
    Timing,
)
from proscale_bench.results.record import Failure, Record
from proscale_bench.results.statistics import (
    Ratio,
    Sessions,
    median,
    paired_ratio,
    percentile,
    typical,
    typical_interval,
)
from proscale_bench.results.store import remove_leftovers, write_record
from proscale_bench.specs.custom import CustomSpec
from proscale_bench.specs.encoders.parts import FPN_UPSAMPLING
from proscale_bench.specs.model import TOTAL, ModelSpec, by_exit
from proscale_bench.units import Size, reduction_pct

if TYPE_CHECKING:
    from proscale_bench.measure.engines import EngineModel, OpenModel, Runtime
    from proscale_bench.measure.environment import Environment
    from proscale_bench.measure.profile import (
        MeasuredProfile,
        OnProfileStage,
        ProfileResult,
        ProfileSettings,
        Session,
    )

LAYER = "encoder_token_layer_"
LAYERS = "encoder_token_layers"
IN_TURN = ("prepare", "backbone", "encoder", "proposals", "transformer_decoder")  # together they are the whole
MIB = 1 << 20
MS_A_SECOND = 1000


def refuse_expectations(specs: Iterable[ModelSpec]) -> None:
    """Refuse models that are an expectation over others: no image runs one.

    Raises:
        BenchError: one of them is.
    """
    for spec in specs:
        if spec.expected_over:
            hint = f"'{spec.encoder.encoder}' profiles every exit, '{spec.expected_over[0][0].variant}' one of them"
            raise BenchError(f"{spec.variant}: a latency is of an image, and this is an expectation over many", hint)


@dataclass(frozen=True)
class ProfileRequest:
    """The models to profile with their baseline, at every batch size, at one explicit size.

    A model whose gate chooses how much of it runs is profiled exit by exit. Models of somebody else's take turns with
    this tool's own, all in one session, and each says what its pass contains.

    Raises:
        BenchError: a model is an expectation over exits.
    """

    specs: tuple[ModelSpec, ...]
    size: InputSize
    batch_sizes: tuple[int, ...]
    ceilings: bool = False

    def __post_init__(self) -> None:
        refuse_expectations(self.specs)

    @property
    def in_turns(self) -> tuple[ModelSpec, ...]:
        """The baselines first, then each model once."""
        baselines = [base for spec in self.specs if (base := spec.baseline()) is not None]
        return tuple(dict.fromkeys((*baselines, *by_exit(self.specs))))

    @property
    def sides(self) -> tuple[int, int]:
        return self.size.sides

    @property
    def output_sides(self) -> tuple[int, int]:
        (group,) = self.size.groups
        return group.output_height_px, group.output_width_px

    def count(self, spec: ModelSpec) -> FlopCount:
        """Count a model as its record does."""
        return count_model(spec, self.size_of(spec), get_rules("fvcore"))

    def work(self, spec: ModelSpec) -> FlopCount:
        """Count all that there is to compute, 1 MAC = 2 FLOPs, from which a device's FLOP/s follow."""
        return count_model(spec, self.size_of(spec), get_rules("complete"), "flop")

    def size_of(self, spec: ModelSpec) -> InputSize:
        """The size as a model sees it; see `as_given`."""
        return as_given(spec, self.size)


def records(
    request: ProfileRequest, found: Sequence[ProfileResult], environment: Environment, ceilings: Ceilings | None
) -> Iterator[Record]:
    """Make the records of one batch size, in which the models took turns."""
    from proscale_bench.measure.profile import MeasuredProfile

    session = f"{now()}-{token_hex(3)}"  # two machines may begin in one second
    measured = [one for one in found if isinstance(one, MeasuredProfile)]
    for one in found:
        base = next((other for other in measured if _is_baseline_of(other, one)), None)
        record = measure(Configuration(one.spec, request.size_of(one.spec)), closed_form_cost)
        record = record.model_copy(update={"execution": one.execution, "environment": environment.strings()})
        if isinstance(one, MeasuredProfile):
            profile = Assembly(request, one, base).profile(session, environment, ceilings)
            yield record.model_copy(update={"profile": profile})
        else:
            hint = "use a smaller --batch-size or --size, or fewer schedules at a time" if one.out_of_memory else None
            failure = Failure(message=one.message, hint=hint, exit_code=ExitCode.UNTRUSTED.value)
            yield record.model_copy(update={"error": failure})


def _is_baseline_of(other: MeasuredProfile, one: ProfileResult) -> bool:
    """The one's baseline, in the same engine; of two families they may be prepared otherwise."""
    return other.spec == one.spec.baseline() and unprepared(other.execution) == unprepared(one.execution)


def unprepared(how: Execution) -> Execution:
    """The way a model was run, without its preparation."""
    return how.model_copy(update={"sampling": NO_SAMPLING, "optimizations": False})


class Assembly:
    """Puts a model's measurements, its counts, and the baseline's of the same rounds together."""

    def __init__(self, request: ProfileRequest, one: MeasuredProfile, base: MeasuredProfile | None) -> None:
        self.one = one
        self.counted, self.work = request.count(one.spec), request.work(one.spec)
        self.base = None if self.counted.is_baseline else base
        self.is_alike = base is None or base.spec.family == one.spec.family  # else parts of one name are no match
        if one.execution.optimizations:
            self.executed, self.work = self.counted.executed, self.work.executed
        else:
            self.executed = self.counted

    def profile(self, session: str, environment: Environment, ceilings: Ceilings | None) -> Profile:
        from proscale_bench.measure import stability

        samples, execution = self.one.samples, self.one.execution
        whole = timing([samples.whole_ms])
        times = stage_samples(samples.stages_ms, samples.whole_ms)
        in_turn = [median(times[name]) for name in self._in_turn(times)]
        sum_pct = 100 * sum(in_turn) / whole.latency_median_ms if in_turn else None
        launch_pct = None
        if execution.device == "cuda":
            launch_pct = 100 * median(samples.launch_ms) / whole.latency_median_ms
        memory, energy_j = self.one.memory, self.one.energy.per_image_j
        peak_mib = memory.allocated_mib - memory.before_mib if memory else None
        cautions: list[Caution] = [
            *stability.of_samples(samples.whole_ms, self.one.warm),
            *(stability.of_stages(sum_pct, launch_pct) if sum_pct is not None else ()),
            *stability.of_environment(environment),
            *stability.of_clocks(self.one.throttled_by),
            *stability.of_note(self.one.note),
        ]
        return Profile(
            **whole.model_dump(),
            session=session,
            warmup_rounds=self.one.warmup_rounds,
            throughput_ips=MS_A_SECOND * execution.batch_size / whole.latency_median_ms,
            launch_share_pct=launch_pct,
            peak_memory_mib=peak_mib,
            energy_j=energy_j,
            counted_saving_pct=self._counted_saving("total"),
            realised_saving_pct=self._realised_saving(samples.whole_ms, None),
            stages={name: self._stage(name, values, whole) for name, values in times.items()},
            stage_sum_pct=sum_pct,
            memory=memory,
            energy_note=self.one.energy.note,
            ceilings=ceilings,
            warnings=tuple(cautions),
            sessions=(
                ProfileSession(
                    started=session.rpartition("-")[0],
                    rounds=len(samples.whole_ms),
                    energy_j=energy_j,
                    peak_memory_mib=peak_mib,
                    others_cpu_pct=self.one.others_cpu_pct,
                ),
            ),
            contains=contents(self.one.spec),
        )

    def _in_turn(self, times: Iterable[str]) -> list[str]:
        """The stages that together are the whole: of a model of somebody else's, all that could be told apart."""
        return list(times) if self.counted.traced else [name for name in IN_TURN if name in times]

    def _stage(self, name: str, samples_ms: Sequence[float], whole: Timing) -> StageProfile:
        measured = timing([samples_ms])
        seconds = measured.latency_median_ms / MS_A_SECOND
        stages = [stage for stage in self.one.stages if stage.name == name or (name == LAYERS and LAYER in stage.name)]
        moved = sum(stage.min_bytes for stage in stages)
        counted, executed, work = (_gflops(count, name) for count in (self.counted, self.executed, self.work))
        if name == "encoder" and work is not None:
            work += self.work.gflops.get(FPN_UPSAMPLING.name, 0.0)  # the module does that too
        return StageProfile(
            **measured.model_dump(),
            share_pct=100 * measured.latency_median_ms / whole.latency_median_ms,
            gflops=None if counted is None or executed is None else StageGflops(counted=counted, executed=executed),
            counted_saving_pct=self._counted_saving(name),
            realised_saving_pct=self._realised_saving(samples_ms, name),
            achieved_gflops_per_s=work * self.one.execution.batch_size / seconds if work else None,
            min_traffic_mib=moved / MIB if moved else None,
            min_bandwidth_gb_per_s=moved / seconds / 1e9 if moved else None,
            note="; ".join(stage.note for stage in stages if stage.note)[:1000],
        )

    def _counted_saving(self, part: str) -> CountedSaving | None:
        def saving(new: FlopCount) -> float | None:
            old = new.baseline.gflops if new.baseline else {}
            return reduction_pct(new.gflops[part], old[part]) if part in old else None

        if self.counted.is_baseline or part not in self.counted.gflops or not (self.is_alike or part == TOTAL):
            return None
        return CountedSaving(counted=saving(self.counted), executed=saving(self.executed))

    def _realised_saving(self, samples_ms: Sequence[float], stage: str | None) -> RealisedSaving | None:
        """The saving against the baseline in the same rounds; of the whole where `stage` is None."""
        if self.base is None:
            return None
        theirs = self.base.samples
        old = theirs.whole_ms if stage is None else stage_samples(theirs.stages_ms, theirs.whole_ms).get(stage)
        if old is None or (stage or "").startswith(LAYER) or len(old) != len(samples_ms):
            return None  # one layer of one schedule has no like in another
        if stage is not None and not self.is_alike:
            return None
        return saving(paired_ratio([samples_ms], [old]))


def contents(spec: ModelSpec) -> tuple[PassPart, ...]:
    """The parts of what one pass of a model does, which is what its latency is of."""
    if isinstance(spec, CustomSpec):
        contains: tuple[PassPart, ...] = spec.opener(spec).contains
        return contains
    return ("pre-processing", "network")


def saving(ratio: Ratio) -> RealisedSaving:
    """The saving that a ratio of latencies is."""
    low, high = 100 * (1 - ratio.high), 100 * (1 - ratio.low)
    return RealisedSaving(value=100 * (1 - ratio.value), interval=(low, high), significant=ratio.significant)


def timing(sessions: Sessions) -> Timing:
    """Summarise samples in milliseconds, by session."""
    samples_ms = [sample for session in sessions for sample in session]
    return Timing(
        latency_median_ms=typical(sessions),
        latency_p90_ms=percentile(samples_ms, 90),
        latency_p95_ms=percentile(samples_ms, 95),
        latency_p99_ms=percentile(samples_ms, 99),
        latency_interval_ms=typical_interval(sessions),
        samples_ms=tuple(samples_ms),
    )


def stage_samples(stages_ms: dict[str, list[float]], whole_ms: Sequence[float]) -> dict[str, list[float]]:
    """List every stage's samples and, round by round, the sums that the counts have too."""
    times: dict[str, list[float]] = {}
    layers = [values for name, values in stages_ms.items() if name.startswith(LAYER)]
    for name, values in stages_ms.items():
        if name.startswith(LAYER) and LAYERS not in times:
            times[LAYERS] = [sum(of_round) for of_round in zip(*layers, strict=True)]
        times[name] = values
    if post := stages_ms.get("postprocessing"):
        times["total_with_postprocessing"] = [a + b for a, b in zip(whole_ms, post, strict=True)]
    return times


def _gflops(count: FlopCount, stage: str) -> float | None:
    """GFLOPs of one image in a stage; None for one that no rule counts."""
    if stage.startswith(LAYER):
        return count.layers[int(stage[len(LAYER) :]) - 1].gflops
    return count.gflops.get(stage)


def profile(
    request: ProfileRequest, settings: ProfileSettings, run: Path, progress: OnProfileStage, sessions: int = 1
) -> Iterator[Record]:
    """Profile into a run's folder. Records are written as soon as a batch size, or a session, is measured.

    Args:
        run: the folder; a record of the same configuration and execution is replaced by the new one.
        progress: called with what is being done, and the share of it that is done.
        sessions: number of fresh processes that share the time; 1: all in this process.

    Raises:
        BenchError: the folder is in use or cannot be written; the models do not fit into memory.
    """
    with locked(run, "profile"):
        remove_leftovers(run)
        if sessions == 1:
            for batch in measured_here(request, settings, progress):
                for record in batch:
                    write_record(run, record)
                yield from batch
            return
        from proscale_bench.bench.sessions import measured_in_sessions

        found: list[Record] = []
        try:
            for found in measured_in_sessions(request, settings, sessions, progress):
                for record in found:
                    write_record(run, record)
        except KeyboardInterrupt:
            if not found:
                raise
            raise KeyboardInterrupt(f"the sessions that ended are kept in {run}") from None
        yield from found


def measured_here(
    request: ProfileRequest, settings: ProfileSettings, progress: OnProfileStage
) -> Iterator[list[Record]]:
    """Measure in this process: the records of each batch size. Loads torch.

    Raises:
        BenchError: no such device, or the models do not fit into memory.
    """
    from proscale_bench.measure.profile import Session

    progress("building the models", None)
    with ExitStack() as stack:
        folder = settings.engines.folder or Path(stack.enter_context(temporary_folder()))
        session = stack.enter_context(Session(settings, request.in_turns, _opener(settings, folder)))
        ceilings = _ceilings(session, request, progress)
        for batch_size in request.batch_sizes:
            named = f"batch {batch_size}: " if len(request.batch_sizes) > 1 else ""

            def show(what: str, share: float | None, named: str = named) -> None:
                progress(f"{named}{what}", share)

            found = session.measure(batch_size, request.sides, request.output_sides, show)
            yield list(records(request, found, session.environment, ceilings))


def temporary_folder() -> TemporaryDirectory[str]:
    """A folder for exported files, which goes when it is left."""
    return TemporaryDirectory(prefix="proscale-bench-exported-")


def _opener(settings: ProfileSettings, folder: Path) -> OpenModel | None:
    """Opens models in other engines, where one is asked for."""
    if not settings.engines.exports:
        return None
    import torch

    from proscale_bench.bench.engines import ExportedModels

    def open_model(spec: ModelSpec, runtime: Runtime, batch_size: int, size: Size, show: OnProfileStage) -> EngineModel:
        return ExportedModels.of(settings, folder, torch.get_num_threads()).open(spec, runtime, batch_size, size, show)

    return open_model


def _ceilings(session: Session, request: ProfileRequest, progress: OnProfileStage) -> Ceilings | None:
    """Take the ceilings that were measured before, or measure them now."""
    from proscale_bench.measure.ceilings import cached_ceilings, keep_ceilings, measure_ceilings

    execution = session.execution(request.batch_sizes[0])
    if not request.ceilings:
        return cached_ceilings(execution)
    found = measure_ceilings(execution, session.device, lambda what: progress(f"ceilings: {what}", None))
    keep_ceilings(execution, found)
    return found
