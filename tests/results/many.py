"""A run as large as the page is made for: 200 configurations, each counted, profiled and evaluated, made up."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from proscale_bench.results.accuracy import ACCURACIES, Accuracy, Evaluated
from proscale_bench.results.record import COCO_CLASSES, EvaluationProtocol, Record
from tests.results.evaluations import ALL_TASKS, THRESHOLDS
from tests.results.records import renamed
from tests.sweeps.profiles import execution, measured, profiled_records

BACKBONES = ("resnet50", "resnet101", "swin_t", "swin_s", "swin_b", "swin_l", "tiny", "somebody's")
SCHEDULES = ("baseline", *(f"{a},{b},{c}" for a in (1, 2, 3, 6) for b in (1, 2) for c in (1, 2, 3)))
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@cache
def many() -> tuple[Record, ...]:
    """200 profiles, of which one failed, and 200 evaluations; the same in every process."""
    found = [measured(schedule, rounds=8) for schedule in SCHEDULES]
    profiles = profiled_records(*SCHEDULES[1:], found=found)
    chance = random.Random(0)
    records = []
    for place, backbone in enumerate(BACKBONES):
        for one in profiles:
            slower = (1 + 0.2 * place) * chance.uniform(0.95, 1.05)
            records.append(_slower(renamed(one, backbone=backbone), slower))
            records.append(evaluation(records[-1], 30 + 3 * place + chance.uniform(0, 4), chance.uniform(0.3, 1.2)))
    failed = records[2 * 30]
    error = failed.error or {"message": HOSTILE, "hint": None, "exit_code": 3}
    records[2 * 30] = Record.model_validate(failed.model_dump() | {"profile": None, "cost": None, "error": error})
    records[2 * 10] = renamed(records[2 * 10], label=HOSTILE[:200])
    return tuple(records)


def evaluation(of: Record, pq: float, half: float, **changes: Any) -> Record:
    """Make up an evaluation of a record's model, with intervals of the given half width."""
    values = {name: pq + index for index, name in enumerate(ACCURACIES)}
    how = Evaluated(
        tasks=ALL_TASKS,
        images=256,
        dataset_digest="b" * 64,
        images_digest="c" * 64,
        resize="none",
        engine="hotcoco 1.3.0",
        processes=2,
        seconds=12.5,
        resamples=1000,
        intervals={name: (value - half, value + half) for name, value in values.items()},
    )
    accuracy = Accuracy(dataset="shapes-val", provenance="measured", source="x.safetensors", evaluated=how, **values)
    given = of.input.model_copy(update={"size": "shapes-val", "images": 256, "dataset": "c" * 64})
    accuracy = accuracy.model_copy(update=changes)
    protocol = EvaluationProtocol(
        dataset=accuracy.dataset,
        annotations=how.dataset_digest,
        split="val",
        images=how.images,
        tasks=ALL_TASKS,
        resize=how.resize,
        thresholds=THRESHOLDS,
    )
    parts = {"accuracy": accuracy, "input": given, "profile": None, "execution": execution(), "evaluation": protocol}
    return renamed(of, weights="d" * 64, classes=COCO_CLASSES).model_copy(update=parts)


def with_interval(one: Record, low: float, high: float, metric: str = "pq") -> Record:
    """Return the record of an evaluation with another interval of one metric."""
    assert one.accuracy is not None
    assert one.accuracy.evaluated is not None
    intervals = {**one.accuracy.evaluated.intervals, metric: (low, high)}
    how = one.accuracy.evaluated.model_copy(update={"intervals": intervals})
    return one.model_copy(update={"accuracy": one.accuracy.model_copy(update={"evaluated": how})})


def _slower(one: Record, factor: float) -> Record:
    """With other times and energies, and so another place on every axis."""
    profile = one.profile
    assert profile is not None
    low, high = profile.latency_interval_ms
    times = {
        "latency_median_ms": factor * profile.latency_median_ms,
        "latency_interval_ms": (factor * low, factor * high),
        "throughput_ips": profile.throughput_ips / factor,
        "peak_memory_mib": 100 * factor**2,
        "energy_j": 2 * factor,
    }
    return one.model_copy(update={"profile": profile.model_copy(update=times)})
