"""Lite-DETR's interleaved update as data: layers refine the few coarse tokens often, and the many fine ones seldom.

A block is `updates` layers whose queries are the coarse tokens, which read all levels; the last of them refines the
fine tokens too. The paper writes `(updates + 1) x blocks`.

Source: Li et al. 2023 (Lite DETR), section 4. As Mask2Former's pixel decoder it is our mapping: no code of it is
public.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS, Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import Operator, Quantity, Terms, Tokens
from proscale_bench.units import printable

MAX_LAYERS = 100
COARSE = LEVELS[:2]  # the levels that every layer refines; res3 is the fine one


@dataclass(frozen=True)
class Interleaving:
    """The token layers of an encoder, whatever its levels.

    Args:
        updates: layers of a block; all refine the coarse tokens, and the last one the fine tokens too.
        blocks: number of blocks.
        key_aware: attention weights from the products of queries and sampled keys, not from queries alone.
        project_keys: keys have a projection of their own; else they are the values.
        same_locations: a head's offsets are the same on all levels, in pixels of each.
        small_ffn: fine tokens have a small FFN of their own (`small_expand` of the official code).

    Raises:
        BenchError: layers out of range, or an option that cannot act.
    """

    updates: int = 2
    blocks: int = 3
    key_aware: bool = False
    project_keys: bool = False
    same_locations: bool = False
    small_ffn: bool = True

    def __post_init__(self) -> None:
        for number, what in ((self.updates, "updates"), (self.blocks, "blocks")):
            if type(number) is not int or number < 1:
                raise BenchError(f"{number} {what} of coarse tokens is not a number from 1", "as in 'lite:(2+1)x3'")
        if self.layers > MAX_LAYERS:
            raise BenchError(f"({self.updates}+1)x{self.blocks}: {self.layers} layers", f"at most {MAX_LAYERS} layers")
        if self.project_keys and not self.key_aware:
            raise BenchError("'+proj-key' projects keys, and there are none", "add '+kda'")

    @property
    def layers(self) -> int:
        """The number of layers."""
        return self.updates * self.blocks

    def refines_all(self, layer: int) -> bool:
        """True for the last layer of each block, counted from 0: it refines the fine tokens too."""
        return (layer + 1) % self.updates == 0

    def terms(
        self, head: Head, coarse: Sequence[Quantity], fine: Sequence[Quantity], as_executed: bool = False
    ) -> tuple[Terms, ...]:
        """The coefficients of every layer.

        Args:
            coarse, fine: the tokens of each level that all layers refine, and of each that only the last of a block do.
            as_executed: keys that are the values are sampled once, where the official code samples twice.
        """
        levels = tuple(coarse), tuple(fine)
        return tuple(
            _layer_terms(self, head, *levels, self.refines_all(layer), as_executed) for layer in range(self.layers)
        )

    def parameters(self, head: Head, levels: int) -> int:
        """The number of parameters of all layers, with the query projection that only key-aware attention reads."""
        d, ffn = head.width, head.encoder_ffn
        samples = head.encoder_heads * head.encoder_points * levels
        offsets = 2 * (samples // levels if self.same_locations else samples)
        attention = (3 + self.project_keys) * (d * d + d) + (offsets + (0 if self.key_aware else samples)) * (d + 1)
        layer = attention + 2 * d * ffn + ffn + d + 4 * d
        return self.layers * layer + (self.blocks * (2 * (d * d + d) + 2 * d) if self.small_ffn else 0)


@cache
def _layer_terms(
    layers: Interleaving,
    head: Head,
    coarse: tuple[Quantity, ...],
    fine: tuple[Quantity, ...],
    refines_all: bool,
    as_executed: bool,
) -> Terms:
    """One layer. The queries are the coarse tokens, or all."""
    d, levels = head.width, len(coarse) + len(fine)
    samples = levels * head.encoder_points  # of a head
    offsets = 2 * head.encoder_heads * (head.encoder_points if layers.same_locations else samples)
    by_query = d if layers.key_aware else head.encoder_heads * samples  # a query's projection, or its weights
    sampled = 1 if not layers.key_aware or (as_executed and not layers.project_keys) else 2
    table = Terms()
    for tokens in (*coarse, *fine):
        table.add(Operator.LINEAR, (1 + layers.project_keys) * d * d, tokens)  # values, and keys
    for tokens in (*coarse, *fine) if refines_all else coarse:
        ffn = d if layers.small_ffn and tokens in fine else head.encoder_ffn
        table.add(Operator.LINEAR, d * (offsets + by_query + d + 2 * ffn), tokens)
        table.add(Operator.GRID_SAMPLER, sampled * 4 * d * samples, tokens)
        if layers.key_aware:
            table.add(Operator.MATMUL, 2 * d * samples, tokens)  # with the keys, and with the values
        else:
            table.add(Operator.WEIGHTED_SUM, d * samples, tokens)
        table.add(Operator.LAYER_NORM, 2 * 5 * d, tokens)
    return table


@dataclass(frozen=True)
class Lite:
    """Lite-M2F: interleaved layers over res5, res4 and res3, the first two coarse; an `EncoderSpec`."""

    interleaving: Interleaving = Interleaving()
    pixel_embedding: PixelEmbedding = "conv"
    name: str | None = field(default=None, compare=False)

    encoder = "lite"

    @property
    def compact(self) -> str:
        """The one canonical spelling; `parse_compact` reads it back to an equal encoder."""
        chosen = {**vars(self.interleaving), "pixel_embedding": self.pixel_embedding}
        default = {**vars(Interleaving()), "pixel_embedding": Lite.pixel_embedding}
        options = (f"+{name}" for name, (key, value) in OPTIONS.items() if chosen[key] == value != default[key])
        return f"lite:({self.interleaving.updates}+1)x{self.interleaving.blocks}{''.join(options)}"

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every token layer, in order; a block is a stage."""
        cheap, full = (COARSE, LEVELS), (LEVELS, None)
        return tuple(
            LayerSpec(
                index // self.interleaving.updates + 1, *(full if self.interleaving.refines_all(index) else cheap)
            )
            for index in range(self.interleaving.layers)
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        return (
            parts.PROJECTION,
            parts.TOKEN_LAYERS,
            *parts.numbered_layers(self.interleaving.layers),
            parts.PIXEL_EMBEDDING,
            parts.FPN_UPSAMPLING,
        )

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """The coefficients of every part."""
        coarse, fine = ([Tokens(FEATURE_STRIDES[level]) for level in levels] for levels in (COARSE, LEVELS[2:]))
        layers = self.interleaving.terms(head, coarse, fine, as_executed)
        return {
            parts.PROJECTION.name: parts.projection_terms(channels, head.width),
            **{f"encoder_token_layer_{number}": table for number, table in enumerate(layers, start=1)},
            parts.PIXEL_EMBEDDING.name: parts.pixel_embedding_terms(channels, head.width, self.pixel_embedding),
            parts.FPN_UPSAMPLING.name: parts.upsampling_terms(head.width),
        }

    def parameters(self, channels: Channels, head: Head) -> int:
        return (
            parts.projection_parameters(channels, head.width)
            + len(LEVELS) * head.width  # level embeddings
            + self.interleaving.parameters(head, len(LEVELS))
            + parts.pixel_embedding_parameters(channels, head.width, self.pixel_embedding)
        )

    def __str__(self) -> str:
        return self.compact


# What each option sets, in the order of the canonical spelling.
OPTIONS: dict[str, tuple[str, str | bool]] = {
    "kda": ("key_aware", True),
    "proj-key": ("project_keys", True),
    "same-loc": ("same_locations", True),
    "full-ffn": ("small_ffn", False),
    "conv": ("pixel_embedding", "conv"),
    "maxpool": ("pixel_embedding", "maxpool"),
    "dw": ("pixel_embedding", "depthwise"),
}
GRAMMAR = (
    "Lite-DETR's encoder is 'lite:(2+1)x3' (2 updates of the coarse tokens for each of the fine ones, 3 times), "
    f"with options '{' '.join(f'+{option}' for option in OPTIONS)}'; quote it, or leave the parentheses out"
)


def parse_compact(text: str) -> Lite:
    """Read the compact spelling: `lite:(2+1)x3+kda`, or `lite:2+1x3`, which no shell minds; `lite` is `lite:(2+1)x3`.

    Raises:
        BenchError: with the offending part, and the nearest option or the grammar as the hint.
    """
    text, said = text.strip(), printable(text.strip())
    found = re.fullmatch(r"lite(?::(?:\(([0-9]{1,9})\+1\)|([0-9]{1,9})\+1)x([0-9]{1,9}))?((?:\+[^+]*)*)", text)
    if found is None:
        raise BenchError(f"unknown schedule '{said}'", GRAMMAR)
    bracketed, bare, blocks, rest = found.groups()
    settings: dict[str, Any] = {"updates": int(bracketed or bare), "blocks": int(blocks)} if blocks else {}
    for option in rest.split("+")[1:]:
        if option not in OPTIONS:
            message = f"schedule '{said}': unknown option '+{printable(option)}'"
            raise BenchError(message, did_you_mean(option, tuple(OPTIONS), GRAMMAR))
        key, value = OPTIONS[option]
        if key in settings:
            raise BenchError(f"schedule '{said}': an option is given twice", "give each option once")
        settings[key] = value
    embedding = settings.pop("pixel_embedding", Lite.pixel_embedding)
    return Lite(Interleaving(**settings), embedding)
