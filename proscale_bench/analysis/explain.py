"""The changes since a limit was last kept, by stage and layer. Pure functions of findings and records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from proscale_bench.analysis.budgets import Finding, count
from proscale_bench.analysis.limit_scope import is_of
from proscale_bench.cost.count import FlopCount
from proscale_bench.specs.encoders.parts import TOKEN_LAYERS
from proscale_bench.specs.model import TOTAL

if TYPE_CHECKING:
    from proscale_bench.results.collect import SourcedRecord
    from proscale_bench.results.record import Cost, Layer, Record


@dataclass(frozen=True)
class PartChange:
    """A stage or layer before and after; None where it was not there."""

    name: str
    old: float | None
    new: float | None


@dataclass(frozen=True)
class Explanation:
    """The last record that kept a limit, its value, and what is otherwise now; None where there is no such record."""

    since: SourcedRecord | None
    old: float | None = None
    changes: tuple[PartChange, ...] = ()


def explain(finding: Finding, history: Sequence[SourcedRecord]) -> Explanation:
    """The changes since the newest record of a finding's configuration that kept its limit."""
    kept = [one for one in history if _is_earlier(finding, one.record) and _keeps(finding, one.record)]
    if not kept:
        return Explanation(None)
    since = max(kept, key=lambda one: (one.record.provenance.created, one.record.digest, one.source))
    changes = tuple(change for change in _changes(finding, since.record) if change.old != change.new)
    return Explanation(since, finding.metric.read(since.record), changes)


def _is_earlier(finding: Finding, record: Record) -> bool:
    """A record is of the finding's configuration: on paper, or run and evaluated as the finding's record was."""
    if finding.metric.section == "cost":
        return is_of(finding.limit, record)
    from proscale_bench.results.model_key import model_of
    from proscale_bench.results.record import protocol_of

    now = finding.record
    if now is None:
        return False
    way = [(model_of(one), one.input, one.execution, protocol_of(one)) for one in (record, now)]
    return way[0] == way[1]


def _keeps(finding: Finding, record: Record) -> bool:
    value = finding.metric.read(record)
    if value is None or finding.expected is None:
        return False
    return value <= finding.expected if finding.is_ceiling else value >= finding.expected


def _changes(finding: Finding, old: Record) -> Iterator[PartChange]:
    if finding.metric.section == "cost" and old.cost is not None:
        yield from _cost_changes(finding.metric.name, old.cost, count(finding.limit))
    elif finding.metric.name == "latency_median_ms" and old.profile and finding.record and finding.record.profile:
        before, after = old.profile.stages, finding.record.profile.stages
        for name in dict.fromkeys([*before, *after]):
            medians = [stages[name].latency_median_ms if name in stages else None for stages in (before, after)]
            yield PartChange(name, *medians)


def _cost_changes(metric: str, old: Cost, new: FlopCount) -> Iterator[PartChange]:
    if metric == "params_m":
        for part in dict.fromkeys([*old.params_m, *new.params_m]):
            if part != TOTAL:
                yield PartChange(part, old.params_m.get(part), new.params_m.get(part))
        return
    of = {part.name: part.of for part in old.tree} | {part.name: part.of for part in new.spec.parts}
    leaves = [part for part in of if part not in of.values() and part in {**old.gflops, **new.gflops}]
    inside = [part for part in leaves if of[part] == "encoder" and part != TOKEN_LAYERS.name]
    others = [part for part in leaves if of[part] == TOTAL]
    for part in {"token_layers_gflops": [], "encoder_gflops": inside}.get(metric, inside + others):
        yield PartChange(part, old.gflops.get(part), new.gflops.get(part))
    yield from _layer_changes(old.layers, new)


def _layer_changes(before: Sequence[Layer], new: FlopCount) -> Iterator[PartChange]:
    """Layer by layer, numbered as they are now (those that are gone: as they were), matched by the levels they see."""
    after = new.layers
    matcher = SequenceMatcher(None, [layer.levels for layer in before], [layer.levels for layer in after], False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            for index in range(i_end - i):
                one, other = before[i + index], after[j + index]
                yield PartChange(_layer_name(j + index, other.levels), one.gflops, other.gflops)
            continue
        for index in range(i, i_end):
            yield PartChange(_layer_name(index, before[index].levels), before[index].gflops, None)
        for index in range(j, j_end):
            yield PartChange(_layer_name(index, after[index].levels), None, after[index].gflops)


def _layer_name(index: int, levels: Sequence[str]) -> str:
    return f"token layer {index + 1} ({' + '.join(levels)})"
