"""PEM's pixel decoder: convolutions from coarse to fine, deformable where the pyramid is made, no tokens.

Source: Cavagnero et al. 2024 (PEM: Prototype-based Efficient MaskFormer), section 3.3. Its transformer decoder, which
attends to prototypes, is no part of it: here Mask2Former's follows. The module is `models/encoders/pem.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS, Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import One, Operator, Quantity, Terms, Tokens
from proscale_bench.units import printable

KERNEL = 9  # cells of the 3x3 deformable convolution
OFFSETS = 3 * KERNEL  # channels that say where each cell looks, (dy, dx), and how much it weighs
PROJECTION = replace(parts.PROJECTION, modules=("encoder.projections", "encoder.context"))
MODULATION = Part("encoder_modulation", "self-modulation", "encoder", ("encoder.modulations",))
DEFORM_CONV = Part("encoder_deform_conv", "deformable convolutions", "encoder", ("encoder.deformable",))
UPSAMPLING = Part("encoder_upsampling", "upsampling", "encoder", ("encoder.upsampling",))
MAX_WIDTH = 4096
GRAMMAR = "PEM's decoder is 'pem', half as wide as the head, or 'pem+width:64'"


@dataclass(frozen=True)
class Pem:
    """PEM's pixel decoder: an `EncoderSpec`.

    Its pyramid is narrower than the head, so that the transformer decoder begins with a projection of each level. All
    released configurations are 128 channels wide beside a head of 256; half of the head's width keeps that ratio, as in
    `tiny`, where 32 stand beside 64.

    Args:
        width: channels of the decoder and its pyramid; half of the head's where None.
        name: what the catalogue or file calls it; not part of its identity.

    Raises:
        BenchError: a width that is odd or out of range.
    """

    width: int | None = None
    name: str | None = field(default=None, compare=False)

    encoder = "pem"
    layers: tuple[LayerSpec, ...] = ()
    parts = (PROJECTION, MODULATION, DEFORM_CONV, UPSAMPLING, parts.PIXEL_EMBEDDING)

    def __post_init__(self) -> None:
        if self.width is not None and (self.width % 2 or not 2 <= self.width <= MAX_WIDTH):
            raise BenchError(
                f"pem+width:{self.width}: {self.width} channels is no even number from 2 to {MAX_WIDTH}", GRAMMAR
            )

    @property
    def compact(self) -> str:
        """See `EncoderSpec`."""
        return "pem" if self.width is None else f"pem+width:{self.width}"

    def __str__(self) -> str:
        return self.compact

    def pyramid_width(self, head: Head) -> int:
        """The channels of the pyramid. Mask features are as wide as the head."""
        return self.width or head.width // 2

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """See `EncoderSpec`. As executed, batch norms are folded into the convolutions before them."""
        width, mask_width = self.pyramid_width(head), head.width
        norm = 0 if as_executed else 2  # an element
        projection, modulation, deformable, upsampling, embedding = (Terms() for _ in self.parts)
        places_of: list[Quantity] = [*map(Tokens, FEATURE_STRIDES.values()), One()]
        for c_in, places in zip(
            (*channels, channels[-1]), places_of, strict=True
        ):  # last the context: the mean of res5
            projection.add(Operator.CONV, c_in * width, places)
            projection.add(Operator.BATCH_NORM, norm * width, places)
        for stride in FEATURE_STRIDES.values():
            modulation.add(Operator.CONV, width * width, One())  # to half the width, and back
            modulation.add(Operator.BATCH_NORM, norm * width // 2, One())
            modulation.add(Operator.GATING, width, Tokens(stride))
        for stride in (FEATURE_STRIDES[level] for level in LEVELS):
            deformable.add(Operator.CONV, OFFSETS * KERNEL * width, Tokens(stride))
            deformable.add(Operator.DEFORM_CONV, KERNEL * width * width, Tokens(stride))
            deformable.add(Operator.BATCH_NORM, norm * width, Tokens(stride))
            upsampling.add(Operator.CONV, 16 * width * width, Tokens(stride))  # a kernel of 4x4 at each place of input
            upsampling.add(Operator.BATCH_NORM, norm * width, Tokens(stride // 2))
        embedding.add(Operator.CONV, width * mask_width, Tokens(4))
        embedding.add(Operator.BATCH_NORM, norm * mask_width, Tokens(4))
        tables = (projection, modulation, deformable, upsampling, embedding)
        return {part.name: table for part, table in zip(self.parts, tables, strict=True)}

    def parameters(self, channels: Channels, head: Head) -> int:
        """See `EncoderSpec`."""
        width, mask_width = self.pyramid_width(head), head.width
        projections = sum(c_in * width + 2 * width for c_in in (*channels, channels[-1]))
        modulations = len(FEATURE_STRIDES) * (width * width + width)
        offsets = OFFSETS * KERNEL * width + OFFSETS
        level = offsets + KERNEL * width * width + 2 * width + 16 * width * width + 2 * width
        return projections + modulations + len(LEVELS) * level + width * mask_width + 2 * mask_width


def parse_compact(text: str) -> Pem:
    """Read `pem` or `pem+width:64`.

    Raises:
        BenchError: with the grammar as the hint.
    """
    found = re.fullmatch(r"pem(?:\+width:([0-9]{1,9}))?", text.strip())
    if found is None:
        raise BenchError(f"unknown schedule '{printable(text.strip())}'", GRAMMAR)
    return Pem(int(found[1]) if found[1] else None)
