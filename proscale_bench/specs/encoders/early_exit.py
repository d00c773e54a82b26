"""ECO-M2F's early exit, as data: Mask2Former's pixel decoder, left by an image after the layer that a gate chooses.

Source: Yao et al. 2024 (ECO-M2F). The module is `models/encoders/early_exit.py`.

A model with a gate has a cost for each exit, and no one cost. So there are three kinds of value: a fixed exit, whose
cost is exact; the gate's free choice, which has none; and an expectation over a stated distribution of exits, which is
the cost of no image, and no model that could be built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.levels import LEVELS, Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import One, Operator, Terms, terms
from proscale_bench.units import printable

DEPTH, FIRST_EXIT = 6, 2  # layers, and the fewest of them that an image sees
EXITS = tuple(range(FIRST_EXIT, DEPTH + 1))
GATE = Part("encoder_gate", "exit gate", "encoder", ("encoder.gate",))

GRAMMAR = (
    f"'early-exit:{FIRST_EXIT}' to 'early-exit:{DEPTH}' leave after so many layers, 'early-exit' where its gate says; "
    f"'early-exit+exits:10/20/30/20/20' is the expectation where so many images leave after {FIRST_EXIT}, ..., {DEPTH}"
)


@dataclass(frozen=True)
class EarlyExit:
    """An encoder of six layers and a gate: an `EncoderSpec`.

    Args:
        exit: number of layers after which every image leaves; None: the gate chooses, image by image.
        shares: how many images of those counted leave after each of `EXITS`, in lowest terms; None: nobody says.
        name: what a file calls it; not part of its identity.

    Raises:
        BenchError: an exit or a distribution that there is not, or both at once.
    """

    exit: int | None = None
    shares: tuple[int, ...] | None = None
    name: str | None = field(default=None, compare=False)

    encoder = "early-exit"

    def __post_init__(self) -> None:
        if self.exit is not None and (type(self.exit) is not int or self.exit not in EXITS):
            raise BenchError(f"early-exit: there is no exit after {self.exit} layers", GRAMMAR)
        if self.exit is not None and self.shares is not None:
            raise BenchError(f"early-exit:{self.exit}: a fixed exit has no distribution of exits", GRAMMAR)
        if self.shares is not None:
            whole = gcd(*self.shares)
            if len(self.shares) != len(EXITS) or min(self.shares) < 0 or not whole:
                spelt = "/".join(map(str, self.shares))
                message = f"early-exit+exits:{spelt}: not {len(EXITS)} numbers of images, of which one is positive"
                raise BenchError(message, GRAMMAR)
            object.__setattr__(self, "shares", tuple(share // whole for share in self.shares))

    @property
    def compact(self) -> str:
        """The one canonical spelling; `parse_compact` reads it back."""
        if self.shares is not None:
            return f"early-exit+exits:{'/'.join(map(str, self.shares))}"
        return "early-exit" if self.exit is None else f"early-exit:{self.exit}"

    @property
    def exits(self) -> tuple[EarlyExit, ...]:
        """The encoders that this one is for one image or another; empty where nothing is left open."""
        return tuple(map(EarlyExit, EXITS)) if self.exit is None and self.shares is None else ()

    @property
    def expected_over(self) -> tuple[tuple[EarlyExit, Fraction], ...]:
        """The exits that its cost is the expectation over, with the share of the images that take each."""
        shares = self.shares or ()
        return tuple((EarlyExit(exit_), Fraction(n, sum(shares))) for exit_, n in zip(EXITS, shares, strict=False))

    def expected(self, images: Sequence[int]) -> EarlyExit:
        """The expectation where so many images take each of `exits`."""
        return EarlyExit(shares=tuple(images))

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every token layer that may run; an image may leave at the end of each stage."""
        return tuple(LayerSpec(max(1, n - FIRST_EXIT + 1), LEVELS) for n in range(1, (self.exit or DEPTH) + 1))

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `EncoderSpec`."""
        return (
            parts.PROJECTION,
            GATE,
            parts.TOKEN_LAYERS,
            *parts.numbered_layers(len(self.layers)),
            parts.PIXEL_EMBEDDING,
            parts.FPN_UPSAMPLING,
        )

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """See `EncoderSpec`. In an expectation a layer counts as often as it runs: coefficients are fractions.

        Raises:
            BenchError: the gate chooses, and nobody says how often what.
        """
        if self.exits:
            raise BenchError(
                "early-exit has no one cost: its gate lets an image leave after 2 to 6 layers",
                "count an exit, as in 'early-exit:3', or state how many images take each of the five: "
                "'early-exit+exits:10/20/30/20/20'",
            )
        layer = parts.token_layer_terms(head, LEVELS)
        return {
            parts.PROJECTION.name: parts.projection_terms(channels, head.width),
            GATE.name: terms((Operator.LINEAR, len(EXITS) * head.width, One())),  # its pooling counts as nothing
            **{f"encoder_token_layer_{n}": _times(often, layer) for n, often in enumerate(self._frequencies(), 1)},
            parts.PIXEL_EMBEDDING.name: parts.pixel_embedding_terms(channels, head.width, "conv"),
            parts.FPN_UPSAMPLING.name: parts.upsampling_terms(head.width),
        }

    def parameters(self, channels: Channels, head: Head) -> int:
        """See `EncoderSpec`. All six layers are there, whichever run."""
        width = head.width
        return (
            parts.projection_parameters(channels, width)
            + len(LEVELS) * width  # level embeddings
            + len(EXITS) * (width + 1)
            + DEPTH * parts.token_layer_parameters(head, len(LEVELS))
            + parts.pixel_embedding_parameters(channels, width, "conv")
        )

    def _frequencies(self) -> list[Fraction]:
        """The share of the images that run each layer."""
        if self.shares is None:
            return [Fraction(1)] * len(self.layers)
        leave_later = [sum(self.shares[max(0, layer - FIRST_EXIT) :]) for layer in range(1, DEPTH + 1)]
        return [Fraction(images, sum(self.shares)) for images in leave_later]

    def __str__(self) -> str:
        return self.compact


def _times(often: Fraction, table: Terms) -> Terms:
    return table if often == 1 else Terms({key: often * amount for key, amount in table.items()})


def parse_compact(text: str) -> EarlyExit:
    """Read the compact spelling: `early-exit`, `early-exit:3`, `early-exit+exits:10/20/30/20/20`.

    Raises:
        BenchError: with the offending part, and the grammar as the hint.
    """
    body, *options = text.strip().split("+")
    text = printable(text)
    _, colon, layers = body.partition(":")
    if colon and not re.fullmatch(r"[0-9]{1,9}", layers):
        raise BenchError(f"'{text}': '{printable(layers)}' is not a number of layers", GRAMMAR)
    if len(options) > 1:
        raise BenchError(f"'{text}': more than one option", GRAMMAR)
    shares = None
    for option in options:
        key, _, numbers = option.partition(":")
        if key != "exits":
            raise BenchError(f"'{text}': unknown option '+{printable(option)}'", did_you_mean(key, ("exits",), GRAMMAR))
        if not re.fullmatch(r"[0-9]{1,10}(/[0-9]{1,10})*", numbers):
            message = f"'{text}': '{printable(numbers)}' is not {len(EXITS)} numbers of images, as in 10/20/30/20/20"
            raise BenchError(message, GRAMMAR)
        shares = tuple(map(int, numbers.split("/")))
    return EarlyExit(int(layers) if colon else None, shares)
