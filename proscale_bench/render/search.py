"""The answer of a search: a table of the frontier, sentences, Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proscale_bench.cost.search import CAPACITY, STRIDES
from proscale_bench.render.flops import headline, model_of
from proscale_bench.render.table import Row, Table, markdown_tables, markdown_text
from proscale_bench.units import show_difference, show_gflops, show_mac, show_ms, show_reduction, show_tokens

if TYPE_CHECKING:
    from proscale_bench.analysis.search import Found, SearchRow
    from proscale_bench.analysis.search_accuracy import Advice
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
    """The sentence on the time that the pick saves, measured in turns with the baseline."""
    assert row.latency_ms is not None
    answer = "Yes" if saving.value > 0 else "No"
    if saving.verdict == "not significant":
        answer = "Not by more than chance"
    elif saving.verdict == "too few samples":
        answer += ", by few rounds, and --max-seconds takes more"
    low, high = saving.interval
    ms = f"{show_ms(row.latency_ms)} ms against the baseline's {show_ms(baseline_ms)}, measured in turns"
    return [f"Is it faster here? {answer}: {ms}, {saving.value:.1f} % of the time saved [{low:.1f}, {high:.1f}]."]


def prediction(error: PredictionError, where: str, others_cpu_pct: float | None) -> list[str]:
    """The error of predicted milliseconds, and the machine they are of."""
    from proscale_bench.analysis.significance import BUSY_PCT

    ranks = "" if error.rank_correlation is None else f", rank correlation {error.rank_correlation:.3f}"
    lines = [
        f"ms: {PREDICTED} predicted, else measured · {error.models} profiled models that lie between others, each "
        f"predicted from these, are off by {error.median_pct:.1f} % (median), {error.p95_pct:.1f} % (95th percentile)"
        f"{ranks}",
        where,
    ]
    if others_cpu_pct is not None and others_cpu_pct > BUSY_PCT:
        lines.append(
            f"other programs used {others_cpu_pct:.0f} % of the processors meanwhile: profile again with --anew"
        )
    return lines


def footer(found: Found, shown: int) -> list[str]:
    """The convention, the rules and the size of the numbers."""
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


def accuracies(advice: Advice) -> Table:
    """The encoders whose accuracy is known, the cheapest first."""
    title = advice.metric.title
    header = ("", "total", "", "capacity", title, f"{title} against baseline", "95 % interval")
    rows = []
    for one in advice.known:
        difference = "" if one.difference is None else show_difference(one.difference)
        interval = "[{:+.1f}, {:+.1f}]".format(*one.interval) if one.interval else ""
        total, saved = show_gflops(one.count.gflops["total"]), show_reduction(one.count.reduction_pct["total"])
        found = (f"{100 * one.capacity:.1f}%", f"{one.value:.2f}", difference, interval)
        rows.append(Row(one.count.variant, (total, saved, *found)))
    return Table(f"Known accuracies on {advice.data}", header, tuple(rows), spare=(3,))


def advised(advice: Advice) -> list[str]:
    """The cheapest that is good enough, what to train next, and how far capacity is to be trusted."""
    within = (
        f"within {advice.within:g} point{'' if advice.within == 1 else 's'} of the baseline's {advice.metric.title}"
    )
    if (one := advice.cheapest) is None or one.difference is None:
        lines = [f"No cheaper one of known accuracy is {within}."]
    else:
        saved = show_reduction(one.count.reduction_pct["total"])
        line = f"{one.count.variant} is the cheapest {within}: {show_difference(one.difference)} points at {saved}"
        if one.interval is None:
            lines = [f"{line}; how sure that is, nothing tells."]
        else:
            sure = (
                "is all within"
                if one.interval[0] >= -advice.within
                else "reaches beyond: more images or trainings tell"
            )
            lines = [f"{line}; the interval [{one.interval[0]:+.1f}, {one.interval[1]:+.1f}] {sure}."]
    if (row := advice.train_next) is not None:
        than = advice.cheapest.count.variant if advice.cheapest else "the baseline"
        lines.append(
            f"Train next: {row.count.variant}, the most capacity of what is cheaper than {than} and not evaluated yet."
        )
    if advice.agreement is not None:
        lines.append(
            f"Capacity ranks these {len(advice.known)} as their {advice.metric.title} does with a correlation of "
            f"{advice.agreement:.2f}."
        )
    return lines


def markdown(tables: Sequence[Table], answers: Sequence[str], notes: Sequence[str]) -> str:
    """The same as Markdown."""
    lines = [*markdown_tables(tables, markdown_text), *(f"- {markdown_text(line)}" for line in answers)]
    return "\n".join([*lines, "", *(f"<sub>{markdown_text(line)}</sub>  " for line in notes)]) + "\n"
