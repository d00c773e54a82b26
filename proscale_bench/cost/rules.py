"""Rule sets: which operators of a model count, and what each is worth.

The closed form and the tracer both sort every operation into one of these operators; a rule set is only the choice
of those that count, so no formula ever asks which rules are in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proscale_bench.errors import look_up
from proscale_bench.specs.terms import Operator

Convention = Literal["mac", "flop"]
CONVENTIONS: tuple[Convention, ...] = ("mac", "flop")

# Operators whose count is multiply-accumulates.
PRODUCTS = frozenset(
    {
        *(Operator.CONV, Operator.LINEAR, Operator.MATMUL, Operator.BMM, Operator.MASKED_QK, Operator.MASK_EINSUM),
        *(Operator.SEMANTIC_EINSUM, Operator.WEIGHTED_SUM, Operator.FUSED_ATTENTION, Operator.DEFORM_CONV),
        *(Operator.EINSUM, Operator.MATRIX_VECTOR, Operator.ELEMENTWISE_PRODUCT),
    }
)

# Met in the model and counted by no rule set.
NEVER_COUNTED = (
    "softmax",
    "activations",
    "additions",
    "scalings",
    "max-pool",
    "means",
    "sampling and modulation inside deformable convolutions",
    "normalisation of input and locations",
    "unused class heads",
    "panoptic merging",
)


@dataclass(frozen=True)
class Rules:
    """A rule set: the operators that count, and whether einsum products are rounded as fvcore rounds them."""

    name: str
    counted: frozenset[Operator]
    rounds_einsum: bool
    description: str

    def factor(self, operator: Operator, convention: Convention) -> int:
        """The worth of one count of an operator in FLOPs."""
        if operator not in self.counted:
            return 0
        return 2 if convention == "flop" and operator in PRODUCTS else 1

    def einsum(self, macs: int) -> int:
        """The product count of one einsum.

        fvcore reads it from the text of numpy's `einsum_path`, which prints twice the product, plus one, to four
        significant digits, and halves that. (The one decides where the digits are cut exactly in the middle.)
        """
        return int(float(f"{2 * macs + 1:.3e}") // 2) if self.rounds_einsum else macs


_COMPLETE = frozenset(Operator)
# What fvcore has no rule for; `baddbmm` and products by elements among it.
_FVCORE = _COMPLETE - {
    *(Operator.MASKED_QK, Operator.WEIGHTED_SUM, Operator.GATING),
    *(Operator.FUSED_ATTENTION, Operator.DEFORM_CONV, Operator.MATRIX_VECTOR, Operator.ELEMENTWISE_PRODUCT),
}
# What torch's FlopCounterMode knows: no products by elements, and none in an operator of somebody's own.
_MATRIX_PRODUCTS = PRODUCTS - {
    *(Operator.WEIGHTED_SUM, Operator.DEFORM_CONV, Operator.MATRIX_VECTOR, Operator.ELEMENTWISE_PRODUCT),
}

RULES: dict[str, Rules] = {
    "fvcore": Rules("fvcore", _FVCORE, True, "the official method with today's fvcore"),
    # Inferred from the six totals of the Mask2Former paper, which it meets as printed.
    "published": Rules(
        "published",
        _FVCORE - {Operator.GRID_SAMPLER, Operator.SEMANTIC_EINSUM} | {Operator.MASKED_QK},
        True,
        "as the papers' tables were counted: sampling 0, masked Q.K^T counted, post-processing as resizes",
    ),
    "complete": Rules("complete", _COMPLETE, False, "every product of two tensors of data or weights, nothing rounded"),
    "products": Rules(
        "products", _MATRIX_PRODUCTS, False, "matrix products and convolutions alone, as torch's own counter"
    ),
}


def get_rules(name: str) -> Rules:
    """The rule set of a name.

    Raises:
        BenchError: unknown.
    """
    return look_up(RULES, name, "rules")
