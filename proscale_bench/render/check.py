"""The findings of budgets in words: lines for the terminal, Markdown and JSON. Pure functions of findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isclose
from typing import TYPE_CHECKING, Any

from proscale_bench.config.budget import AGAINST
from proscale_bench.results.metrics import METRICS
from proscale_bench.units import printable, show_difference, show_share

if TYPE_CHECKING:
    from proscale_bench.analysis.budgets import Finding
    from proscale_bench.analysis.explain import Explanation
    from proscale_bench.config.limit import Limit

MARKS = {"kept": "ok", "exceeded": "EXCEEDED", "unknown": "UNKNOWN"}
MARKDOWN_HEADER = ("", "configuration", "metric", "found", "expected")
STYLES = {  # of the text on a terminal
    r"(?m)^(  EXCEEDED|  UNKNOWN|error:)": "bold red",
    r"(?m)^(  warning |warning:)": "bold yellow",
    r"(?m)^  ok ": "green",
}


def where(finding: Finding) -> str:
    """The configuration that a limit is on: a model at a size, or on data."""
    return finding.configuration


def lines(findings: Sequence[Finding]) -> list[str]:
    """One line for each limit, below its configuration."""
    shown: list[str] = []
    last, width = None, max([19, *(len(finding.limit.metric) for finding in findings)])
    for finding in findings:
        configuration = where(finding)
        if configuration != last:
            shown.append(printable(configuration))
            last = configuration
        found, _ = numbers(finding)
        word = MARKS[finding.status] if finding.status == "kept" or finding.failed else "warning"
        shown.append(f"  {word:8}  {finding.limit.metric:{width}}  {found or '–':>10}  {expected(finding)}")
    return shown


def details(finding: Finding, found: Explanation | None = None) -> list[str]:
    """All that is known of a limit that is not kept: where, expected, found, by how much, samples, what to edit, and
    what changed since it was."""
    limit = finding.limit
    level = "error" if finding.failed else "warning"
    shown = [f"{level}: {printable(limit.at)}: {limit.metric} of {where(finding)}", f"  expected  {expected(finding)}"]
    if finding.found is not None:
        shown.append(f"  found     {_found(finding)}")
    if finding.status == "exceeded":
        shown.append(f"  excess    {excess(finding)}")
    if finding.why:
        shown.append(f"  unknown   {printable(finding.why)}")
    return shown + notes(finding, found)


def notes(finding: Finding, found: Explanation | None = None) -> list[str]:
    """The lines below a finding: samples, a hint, the place to edit, and what changed since the limit was kept."""
    shown = []
    if finding.samples:
        shown.append(f"  samples   {' '.join(f'{sample:.4g}' for sample in finding.samples)}")
    if finding.advice:
        shown.append(f"  hint      {printable(finding.advice)}")
    return [*shown, f"  edit      {edit(finding)}", *(explanation(finding, found) if found else [])]


def message(finding: Finding) -> str:
    """A finding in one line."""
    limit = finding.limit
    what = f"{limit.metric} of {where(finding)}"
    if finding.status == "unknown":
        return printable(f"{what}: expected {expected(finding)}: {finding.why}")
    verdict = "kept"
    if finding.status == "exceeded":
        verdict = f"{excess(finding)} too {'much' if finding.is_ceiling else 'little'}"
    return printable(f"{what}: expected {expected(finding)}, found {_found(finding)}: {verdict}")


def expected(finding: Finding) -> str:
    """The bound in words: `at most 63.5 GFLOPs`, `at most 64.11 GFLOPs, 1 % above the record's 63.47`; and by how much
    it is exceeded where that does not count."""
    words = _bound(finding)
    if not finding.tolerated:
        return words
    assert finding.excess is not None
    amount = f"{finding.excess:.2g} points" if finding.metric.in_points else show_share(finding.excess_pct or 0)
    why = "not significant" if finding.by_chance else f"below min_change {finding.limit.min_change:g}"
    return f"{words}; {amount} {'more' if finding.is_ceiling else 'less'}, {why}"


def _bound(finding: Finding) -> str:
    limit = finding.limit
    side = "at most" if finding.is_ceiling else "at least"
    on = f" on {limit.device}" if device(limit) else ""
    if limit.against is None:
        return f"{side} {_written(limit.value)}{unit(finding)}{on}"
    direction = "above" if finding.is_ceiling == (limit.value >= 0) else "below"
    base = f"that of {'the ' if limit.against in AGAINST else ''}{printable(limit.against)}"
    relative = f"{abs(limit.value):g} % {direction} {base}" if limit.value else base
    if finding.reference is None:
        return f"{side} {relative}{on}"
    bound = f"{numbers(finding)[1]}{unit(finding)}"
    return (
        f"{side} {bound}{on}, {relative}, {show_number(finding, finding.reference)}{_moved(finding, finding.reference)}"
    )


def _moved(finding: Finding, reference: float) -> str:
    """Why a relative bound is not just so many percent from its reference: it follows the baseline, or the ratio of
    rounds where models took turns."""
    if finding.baseline_pct is not None:
        return f" ({show_difference(finding.baseline_pct)}%, as the baseline since)"
    sign = 1 if finding.limit.bound == "max_increase_pct" else -1
    plain = reference + sign * abs(reference) * finding.limit.value / 100
    is_plain = finding.expected is None or isclose(plain, finding.expected, rel_tol=1e-4)
    return "" if is_plain else ", round by round"


def excess(finding: Finding) -> str:
    """The distance from the bound: `3.47 GFLOPs (5.8 %)`."""
    assert finding.excess is not None
    share = f" ({show_share(finding.excess_pct)})" if finding.excess_pct else ""
    return f"{finding.excess:#.3g}{unit(finding)}{share}"


def edit(finding: Finding) -> str:
    """The place to edit where the new number is intended."""
    limit = finding.limit
    place = printable(f"{limit.file}:{limit.line}")
    change = "" if limit.against or finding.found is None else "; 'check --update' writes what was found"
    return f"{place} ({limit.metric}: {limit.bound}: {_written(limit.value)}) if this is meant{change}"


def summary(findings: Sequence[Finding], off: int) -> str:
    """The number of limits that are kept, that failed and that only warn."""
    count = Counter("failed" if one.failed else "warnings" if one.warned else "kept" for one in findings)
    parts = [f"{count['kept']} of {len(findings)} limit{'' if len(findings) == 1 else 's'} kept"]
    parts += [f"{count[kind]} {kind}" for kind in ("failed", "warnings") if count[kind]]
    return ", ".join([*parts, *([f"{off} off"] if off else [])])


def markdown(findings: Iterable[Finding]) -> str:
    """A table for the page of a CI job. Limits that are not kept come first."""
    from proscale_bench.render.table import Row, Table, markdown_table

    order = sorted(findings, key=lambda one: (not one.failed, not one.warned))
    rows = tuple(Row(mark(one), markdown_cells(one)) for one in order)
    return "\n".join(markdown_table(Table("", MARKDOWN_HEADER, rows), "lllrl")) + "\n"


def markdown_cells(finding: Finding) -> tuple[str, ...]:
    """The cells below `MARKDOWN_HEADER`, after the sign. Nothing that a user named is markup."""
    from proscale_bench.render.table import markdown_text

    words, bound = (markdown_text(text) for text in (where(finding), expected(finding)))
    return words, finding.limit.metric, numbers(finding)[0] or "–", bound


def mark(finding: Finding) -> str:
    """A finding as a sign."""
    return "❌" if finding.failed else "⚠️" if finding.warned else "✅"


def row(finding: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    limit = finding.limit
    return {
        "configuration": finding.configuration,
        "schedule": limit.schedule.compact,
        "backbone": limit.backbone,
        "size": limit.size if finding.metric.section != "accuracy" else None,
        "dataset": finding.dataset,
        "images": finding.images,
        "device": device(limit),
        "scope": finding.scope,
        "metric": limit.metric,
        "unit": finding.metric.unit,
        "level": limit.level,
        "status": finding.status,
        "bound": limit.bound,
        "limit": limit.value,
        "min_change": limit.min_change,
        "expected": finding.expected,
        "found": finding.found,
        "excess": finding.excess if finding.status == "exceeded" else None,
        "excess_pct": finding.excess_pct if finding.status == "exceeded" else None,
        "reference": finding.reference,
        "baseline_change_pct": finding.baseline_pct,
        "interval": list(finding.interval) if finding.interval else None,
        "samples": list(finding.samples),
        "source": finding.source or None,
        "unstable": [{"kind": one.kind, "message": one.message, "advice": one.advice} for one in finding.cautions],
        **{name: getattr(limit, name) for name in ("file", "line", "column")},
        "message": message(finding),
        "hint": finding.advice or (edit(finding) if finding.status == "exceeded" else None),
    }


def device(limit: Limit) -> str | None:
    """The device that a limit is on, if it is on one: a cost on paper is on none."""
    return limit.device if METRICS[limit.metric].section != "cost" else None


def unit(finding: Finding) -> str:
    return f" {finding.metric.unit}" if finding.metric.unit else ""


def numbers(finding: Finding) -> tuple[str, str]:
    """The found and the expected number, with as many digits as tell them apart; empty where unknown."""
    values = (finding.found, finding.expected)
    shown = ["" if value is None else show_number(finding, value) for value in values]
    if (finding.status == "exceeded" or finding.tolerated) and shown[0] == shown[1]:
        shown = [repr(value) for value in values]
    return shown[0], shown[1]


def show_number(finding: Finding, value: float) -> str:
    return f"{value:,.2f}" if finding.metric.in_points or abs(value) >= 1 else f"{value:#.3g}"


def _written(value: float) -> str:
    return repr(value).removesuffix(".0")


def _found(finding: Finding) -> str:
    interval = ""
    if finding.interval is not None:
        interval = " [{}, {}]".format(*(show_number(finding, end) for end in finding.interval))
    return f"{numbers(finding)[0]}{unit(finding)}{interval}, {printable(finding.source)}"


def explanation(finding: Finding, found: Explanation) -> list[str]:
    """The changes since the limit was last kept, one line for each part or layer."""
    if found.since is None or found.old is None:
        return ["  since     no record of this configuration keeps the limit"]
    assert finding.found is not None
    record = found.since.record
    head = f"{record.identity.schedule} in {found.since.source} of {record.provenance.created[:10]}"
    change = f"{show_number(finding, found.old)} → {show_number(finding, finding.found)}"
    shown = [f"  since     {printable(head)}, by {record.provenance.tool_version}: {change}{unit(finding)}"]
    for one in found.changes:
        old, new = ("–" if value is None else show_number(finding, value) for value in (one.old, one.new))
        shown.append(f"    {one.name:38}  {old:>9} → {new:>9}  {(one.new or 0) - (one.old or 0):+.3g}")
    return shown


def explanation_row(found: Explanation) -> dict[str, Any] | None:
    """An explanation as JSON."""
    if found.since is None:
        return None
    record = found.since.record
    return {
        "source": found.since.source,
        "created": record.provenance.created,
        "tool_version": record.provenance.tool_version,
        "schedule": record.identity.schedule,
        "old": found.old,
        "changes": [{"name": one.name, "old": one.old, "new": one.new} for one in found.changes],
    }
