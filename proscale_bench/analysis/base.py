"""The numbers of a change beside those of its base branch, as `check --format json` wrote them there.

A number is known again by its configuration as budgets write it, so a schedule file that was edited is still one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from proscale_bench.analysis.budgets import Finding
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file

MAX_BYTES = 64 << 20


class Number(NamedTuple):
    """A number that limits are on, as a key.

    Args:
        scope: how it was counted or found, as JSON.
    """

    configuration: str
    metric: str
    scope: str


class _Row(BaseModel):
    """The part of a row of `check --format json` that is read."""

    configuration: str
    metric: str
    scope: dict[str, Any]
    found: Annotated[float | None, Field(allow_inf_nan=False)]


class _Document(BaseModel):
    results: list[_Row]


@dataclass(frozen=True)
class Moved:
    """A number of the base and of the head; the difference is in points for metrics in percent, else in percent."""

    finding: Finding
    old: float
    new: float

    @property
    def difference(self) -> float | None:
        """None of what was nothing in the base."""
        if self.finding.metric.in_points:
            return self.new - self.old
        return 100 * (self.new / self.old - 1) if self.old else None

    @property
    def better(self) -> bool | None:
        """Whether a count got better; None of what was measured, for which this is not the place to tell."""
        if self.finding.metric.section != "cost":
            return None
        return (self.new < self.old) == (self.finding.metric.better == "lower")

    @property
    def size(self) -> float:
        return inf if self.difference is None else abs(self.difference)


@dataclass(frozen=True)
class BaseComparison:
    """The numbers of the head beside those of the base.

    Args:
        changed: by no less than their limits' `min_change`; counts first, the largest change on top.
        small, same: number of those that changed by less, and that did not.
        added, gone: those that are in one alone.
    """

    changed: tuple[Moved, ...]
    small: int
    same: int
    added: tuple[Number, ...]
    gone: tuple[Number, ...]


def number_of(finding: Finding) -> Number:
    """The key of the number that a finding is about."""
    return Number(finding.configuration, finding.limit.metric, _as_key(finding.scope))


def read_base(path: Path) -> dict[Number, float]:
    """The numbers of a file that `check --format json` wrote.

    Raises:
        BenchError: the file cannot be read, or is none of those.
    """
    try:
        document = _Document.model_validate(json.loads(read_regular_file(path, MAX_BYTES)))
    except (ValidationError, ValueError, RecursionError) as error:
        hint = "write it on the base with: proscale-bench check --format json"
        raise BenchError(f"{path}: not what this version's 'check --format json' writes", hint) from error
    rows = ((Number(row.configuration, row.metric, _as_key(row.scope)), row.found) for row in document.results)
    return {number: found for number, found in rows if found is not None}


def hold_beside(findings: Iterable[Finding], base: Mapping[Number, float]) -> BaseComparison:
    """The fate of every number of the base, and the numbers that are new."""
    head = {number_of(one): (one, one.found) for one in findings if one.found is not None}
    moved = [Moved(one, base[number], found) for number, (one, found) in head.items() if number in base]
    differ = [one for one in moved if one.old != one.new]
    changed = [one for one in differ if one.size >= one.finding.limit.min_change]
    changed.sort(key=lambda one: (one.better is None, -one.size))
    return BaseComparison(
        changed=tuple(changed),
        small=len(differ) - len(changed),
        same=len(moved) - len(differ),
        added=tuple(number for number in head if number not in base),
        gone=tuple(number for number in base if number not in head),
    )


def _as_key(scope: Mapping[str, Any]) -> str:
    return json.dumps(scope, sort_keys=True)
