"""The values that the report's page draws, as its script reads them. Pure functions of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from proscale_bench.analysis.evaluations import Evaluation
from proscale_bench.analysis.published_marks import ENGINE as PUBLISHED_ENGINE
from proscale_bench.analysis.verdicts import VERDICTS, between_evaluations, between_rows
from proscale_bench.analysis.views import ModelRow, View, main_view, views
from proscale_bench.render.bars import realised
from proscale_bench.render.parts import BETWEEN, BarPart, bar_parts
from proscale_bench.render.style import COLORS, backbone_name
from proscale_bench.results.accuracy import EXTRAS, Evaluated
from proscale_bench.results.metrics import METRICS, Metric, get_metric
from proscale_bench.results.profile import Profile
from proscale_bench.results.record import Cost, Record, Reference
from proscale_bench.results.section import Interval
from proscale_bench.units import show_gflops, show_ms

DIGITS = 7  # of a number on the page, which shows five at the most
# (name on the page, part of the counts, stage of the profile)
SAVINGS = (
    ("whole model", "total", None),
    ("encoder", "encoder", "encoder"),
    ("token layers", "encoder_token_layers", "encoder_token_layers"),
    ("pixel embedding", None, "pixel_embedding"),
)

EXTRA_NAMES = {
    "ap50": "mask AP at IoU 0.50",
    "ap75": "mask AP at IoU 0.75",
    "ap_small": "mask AP, small",
    "ap_medium": "mask AP, medium",
    "ap_large": "mask AP, large",
    "fwiou": "mIoU weighted by pixels",
    "macc": "mean accuracy",
    "pacc": "pixel accuracy",
}
MAIN = ("pq", "ap", "miou")


class Detail(NamedTuple):
    """A line of the page's tips and comparisons: a name and its words."""

    name: str
    words: str


@dataclass(frozen=True)
class PageSaving:
    """A saving against the baseline, in percent: counted, executed, and realised between `low` and `high`."""

    counted: float | None = None
    executed: float | None = None
    realised: float | None = None
    low: float | None = None
    high: float | None = None
    significant: bool | None = None


@dataclass(frozen=True)
class PageEvaluation:
    """Accuracies of one source, in percent, by the names of the metrics.

    Args:
        name: what its point is called, where that is not its row's name.
        trainings: of which they are the mean: `mean of seeds 0, 1, 2`; empty for a single one.
        place: among all evaluations of the document, in the tables of its `verdicts`.
    """

    name: str
    data: str
    provenance: str
    trainings: str
    values: dict[str, float]
    intervals: dict[str, Interval]
    details: list[Detail]
    place: int


@dataclass(frozen=True)
class PageRow:
    """One schedule on one backbone in a view.

    Args:
        backbone: index in the document's `backbones`.
        label: what its author calls it, where that is another name.
        gflops: by part, in the order of the document's `parts`.
        ms: by part and, last, between the encoder's parts; empty where nothing was timed.
        savings: in the order of the document's `savings`; None where nothing is known.
    """

    backbone: int
    schedule: str
    label: str
    baseline: bool
    values: dict[str, float]
    intervals: dict[str, Interval]
    gflops: list[float]
    ms: list[float]
    savings: list[PageSaving | None]
    evaluations: list[PageEvaluation]
    error: str
    details: list[Detail]


@dataclass(frozen=True)
class PageView:
    """A view. `counted` and `ran` say how costs were counted and measurements taken; `data` is as in `View`, and
    `verdicts` on what was measured of every two rows as in `analysis.verdicts`."""

    name: str
    counted: str
    ran: str
    data: list[str]
    rows: list[PageRow]
    verdicts: dict[str, list[str]]


@dataclass(frozen=True)
class LegendEntry:
    name: str
    color: str  # a CSS variable's name


@dataclass(frozen=True)
class Axis:
    """A metric that may stand on an axis."""

    name: str
    title: str
    unit: str
    better: str
    section: str


@dataclass(frozen=True)
class PageStart:
    """The choice that the page opens with: the index of a view, and two metrics."""

    view: int
    x: str
    y: str


@dataclass(frozen=True)
class PageDocument:
    """All values of the page; `verdicts` on every two evaluations, and their words, as in `analysis.verdicts`."""

    start: PageStart
    metrics: dict[str, Axis]
    backbones: list[LegendEntry]
    parts: list[str]
    savings: list[str]
    views: list[PageView]
    verdicts: dict[str, list[str]]
    words: list[str]
    schema_version: int = field(default=1)

    def plain(self) -> dict[str, Any]:
        """The document in JSON's own types; empty values are left out and numbers rounded to `DIGITS` digits."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def document(records: Sequence[Record], x: Sequence[str], y: str) -> PageDocument:
    """The values of the page of a run.

    Args:
        records: at least one, in the order of `by_setting`.
        x, y: the metrics shown first.

    Raises:
        BenchError: unknown metric.
    """
    found, parts = views(records), bar_parts(records)
    opened = main_view(found, [get_metric(name).name for name in x], get_metric(y).name)
    names = list(dict.fromkeys(row.record.identity.backbone for view in found for row in view.rows))
    evaluations = {id(one): one for view in found for row in view.rows for one in row.evaluations}
    places = {key: place for place, key in enumerate(evaluations)}
    return PageDocument(
        start=PageStart(found.index(opened) if opened else 0, x[0], y),
        metrics={name: Axis(name, one.title, one.unit, one.better, one.section) for name, one in METRICS.items()},
        backbones=[LegendEntry(backbone_name(name), f"--{name}" if name in COLORS else "--other") for name in names],
        parts=[*(part.title for part in parts), BETWEEN[0]],
        savings=[name for name, _, _ in SAVINGS],
        views=[_view(view, names, parts, places) for view in found],
        verdicts=between_evaluations([*evaluations.values()]),
        words=[*VERDICTS],
    )


def _view(view: View, backbones: Sequence[str], parts: Sequence[BarPart], places: dict[int, int]) -> PageView:
    setting = view.setting
    ran = setting.ran if setting.execution else ""
    rows = [_row(row, backbones, parts, places) for row in view.rows]
    return PageView(ran or setting.where, setting.how, ran, view.data, rows, between_rows(view))


def _row(row: ModelRow, backbones: Sequence[str], parts: Sequence[BarPart], places: dict[int, int]) -> PageRow:
    record, cost = row.record, row.record.cost
    identity = record.identity
    known = [metric for metric in METRICS.values() if metric.section != "accuracy"]
    return PageRow(
        backbone=backbones.index(identity.backbone),
        schedule=row.label,
        label=identity.label if identity.label != identity.name else "",
        baseline=record.is_baseline,
        values=_values(known, record),
        intervals=_intervals(known, record),
        gflops=[part.gflops(cost) for part in parts] if cost and cost.engine != PUBLISHED_ENGINE else [],
        ms=[length for _, _, length in realised(record, parts).pieces] if cost and record.profile else [],
        savings=[_saving(record, part, stage) for _, part, stage in SAVINGS],
        evaluations=[
            _evaluation(one, name if name != row.label else "", places[id(one)])
            for name, one in zip(row.labels, row.evaluations, strict=True)
        ],
        error=record.error.message if record.error else "",
        details=details_of(record),
    )


def _evaluation(evaluation: Evaluation, name: str, place: int) -> PageEvaluation:
    accuracy = evaluation.accuracy
    record = evaluation.records[0].model_copy(update={"accuracy": accuracy})
    known = [metric for metric in METRICS.values() if metric.section == "accuracy"]
    return PageEvaluation(
        name,
        evaluation.data,
        accuracy.provenance,
        accuracy.source if evaluation.trainings > 1 else "",
        _values(known, record),
        _intervals(known, record),
        details_of_evaluation(evaluation),
        place,
    )


def _values(metrics: Sequence[Metric], record: Record) -> dict[str, float]:
    return {one.name: value for one in metrics if (value := one.read(record)) is not None}


def _intervals(metrics: Sequence[Metric], record: Record) -> dict[str, Interval]:
    return {one.name: found for one in metrics if (found := one.interval(record)) is not None}


def _saving(record: Record, part: str | None, stage: str | None) -> PageSaving | None:
    """The counted saving of a part, beside the realised one where it was timed."""
    cost, profile = record.cost, record.profile
    if cost is None or record.is_baseline:
        return None
    if profile is None:
        return PageSaving(counted=cost.reduction_pct.get(part)) if part else None
    timed = profile if stage is None else profile.stages.get(stage)
    if timed is None:
        return None
    counted, found = timed.counted_saving_pct, timed.realised_saving_pct
    return PageSaving(
        counted=counted.counted if counted else None,
        executed=counted.executed if counted else None,
        realised=found.value if found else None,
        low=found.interval[0] if found else None,
        high=found.interval[1] if found else None,
        significant=found.significant if found else None,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not _says_nothing(item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def details_of(record: Record) -> list[Detail]:
    """The details of a row's cost, references, profile and record."""
    if record.cost and record.cost.engine == PUBLISHED_ENGINE:
        return [Detail("cost", "as others print it: see its source")]
    details = [*_of_cost(record.cost)] if record.cost else []
    details += [detail for reference in record.references for detail in _of_reference(reference)]
    details += [*_of_profile(record.profile)] if record.profile else []
    return [*details, *_origin(record)]


def details_of_evaluation(evaluation: Evaluation) -> list[Detail]:
    """The details of an evaluation; of several trainings, a line about each."""
    accuracy, record = evaluation.accuracy, evaluation.records[0]
    shape = "mask" if accuracy.ap is not None else "box"  # of AP by threshold and size
    details = [
        Detail(EXTRA_NAMES[name].replace("mask", shape), f"{value:.2f} %")
        for name in EXTRAS
        if (value := getattr(accuracy, name)) is not None
    ]
    details += [Detail("data", accuracy.dataset), Detail("source", accuracy.source)]
    details += [Detail("note", accuracy.note)] if accuracy.note else []
    if how := accuracy.evaluated:
        details += _of_evaluation(how, evaluation)
    if evaluation.trainings > 1:
        return [*details, *map(_of_training, evaluation.records)]
    if how:
        details += [Detail("weights", record.identity.weights[:16])] if record.identity.weights else []
        details += _origin(record)
    return details


def _of_evaluation(how: Evaluated, evaluation: Evaluation) -> Iterator[Detail]:
    yield Detail("images", f"{how.images:,}, resized: {how.resize}")
    if how.intervals and evaluation.trainings > 1:
        yield Detail("intervals", "95 %, of the mean, over images and over trainings together")
    elif how.intervals:
        yield Detail("intervals", f"95 %, from {how.resamples:,} bootstrap draws of the images")
    if evaluation.trainings == 1:
        yield Detail("evaluated by", f"{how.engine}, {how.seconds:,.0f} s on {how.processes} processes")
    for words in dict.fromkeys(record.execution.words for record in evaluation.records if record.execution):
        yield Detail("run as", words)
    for warning in how.warnings:
        yield Detail("caution", warning)


def _of_training(record: Record) -> Detail:
    """A training among several: its seed, main accuracies and weights."""
    accuracy = record.accuracy
    assert accuracy is not None
    seed = record.evaluated.training_seed if record.evaluated else None
    words = [f"seed {seed}"] if seed is not None else []
    words += [f"{METRICS[name].title} {value:.2f}" for name in MAIN if (value := getattr(accuracy, name)) is not None]
    weights = f"; weights {record.identity.weights[:16]}" if record.identity.weights else ""
    return Detail("training", f"{', '.join(words)}; {accuracy.source}{weights}")


def _of_cost(cost: Cost) -> Iterator[Detail]:
    whole = cost.tree[-1]
    yield Detail(whole.title, f"{show_gflops(cost.gflops[whole.name])} GFLOPs")
    params = [f"{part.replace('_', ' ')} {amount:.2f}" for part, amount in cost.params_m.items() if part != "total"]
    yield Detail("parameters by part", f"{', '.join(params)} M")
    layers = [(len(list(same)), tokens) for tokens, same in groupby(layer.tokens for layer in cost.layers)]
    if layers:
        yield Detail("tokens by layer", ", ".join(f"{count} × {tokens:,.0f}" for count, tokens in layers))
    left_out = ", ".join(f"{name} {show_gflops(amount)}" for name, amount in cost.uncounted_ops.items() if amount)
    if left_out:
        yield Detail("left out by the rules", f"{left_out} G")


def _of_reference(reference: Reference) -> Iterator[Detail]:
    """A cost of the same configuration that others found."""
    known = reference.gflops
    amounts = {"encoder": known.encoder, "total": known.total, "with post-processing": known.total_with_postprocessing}
    words = [f"{name} {show_gflops(value)}" for name, value in amounts.items() if value is not None]
    if words:
        who = "official code" if reference.kind == "official_code" else "paper"
        yield Detail(who, f"{', '.join(words)} GFLOPs (rules {reference.rules}; {reference.source})")


def _of_profile(profile: Profile) -> Iterator[Detail]:
    percentiles = (profile.latency_p90_ms, profile.latency_p95_ms, profile.latency_p99_ms)
    yield Detail("latency, p90 / p95 / p99", f"{' / '.join(map(show_ms, percentiles))} ms")
    rounds = f"{len(profile.samples_ms)} rounds after {profile.warmup_rounds} warm-up rounds"
    sessions = f" in {len(profile.sessions)} sessions" if len(profile.sessions) > 1 else ""
    started = profile.sessions[0].started if profile.sessions else profile.session
    yield Detail("timed", f"{rounds}{sessions}, {started}")
    if profile.contains:
        yield Detail("a pass", ", ".join(profile.contains))
    if profile.launch_share_pct is not None:
        yield Detail("time to launch", f"{profile.launch_share_pct:.0f} % of the latency")
    if profile.memory:
        yield Detail("memory", f"weights {profile.memory.weights_mib:,.0f} MiB; {profile.memory.method}")
    if profile.energy_note:
        yield Detail("energy", profile.energy_note)
    for caution in profile.warnings:
        yield Detail("caution", f"{caution.message}; {caution.advice}")


def _origin(record: Record) -> list[Detail]:
    origin = record.provenance
    return [Detail("record", f"{record.digest[:16]}, {origin.created}, version {origin.tool_version}")]
