"""Results of a profile on a machine: latency by stage, memory, energy, and counted savings beside realised ones.

Raw samples are kept in the order of the rounds; beside them stands what was derived from them when they were written
(`results/statistics.py`), so that a reader needs no statistics of their own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from proscale_bench.config import choices
from proscale_bench.results.section import Amount, Count, Interval, Line, Section, Word, written_as

DeviceType = choices.DeviceType
DType = choices.DType
EngineName = choices.EngineName
Mode = choices.Mode
NO_SAMPLING = "none"  # of a model that is not ours
ENGINE_KEYS = ("inference_engine", "inference_engine_version")  # left out of records of what torch ran

# What one pass of a model contains. `forward`: all that the forward method of somebody else's model does.
PassPart = Literal["pre-processing", "network", "post-processing", "forward"]

# An answer about a difference. `another session`: of one session a side, it cannot be told from the machine.
Verdict = Literal["significant", "not significant", "too few samples", "another session", "other data"]


class Execution(Section):
    """The way a model was run. Numbers of different executions are never compared as if they were alike.

    `inference_engine` is there where an exported file was run, and not the model in torch.
    """

    device: DeviceType
    device_name: Word
    dtype: choices.ExecutedDType  # bf16 and fp16 by autocast: the weights stay fp32
    batch_size: Count
    mode: Mode
    sampling: Word  # the core of deformable attention; see `NO_SAMPLING`
    optimizations: Annotated[bool, written_as("rewrites", "optimizations")]  # of `models/inference.py`
    threads: Count  # of the CPU
    inference_engine: EngineName | None = None
    inference_engine_version: Word | None = None

    @property
    def engine(self) -> EngineName:
        """The engine that ran it."""
        return self.inference_engine or "torch"

    @property
    def engine_words(self) -> str:
        """The engine, and the number format where it is not float32: `onnxruntime int8`."""
        return self.engine if self.dtype == "fp32" else f"{self.engine} {self.dtype}"

    @property
    def words(self) -> str:
        """The execution in words, for a caption."""
        mode = self.mode.replace("_", " ", 1)
        if self.inference_engine is not None:
            mode = f"{mode} in {self.inference_engine} {self.inference_engine_version or ''}".rstrip()
        parts = [self.device_name, self.dtype, f"batch {self.batch_size}", mode]
        parts += [f"{self.sampling} sampling"] if self.sampling != NO_SAMPLING else []
        if self.device == "cpu":
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        if not self.optimizations:
            parts.append("no optimizations")
        return ", ".join(parts)

    @model_serializer(mode="wrap")
    def _without_torch(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        return {key: value for key, value in fields.items() if value is not None or key not in ENGINE_KEYS}


class CountedSaving(Section):
    """GFLOPs saved against the baseline, in percent: as the rules count the model, and as it was executed.

    They differ where an exact rewrite does the same work with fewer operations.
    """

    counted: float | None
    executed: float | None


class RealisedSaving(Section):
    """Time saved against the baseline in the same rounds, in percent of its median; negative where it got slower."""

    value: float
    interval: Interval
    significant: bool  # the interval does not contain 0, and there are samples enough

    @property
    def verdict(self) -> Verdict:
        """An interval that is clear of 0 and yet not significant is one of too few samples."""
        if self.significant:
            return "significant"
        return "not significant" if self.interval[0] <= 0 <= self.interval[1] else "too few samples"

    @property
    def speedup(self) -> tuple[float, float, float]:
        """The times as fast as the baseline that this is: 1.28, and its interval."""
        low, high = self.interval
        value, least, most = (1 / max(1 - pct / 100, 1e-9) for pct in (self.value, low, high))
        return value, least, most


class StageGflops(Section):
    """GFLOPs of one image in a stage, under the record's rules."""

    counted: Amount
    executed: Amount


class Timing(Section):
    """Milliseconds of one call with one batch. The interval is of the median (`results/statistics.py`)."""

    latency_median_ms: Amount
    latency_p90_ms: Amount
    latency_p95_ms: Amount
    latency_p99_ms: Amount
    latency_interval_ms: Interval
    samples_ms: tuple[Amount, ...]

    @property
    def interval_pct(self) -> float:
        """The wider half of the interval, in percent of the median: as in 12.3 ± 0.5 %."""
        if not self.latency_median_ms:
            return 0.0
        low, high = self.latency_interval_ms
        half = max(high - self.latency_median_ms, self.latency_median_ms - low)
        return 100 * half / self.latency_median_ms


class StageProfile(Timing):
    """One stage, run by itself on the inputs that it has in the model.

    `achieved_gflops_per_s` counts every product and sum that was executed (rules `complete`, 1 MAC = 2 FLOPs).
    `min_traffic_mib` is what must move at the least: inputs, weights and outputs, once each; what a stage really moves
    is more, so `min_bandwidth_gb_per_s` is a lower bound.
    """

    share_pct: Amount  # of the whole model's median
    gflops: StageGflops | None = None  # null where no rule counts anything
    counted_saving_pct: CountedSaving | None = None
    realised_saving_pct: RealisedSaving | None = None
    achieved_gflops_per_s: Amount | None = None
    min_traffic_mib: Amount | None = None
    min_bandwidth_gb_per_s: Amount | None = None
    note: Line = ""


class Memory(Section):
    """Memory of one forward pass. `before_mib` was there already: weights, input, and what else the process holds.

    On CUDA the peaks are of PyTorch's allocator; on the CPU `allocated_mib` is the peak of the resident set.
    """

    before_mib: Amount
    allocated_mib: Amount
    reserved_mib: Amount | None
    weights_mib: Amount
    method: Line


class Ceilings(Section):
    """The most that the device was measured to do, in the profile's own dtype and threads."""

    matmul_gflops_per_s: Amount  # 1 MAC = 2 FLOPs
    matmul_side: Count  # of the best square product
    copy_gb_per_s: Amount  # read and written
    measured: Word  # UTC


class Caution(Section):
    """A reason why a number may mislead, and what to do. `unstable` ones fail `--fail-unstable`."""

    kind: Word
    message: Line
    advice: Line
    unstable: bool


class ProfileSession(Section):
    """A fresh process in which models took turns, with what is measured once in it.

    Sessions differ in what rounds do not tell: memory layout, clocks, the load of their minutes.
    """

    started: Word  # UTC
    rounds: Count  # of the samples, in their order
    energy_j: Amount | None = None
    peak_memory_mib: Amount | None = None
    others_cpu_pct: Amount | None = None  # that other programs used meanwhile, of all processors


class Profile(Timing):
    """One pass of the whole model on the device and its stages; of models that this tool builds from images to logits.

    Of several sessions, `latency_median_ms` is the geometric mean of their medians, and every interval is of how these
    spread. Energy and peak memory are then means of what the sessions found.

    `peak_memory_mib` is what one pass takes at its peak, over what was there before it. Stages whose names are those
    of the counts are counted there; `encoder` is the module, which does the FPN upsampling too.
    """

    session: Word  # records of one session were measured in turns
    warmup_rounds: Count
    throughput_ips: Amount
    launch_share_pct: Amount | None  # of the latency, until the CPU had launched everything; null on the CPU
    peak_memory_mib: Amount | None
    energy_j: Amount | None  # of one image
    counted_saving_pct: CountedSaving | None  # null for the baseline itself
    realised_saving_pct: RealisedSaving | None  # null too where the baseline could not be run
    stages: dict[str, StageProfile]  # in forward order
    stage_sum_pct: (
        Amount | None
    )  # prepare + backbone + encoder + transformer decoder, of the whole; null without stages
    memory: Memory | None
    energy_note: Line  # how it was measured, or why not
    ceilings: Ceilings | None
    warnings: tuple[Caution, ...]
    sessions: tuple[ProfileSession, ...] = ()  # of earlier versions' records, one that does not say more
    contains: tuple[PassPart, ...] = ()  # what a pass contains; earlier versions do not say it

    @property
    def rounds(self) -> tuple[int, ...]:
        """The number of samples of each session, in their order."""
        return tuple(one.rounds for one in self.sessions) or (len(self.samples_ms),)

    @property
    def throughput_interval_ips(self) -> Interval:
        """The interval of the throughput, which is that of the latency turned round."""
        low, high = self.latency_interval_ms
        scale = self.throughput_ips * self.latency_median_ms
        return scale / max(high, 1e-9), scale / max(low, 1e-9)

    @property
    def unstable(self) -> tuple[Caution, ...]:
        return tuple(caution for caution in self.warnings if caution.unstable)

    def row(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
