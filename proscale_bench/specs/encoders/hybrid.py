"""RT-DETR's hybrid encoder and Mask2Former's step to stride 4, as data: "RT-M2F", a mapping of ours.

One layer of attention over res5 alone, then a top-down and a bottom-up path of CSP layers. Their RepVGG blocks, a 3x3
and a 1x1 convolution side by side, fold into one 3x3. The pyramid is what the bottom-up path gives, and mask features
come from its finest map and res2, as Mask2Former's do. No public code joins the two.

Source: Zhao et al. 2024 (RT-DETR), section 4.2, and its released code. The module is `models/encoders/hybrid.py`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from proscale_bench.errors import BenchError, did_you_mean, one_of
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.levels import Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import Operator, Squared, Terms, Tokens, terms
from proscale_bench.units import printable

PositionOrder = Literal["token", "official"]

BLOCKS, MOST_BLOCKS = 3, 100  # of a CSP layer
LEAST_EXPANSION, MOST_EXPANSION = 1 / 32, 8.0
RES5, RES4, RES3 = Tokens(32), Tokens(16), Tokens(8)
# One layer of plain attention over res5: nothing to hold against the token layers of others.
ATTENTION = replace(parts.TOKEN_LAYERS, title="attention layer", quoted=False)
TOP_DOWN = Part("encoder_top_down", "top-down path", "encoder", ("encoder.top_down",))
BOTTOM_UP = Part("encoder_bottom_up", "bottom-up path", "encoder", ("encoder.bottom_up",))


@dataclass(frozen=True)
class Hybrid:
    """Attention over res5 and two paths of CSP layers: an `EncoderSpec`.

    Args:
        folded: each RepVGG block is built as the one 3x3 convolution that it folds into.
        position_order: `token` gives every token the position of its own place; `official` counts places down columns
            as the released code does, which is the same for square maps alone.
        pixel_embedding: Mask2Former's 3x3 `conv` at stride 4, PRO-SCALE's `maxpool`, or `depthwise`.
        expansion: channels inside a CSP layer over those of the encoder, rounded down.
        blocks: RepVGG blocks of a CSP layer, round(3 depth_mult) in the released code.
        name: what the catalogue or file calls it; not part of its identity.

    Raises:
        BenchError: an option or number that there is not.
    """

    folded: bool = False
    position_order: PositionOrder = "token"
    pixel_embedding: PixelEmbedding = "conv"
    expansion: float = 1.0
    blocks: int = BLOCKS
    name: str | None = field(default=None, compare=False)

    encoder = "hybrid"
    layers = (LayerSpec(1, ("res5",)),)

    def __post_init__(self) -> None:
        one_of(PositionOrder, self.position_order, "position order")
        one_of(PixelEmbedding, self.pixel_embedding, "pixel embedding")
        if not (math.isfinite(self.expansion) and LEAST_EXPANSION <= self.expansion <= MOST_EXPANSION):
            raise BenchError(
                f"expansion {self.expansion} is not from 1/32 to 8", "RT-DETR uses 1, and 0.5 with ResNet-18"
            )
        if not 0 <= self.blocks <= MOST_BLOCKS:
            raise BenchError(f"{self.blocks} blocks is not a number from 0 to {MOST_BLOCKS}", "RT-DETR uses 3")
        object.__setattr__(self, "expansion", float(self.expansion))
        object.__setattr__(self, "folded", self.folded and self.blocks > 0)

    @property
    def compact(self) -> str:
        """The one canonical spelling; `parse_compact` reads it back to an equal encoder."""
        spelling = "hybrid"
        for option, (key, value) in OPTIONS.items():
            if getattr(self, key) == value != getattr(Hybrid, key):
                spelling += f"+{option}"
        if self.expansion != Hybrid.expansion:
            spelling += f"+expansion:{self.expansion!r}"
        return spelling + (f"+blocks:{self.blocks}" if self.blocks != BLOCKS else "")

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `EncoderSpec`."""
        return (
            parts.PROJECTION,
            ATTENTION,
            *parts.numbered_layers(len(self.layers)),
            TOP_DOWN,
            BOTTOM_UP,
            parts.PIXEL_EMBEDDING,
            parts.FPN_UPSAMPLING,
        )

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """See `EncoderSpec`.

        Args:
            as_executed: blocks are folded, batch norms are folded into convolutions, and positions are kept.
        """
        d = head.width
        projections = zip(channels[1:], (RES3, RES4, RES5), strict=True)
        csp = {n: self._csp_terms(d, n, as_executed) for n in (RES5, RES4, RES3)}
        return {
            parts.PROJECTION.name: _sum(*(parts.conv_norm_terms(1, c, d, n, as_executed) for c, n in projections)),
            "encoder_token_layer_1": attention_terms(d, head.encoder_ffn, as_executed),
            TOP_DOWN.name: _sum(
                *(parts.conv_norm_terms(1, d, d, n, as_executed) for n in (RES5, RES4)),  # laterals
                *(terms((Operator.UPSAMPLE_NEAREST2D, 4 * d, n)) for n in (RES5, RES4)),
                *(csp[n] for n in (RES4, RES3)),
            ),
            BOTTOM_UP.name: _sum(
                *(parts.conv_norm_terms(3, d, d, n, as_executed) for n in (RES4, RES5)),  # downsampling
                *(csp[n] for n in (RES4, RES5)),
            ),
            parts.PIXEL_EMBEDDING.name: parts.pixel_embedding_terms(channels, d, self.pixel_embedding),
            parts.FPN_UPSAMPLING.name: parts.upsampling_terms(d),
        }

    def _csp_terms(self, d: int, n: Tokens, as_executed: bool) -> Terms:
        """A CSP layer over n places: 2d channels to h on two ways, blocks on one, and h to d where they differ."""
        h = self.hidden(d)
        ways = [parts.conv_norm_terms(1, 2 * d, h, n, as_executed)] * 2
        block = [parts.conv_norm_terms(3, h, h, n, as_executed), parts.conv_norm_terms(1, h, h, n, as_executed)]
        if self.folded or as_executed:
            block = [parts.conv_norm_terms(3, h, h, n, norms_folded=True)]
        return _sum(*ways, *block * self.blocks, *([parts.conv_norm_terms(1, h, d, n, as_executed)] if h != d else []))

    def parameters(self, channels: Channels, head: Head) -> int:
        """See `EncoderSpec`."""
        d, ffn, h = head.width, head.encoder_ffn, self.hidden(head.width)
        block = 9 * h * h + h if self.folded else 10 * h * h + 4 * h
        csp = 2 * (2 * d * h + 2 * h) + self.blocks * block + (h * d + 2 * d if h != d else 0)
        return (
            sum(c * d + 2 * d for c in channels[1:])
            + 4 * (d * d + d)  # attention
            + (2 * d * ffn + ffn + d)
            + 2 * 2 * d  # its norms
            + 2 * (d * d + 2 * d)  # laterals
            + 2 * (9 * d * d + 2 * d)  # downsampling
            + 4 * csp
            + parts.pixel_embedding_parameters(channels, d, self.pixel_embedding)
        )

    def hidden(self, width: int) -> int:
        """Channels inside the CSP layers of an encoder of this width."""
        return int(width * self.expansion)

    def __str__(self) -> str:
        return self.compact


@cache
def attention_terms(d: int, ffn: int, positions_kept: bool) -> Terms:
    """Attention over res5 in one fused call, and an FFN; products of places and frequencies make the positions."""
    return terms(
        (Operator.LINEAR, 4 * d * d + 2 * d * ffn, RES5),
        (Operator.FUSED_ATTENTION, 2 * d, Squared(RES5)),
        (Operator.LAYER_NORM, 2 * 5 * d, RES5),
        *(() if positions_kept else ((Operator.MATMUL, d // 2, RES5),)),
    )


def _sum(*tables: Terms) -> Terms:
    """All tables as one."""
    found = Terms()
    for table in tables:
        found.update(table)
    return found


GRAMMAR = (
    "a hybrid encoder is 'hybrid' or 'hybrid+folded', with options '+official +maxpool +dw +expansion:0.5 +blocks:3'; "
    "the defaults are '+token +conv'"
)
# What each option sets, in the order of the canonical spelling. `expansion:0.5` and `blocks:3` come last.
OPTIONS: dict[str, tuple[str, str | bool]] = {
    "folded": ("folded", True),
    "token": ("position_order", "token"),
    "official": ("position_order", "official"),
    "conv": ("pixel_embedding", "conv"),
    "maxpool": ("pixel_embedding", "maxpool"),
    "dw": ("pixel_embedding", "depthwise"),
}
NUMBERS = {"expansion": (r"[0-9]{1,4}(\.[0-9]{0,9})?", float), "blocks": (r"[0-9]{1,9}", int)}


def parse_compact(text: str) -> Hybrid:
    """Read the compact spelling.

    Raises:
        BenchError: with the offending part and the nearest option, or the grammar, as the hint.
    """
    body, *options = text.strip().split("+")
    if body != "hybrid":
        raise BenchError(f"unknown schedule '{printable(text)}'", GRAMMAR)
    given = dict(_parse_option(printable(text), option) for option in options)
    if len(given) < len(options):
        raise BenchError(f"schedule '{printable(text)}': an option is given twice", "give each option once")
    return Hybrid(**given)  # type: ignore[arg-type]


def _parse_option(text: str, option: str) -> tuple[str, str | bool | float]:
    if option in OPTIONS:
        return OPTIONS[option]
    key, _, number = option.partition(":")
    if key not in NUMBERS:
        known = (*OPTIONS, *(f"{name}:" for name in NUMBERS))
        near = did_you_mean(option, known)
        hint = f"{near} {GRAMMAR}" if near else GRAMMAR
        raise BenchError(f"schedule '{text}': unknown option '+{printable(option)}'", hint)
    pattern, read = NUMBERS[key]
    if not re.fullmatch(pattern, number):
        raise BenchError(f"schedule '{text}': '+{printable(option)}': '{printable(number)}' is no number", GRAMMAR)
    return key, read(number)
