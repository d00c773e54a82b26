"""The numbers that a record may hold, by the names of the contract: the same in records, JSON, budgets and axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.errors import look_up

if TYPE_CHECKING:  # a record's classes take longer to make than a cost on paper to count
    from proscale_bench.results.record import Record
    from proscale_bench.results.section import Interval

Provenance = Literal["counted", "measured", "published"]


@dataclass(frozen=True)
class Metric:
    """A number that a record may hold, how an axis names it, and which way is better.

    `read_cost` reads it off a record's cost, or off a `FlopCount`, whose parts have the same names.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    read: Callable[[Record], float | None]
    section: Literal["cost", "accuracy", "profile"]
    interval: Callable[[Record], Interval | None] = lambda record: None
    read_cost: Callable[[Any], float | None] | None = None


def _cost(name: str, title: str, unit: str, read: Callable[[Any], float | None]) -> Metric:
    def of_record(record: Record) -> float | None:
        return read(record.cost) if record.cost else None

    return Metric(name, title, unit, "lower", of_record, "cost", read_cost=read)


def _accuracy(name: str, title: str) -> Metric:
    def read(record: Record) -> float | None:
        value: float | None = getattr(record.accuracy, name) if record.accuracy else None
        return value

    def interval(record: Record) -> Interval | None:
        return record.evaluated.intervals.get(name) if record.evaluated else None

    return Metric(name, title, "%", "higher", read, "accuracy", interval)


def _profile(name: str, title: str, unit: str, better: Literal["lower", "higher"] = "lower") -> Metric:
    def read(record: Record) -> float | None:
        value: float | None = getattr(record.profile, name) if record.profile else None
        return value

    return Metric(name, title, unit, better, read, "profile")


def _latency_interval(record: Record) -> Interval | None:
    return record.profile.latency_interval_ms if record.profile else None


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _cost("encoder_gflops", "encoder", "GFLOPs", lambda cost: cost.gflops.get("encoder")),
        _cost("token_layers_gflops", "token layers", "GFLOPs", lambda cost: cost.gflops.get("encoder_token_layers")),
        _cost("total_gflops", "total", "GFLOPs", lambda cost: cost.gflops.get("total")),
        _cost("params_m", "parameters", "millions", lambda cost: cost.params_m.get("total")),
        replace(_profile("latency_median_ms", "latency, median", "ms"), interval=_latency_interval),
        _profile("throughput_ips", "throughput", "images/s", "higher"),
        _profile("peak_memory_mib", "peak memory of a pass", "MiB"),
        _profile("energy_j", "energy of an image", "J"),
        _accuracy("pq", "PQ"),
        _accuracy("sq", "SQ"),
        _accuracy("rq", "RQ"),
        _accuracy("pq_things", "PQ (things)"),
        _accuracy("pq_stuff", "PQ (stuff)"),
        _accuracy("ap", "mask AP"),
        _accuracy("ap_bbox", "box AP"),
        _accuracy("miou", "mIoU"),
    )
}


def get_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        BenchError: unknown.
    """
    return look_up(METRICS, name, "metric")


def metric(record: Record, name: str) -> float | None:
    """A record's value of a metric, or None where it has none.

    Raises:
        BenchError: unknown metric.
    """
    return get_metric(name).read(record)


def provenance_of(record: Record, name: str) -> Provenance:
    """The origin of a record's value of a metric."""
    if get_metric(name).section == "accuracy" and record.accuracy:
        return record.accuracy.provenance
    return "measured" if get_metric(name).section == "profile" else "counted"
