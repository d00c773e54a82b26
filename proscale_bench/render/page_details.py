"""Further details of a configuration, as names and words: the last lines of the page's tips and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from proscale_bench.analysis.evaluations import Evaluation
from proscale_bench.results.accuracy import EXTRAS, Evaluated
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.profile import Profile
from proscale_bench.results.record import Cost, Record, Reference
from proscale_bench.units import show_gflops, show_ms

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
    name: str
    words: str


def details_of(record: Record) -> list[Detail]:
    """The details of a row's cost, references, profile and record."""
    details = [*_of_cost(record.cost)] if record.cost else []
    details += [detail for reference in record.references for detail in _of_reference(reference)]
    details += [*_of_profile(record.profile)] if record.profile else []
    return [*details, *_origin(record)]


def details_of_evaluation(evaluation: Evaluation) -> list[Detail]:
    """The details of an evaluation; of several trainings, a line about each."""
    accuracy, record = evaluation.accuracy, evaluation.records[0]
    details = [
        Detail(EXTRA_NAMES[name], f"{value:.2f} %") for name in EXTRAS if (value := getattr(accuracy, name)) is not None
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
        yield Detail("intervals", "95 %, of the mean, over images and over trainings, the wider of the two")
    elif how.intervals:
        yield Detail("intervals", f"95 %, the images drawn anew {how.resamples:,} times")
    if evaluation.trainings == 1:
        yield Detail("evaluated by", f"{how.engine}, {how.seconds:,.0f} s on {how.processes} processes")
    for words in dict.fromkeys(record.execution.words for record in evaluation.records if record.execution):
        yield Detail("run as", words)
    for warning in how.warnings:
        yield Detail("beware", warning)


def _of_training(record: Record) -> Detail:
    """A training among several: its seed, main accuracies and weights."""
    accuracy = record.accuracy
    assert accuracy is not None
    seed = accuracy.evaluated.training_seed if accuracy.evaluated else None
    words = [f"seed {seed}"] if seed is not None else []
    words += [f"{METRICS[name].title} {value:.2f}" for name in MAIN if (value := getattr(accuracy, name)) is not None]
    weights = f"; weights {record.identity.weights[:16]}" if record.identity.weights else ""
    return Detail("training", f"{', '.join(words)}; {accuracy.source}{weights}")


def _of_cost(cost: Cost) -> Iterator[Detail]:
    yield Detail("total with post-processing", f"{show_gflops(cost.gflops['total_with_postprocessing'])} GFLOPs")
    params = cost.params_m
    yield Detail(
        "parameters by part",
        ", ".join(f"{part.replace('_', ' ')} {millions:.2f}" for part, millions in params.items() if part != "total")
        + " M",
    )
    layers = [(len(list(same)), tokens) for tokens, same in groupby(layer.tokens for layer in cost.layers)]
    if layers:
        yield Detail("tokens by layer", ", ".join(f"{count} × {tokens:,.0f}" for count, tokens in layers))
    left_out = ", ".join(f"{name} {show_gflops(amount)}" for name, amount in cost.uncounted_ops.items() if amount)
    if left_out:
        yield Detail("left out by the rules", f"{left_out} G")


def _of_reference(reference: Reference) -> Iterator[Detail]:
    """A cost of the same configuration that others found."""
    known = reference.gflops
    words = [
        f"{name} {show_gflops(value)}"
        for name, value in (
            ("encoder", known.encoder),
            ("total", known.total),
            ("with post-processing", known.total_with_postprocessing),
        )
        if value is not None
    ]
    if words:
        who = "official code" if reference.kind == "official_code" else "paper"
        yield Detail(who, f"{', '.join(words)} GFLOPs (rules {reference.rules}; {reference.source})")


def _of_profile(profile: Profile) -> Iterator[Detail]:
    yield Detail(
        "latency, p90 / p95 / p99",
        " / ".join(map(show_ms, (profile.latency_p90_ms, profile.latency_p95_ms, profile.latency_p99_ms))) + " ms",
    )
    yield Detail(
        "timed", f"{len(profile.samples_ms)} rounds after {profile.warmup_rounds} to warm up, {profile.session}"
    )
    if profile.launch_share_pct is not None:
        yield Detail("until all was launched", f"{profile.launch_share_pct:.0f} % of the latency")
    if profile.memory:
        yield Detail("memory", f"weights {profile.memory.weights_mib:,.0f} MiB; {profile.memory.method}")
    if profile.energy_note:
        yield Detail("energy", profile.energy_note)
    for caution in profile.warnings:
        yield Detail("beware", f"{caution.message}; {caution.advice}")


def _origin(record: Record) -> list[Detail]:
    origin = record.provenance
    return [Detail("record", f"{record.digest[:16]}, {origin.created}, version {origin.tool_version}")]
