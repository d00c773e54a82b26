"""Profiles for tests: records made from samples that a test chooses, as if they had been measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from proscale_bench.bench.profile import ProfileRequest, records
from proscale_bench.bench.sessions import merged
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.cost.geometry import parse_size
from proscale_bench.measure.environment import Environment
from proscale_bench.measure.latency import Samples, TimedStage
from proscale_bench.measure.nvml import Energy
from proscale_bench.measure.profile import FailedProfile, MeasuredProfile, ProfileResult
from proscale_bench.results.profile import Ceilings, Execution, Memory
from proscale_bench.results.record import Record
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import ModelSpec

ROUNDS = 12
MACHINE = Environment(
    device="cpu",
    device_name="a CPU",
    cpu="a CPU",
    cores=8,
    threads=4,
    load=0.2,
    governor=None,
    turbo=None,
    driver=None,
    clocks_mhz={},
    other_gpu_processes=0,
)
CEILINGS = Ceilings(matmul_gflops_per_s=500.0, matmul_side=1024, copy_gb_per_s=20.0, measured="2026-11-22T08:00:00Z")
PARTS_MS = {"prepare": 1.0, "backbone": 40.0, "encoder_projection": 2.0, "encoder_recalibration": 1.0}
WIGGLE = (0.0, 0.4, -0.4, 0.2, -0.2, 0.1, -0.1, 0.3, -0.3, 0.05, -0.05, 0.0)  # percent, by round


def execution(batch_size: int = 1, **changes: object) -> Execution:
    one = Execution(
        device="cpu",
        device_name="a CPU",
        dtype="fp32",
        batch_size=batch_size,
        mode="eager",
        sampling="embedding_bag",
        optimizations=True,
        threads=4,
    )
    return one.model_copy(update=changes)


def request(
    *schedules: str, backbone: str = "resnet50", size: str = "640x640", ceilings: bool = False
) -> ProfileRequest:
    specs = tuple(mask2former(parse_schedule(schedule), backbone) for schedule in schedules)
    return ProfileRequest(specs, parse_size(size), (1,), ceilings)


def samples_of(ms: float, rounds: int = ROUNDS) -> list[float]:
    return [ms * (1 + WIGGLE[index % len(WIGGLE)] / 100) for index in range(rounds)]


def measured(
    model: str | ModelSpec, how: Execution | None = None, rounds: int = ROUNDS, backbone: str = "resnet50"
) -> MeasuredProfile:
    """10 ms a token layer over all levels, less over fewer; everything else as the baseline has it."""
    spec = mask2former(parse_schedule(model), backbone) if isinstance(model, str) else model
    parsed = spec.encoder
    assert isinstance(parsed, Schedule)
    how = how or execution()
    layers = {
        f"encoder_token_layer_{n}": 10.0 * 4 ** (len(layer.levels) - 3) for n, layer in enumerate(parsed.layers, 1)
    }
    embedding = 20.0 if parsed.pixel_embedding == "conv" else 15.0
    parts = {
        name: ms for name, ms in PARTS_MS.items() if name != "encoder_recalibration" or parsed.recalibration != "none"
    }
    encoder_ms = sum(layers.values()) + embedding + 2.0 + 1.0 + ("encoder_recalibration" in parts) + 0.5
    times = {
        "prepare": 1.0,
        "backbone": 40.0,
        "encoder": encoder_ms,
        **{name: ms for name, ms in parts.items() if name.startswith("encoder")},
        **layers,
        "fpn_upsampling": 1.0,
        "pixel_embedding": embedding,
        "transformer_decoder": 25.0,
        "postprocessing": 5.0,
    }
    scale = how.batch_size
    whole = scale * (1.0 + 40.0 + encoder_ms + 25.0)
    return MeasuredProfile(
        spec=spec,
        execution=how,
        samples=Samples(
            whole_ms=samples_of(whole, rounds),
            launch_ms=samples_of(whole / 2, rounds),
            stages_ms={name: samples_of(scale * ms, rounds) for name, ms in times.items()},
        ),
        stages=tuple(TimedStage(name, lambda: None, 1_000_000 * scale) for name in times),
        note="",
        memory=Memory(before_mib=300.0, allocated_mib=400.0, reserved_mib=None, weights_mib=170.0, method="a test"),
        energy=Energy(None, "no GPU"),
        warmup_rounds=6,
        warm=True,
        throttled_by=(),
    )


def out_of_memory(schedule: str, how: Execution | None = None) -> FailedProfile:
    how = how or execution()
    return FailedProfile(
        mask2former(parse_schedule(schedule)), how, f"out of memory at batch size {how.batch_size}", True
    )


def slowed(one: MeasuredProfile, factor: float) -> MeasuredProfile:
    """The same measurement where all took so much longer."""
    samples = one.samples
    return replace(
        one,
        samples=Samples(
            [factor * ms for ms in samples.whole_ms],
            [factor * ms for ms in samples.launch_ms],
            {name: [factor * ms for ms in values] for name, values in samples.stages_ms.items()},
        ),
    )


def by_round(one: MeasuredProfile, factors: Iterable[float]) -> MeasuredProfile:
    """The same measurement where each round took so many times as long."""
    by = list(factors)
    samples = one.samples
    times = {name: [a * b for a, b in zip(values, by, strict=True)] for name, values in samples.stages_ms.items()}
    whole = [a * b for a, b in zip(samples.whole_ms, by, strict=True)]
    return replace(one, samples=Samples(whole, samples.launch_ms, times))


def profiled_records(
    *schedules: str,
    found: Sequence[ProfileResult] | None = None,
    ceilings: Ceilings | None = None,
    backbone: str = "resnet50",
) -> list[Record]:
    asked = request(*schedules, backbone=backbone)
    return list(records(asked, found or [measured(one) for one in asked.in_turns], MACHINE, ceilings))


def profiled_in_sessions(*speeds: float, by: float = 1.0) -> list[Record]:
    """Profiles of the baseline and of 3,3,3 in several sessions, in each of which all took so many times as long.

    Args:
        by: how many times as long 3,3,3 took on top.
    """
    asked = request("3,3,3")
    base, model = (measured(one) for one in asked.in_turns)
    found = [[slowed(base, speed), slowed(model, speed * by)] for speed in speeds]
    return merged([list(records(asked, session, MACHINE, None)) for session in found])


def crowded(one: Record) -> Record:
    """The record as if other programs had used a third of the machine in its first session."""
    assert one.profile is not None
    first, *rest = one.profile.sessions
    busy = (first.model_copy(update={"others_cpu_pct": 35.0}), *rest)
    return one.model_copy(update={"profile": one.profile.model_copy(update={"sessions": busy})})


def with_energy(one: Record, joules: float) -> Record:
    """Return the record as if a GPU had told the energy of an image."""
    assert one.profile is not None
    changes = {"energy_j": joules, "energy_note": "the GPU's counter"}
    return one.model_copy(update={"profile": one.profile.model_copy(update=changes)})
