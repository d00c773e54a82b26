"""The answer of a search: a table of the frontier, sentences, Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proscale_bench.cost.search import CAPACITY, STRIDES
from proscale_bench.render.flops import headline, model_of
from proscale_bench.render.table import Row, Table, markdown_tables
from proscale_bench.units import show_gflops, show_mac, show_ms, show_reduction, show_tokens

if TYPE_CHECKING:
    from proscale_bench.analysis.search import Found, SearchRow
    from proscale_bench.results.profile import RealisedSaving
    from proscale_bench.results.statistics import PredictionError

PREDICTED = "~"
SPARE = ("family", "beats", "encoder", "parameters", *(f"1/{stride}" for stride in STRIDES))  # the first goes first


def table(found: Found, rows: Sequence[SearchRow]) -> Table:
    """The rows of a search, the most capacity first; the shares of the baseline's work below each stride."""
    timed = found.pick.latency_ms is not None
    header = ["", "total", "", "encoder", "", *(["ms"] if timed else []), "capacity"]
    header += [*(f"1/{stride}" for stride in STRIDES), "parameters", "beats", "family", "kept as"]
    lines = []
    for row in rows:
        gflops, saved = row.count.gflops, row.count.reduction_pct
        cells = [show_gflops(gflops["total"]), show_reduction(saved["total"])]
        cells += [show_gflops(gflops["encoder"]), show_reduction(saved["encoder"])]
        cells += [show_latency(row)] if timed else []
        cells += [f"{100 * row.capacity:.1f}%", *(f"{100 * share:.0f}%" for share in row.ratios)]
        lines.append(Row(row.count.variant, (*cells, show_tokens(row.beats), row.family, row.reason)))
    spare = tuple(header.index(name) for name in SPARE)
    return Table(f"{model_of(found.request.spec)} at {found.request.size}", tuple(header), tuple(lines), spare)


def show_latency(row: SearchRow) -> str:
    """Milliseconds; a prediction has a mark."""
    assert row.latency_ms is not None
    return show_ms(row.latency_ms) if row.measured else f"{PREDICTED}{show_ms(row.latency_ms)}"


def headlines(found: Found) -> list[str]:
    """The answer in sentences."""
    count, pick = found.pick.count, found.pick
    searched, allowed = show_tokens(len(found.costs)), show_tokens(found.allowed)
    return [
        f"{count.variant} has the most capacity, {100 * pick.capacity:.1f} % of the baseline's, of {allowed} within "
        f"the limits ({searched} searched).",
        headline(count),
    ]


def realised(row: SearchRow, saving: RealisedSaving, baseline_ms: float) -> list[str]:
    """What the pick is worth in time: measured in turns with the baseline."""
    assert row.latency_ms is not None
    low, high = saving.interval
    ms = f"{show_ms(row.latency_ms)} ms against the baseline's {show_ms(baseline_ms)}, measured in turns"
    if not saving.significant:
        return [
            f"Is it faster here? Not by more than chance: {ms} ({saving.value:+.1f} % less [{low:.1f}, {high:.1f}])."
        ]
    word, value = ("less", saving.value) if saving.value > 0 else ("more", -saving.value)
    ends = (low, high) if saving.value > 0 else (-high, -low)
    answer = "Yes" if saving.value > 0 else "No"
    return [f"Is it faster here? {answer}: {ms}, {value:.1f} % {word} [{ends[0]:.1f}, {ends[1]:.1f}]."]


def prediction(error: PredictionError, where: str, others_cpu_pct: float | None) -> list[str]:
    """How far predicted milliseconds are off, and where they are of."""
    from proscale_bench.analysis.compare import BUSY_PCT

    ranks = "" if error.rank_correlation is None else f", rank correlation {error.rank_correlation:.3f}"
    lines = [
        f"ms: {PREDICTED} predicted, else measured · each of {error.models} profiled models, predicted from the "
        f"others, is off by {error.median_pct:.1f} % (median), {error.p95_pct:.1f} % (95th percentile){ranks}",
        where,
    ]
    if others_cpu_pct is not None and others_cpu_pct > BUSY_PCT:
        lines.append(
            f"other programs used {others_cpu_pct:.0f} % of the processors meanwhile: profile again with --anew"
        )
    return lines


def footer(found: Found, shown: int) -> list[str]:
    """What the numbers are."""
    request = found.request
    lines = [
        CAPACITY + ": a stand-in where no accuracy is known",
        f"{shown} of {len(found.rows)} points of the frontier are shown: no candidate has more for less "
        f"(beats: how many cost as much or more for no more)",
        f"{show_mac('mac')} · rules {request.rules.name} · {request.size} · token layers: at most {request.max_layers}",
    ]
    return (
        lines
        if shown < len(found.rows)
        else [lines[0], lines[1].replace(f"{shown} of {shown}", f"all {shown}"), lines[2]]
    )


def markdown(found: Found, rows: Sequence[SearchRow]) -> str:
    """The same as Markdown."""
    lines = markdown_tables([table(found, rows)])
    lines += [f"- {line}" for line in headlines(found)]
    lines += ["", *(f"<sub>{line}</sub>  " for line in footer(found, len(rows)))]
    return "\n".join(lines) + "\n"
