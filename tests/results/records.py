"""Records for tests: counted in a moment, or with whatever accuracy a test needs."""

from __future__ import annotations

from functools import cache
from typing import Any

from proscale_bench.bench.count import Configuration, closed_form_cost, measure
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.config.choices import find_shipped
from proscale_bench.cost.geometry import parse_size
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.record import Record
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.sweeps.plan import plan, read_sweep


def configuration(schedule: str | Schedule = "3,3,3", backbone: str = "resnet50", size: str = "64x64") -> Configuration:
    parsed = schedule if isinstance(schedule, Schedule) else parse_schedule(schedule)
    return Configuration(mask2former(parsed, backbone), parse_size(size))


def record(schedule: str | Schedule = "3,3,3", backbone: str = "resnet50", size: str = "64x64") -> Record:
    return measure(configuration(schedule, backbone, size), closed_form_cost)


def with_accuracy(one: Record, provenance: str = "measured", **percent: Any) -> Record:
    accuracy = Accuracy(dataset="COCO val2017", provenance=provenance, source="a test", **percent)
    return one.model_copy(update={"accuracy": accuracy})


def without_accuracy(one: Record) -> Record:
    return one.model_copy(update={"accuracy": None})


def renamed(one: Record, **identity: Any) -> Record:
    return one.model_copy(update={"identity": one.identity.model_copy(update=identity)})


@cache
def paper() -> tuple[Record, ...]:
    """Records of the shipped sweep `paper`."""
    return tuple(measure(one, closed_form_cost) for one in plan(read_sweep(find_shipped("sweeps", "paper"))))
