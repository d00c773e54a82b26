"""Predicts the latency of encoders on this device, from a few that were profiled in turns.

The parts of all models come from a small stock: a token layer over res5, a 3x3 convolution. So every part is taken as
long as its like took in the profiles, and one that was in none of them as its operators took there: a straight line in
its terms, fitted by part. The whole is a straight line in the sum of its parts, since between them there is more.

How far that is off is found by leaving each profiled model out in its turn, and predicting it from the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from proscale_bench.results.statistics import PredictionError, prediction_error
from proscale_bench.specs.model import POSTPROCESSING, ModelSpec, leaves
from proscale_bench.specs.terms import Operator, Quantity, Sides, Terms
from proscale_bench.units import GIGA

Signature = frozenset[tuple[tuple[Operator, Quantity], int]]
Key = tuple[str, Signature]  # the part, token layers being one kind; and its terms

FEW = 3  # parts of a kind
FADING = 0.35  # so that of today's families all but the gate are profiled twice or more


@dataclass(frozen=True)
class ProfiledModel:
    """A model that was profiled: milliseconds of the whole, and of each part by its name."""

    spec: ModelSpec
    whole_ms: float
    parts_ms: Mapping[str, float]


class LatencyModel:
    """Milliseconds of one image, by an encoder's terms.

    Args:
        profiled: two models or more.
        sides: of the image.
        as_executed: they ran with the exact optimizations of inference.
    """

    def __init__(self, profiled: Sequence[ProfiledModel], sides: Sides, as_executed: bool = True) -> None:
        self.profiled, self.sides, self.as_executed = tuple(profiled), sides, as_executed
        times: dict[Key, list[float]] = {}
        tables: dict[Key, Terms] = {}
        for one in profiled:
            for name, key, table in keyed_parts(one.spec, as_executed):
                if name in one.parts_ms:
                    times.setdefault(key, []).append(one.parts_ms[name])
                    tables[key] = table
        self._times = {key: statistics.median(found) for key, found in times.items()}
        self._lines = {kind: self._line(kind, tables) for kind in {kind for kind, _ in tables}}
        points = [(self._sum(one.spec), one.whole_ms) for one in profiled]
        # Theil's line: the median of all slopes, which one bad profile does not move.
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if a[0] != b[0]]
        self.slope = statistics.median(slopes or [1.0])
        self.base_ms = statistics.median([whole - self.slope * parts for parts, whole in points])

    def ms(self, spec: ModelSpec) -> float:
        """The latency of a model's one image, in milliseconds."""
        return self.base_ms + self.slope * self._sum(spec)

    @cached_property
    def error(self) -> PredictionError:
        """Each profiled model predicted from all others, but for those at the ends, as no candidate is beyond them."""
        inside, all_pairs = [], []
        for place, one in enumerate(self.profiled):
            others = LatencyModel([*self.profiled[:place], *self.profiled[place + 1 :]], self.sides, self.as_executed)
            all_pairs.append((others.ms(one.spec), one.whole_ms))
            inside += all_pairs[-1:] if others.reaches(one.spec) else []
        return prediction_error(inside if len(inside) > 1 else all_pairs)

    def knows(self, spec: ModelSpec) -> bool:
        """Every part of a model has its like among those profiled."""
        return all(key in self._times for _, key, _ in keyed_parts(spec, self.as_executed))

    def reaches(self, spec: ModelSpec) -> bool:
        """Every part of a model does as much work as its like among those profiled, or between two of them."""
        for _, key, _ in keyed_parts(spec, self.as_executed):
            known = [_work(other, self.sides) for other in self._times if other[0] == key[0]]
            if not known or not min(known) <= _work(key, self.sides) <= max(known):
                return False
        return True

    def _sum(self, spec: ModelSpec) -> float:
        return sum(self._part_ms(key, table) for _, key, table in keyed_parts(spec, self.as_executed))

    def _part_ms(self, key: Key, table: Terms) -> float:
        if (found := self._times.get(key)) is not None:
            return found
        alike = [(known, ms) for known, ms in self._times.items() if known[0] == key[0]]
        if 0 < len(alike) < FEW:  # too few for a line in all terms
            return _by_work([(_work(known, self.sides), ms) for known, ms in alike], _work(key, self.sides))
        operators, weights = self._lines.get(key[0]) or self._all_parts
        return sum(weight * x for weight, x in zip(weights, self._features(operators, table), strict=True))

    def _features(self, operators: Sequence[Operator], table: Terms) -> list[float]:
        """One call, and the amount of each operator in G."""
        amounts = dict.fromkeys(operators, 0)
        for (operator, quantity), amount in table.items():
            amounts[operator] = amounts.get(operator, 0) + amount * quantity.at(self.sides)
        return [1.0, *(amounts[operator] / GIGA for operator in operators)]

    def _line(self, kind: str | None, tables: Mapping[Key, Terms]) -> tuple[tuple[Operator, ...], tuple[float, ...]]:
        """Milliseconds of a call and of each operator's G, none below zero, in the parts of a kind or of all (None)."""
        import numpy as np
        from scipy.optimize import nnls

        own = [(key, table) for key, table in tables.items() if kind in (None, key[0])]
        operators = tuple(dict.fromkeys(operator for _, table in own for operator, _ in table))
        rows = np.array([self._features(operators, table) for _, table in own])
        times = np.array([self._times[key] for key, _ in own])
        if not own:
            return (), (0.0,)
        weights, _ = nnls(rows / times[:, None], np.ones(len(times)))  # relative errors
        return operators, tuple(map(float, weights))

    @cached_property
    def _all_parts(self) -> tuple[tuple[Operator, ...], tuple[float, ...]]:
        """The line of all parts, for a kind that was in no profile."""
        tables = {
            key: table
            for one in self.profiled
            for _, key, table in keyed_parts(one.spec, self.as_executed)
            if key in self._times
        }
        return self._line(None, tables)


def keyed_parts(spec: ModelSpec, as_executed: bool = True) -> Iterator[tuple[str, Key, Terms]]:
    """The leaves of a model but for post-processing that cost something: the name, what parts that are alike share, and
    the terms."""
    terms = spec.terms(as_executed) or {}
    for part in leaves(spec.parts):
        if part.name != POSTPROCESSING and (table := terms.get(part.name)):
            kind = part.of if part.numbered and part.of else part.name
            yield part.name, (kind, frozenset(table.items())), table


def _work(key: Key, sides: Sides) -> int:
    """All that a part counts, at a size."""
    return sum(amount * quantity.at(sides) for (_, quantity), amount in key[1])


def _by_work(points: Sequence[tuple[int, float]], work: int) -> float:
    """Milliseconds of a part by its work alone, from one or two others of its kind: (work, ms).

    On the line through both, which begins at what a call takes whatever its work; in proportion to the nearest where
    there is one alone, or where that line would begin below zero or fall.
    """
    (least, least_ms), (most, most_ms) = min(points), max(points)
    if least < most:
        slope = (most_ms - least_ms) / (most - least)
        if slope >= 0 and (call_ms := least_ms - slope * least) >= 0:
            return call_ms + slope * work
    near, ms = min(points, key=lambda point: abs(point[0] - work))
    return ms * work / near


def choose(families: Sequence[Sequence[ModelSpec]], first: ModelSpec, number: int, sides: Sides) -> list[ModelSpec]:
    """The models to profile: first those whose parts are new and most others' too, then those whose
    parts are the most unlike known ones of their kind, and cost most.

    Args:
        families: what may be chosen; a family of four times as many has twice the say.
        first: the baseline, which is chosen too.
        sides: of the image that costs are of.
    """
    keys: dict[ModelSpec, dict[Key, float]] = {}  # with the logarithm of its work
    shared: dict[Key, float] = {}
    for family in ([first], *families):
        for one in family:
            keys[one] = {key: math.log1p(_work(key, sides)) for _, key, _ in keyed_parts(one)}
            for key in keys[one]:
                shared[key] = shared.get(key, 0.0) + len(family) ** -0.5
    chosen, seen = [first], dict(keys[first])

    def worth(one: ModelSpec) -> tuple[float, float, float]:
        known: dict[str, list[float]] = {}
        for (kind, _), work in seen.items():
            known.setdefault(kind, []).append(work)
        new = {key: work for key, work in keys[one].items() if key not in seen}
        # Of a kind that is known in many sizes, one more tells little.
        told = sum(shared[key] / (1 + len(known.get(key[0], ()))) ** FADING for key in new)
        unlike = sum(
            min((abs(work - other) for other in known.get(kind, ())), default=0) for (kind, _), work in new.items()
        )
        return told, unlike, sum(new.values())

    while len(chosen) < min(number, len(keys)):
        chosen.append(max((one for one in keys if one not in chosen), key=worth))
        seen |= keys[chosen[-1]]
    return chosen
