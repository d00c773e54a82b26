"""The vocabulary of costs: operators, the quantities of an input's size that they grow with, and tables of both.

A model's cost is linear in a few quantities of its input's size, so a part of a model is a table of coefficients by
(operator, quantity). One multiply-accumulate is 1. Rule sets (`cost/rules.py`) decide later what an operator is worth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import NamedTuple, Protocol


class Operator(str, Enum):
    """A kind of operation, and what one count of it is."""

    # products: one multiply-accumulate is 1 (2 in the convention "flop")
    CONV = "conv"
    LINEAR = "linear"
    MATMUL = "matmul"  # both products of Swin's window attention, and of RT-DETR's places and frequencies
    BMM = "bmm"  # the decoder's self-attention, and A.V of its masked cross-attention
    MASKED_QK = "masked_qk"  # Q.K^T of the masked cross-attention: aten::baddbmm in the official code
    MASK_EINSUM = "mask_einsum"  # mask embeddings times mask features
    SEMANTIC_EINSUM = "semantic_einsum"  # class probabilities times masks, in post-processing
    WEIGHTED_SUM = "weighted_sum"  # attention weights times sampled values, in deformable attention
    FUSED_ATTENTION = "fused_attention"  # both products of an attention that is one call in the official code too
    DEFORM_CONV = "deform_conv"  # the products of a deformable convolution
    EINSUM = "einsum"  # an einsum of a model that is not ours
    MATRIX_VECTOR = "matrix_vector"  # a matrix times one vector, which neither torch's nor fvcore's counter sees
    ELEMENTWISE_PRODUCT = "elementwise_product"  # of two tensors, in a model that is not ours
    # fixed amounts an output element
    BATCH_NORM = "batch_norm"  # 2
    GROUP_NORM = "group_norm"  # 5
    LAYER_NORM = "layer_norm"  # 5
    GRID_SAMPLER = "grid_sampler"  # 4
    UPSAMPLE_BILINEAR2D = "upsample_bilinear2d"  # 4
    UPSAMPLE_NEAREST2D = "upsample_nearest2d"  # 1
    AVERAGE_POOL = "average_pool"  # 1 an input element: adaptive average pooling, which fvcore counts
    GATING = "gating"  # 1: a product of gate and token, or of gate and channel

    def __str__(self) -> str:
        return self.value


class Sides(NamedTuple):
    """One image's sizes in pixels: padded, as the network sees it, and of the masks that post-processing makes."""

    height_px: int
    width_px: int
    output_height_px: int
    output_width_px: int


class Quantity(Protocol):
    """A number that follows from an image's size. Frozen and hashable, since it is the key of a table."""

    def __hash__(self) -> int: ...

    def at(self, sides: Sides) -> int:
        """The quantity of one image."""


@dataclass(frozen=True)
class One:
    """The quantity of all that does not depend on the size."""

    def at(self, sides: Sides) -> int:
        return 1


@dataclass(frozen=True)
class Tokens:
    """The places of a feature map at a stride, rounded up: ceil(height / stride) * ceil(width / stride).

    Args:
        stride: in pixels of the padded input.
        window: side of the windows that the map is padded to, in places (Swin's attention).
    """

    stride: int
    window: int = 1

    def at(self, sides: Sides) -> int:
        side_px = self.stride * self.window
        return -(-sides.height_px // side_px) * -(-sides.width_px // side_px) * self.window**2


@dataclass(frozen=True)
class Squared:
    """The square of another quantity: self-attention over all tokens."""

    of: Quantity

    def at(self, sides: Sides) -> int:
        return self.of.at(sides) ** 2


@dataclass(frozen=True)
class Together:
    """The sum of other quantities: the tokens of all levels."""

    of: tuple[Quantity, ...]

    def at(self, sides: Sides) -> int:
        return sum(quantity.at(sides) for quantity in self.of)


@dataclass(frozen=True)
class Kept:
    """A share of another quantity, of each image rounded up: the tokens that retention keeps."""

    of: Quantity
    share: float

    def at(self, sides: Sides) -> int:
        return kept_number(self.of.at(sides), *decimal_ratio(self.share))


def decimal_ratio(share: float) -> tuple[int, int]:
    """Numerator and denominator of a share in the decimals that it is written with: of 0.1, 1 and 10."""
    return Fraction(repr(share)).as_integer_ratio()


def kept_number(number: int, numerator: int, denominator: int) -> int:
    """The share of a number, rounded up: a tenth of 30 is 3, and of 31 it is 4."""
    return -(-number * numerator // denominator)


@dataclass(frozen=True)
class OutputPixels:
    """The pixels of the masks that post-processing makes."""

    def at(self, sides: Sides) -> int:
        return sides.output_height_px * sides.output_width_px


@dataclass(frozen=True)
class Einsum:
    """One einsum: `macs` products at each of `places`. Rule sets may round it, so it is a quantity by itself."""

    macs: int
    places: Quantity

    def at(self, sides: Sides) -> int:
        return self.macs * self.places.at(sides)


class Terms(Counter[tuple[Operator, Quantity]]):
    """The coefficients of one part of a model, by operator and quantity."""

    def add(self, operator: Operator, amount: int, quantity: Quantity) -> None:
        """Add `amount` counts of an operator for every unit of a quantity; none leave no entry."""
        if amount:
            self[operator, quantity] += amount


def terms(*entries: tuple[Operator, int, Quantity]) -> Terms:
    """The table of some (operator, amount, quantity)."""
    table = Terms()
    for operator, amount, quantity in entries:
        table.add(operator, amount, quantity)
    return table
