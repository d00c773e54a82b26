"""Costs of many encoders in one model at one size, exact and at once.

Encoders of a grid differ in numbers of layers alone, so each of their costs is linear in these: the closed form of a
few of them gives all others by one product of matrices. Where a further few do not fit that, each encoder is counted by
itself. No family is known here.

`capacity` is what a search holds against the cost, where no accuracy is known: see `CAPACITY`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations
from math import prod
from typing import TYPE_CHECKING, Any

from proscale_bench.cost.closed_form import quantity_of
from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import Convention, Rules, get_rules
from proscale_bench.specs.levels import FEATURE_STRIDES
from proscale_bench.specs.model import TOTAL, EncoderSpec, ModelSpec, leaves
from proscale_bench.specs.terms import Quantity, Terms

if TYPE_CHECKING:
    import numpy as np

    from proscale_bench.specs.grid import Grid

    Values = np.ndarray[Any, np.dtype[Any]]

ENCODER = "encoder"
STRIDES = tuple(sorted(FEATURE_STRIDES.values(), reverse=True))  # 32, 16, 8, 4
CAPACITY = (
    "capacity: the geometric mean, in percent of the baseline's, of the encoder's work a place at strides 32, 16, 8 "
    "and 4 (multiply-adds of every product) and of its parameters"
)
# The columns of a count: FLOPs, parameters, products by stride.
TOTAL_AT, ENCODER_AT, PARAMETERS_AT, WORK_AT = 0, 1, 2, 3
ORDER = (*range(WORK_AT, WORK_AT + len(STRIDES)), PARAMETERS_AT)  # of what capacity is the mean of


class Tally:
    """Counts the encoders that a model may have, a row of integers each.

    Args:
        model: the model with an encoder, all else being the same.
        size: one size, or a set of images, over which a count is summed.
        rules, convention: those of the FLOPs.
    """

    def __init__(
        self, model: Callable[[EncoderSpec], ModelSpec], size: InputSize, rules: Rules, convention: Convention = "mac"
    ) -> None:
        self.model, self.size, self.rules, self.convention = model, size, rules, convention
        self._complete = get_rules("complete")
        self._counted: dict[int, tuple[Terms, int, list[int]]] = {}  # by the table's identity: families cache theirs

    def row(self, encoder: EncoderSpec) -> list[int]:
        """FLOPs in all and of the encoder, the encoder's parameters, and its products by stride."""
        spec = self.model(encoder)
        tables = spec.terms()
        assert tables is not None, f"{spec} has no closed form"
        above = {part.name: part.of for part in spec.parts}
        total, of_encoder, work = 0, 0, [0] * len(STRIDES)
        for part in leaves(spec.parts):
            _, flops, products = self._count(tables.get(part.name, EMPTY))
            inside = set(_containers(part.name, above))
            if TOTAL in inside:
                total += flops
            if ENCODER in inside:
                of_encoder += flops
                work = [one + more for one, more in zip(work, products, strict=True)]
        return [total, of_encoder, spec.parameters()[ENCODER], *work]

    def _count(self, table: Terms) -> tuple[Terms, int, list[int]]:
        """A table's FLOPs under the rules, and its products by stride."""
        if (found := self._counted.get(id(table))) is not None:
            return found
        flops, work = 0, [0] * len(STRIDES)
        for (operator, quantity), amount in table.items():
            if factor := self.rules.factor(operator, self.convention):
                flops += factor * amount * quantity_of(quantity, self.size, self.rules)
            if (stride := stride_of(quantity)) is not None:
                worth = self._complete.factor(operator, "mac") * amount * quantity_of(quantity, self.size)
                work[STRIDES.index(stride)] += worth
        self._counted[id(table)] = table, flops, work  # the table is kept, so that nothing else has its identity
        return self._counted[id(table)]


EMPTY = Terms()


def _containers(part: str, above: Mapping[str, str | None]) -> Iterator[str]:
    """The parts that contain a part."""
    while (outer := above[part]) is not None:
        yield (part := outer)


def stride_of(quantity: Quantity) -> int | None:
    """The stride of the places that a quantity counts, one of the backbone's; None where it counts none."""
    while (inner := getattr(quantity, "of", None) or getattr(quantity, "places", None)) is not None:
        quantity = inner
    stride: int | None = getattr(quantity, "stride", None)
    return None if stride is None else max(STRIDES[-1], min(STRIDES[0], stride))


def over_grids(grids: Sequence[Grid], row: Callable[[EncoderSpec], Sequence[float]]) -> Values:
    """A row of numbers for every encoder of the grids, in their order: [N, K]."""
    import numpy as np

    return np.concatenate([_over(grid, row) for grid in grids])


def points_of(grid: Grid) -> Values:
    """The numbers of layers of every encoder of a grid: [N, places]."""
    import numpy as np

    ends = list(combinations(range(1, grid.most + 1), grid.places))
    points: Values = np.diff(np.array(ends, dtype=np.int64).reshape(len(ends), grid.places), prepend=0, axis=1)
    return points


def _over(grid: Grid, row: Callable[[EncoderSpec], Sequence[float]]) -> Values:
    import numpy as np

    points = points_of(grid)
    if len(points) <= grid.places + 1:
        return np.array([row(grid.make(*map(int, point))) for point in points]).reshape(len(points), -1)

    def at(*layers: int) -> Values:
        return np.array(row(grid.make(*layers)))

    ones = [1] * grid.places
    first = at(*ones)
    units = np.eye(grid.places, dtype=np.int64)
    steps = np.array([at(*(ones + unit).tolist()) - first for unit in units])
    values: Values = first + (points - 1) @ steps
    room = grid.most - grid.places
    others = [*(ones + room * units), np.array(ones) + room // grid.places]  # many layers at one place, and at all
    alike = np.allclose if values.dtype == float else np.array_equal
    fits = all(alike(first + (other - 1) @ steps, at(*other.tolist())) for other in others)
    return values if fits else np.array([at(*point) for point in points.tolist()])


@dataclass(frozen=True)
class Candidates:
    """Many encoders in one model, an element each in the order of the grids.

    Args:
        grids: where they come from, with the name of each one's family.
        counts: see `Tally.row`: [N, K], over the size's images.
        baseline: the same row of the model's baseline.
        images: of the size.
    """

    grids: tuple[tuple[str, Grid], ...]
    counts: Values
    baseline: tuple[int, ...]
    images: int

    @cached_property
    def _points(self) -> list[Values]:
        return [points_of(grid) for _, grid in self.grids]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self._points)))

    def encoder(self, index: int) -> EncoderSpec:
        """The encoder of an index."""
        place, within = self._place(index)
        grid = self.grids[place][1]
        return grid.make(*self._points[place][within].tolist())

    def family(self, index: int) -> str:
        """The name of an encoder's family."""
        return self.grids[self._place(index)[0]][0]

    def _place(self, index: int) -> tuple[int, int]:
        place = bisect_right(self._ends, index)
        return place, index - (self._ends[place - 1] if place else 0)

    @cached_property
    def ratios(self) -> Values:
        """Work a place by stride, and parameters, as shares of the baseline's: [N, 5]."""
        import numpy as np

        shares: Values = self.counts[:, ORDER].astype(float) / np.array([self.baseline[place] for place in ORDER])
        return shares

    @cached_property
    def capacity(self) -> Values:
        """See `CAPACITY`; as a share: [N]."""
        import numpy as np

        with np.errstate(divide="ignore"):
            found: Values = np.exp(np.log(self.ratios).mean(axis=1))
        return found


def capacity_of(row: Sequence[int], baseline: Sequence[int]) -> float:
    """The capacity of one encoder, as a share: see `CAPACITY`."""
    return float(prod(row[place] / baseline[place] for place in ORDER) ** (1 / len(ORDER)))


def count_candidates(grids: Sequence[tuple[str, Grid]], tally: Tally, baseline: EncoderSpec) -> Candidates:
    """Count every encoder of some grids, each with the name of its family."""
    counts = over_grids([grid for _, grid in grids], tally.row)
    return Candidates(tuple(grids), counts, tuple(tally.row(baseline)), tally.size.images)


def frontier_of(cost: Values, capacity: Values, allowed: Values) -> list[int]:
    """Indices of the encoders that no other of those allowed beats in cost and capacity, the cheapest first.

    Of equal ones the first is there. `analysis/pareto.py` does the same for a few; this is for many thousands.
    """
    import numpy as np

    index = np.flatnonzero(allowed)
    index = index[np.lexsort((index, -capacity[index], cost[index]))]
    best = np.maximum.accumulate(capacity[index])
    return [int(one) for one in index[np.concatenate([[True], best[1:] > best[:-1]])[: len(index)]]]
