"""The numbers that a record may hold, by the names of the contract: the same in records, JSON, budgets and axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.errors import look_up

if TYPE_CHECKING:  # a record's classes take longer to make than a cost on paper to count
    from proscale_bench.results.profile import RealisedSaving
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

    @property
    def in_points(self) -> bool:
        """Two of them differ by percentage points, and not by a share of either."""
        return self.unit == "%"


def _cost(name: str, title: str, unit: str, read: Callable[[Any], float | None]) -> Metric:
    def of_record(record: Record) -> float | None:
        return read(record.cost) if record.cost else None

    return Metric(name, title, unit, "lower", of_record, "cost", read_cost=read)


def _token_layers(cost: Any) -> float | None:
    """GFLOPs of the token layers; None of a model that has none, or another layer in their place, as `hybrid` has."""
    name = "encoder_token_layers"
    has_any = any(
        part.name == name and part.quoted for part in (cost.spec.parts if hasattr(cost, "spec") else cost.tree)
    )
    return cost.gflops.get(name) if has_any else None


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


def _timed(name: str, title: str, unit: str, better: Literal["lower", "higher"], interval: str) -> Metric:
    """A metric of a profile whose interval stands beside it."""

    def read(record: Record) -> Interval | None:
        found: Interval | None = getattr(record.profile, interval) if record.profile else None
        return found

    return replace(_profile(name, title, unit, better), interval=read)


def _saving(name: str, title: str, stage: str | None) -> Metric:
    """The time that a model, or a stage of it, saves against the baseline in the same rounds."""

    def saving(record: Record) -> RealisedSaving | None:
        timed = record.profile if stage is None or record.profile is None else record.profile.stages.get(stage)
        return timed.realised_saving_pct if timed else None

    def read(record: Record) -> float | None:
        return one.value if (one := saving(record)) else None

    def interval(record: Record) -> Interval | None:
        return one.interval if (one := saving(record)) else None

    return Metric(name, title, "%", "higher", read, "profile", interval)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _cost("encoder_gflops", "encoder", "GFLOPs", lambda cost: cost.gflops.get("encoder")),
        _cost("token_layers_gflops", "token layers", "GFLOPs", _token_layers),
        _cost("total_gflops", "total", "GFLOPs", lambda cost: cost.gflops.get("total")),
        _cost("params_m", "parameters", "millions", lambda cost: cost.params_m.get("total")),
        _cost("activation_mib", "peak of activations", "MiB", lambda cost: cost.activation_mib),
        _timed("latency_median_ms", "latency, median", "ms", "lower", "latency_interval_ms"),
        _timed("throughput_ips", "throughput", "images/s", "higher", "throughput_interval_ips"),
        _saving("latency_saving_pct", "time saved", None),
        _saving("encoder_latency_saving_pct", "time of the encoder saved", "encoder"),
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
