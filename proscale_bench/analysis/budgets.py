"""Are limits kept? Costs on paper are counted on the spot; what was measured comes from records.

Numbers of two devices are never compared, and accuracies are of the data that a limit names: of all of the model's own
data where it names none. Where several records fit a limit (weights, batch sizes, number formats), every one must keep
it, and the worst is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.analysis.limit_scope import fits, found_alike, is_model, is_of, own_data
from proscale_bench.config.limit import Limit
from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import Convention, get_rules
from proscale_bench.errors import BenchError
from proscale_bench.results.metrics import METRICS, Metric, provenance_of
from proscale_bench.specs.model import ModelSpec
from proscale_bench.units import show_mac

if TYPE_CHECKING:
    from proscale_bench.analysis.significance import Change
    from proscale_bench.results.collect import SourcedRecord
    from proscale_bench.results.profile import Caution
    from proscale_bench.results.record import Record
    from proscale_bench.results.section import Interval

Status = Literal["kept", "exceeded", "unknown"]
TIMED = (
    "latency_median_ms",
    "throughput_ips",
    "latency_saving_pct",
    "encoder_latency_saving_pct",
    "energy_j",
)  # worth as much as the times are
SCOPES = {
    "cost": ("rules", "convention"),
    "profile": ("device", "dtype", "batch_size", "mode", "engine", "threads", "sampling", "optimizations"),
    "accuracy": ("device", "dtype", "engine", "split", "tasks"),
}


@dataclass(frozen=True)
class Finding:
    """A limit beside what was found.

    Args:
        status: `unknown` where nothing was found that the limit could be held to: `why` and `advice` say more.
        expected: the bound as a value of the metric; None where what it is relative to is unknown.
        found: the value, and `source`: where it comes from.
        reference: what a relative bound is relative to; `baseline_pct`: what the baseline changed by since, in percent,
            where the bound follows it.
        interval, samples, record: of what was measured.
        dataset, images: what an accuracy is of, or would be where nothing was found; `images` None: of all.
        unstable: the records behind it whose times cannot be trusted, what it is relative to among them.
        by_chance: the value is beyond the bound, and not significantly: the limit is kept.
    """

    limit: Limit
    status: Status
    expected: float | None = None
    found: float | None = None
    source: str = ""
    reference: float | None = None
    baseline_pct: float | None = None
    interval: Interval | None = None
    samples: tuple[float, ...] = ()
    record: Record | None = None
    dataset: str | None = None
    images: int | None = None
    unstable: tuple[SourcedRecord, ...] = ()
    by_chance: bool = False
    why: str = ""
    advice: str | None = None

    @property
    def metric(self) -> Metric:
        return METRICS[self.limit.metric]

    @property
    def configuration(self) -> str:
        """The configuration that the limit is on: a model at a size, or on data."""
        limit = self.limit
        if self.metric.section != "accuracy":
            return f"{limit.model}, {limit.size}"
        images = f", {self.images:,} images" if self.images else ""
        return f"{limit.model}, {self.dataset or 'no data'}{images}"

    @property
    def scope(self) -> dict[str, Any]:
        """The scope of a limit: how its number is counted or found."""
        found = {name: getattr(self.limit, name) for name in SCOPES[self.metric.section]}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def is_ceiling(self) -> bool:
        return self.limit.bound in ("max", "max_increase_pct")

    @property
    def failed(self) -> bool:
        """The limit is not kept, and that is an error."""
        return self.status != "kept" and self.limit.level == "error"

    @property
    def warned(self) -> bool:
        return self.status != "kept" and self.limit.level == "warn"

    @property
    def tolerated(self) -> bool:
        """The value is beyond the bound by less than counts, or by chance."""
        return self.status == "kept" and (self.excess or 0) > 0

    @property
    def cautions(self) -> list[Caution]:
        """Each reason why the times behind it cannot be trusted, once."""
        found = [caution for one in self.unstable if one.record.profile for caution in one.record.profile.unstable]
        return list({(caution.kind, caution.message): caution for caution in found}.values())

    @property
    def excess(self) -> float | None:
        """The distance of the value beyond the bound; negative within it."""
        if self.found is None or self.expected is None:
            return None
        return self.found - self.expected if self.is_ceiling else self.expected - self.found

    @property
    def excess_pct(self) -> float | None:
        """The same in percent of the bound."""
        return 100 * self.excess / abs(self.expected) if self.excess is not None and self.expected else None


class Checker:
    """Holds limits to what can be counted and what is recorded.

    Args:
        read_records: all records of the runs given, older ones too; called when the first limit needs them.
        read_run: the records of a run that a budget names.
        convert: a record with its counts in another convention; None: such a record is refused.
    """

    def __init__(
        self,
        read_records: Callable[[], Sequence[SourcedRecord]],
        read_run: Callable[[Path], Sequence[SourcedRecord]],
        convert: Callable[[Record, Convention], Record] | None = None,
    ) -> None:
        self._read_records = read_records
        self._run = cache(read_run)
        self._convert = convert

    @cached_property
    def history(self) -> Sequence[SourcedRecord]:
        """Every record."""
        return self._read_records()

    @cached_property
    def records(self) -> Sequence[SourcedRecord]:
        """Each configuration as it was found last."""
        from proscale_bench.results.collect import newest

        return newest(self.history)

    def check(self, limits: Iterable[Limit]) -> list[Finding]:
        """A finding for every limit that is not off; those that are off must be valid all the same.

        Raises:
            BenchError: a size is unknown, or a run that a limit names cannot be read.
        """
        for limit in limits:
            try:
                parse_size(limit.size)
            except BenchError as error:
                raise error.within(f"{limit.size_at}: size") from error
        return [self._find(limit) for limit in limits if limit.level != "off"]

    def _find(self, limit: Limit) -> Finding:
        metric = METRICS[limit.metric]
        if metric.section == "cost":
            return self._counted(limit, metric)
        findings: dict[str, list[Finding]] = {"measured": [], "published": []}
        for one in self.records:
            if fits(limit, one.record) and metric.read(one.record) is not None:
                findings[provenance_of(one.record, metric.name)].append(self._measured(limit, metric, one))
        found = findings["measured"]
        if folders := _folders(limit, found):
            names = " and ".join(repr(name) for name in folders)
            why = f"records of several data sets called {limit.dataset or own_data(limit)}, in folders {names}"
            return Finding(limit, "unknown", why=why, advice=f"name one by its folder: `dataset: {folders[0]}`")
        if not found and metric.section == "accuracy":
            found = findings["published"] or _shipped(limit)
            if found and not limit.published:
                return _nothing(limit, metric, "there is a published value: say 'published: true' to let it count")
        if not found:
            return _nothing(limit, metric, self._where_to_look(limit, metric))
        unstable = {(one.source, one.record.digest): one for finding in found for one in finding.unstable}
        worst = max(sorted(found, key=lambda one: one.source), key=_badness)
        return replace(worst, unstable=tuple(unstable[key] for key in sorted(unstable)))

    def _counted(self, limit: Limit, metric: Metric) -> Finding:
        found = _read_cost(metric, count(limit), limit)
        if limit.against is None:
            return _hold(limit, found, "counted", None)
        if limit.against == "baseline":
            return _hold(limit, found, "counted", _read_cost(metric, count(limit, limit.spec.baseline()), limit))
        alike = [
            one for one in self._against(limit) if one.record.cost and is_of(limit, one.record, any_convention=True)
        ]
        known = [one for one in alike if is_of(limit, one.record) or metric.name == "params_m"]
        known = known or [self._converted(limit, one) for one in alike]
        if not known:
            why = f"no record of {limit.model} at {limit.size} to hold it against"
            advice = "write one with 'proscale-bench sweep' and commit it, or say against: baseline"
            return Finding(limit, "unknown", found=found, source="counted", why=why, advice=advice)
        newest = max(known, key=lambda one: (one.record.provenance.created, one.record.digest, one.source))
        return _hold(limit, found, "counted", metric.read(newest.record))

    def _converted(self, limit: Limit, sourced: SourcedRecord) -> SourcedRecord:
        """A record with its counts in the limit's convention.

        Raises:
            BenchError: nobody asked for that, or it cannot be done.
        """
        record = sourced.record
        if self._convert is None:
            raise BenchError(
                f"{limit.at}: {limit.metric} counts {show_mac(limit.convention)}, and {sourced.source}, which it is "
                f"held against, {show_mac(record.convention)}",
                f"check --convert counts the record anew; or say convention: {record.convention}",
            )
        return replace(sourced, record=self._convert(record, limit.convention))

    def _measured(self, limit: Limit, metric: Metric, sourced: SourcedRecord) -> Finding:
        record = sourced.record
        found = metric.read(record)
        assert found is not None
        reference, alike, told = None, [], None
        if limit.against is not None:
            wanted = "baseline" if limit.against == "baseline" else record.identity.schedule
            alike = [other for other in self._against(limit) if found_alike(record, other.record, wanted)]
            values = {value: other for other in alike if (value := metric.read(other.record)) is not None}
            if not values:
                why = f"{limit.against} has no {metric.name} of {wanted} on {limit.backbone} that was found alike"
                return replace(_on_data(Finding(limit, "unknown", found=found, why=why), record), source=sourced.source)
            reference = (min if metric.better == "lower" else max)(values)
            from proscale_bench.analysis.significance import change

            told = change(metric, values[reference].record, record, reference, found)
        samples = record.profile.samples_ms if metric.name == "latency_median_ms" and record.profile else ()
        held = _by_more_than_chance(_hold(limit, found, sourced.source, reference, told), told)
        timed = [(one, one.record.profile) for one in (sourced, *alike) if metric.name in TIMED]
        unstable = tuple(one for one, profile in timed if profile and profile.unstable)
        interval = metric.interval(record)
        return replace(_on_data(held, record), interval=interval, samples=samples, record=record, unstable=unstable)

    def _where_to_look(self, limit: Limit, metric: Metric) -> str:
        if metric.section == "accuracy" and (others := self._other_data(limit, metric)):
            return f"there are values {others}: a limit on them names `dataset`, and `images` where they are a part"
        devices = sorted({one.record.execution.device_name for one in self.records if one.record.execution})
        if limit.device and devices and limit.device not in devices:
            return f"there are records of {', '.join(devices)}"
        command = "profile --size HxW" if metric.section == "profile" else "eval --weights FILE"
        return f"write one with 'proscale-bench {command}', and give its folder as --records"

    def _other_data(self, limit: Limit, metric: Metric) -> str:
        """The data on which values of this model were measured."""
        records = [one.record for one in self.records if is_model(limit, one.record)]
        known = [one for one in records if metric.read(one) is not None]
        measured = [one for one in known if provenance_of(one, metric.name) == "measured"]
        found = (_on_data(Finding(limit, "unknown"), record) for record in measured)
        return " and ".join(sorted({f"on {one.images or 'all'} images of {one.dataset}" for one in found}))

    def _against(self, limit: Limit) -> Sequence[SourcedRecord]:
        """The records that a relative limit is held against."""
        if limit.against in ("record", "baseline"):
            return self.records
        try:
            return self._run(Path(limit.against or ""))
        except BenchError as error:
            raise error.within(f"{limit.at}: against") from error


def count(limit: Limit, spec: ModelSpec | None = None) -> FlopCount:
    """The cost on paper of a limit's configuration, or of another model in its place. Counted once.

    Raises:
        BenchError: it has no one cost; at the limit's place.
    """
    try:
        return _count(spec or limit.spec, limit.size, limit.rules, limit.convention)
    except BenchError as error:
        raise error.within(limit.at) from error


@cache
def _count(spec: ModelSpec, size: str, rules: str, convention: Convention) -> FlopCount:
    return count_model(spec, parse_size(size), get_rules(rules), convention)


def _on_data(finding: Finding, record: Record) -> Finding:
    """With the data that a record's accuracy is of, where the finding is about one."""
    from proscale_bench.results.published import data_of
    from proscale_bench.results.record import protocol_of

    if record.accuracy is None or finding.metric.section != "accuracy":
        return finding
    protocol = protocol_of(record)
    name = data_of(record.accuracy).partition("[:")[0]
    return replace(finding, dataset=name, images=protocol.images if protocol else None)


def _hold(limit: Limit, found: float, source: str, reference: float | None, told: Change | None = None) -> Finding:
    expected = limit.value
    if reference is not None:
        sign = 1 if limit.bound == "max_increase_pct" else -1
        own = reference * (told.apart if told else 1.0)
        expected = own + sign * abs(own) * limit.value / 100  # a saving may be below nothing
    finding = Finding(limit, "kept", expected, found, source, reference, told.baseline_pct if told else None)
    return replace(finding, status="exceeded") if _counts(finding) else finding


def _counts(finding: Finding) -> bool:
    """The value is beyond the bound, and by no less than the limit says that a change must be."""
    excess, bound = finding.excess or 0.0, abs(finding.expected or 0.0)
    share = excess if finding.metric.in_points else 100 * excess / bound if bound else inf
    return excess > 0 and share >= finding.limit.min_change


def _folders(limit: Limit, findings: Iterable[Finding]) -> list[str]:
    """The folders of the data that the findings are of, where a name stands for data in several of them."""
    how = [one.record.evaluated for one in findings if one.record and one.metric.section == "accuracy"]
    folders = sorted({one.data_folder for one in how if one and one.data_folder})
    return folders if len(folders) > 1 and limit.dataset not in folders else []


def _by_more_than_chance(finding: Finding, told: Change | None) -> Finding:
    """The finding, unless what exceeds a relative limit may be chance, or cannot be told at all."""
    if told is None or finding.status != "exceeded" or told.verdict == "significant":
        return finding
    if told.verdict == "not significant":
        return replace(finding, status="kept", by_chance=True)
    if finding.metric.section == "accuracy":  # of which others published a number, or other images were drawn
        return finding
    noted = f" ({told.note})" if told.note else ""
    why = f"beyond the limit, and it cannot be told from chance: {told.verdict}{noted}"
    advice = "measure both with 'profile --sessions 5', or limit latency_saving_pct, which is paired in one session"
    if noted:
        advice = "close other programs and profile both again"
    return replace(finding, status="unknown", why=why, advice=advice)


def _badness(finding: Finding) -> tuple[bool, float]:
    """The order of findings: an unknown value is worse than any excess."""
    return finding.status == "unknown", finding.excess_pct or finding.excess or 0.0


def _shipped(limit: Limit) -> list[Finding]:
    """The limit held to the published results that come with the tool, of the very model."""
    from proscale_bench.results.published import DATASET, published_results

    asked = (limit.split, limit.images, limit.tasks, limit.weights, limit.spec.classes, limit.spec.dimensions() or None)
    if any(one is not None for one in asked) or (limit.dataset or own_data(limit)) != DATASET:
        return []
    return [
        replace(_hold(limit, value, f"published: {result.source}", None), dataset=DATASET)
        for result in published_results(limit.backbone)
        if result.schedule == limit.schedule.compact and (value := getattr(result, limit.metric, None)) is not None
    ]


def _nothing(limit: Limit, metric: Metric, advice: str) -> Finding:
    on = f" on {limit.device}" if limit.device else ""
    finding = Finding(limit, "unknown", why=f"no record of {metric.name} of {limit.model}{on}", advice=advice)
    if metric.section != "accuracy":
        return finding
    data = limit.dataset or own_data(limit)
    if data is None:
        why = f"{limit.model} has no data of its own that an accuracy could be of"
        return replace(finding, why=why, advice="name the data: `dataset: NAME`, and `images` where they are a part")
    part = f"{limit.images:,} images" if limit.images else "all images"
    return replace(finding, why=f"{finding.why}, of {part} of {data}", dataset=data, images=limit.images)


def _read_cost(metric: Metric, cost: FlopCount, limit: Limit) -> float:
    """The metric's value.

    Raises:
        BenchError: the model has nothing of it, so that any limit would be kept; at the limit's place.
    """
    assert metric.read_cost is not None
    found = metric.read_cost(cost)
    if found is None:
        what = f"{limit.at}: {metric.name}: {cost.variant} has no {metric.title}, and any limit would be kept"
        raise BenchError(what, "limit encoder_gflops or total_gflops")
    return found
