"""A schedule: which levels the encoder's token layers see, and how its pixel embedding is made.

A `Schedule` is always in canonical form, so two spellings of one schedule are equal and hash alike:

- a stage without layers changes nothing and neighbours over the same levels are one stage;
- where every stage sees a coarse-to-fine prefix (res5; res5+res4; all), there are exactly the three stages
  of the paper, with 0 layers where there are none: Mask2Former's six full layers are (0, 0, 6); and four stages
  where the prefixes begin with res6;
- options that cannot act (a temperature without re-calibration) are at their defaults.

The paper's levels are res5, res4 and res3, which the decoder reads and which always become tokens. Two more do where a
layer sees them. This is our mapping: no code for it is public.

- res6, at stride 64, is made from the raw res5 by a 3x3 convolution of stride 2, as Deformable DETR makes its fourth
  level; the decoder does not read it.
- res2, at stride 4, then is the finest level. Mask features come from its refined tokens, with nothing to upsample.

Token retention (`keep`) is ours, not the paper's. In full layers, which see all levels, only the tokens of the finest
level with the highest scores are queries: a share of them, rounded up. All tokens are values, and the others pass
unchanged.

Re-calibration gates all levels by the projected finest one, whether or not a layer sees them, as the official code does
res5 and res4 by res3.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal, get_args

from proscale_bench.errors import BenchError, did_you_mean, look_up
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.levels import LEVELS, STRIDES, TOKEN_LEVELS, Channels, Level
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import Operator, Terms, Tokens
from proscale_bench.units import printable

Recalibration = Literal["none", "linear", "conv"]
RecalibrationLayout = Literal["official", "spatial"]

FOUR_LEVELS: tuple[Level, ...] = ("res6", *LEVELS)
PREFIXES: tuple[tuple[Level, ...], ...] = tuple(LEVELS[:end] for end in (1, 2, 3))
FOUR_PREFIXES: tuple[tuple[Level, ...], ...] = tuple(FOUR_LEVELS[:end] for end in (1, 2, 3, 4))
MAX_LAYERS, MAX_DIGITS = 100, 9
DEFAULT_TEMPERATURE = 0.1  # of the released models
BASELINE_LAYERS = 6
RECALIBRATION = Part("encoder_recalibration", "re-calibration", "encoder", ("encoder.recalibration",))


class StageError(BenchError):
    """A stage that is wrong; `stage` is its index from 0."""

    def __init__(self, index: int, message: str, hint: str | None = None) -> None:
        super().__init__(f"stage {index + 1}: {message}", hint)
        self.stage = index


@dataclass(frozen=True)
class Stage:
    """`layers` token layers over the tokens of `levels`, coarse to fine."""

    levels: tuple[Level, ...]
    layers: int


@dataclass(frozen=True)
class Schedule:
    """An encoder whose token layers see more and more levels, in canonical form: an `EncoderSpec`.

    Args:
        stages: nested: each stage sees all levels of the one before.
        recalibration: how the finest level gates the coarser ones: not, by a linear layer, by a 1x1 convolution.
        recalibration_layout: `official` reads (B, L, C) tokens as (B, C, H, W) memory, as released weights need;
            `spatial` transposes them.
        recalibration_temperature: factor inside the sigmoid.
        pixel_embedding: `maxpool` (the paper's LPE), Mask2Former's 3x3 `conv`, or a `depthwise` 3x3 convolution.
        residual: add a stage's gated inputs after each of its layers, in stages that do not see the finest level.
        keep: share of the finest level's tokens that a full layer refines, above 0 and up to 1.
        name: what the catalogue or file calls it; not part of its identity.

    Raises:
        BenchError: levels not nested, unknown or doubled; layers, temperature or share out of range.
    """

    stages: tuple[Stage, ...]
    recalibration: Recalibration = "linear"
    recalibration_layout: RecalibrationLayout = "official"
    recalibration_temperature: float = DEFAULT_TEMPERATURE
    pixel_embedding: PixelEmbedding = "maxpool"
    residual: bool = False
    keep: float = 1.0
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for options, given in (
            (Recalibration, self.recalibration),
            (RecalibrationLayout, self.recalibration_layout),
            (PixelEmbedding, self.pixel_embedding),
        ):
            look_up({known: known for known in get_args(options)}, given, "option")
        temperature = self.recalibration_temperature
        if type(temperature) not in (int, float) or not (math.isfinite(temperature) and temperature > 0):
            raise BenchError(
                f"re-calibration temperature {temperature} is not a positive number",
                f"released models use {DEFAULT_TEMPERATURE}",
            )
        if type(self.keep) not in (int, float) or not 0 < self.keep <= 1:
            raise BenchError(f"keep {self.keep} is not a share above 0 and up to 1", "as in '+keep:0.5'; 1 keeps all")
        stages = canonical_stages(self.stages)
        gated = self.recalibration != "none"
        set_field = partial(object.__setattr__, self)  # frozen from here on
        set_field("stages", stages)
        acts = any(stage.layers for stage in stages if self.finest not in stage.levels)
        set_field("recalibration_layout", self.recalibration_layout if gated else "official")
        set_field("recalibration_temperature", float(temperature) if gated else DEFAULT_TEMPERATURE)
        set_field("residual", self.residual and acts)
        is_full = any(stage.layers for stage in stages if stage.levels == self.levels)
        set_field("keep", float(self.keep) if is_full else 1.0)

    @property
    def encoder(self) -> Literal["mask2former", "proscale"]:
        """`mask2former` for its own pixel decoder (full layers, conv embedding, no gating), else `proscale`."""
        return "mask2former" if self.compact.startswith("baseline") else "proscale"

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that become tokens, coarse to fine: those of the decoder's pyramid, and all that a layer sees."""
        seen = {*LEVELS, *(level for stage in self.stages for level in stage.levels)}
        return tuple(level for level in TOKEN_LEVELS if level in seen)

    @property
    def finest(self) -> Level:
        """The level that gates the others and is never gated; its arrival ends the residual."""
        return self.levels[-1]

    @property
    def is_ours(self) -> bool:
        """It has what no paper and no public code has: other levels, a depth-wise convolution, token retention."""
        return self.levels != LEVELS or self.pixel_embedding == "depthwise" or self.keep < 1

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every token layer, in order."""
        layers: list[LayerSpec] = []
        for number, stage in enumerate(self.stages, start=1):
            keep = self.keep if stage.levels == self.levels else 1.0
            layers += [LayerSpec(number, stage.levels, keep=keep)] * stage.layers
        return tuple(layers)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (
            parts.PROJECTION,
            RECALIBRATION,
            parts.TOKEN_LAYERS,
            *parts.numbered_layers(len(self.layers)),
            parts.PIXEL_EMBEDDING,
            parts.FPN_UPSAMPLING,
        )

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """The coefficients of every part. Source: Aich et al. 2025, section 3."""
        width = head.width
        layers = (parts.token_layer_terms(head, layer.levels, layer.keep) for layer in self.layers)
        return {
            parts.PROJECTION.name: parts.projection_terms(channels, width, self.levels),
            RECALIBRATION.name: recalibration_terms(width, self.recalibration, self.levels[:-1]),
            **{f"encoder_token_layer_{number}": table for number, table in enumerate(layers, start=1)},
            parts.PIXEL_EMBEDDING.name: parts.pixel_embedding_terms(channels, width, self.pixel_embedding),
            parts.FPN_UPSAMPLING.name: Terms() if self.finest == "res2" else parts.upsampling_terms(width),
        }

    def parameters(self, channels: Channels, head: Head) -> int:
        width = head.width
        return (
            parts.projection_parameters(channels, width, self.levels)
            + len(self.levels) * width  # level embeddings
            + (0 if self.recalibration == "none" else width + 1)
            + sum(parts.token_layer_parameters(head, len(layer.levels), layer.keep) for layer in self.layers)
            + parts.pixel_embedding_parameters(channels, width, self.pixel_embedding)
        )

    @property
    def compact(self) -> str:
        """The one canonical spelling; `parse_compact` reads it back to an equal schedule."""
        layers = [stage.layers for stage in self.stages]
        seen = tuple(stage.levels for stage in self.stages)
        plain = (self.pixel_embedding, self.recalibration) == ("conv", "none") and self.keep == 1
        if seen == PREFIXES and plain and layers[:2] == [0, 0]:
            return "baseline" if layers[2] == BASELINE_LAYERS else f"baseline:{layers[2]}"
        if seen in (PREFIXES, FOUR_PREFIXES):
            spelling = ",".join(map(str, layers))
        else:
            spelling = ",".join(
                f"{''.join(level[-1] for level in stage.levels)}:{stage.layers}" for stage in self.stages
            )
        for option, (key, value) in OPTIONS.items():
            if getattr(self, key) == value != getattr(Schedule, key):
                spelling += f"+{option}"
        for option, key in NUMBERS.items():
            if getattr(self, key) != getattr(Schedule, key):
                spelling += f"+{option}:{getattr(self, key)!r}".replace("e+", "e")
        return spelling

    def __str__(self) -> str:
        return self.compact


def canonical_stages(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Sort levels, check nesting, merge and drop: see the module's docstring."""
    layers_of: dict[tuple[Level, ...], int] = {}
    seen: tuple[Level, ...] = ()
    for index, stage in enumerate(stages):
        levels = tuple(level for level in TOKEN_LEVELS if level in stage.levels)
        if not levels or len(levels) != len(stage.levels):
            raise StageError(
                index, f"levels {', '.join(map(str, stage.levels))} must be different ones of {', '.join(TOKEN_LEVELS)}"
            )
        if not set(seen) <= set(levels):
            raise StageError(
                index,
                f"levels {', '.join(levels)} do not contain those of the stage before, {', '.join(seen)}",
                "stages are nested: each sees all tokens of the one before, and more",
            )
        if type(stage.layers) is not int or stage.layers < 0:
            raise StageError(index, f"{stage.layers} layers is not a whole number from 0")
        layers = layers_of.get(levels, 0) + stage.layers
        if layers > MAX_LAYERS:
            raise StageError(
                index, f"{layers} layers over {', '.join(levels)}, more than {MAX_LAYERS}", "give a stage fewer layers"
            )
        seen, layers_of[levels] = levels, layers
    if not stages:
        raise BenchError("a schedule needs at least one stage")
    for prefixes in (PREFIXES, FOUR_PREFIXES):
        if all(levels in prefixes for levels, layers in layers_of.items() if layers):
            return tuple(Stage(levels, layers_of.get(levels, 0)) for levels in prefixes)
    return tuple(Stage(levels, layers) for levels, layers in layers_of.items() if layers)


def from_fields(
    *,
    name: str,
    encoder: str,
    stages: list[dict[str, Any]],
    recalibration: Recalibration | None = None,
    pixel_embedding: PixelEmbedding | None = None,
    **others: Any,
) -> Schedule:
    """The schedule of a schedule file's fields. An encoder's own defaults fill what the file leaves out."""
    plain = encoder == "mask2former"
    return Schedule(
        tuple(Stage(tuple(stage["levels"]), stage["layers"]) for stage in stages),
        recalibration=recalibration or ("none" if plain else "linear"),
        pixel_embedding=pixel_embedding or ("conv" if plain else "maxpool"),
        name=name,
        **others,
    )


def baseline() -> Schedule:
    """Mask2Former's pixel decoder: six token layers over all levels, 3x3 conv, no gating."""
    return Schedule((Stage(LEVELS, BASELINE_LAYERS),), recalibration="none", pixel_embedding="conv", name="baseline")


@cache
def recalibration_terms(width: int, kind: Recalibration, gated: tuple[Level, ...]) -> Terms:
    """The finest level resized to each that it gates, one weight a channel, a gate on every token of these."""
    table = Terms()
    for level in gated if kind != "none" else ():
        tokens = Tokens(STRIDES[level])
        table.add(Operator.UPSAMPLE_BILINEAR2D, 4 * width, tokens)
        table.add(Operator.LINEAR if kind == "linear" else Operator.CONV, width, tokens)
        table.add(Operator.GATING, width, tokens)
    return table


GRAMMAR = (
    "a schedule is a YAML file, a name from 'proscale-bench schedules list', or compact: 'baseline', "
    "'baseline:4', '3,3,3', '2,2,1,1' from res6, '5:2,543:1' as levels and layers, "
    "with options '+conv +maxpool +dw +trc:none|linear|conv +spatial +residual +temp:1.0 +keep:0.5'"
)
# What each option sets, in the order of the canonical spelling; those with a number come last.
OPTIONS: dict[str, tuple[str, str | bool | float]] = {
    "conv": ("pixel_embedding", "conv"),
    "maxpool": ("pixel_embedding", "maxpool"),
    "dw": ("pixel_embedding", "depthwise"),
    "trc:none": ("recalibration", "none"),
    "trc:linear": ("recalibration", "linear"),
    "trc:conv": ("recalibration", "conv"),
    "spatial": ("recalibration_layout", "spatial"),
    "residual": ("residual", True),
}
NUMBERS = {"temp": "recalibration_temperature", "keep": "keep"}


def parse_compact(text: str) -> Schedule:
    """Read the compact spelling.

    Besides the paper's `p1,p2,p3`, any nested stages can be spelt as `LEVELS:LAYERS` with the levels' digits:
    `5:3,54:3,543:3` is `3,3,3`, `4:2,543:4` starts from res4. Four numbers begin with res6: `2,2,1,1` is
    `6:2,65:2,654:1,6543:1`.

    Raises:
        BenchError: with the offending part and the grammar, or the nearest option, as the hint.
    """
    body, *options = text.strip().split("+")
    text = printable(text)
    settings: dict[str, str | bool | float] = {}
    if re.search(f"[0-9]{{{MAX_DIGITS + 1}}}", body):
        message = f"schedule '{text[:40]}…': a number of over {MAX_DIGITS} digits"
        raise BenchError(message, f"a stage has at most {MAX_LAYERS} layers")
    if re.fullmatch(r"baseline(:[0-9]+)?", body):
        layers = int(body.partition(":")[2] or BASELINE_LAYERS)
        settings = {"pixel_embedding": "conv", "recalibration": "none"}
        stages: tuple[Stage, ...] = (Stage(LEVELS, layers),)
    elif re.fullmatch(r"[0-9]+(,[0-9]+){2,3}", body):
        layers_of = body.split(",")
        prefixes = PREFIXES if len(layers_of) == 3 else FOUR_PREFIXES
        stages = tuple(Stage(levels, int(layers)) for levels, layers in zip(prefixes, layers_of, strict=True))
    elif re.fullmatch(r"[2-6]{1,5}:[0-9]+(,[2-6]{1,5}:[0-9]+)*", body):
        stages = tuple(
            Stage(tuple(level for d in digits for level in TOKEN_LEVELS if level[-1] == d), int(layers))
            for digits, layers in (part.split(":") for part in body.split(","))
        )
    elif re.fullmatch(r"[0-9]+(,[0-9]+)*,?", body):
        raise BenchError(
            f"schedule '{text}': '{body}' is not three numbers of layers, or four",
            "give the layers over res5, over res5+res4 and over all levels, as in '3,3,3'; or from res6: '2,2,1,1'",
        )
    else:
        raise BenchError(f"unknown schedule '{text}'", did_you_mean(body, ("baseline",), GRAMMAR))
    given = dict(_parse_option(text, option) for option in options)
    if len(given) < len(options):
        raise BenchError(f"schedule '{text}': an option is given twice", "give each option once")
    return Schedule(stages, **{**settings, **given})  # type: ignore[arg-type]


def _parse_option(text: str, option: str) -> tuple[str, str | bool | float]:
    if option in OPTIONS:
        return OPTIONS[option]
    spelt, known = f"schedule '{text}': ", (*OPTIONS, "temp:0.1", "keep:0.5")
    key, colon, number = option.partition(":")
    if not colon or key not in NUMBERS:
        raise BenchError(f"{spelt}unknown option '+{printable(option)}'", did_you_mean(option, known, GRAMMAR))
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?(e-?[0-9]{1,3})?", number):
        message = f"{spelt}'+{printable(option)}': '{printable(number)}' is not a positive number"
        raise BenchError(message, f"as in '+{key}:{0.5 if key == 'keep' else 0.1}'; {GRAMMAR}")
    if key == "keep" and not 0 < float(number) <= 1:
        message = f"{spelt}'+{printable(option)}': {printable(number)} is not a share above 0 and up to 1"
        raise BenchError(message, f"as in '+keep:0.5'; {GRAMMAR}")
    return NUMBERS[key], float(number)
