"""What else is known of a configuration, as names and words: the long tail of the page's details."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from proscale_bench.results.accuracy import EXTRAS
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


class Fact(NamedTuple):
    name: str
    words: str


def facts_of(record: Record) -> list[Fact]:
    """Of the record of a row: of its cost and its profile."""
    facts = [*_of_cost(record.cost)] if record.cost else []
    facts += [fact for reference in record.references for fact in _of_reference(reference)]
    facts += [*_of_profile(record.profile)] if record.profile else []
    return [*facts, *_origin(record)]


def facts_of_worth(record: Record) -> list[Fact]:
    """Of the record whose accuracy is shown."""
    accuracy = record.accuracy
    if accuracy is None:
        return []
    facts = [
        Fact(EXTRA_NAMES[name], f"{value:.2f} %") for name in EXTRAS if (value := getattr(accuracy, name)) is not None
    ]
    facts += [Fact("data", accuracy.dataset), Fact("source", accuracy.source)]
    facts += [Fact("note", accuracy.note)] if accuracy.note else []
    how = accuracy.evaluated
    if how is None:
        return facts
    facts.append(Fact("images", f"{how.images:,}, resized: {how.resize}"))
    if how.intervals:
        facts.append(Fact("intervals", f"95 %, the images drawn anew {how.resamples:,} times"))
    facts += [Fact("evaluated by", f"{how.engine}, {how.seconds:,.0f} s on {how.processes} processes")]
    facts += [Fact("run as", record.execution.words)] if record.execution else []
    facts += [Fact("beware", warning) for warning in how.warnings]
    facts += [Fact("weights", record.identity.weights[:16])] if record.identity.weights else []
    return [*facts, *_origin(record)]


def _of_cost(cost: Cost) -> Iterator[Fact]:
    yield Fact("total with post-processing", f"{show_gflops(cost.gflops.total_with_postprocessing)} GFLOPs")
    params = cost.params_m
    yield Fact(
        "parameters by part",
        f"backbone {params.backbone:.2f}, encoder {params.encoder:.2f}, decoder {params.transformer_decoder:.2f} M",
    )
    layers = [(len(list(same)), tokens) for tokens, same in groupby(layer.tokens for layer in cost.layers)]
    if layers:
        yield Fact("tokens by layer", ", ".join(f"{count} × {tokens:,.0f}" for count, tokens in layers))
    left_out = ", ".join(f"{name} {show_gflops(amount)}" for name, amount in cost.uncounted_ops.items() if amount)
    if left_out:
        yield Fact("left out by the rules", f"{left_out} G")


def _of_reference(reference: Reference) -> Iterator[Fact]:
    """What others found of the same configuration."""
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
        yield Fact(who, f"{', '.join(words)} GFLOPs (rules {reference.rules}; {reference.source})")


def _of_profile(profile: Profile) -> Iterator[Fact]:
    yield Fact(
        "latency, p90 / p95 / p99",
        " / ".join(map(show_ms, (profile.latency_p90_ms, profile.latency_p95_ms, profile.latency_p99_ms))) + " ms",
    )
    yield Fact("timed", f"{len(profile.samples_ms)} rounds after {profile.warmup_rounds} to warm up, {profile.session}")
    if profile.launch_share_pct is not None:
        yield Fact("until all was launched", f"{profile.launch_share_pct:.0f} % of the latency")
    if profile.memory:
        yield Fact("memory", f"weights {profile.memory.weights_mib:,.0f} MiB; {profile.memory.method}")
    if profile.energy_note:
        yield Fact("energy", profile.energy_note)
    for caution in profile.warnings:
        yield Fact("beware", f"{caution.message}; {caution.advice}")


def _origin(record: Record) -> list[Fact]:
    origin = record.provenance
    return [Fact("record", f"{record.digest[:16]}, {origin.created}, version {origin.tool_version}")]
