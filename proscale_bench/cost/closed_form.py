"""The whole model's FLOPs in closed form, exact, without torch.

`terms.py` writes each part down as coefficients by operator and quantity; rules turn them into one coefficient a
quantity; and a count is a dot product with the size's quantities. A set of images is counted by summing its quantities
first. Integers to the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from operator import mul
from typing import NamedTuple

from proscale_bench.config.architecture import Architecture, Swin
from proscale_bench.cost.geometry import COCO_SIZES, InputSize, SizeGroup, parse_size
from proscale_bench.cost.rules import Convention, Operator, Rules
from proscale_bench.cost.terms import TOKENS_OF, Quantity, Terms, layer_terms, part_terms
from proscale_bench.specs.encoders.staged import LEVELS, Schedule

Quantities = tuple[int, ...]  # indexed by `Quantity`


class PartFlops(NamedTuple):
    """Integer FLOPs of every part, summed over the images of a size. The parts add up exactly."""

    layers: tuple[int, ...]
    backbone: int
    encoder_projection: int
    encoder_recalibration: int
    pixel_embedding: int
    fpn_upsampling: int
    transformer_decoder: int
    postprocessing: int

    @property
    def encoder_token_layers(self) -> int:
        return sum(self.layers)

    @property
    def encoder(self) -> int:
        """The whole pixel decoder: what the papers call the encoder."""
        return self.encoder_projection + self.encoder_recalibration + self.encoder_token_layers + self.pixel_embedding

    @property
    def total(self) -> int:
        return self.backbone + self.encoder + self.fpn_upsampling + self.transformer_decoder

    @property
    def total_with_postprocessing(self) -> int:
        return self.total + self.postprocessing


PARTS = PartFlops._fields[1:]  # those of one row each; the token layers are a row a layer


class ClosedForm:
    """The cost of one model under one rule set, ready to be evaluated at any size.

    Args:
        architecture: backbone and head.
        schedule: of the encoder.
        rules: which operators count.
        convention: `flop` counts a multiply-accumulate twice.
        as_executed: after the exact rewrites of inference, and not as the papers count (see `terms.part_terms`).
    """

    def __init__(
        self,
        architecture: Architecture,
        schedule: Schedule,
        rules: Rules,
        convention: Convention = "mac",
        as_executed: bool = False,
    ) -> None:
        self.rules = rules
        self.convention: Convention = convention
        self.as_executed = as_executed
        self.terms = part_terms(architecture, schedule, as_executed)
        self.layer_terms = layer_terms(architecture.head, schedule)
        head, backbone = architecture.head, architecture.backbone
        self._window = backbone.window if isinstance(backbone, Swin) else None
        self._mask_macs = head.queries * head.width  # a pixel at stride 4
        self._semantic_macs = head.queries * head.num_classes  # an output pixel
        self._parts = tuple(tuple(self._coefficients(self.terms[part]).items()) for part in PARTS)
        # A token layer's cost is in proportion to the tokens alone.
        self._layers = tuple(self._coefficients(terms)[Quantity.TOKENS] for terms in self.layer_terms)

    def count(self, size: InputSize) -> PartFlops:
        """FLOPs by part, summed over the size's images."""
        quantities = self.quantities(size)
        tokens = quantities[Quantity.TOKENS]
        return PartFlops(
            tuple([factor * tokens for factor in self._layers]),
            *[sum([factor * quantities[q] for q, factor in part]) for part in self._parts],
        )

    def by_operator(self, size: InputSize) -> dict[str, Counter[Operator]]:
        """FLOPs of every part by operator; the token layers under `encoder_token_layers`.

        Operators that the rules leave out are not listed: see `uncounted`.
        """
        quantities = self.quantities(size)
        table: dict[str, Counter[Operator]] = {}
        for part, terms in self._named_terms():
            row = table.setdefault(part, Counter())
            for (operator, quantity), amount in terms.items():
                if factor := self.rules.factor(operator, self.convention):
                    row[operator] += factor * amount * quantities[quantity]
        return table

    def uncounted(self, size: InputSize) -> Counter[Operator]:
        """What the model runs and the rules leave out, in each operator's own amount (see `Operator`)."""
        quantities = self.quantities(size)
        left_out: Counter[Operator] = Counter()
        for _, terms in self._named_terms():
            for (operator, quantity), amount in terms.items():
                if operator not in self.rules.counted:
                    left_out[operator] += amount * quantities[quantity]
        return +left_out

    def quantities(self, size: InputSize) -> Quantities:
        """The size's quantities, indexed by `Quantity`, summed over its images."""
        model = (self._window, self._mask_macs, self._semantic_macs, self.as_executed)
        if size.name in COCO_SIZES:
            return _coco_quantities(size.name, model, self.rules)
        return _sum_quantities(size.groups, model, self.rules)

    def _named_terms(self) -> Iterator[tuple[str, Terms]]:
        yield from self.terms.items()
        for terms in self.layer_terms:
            yield "encoder_token_layers", terms

    def _coefficients(self, terms: Terms) -> Counter[Quantity]:
        """Terms under the rules: one factor a quantity."""
        coefficients: Counter[Quantity] = Counter()
        for (operator, quantity), amount in terms.items():
            coefficients[quantity] += amount * self.rules.factor(operator, self.convention)
        return coefficients


# Of a model: its window, the products of a pixel at stride 4 and of an output pixel, and whether it is as executed.
Model = tuple[int | None, int, int, bool]


@lru_cache(maxsize=64)
def _coco_quantities(name: str, model: Model, rules: Rules) -> Quantities:
    """What depends on the size, the backbone's window and the head alone is computed once for all schedules."""
    return _sum_quantities(parse_size(name).groups, model, rules)


def _sum_quantities(groups: tuple[SizeGroup, ...], model: Model, rules: Rules) -> Quantities:
    if len(groups) == 1 and groups[0].images == 1:
        return _quantities(groups[0], model, rules)
    images = [group.images for group in groups]
    columns = zip(*[_quantities(group, model, rules) for group in groups], strict=True)
    return tuple([sum(map(mul, images, column)) for column in columns])


def _quantities(group: SizeGroup, model: Model, rules: Rules) -> Quantities:
    """The quantities of one image, in the order of `Quantity`."""
    window, mask_macs, semantic_macs, as_executed = model
    height, width = group.padded_height_px, group.padded_width_px
    tokens = height * width // 1024
    output_px = group.output_height_px * group.output_width_px
    windowed = [0, 0, 0, 0]
    if window is not None:
        sides = [stride * window for stride in (4, 8, 16, 32)]  # of a window, in pixels of the input
        windowed = [-(-height // side) * -(-width // side) * window * window for side in sides]
    return (
        1,
        tokens,
        *windowed,
        rules.einsum(mask_macs * TOKENS_OF["res2"] * tokens),
        rules.einsum(semantic_macs * output_px),
        output_px,
        *([rules.einsum(mask_macs * TOKENS_OF[level] * tokens) for level in LEVELS] if as_executed else [0, 0, 0]),
    )
