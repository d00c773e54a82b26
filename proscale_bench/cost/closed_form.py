"""A model's FLOPs in closed form: exact integers, without torch.

A spec writes each of its parts down as coefficients by operator and quantity; rules turn them into one coefficient a
quantity; and a count is a dot product with the size's quantities. A set of images is counted by summing its quantities
first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache

from proscale_bench.cost.geometry import COCO_SIZES, InputSize, SizeGroup, parse_size, unpadded
from proscale_bench.cost.rules import Convention, Rules
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.specs.model import ModelSpec, leaves
from proscale_bench.specs.terms import Einsum, Operator, Quantity, Terms


class ClosedForm:
    """The cost of one model under one rule set, ready to be evaluated at any size.

    Args:
        spec: the model.
        rules: which operators count.
        convention: `flop` counts a multiply-accumulate twice.
        as_executed: after the exact optimizations of inference, and not as the papers count.
        tables: what a trace found, by part; None: what the model itself says.

    Raises:
        BenchError: the model has no closed form (exit code 3).
    """

    def __init__(
        self,
        spec: ModelSpec,
        rules: Rules,
        convention: Convention = "mac",
        as_executed: bool = False,
        tables: Mapping[str, Terms] | None = None,
    ) -> None:
        tables = spec.terms(as_executed) if tables is None else tables
        if tables is None:
            raise BenchError(f"{spec} has no closed form", "its cost can be traced", ExitCode.UNTRUSTED)
        self.rules = rules
        self.convention: Convention = convention
        parts = leaves(spec.parts)
        self.terms = {part.name: tables.get(part.name, Terms()) for part in parts}
        self._row_of = {part.name: (part.of or "") if part.numbered else part.name for part in parts}
        places: dict[Quantity, int] = {}
        self._coefficients = {
            name: tuple((places.setdefault(q, len(places)), factor) for q, factor in self._weighted(table).items())
            for name, table in self.terms.items()
        }
        self._quantities = tuple(places)
        self._rounded = [place for quantity, place in places.items() if isinstance(quantity, Einsum)]

    def count(self, size: InputSize) -> dict[str, int]:
        """FLOPs of every leaf of the model's parts, summed over the size's images."""
        values = self._values(size)
        return {
            part: sum([factor * values[place] for place, factor in coefficients])
            for part, coefficients in self._coefficients.items()
        }

    def _values(self, size: InputSize) -> list[int]:
        """The size's quantities in the order of `_quantities`. One image is the usual case, and thousands are kept."""
        group = size.groups[0]
        if group.images == 1 and len(size.groups) == 1:
            sides = group.sides
            values = [quantity.at(sides) for quantity in self._quantities]
            for place in self._rounded:
                values[place] = self.rules.einsum(values[place])
            return values
        return [quantity_of(quantity, size, self.rules) for quantity in self._quantities]

    def by_operator(self, size: InputSize) -> dict[str, Counter[Operator]]:
        """FLOPs by row and operator; numbered layers under the part that contains them.

        Operators that the rules leave out are not listed: see `uncounted`.
        """
        table: dict[str, Counter[Operator]] = {}
        for part, terms in self._named_terms():
            row = table.setdefault(self._row_of[part], Counter())
            for (operator, quantity), amount in terms.items():
                if factor := self.rules.factor(operator, self.convention):
                    row[operator] += factor * amount * quantity_of(quantity, size, self.rules)
        return table

    def uncounted(self, size: InputSize) -> Counter[Operator]:
        """Operations that the model runs and the rules leave out, in each operator's own amount (see `Operator`)."""
        left_out: Counter[Operator] = Counter()
        for _, terms in self._named_terms():
            for (operator, quantity), amount in terms.items():
                if operator not in self.rules.counted:
                    left_out[operator] += amount * quantity_of(quantity, size, self.rules)
        return +left_out

    def _named_terms(self) -> Iterator[tuple[str, Terms]]:
        """Every leaf's table; numbered layers come last, as in the JSON contract."""
        yield from sorted(self.terms.items(), key=lambda item: self._row_of[item[0]] != item[0])

    def _weighted(self, terms: Terms) -> Counter[Quantity]:
        """A table under the rules: one factor a quantity."""
        coefficients: Counter[Quantity] = Counter()
        for (operator, quantity), amount in terms.items():
            if factor := self.rules.factor(operator, self.convention):
                coefficients[quantity] += amount * factor
        return coefficients


def quantity_of(quantity: Quantity, size: InputSize, rules: Rules | None = None) -> int:
    """A quantity, summed over the size's images; einsums are rounded where the rules say so."""
    rounding = rules if rules and rules.rounds_einsum and isinstance(quantity, Einsum) else None
    if size.name in COCO_SIZES:
        return _of_coco(quantity, size.name, size.pads, rounding)
    return _sum(quantity, size.groups, rounding)


@lru_cache(maxsize=1024)
def _of_coco(quantity: Quantity, name: str, pads: bool, rounding: Rules | None) -> int:
    """Over thousands of images: computed once for all models that share the quantity."""
    size = parse_size(name)
    return _sum(quantity, (size if pads else unpadded(size)).groups, rounding)


def _sum(quantity: Quantity, groups: tuple[SizeGroup, ...], rounding: Rules | None) -> int:
    amounts = [quantity.at(group.sides) for group in groups]
    if rounding is not None:
        amounts = [rounding.einsum(amount) for amount in amounts]
    return sum([amount * group.images for amount, group in zip(amounts, groups, strict=True)])
