"""Encoders of detectors, as data: token layers over four levels, of padded images, with nothing at stride 4.

Deformable DETR's has six layers over all levels. PRO-SCALE's is our mapping, for which no code is public: stage k has
layers over the k coarsest levels, which read these alone. Retention is Sparse DETR's: of all tokens of a layer over all
levels a share is refined, and all are read; its score is one linear layer, ours. Lite-DETR's interleaved update has the
published coarse levels: three of four (H3L1), or two (H2L2).

Sources: Zhu et al. 2021 (Deformable DETR), section 4.1; Aich et al. 2025 (PRO-SCALE), section 3; Roh et al. 2022
(Sparse DETR), section 3; Li et al. 2023 (Lite DETR), section 4. The module is `models/encoders/multiscale.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.encoders.interleaved import Interleaving
from proscale_bench.specs.levels import STRIDES, Channels, Level
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import Terms, Tokens
from proscale_bench.units import printable

DETECTOR_LEVELS: tuple[Level, ...] = ("res6", "res5", "res4", "res3")  # coarse to fine
BASELINE_LAYERS = 6
MAX_LAYERS = 100
PUBLISHED = Interleaving()  # (2+1)x3
COARSE = {"h3l1": 3, "h2l2": 2}  # how many of the levels, the coarsest, every layer of Lite-DETR refines
GRAMMAR = (
    "a detector's encoder is 'baseline' (six layers over res6 to res3), 'baseline:4', '2,2,1,1' (layers over res6, "
    "res6+res5, res6 to res4, all), each with '+keep:0.3', or 'lite:(2+1)x3' with '+h2l2 +kda +proj-key +same-loc "
    "+full-ffn'"
)


@dataclass(frozen=True)
class MultiScale:
    """Token layers over more and more of four levels, coarse to fine: an `EncoderSpec` of detectors.

    Args:
        stages: number of layers over res6, over res6 and res5, over res6 to res4, and over all levels.
        keep: share of all tokens that a layer over all levels refines, above 0 and up to 1.
        name: what the catalogue or file calls it; not part of its identity.

    Raises:
        BenchError: layers or share out of range.
    """

    stages: tuple[int, int, int, int] = (0, 0, 0, BASELINE_LAYERS)
    keep: float = 1.0
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for layers in self.stages:
            if type(layers) is not int or not 0 <= layers <= MAX_LAYERS:
                raise BenchError(f"{layers} layers is not a whole number from 0 to {MAX_LAYERS}", "as in '2,2,1,1'")
        if type(self.keep) not in (int, float) or not 0 < self.keep <= 1:
            raise BenchError(f"keep {self.keep} is not a share above 0 and up to 1", "as in '+keep:0.3'; 1 keeps all")
        object.__setattr__(self, "keep", float(self.keep) if self.stages[-1] else 1.0)

    @property
    def encoder(self) -> str:
        """`deformable_detr` where every layer refines all levels' tokens, all of them; else `proscale`."""
        return "proscale" if any(self.stages[:-1]) or self.keep < 1 else "deformable_detr"

    @property
    def compact(self) -> str:
        """The one canonical spelling; `parse_compact` reads it back to an equal encoder."""
        *some, full = self.stages
        spelling = ",".join(map(str, self.stages))
        if not any(some):
            spelling = "baseline" if full == BASELINE_LAYERS else f"baseline:{full}"
        return spelling if self.keep == 1 else f"{spelling}+keep:{self.keep!r}"

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every token layer, in order."""
        found: list[LayerSpec] = []
        for stage, layers in enumerate(self.stages, start=1):
            keep = self.keep if stage == len(self.stages) else 1.0
            found += [LayerSpec(stage, DETECTOR_LEVELS[:stage], keep=keep, keeps_of_all=keep < 1)] * layers
        return tuple(found)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (parts.PROJECTION, parts.TOKEN_LAYERS, *parts.numbered_layers(len(self.layers)))

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """The coefficients of every part."""
        layers = [
            parts.token_layer_terms(head, layer.levels, layer.keep, keeps_of_all=layer.keeps_of_all)
            for layer in self.layers
        ]
        return _terms(channels, head, layers)

    def parameters(self, channels: Channels, head: Head) -> int:
        layers = (parts.token_layer_parameters(head, len(layer.levels), layer.keep) for layer in self.layers)
        return _projection_parameters(channels, head) + sum(layers)

    def __str__(self) -> str:
        return self.compact


@dataclass(frozen=True)
class MultiScaleLite:
    """Lite-DETR's interleaved layers over four levels, of which the coarse ones are refined by all: an `EncoderSpec`.

    Args:
        interleaving: the layers.
        coarse: number of coarse levels: 3 (H3L1) or 2 (H2L2).
        name: what the catalogue or file calls it; not part of its identity.

    Raises:
        BenchError: a number of coarse levels that is not published.
    """

    interleaving: Interleaving = PUBLISHED
    coarse: int = 3
    name: str | None = field(default=None, compare=False)

    encoder = "lite"

    def __post_init__(self) -> None:
        if self.coarse not in COARSE.values():
            raise BenchError(f"{self.coarse} coarse levels of four", "3 (H3L1), or 2 with '+h2l2'")

    @property
    def compact(self) -> str:
        """The one canonical spelling; `parse_compact` reads it back to an equal encoder."""
        one = self.interleaving
        chosen, default = {**vars(one), "coarse": self.coarse}, {**vars(Interleaving()), "coarse": 3}
        options = (f"+{name}" for name, (key, value) in OPTIONS.items() if chosen[key] == value != default[key])
        return f"lite:({one.updates}+1)x{one.blocks}{''.join(options)}"

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every token layer, in order; a block is a stage."""
        cheap, full = (DETECTOR_LEVELS[: self.coarse], DETECTOR_LEVELS), (DETECTOR_LEVELS, None)
        one = self.interleaving
        return tuple(
            LayerSpec(index // one.updates + 1, *(full if one.refines_all(index) else cheap))
            for index in range(one.layers)
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        return (parts.PROJECTION, parts.TOKEN_LAYERS, *parts.numbered_layers(self.interleaving.layers))

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """The coefficients of every part."""
        tokens = [Tokens(STRIDES[level]) for level in DETECTOR_LEVELS]
        layers = self.interleaving.terms(head, tokens[: self.coarse], tokens[self.coarse :], as_executed)
        return _terms(channels, head, layers)

    def parameters(self, channels: Channels, head: Head) -> int:
        layers = self.interleaving.parameters(head, len(DETECTOR_LEVELS))
        return _projection_parameters(channels, head) + layers

    def __str__(self) -> str:
        return self.compact


def _terms(channels: Channels, head: Head, layers: Any) -> dict[str, Terms]:
    return {
        parts.PROJECTION.name: parts.projection_terms(channels, head.width, DETECTOR_LEVELS),
        **{f"encoder_token_layer_{number}": table for number, table in enumerate(layers, start=1)},
    }


def _projection_parameters(channels: Channels, head: Head) -> int:
    """Projections and level embeddings."""
    embeddings = len(DETECTOR_LEVELS) * head.width
    return parts.projection_parameters(channels, head.width, DETECTOR_LEVELS) + embeddings


# What each option of Lite-DETR's encoder sets, in the order of the canonical spelling.
OPTIONS: dict[str, tuple[str, bool | int]] = {
    **{name: ("coarse", levels) for name, levels in COARSE.items()},
    "kda": ("key_aware", True),
    "proj-key": ("project_keys", True),
    "same-loc": ("same_locations", True),
    "full-ffn": ("small_ffn", False),
}


def parse_compact(text: str) -> MultiScale | MultiScaleLite:
    """Read the compact spelling of a detector's encoder.

    Raises:
        BenchError: with the offending part, and the nearest option or the grammar as the hint.
    """
    body, *options = _in_pieces(text.strip())
    said = printable(text.strip())
    if body.partition(":")[0] == "lite":
        return _parse_lite(body, options, said)
    if re.fullmatch(r"baseline(:[0-9]{1,4})?", body):
        stages = (0, 0, 0, int(body.partition(":")[2] or BASELINE_LAYERS))
    elif re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4}){3}", body):
        first, second, third, full = map(int, body.split(","))
        stages = (first, second, third, full)
    elif re.fullmatch(r"[0-9]+(,[0-9]+)*,?", body):
        message = f"schedule '{said}': '{printable(body)}' is not four numbers of layers"
        raise BenchError(message, f"a detector has four levels, res6 to res3, as in '2,2,1,1'; {GRAMMAR}")
    else:
        raise BenchError(f"unknown schedule '{said}'", did_you_mean(body, ("baseline", "lite"), GRAMMAR))
    keep = [option for option in options if re.fullmatch(r"keep:[0-9]+(\.[0-9]*)?(e-?[0-9]{1,3})?", option)]
    for option in options:
        if option not in keep:
            hint = did_you_mean(option, ("keep:0.3",), GRAMMAR)
            raise BenchError(f"schedule '{said}': a detector's encoder has no option '+{printable(option)}'", hint)
    if len(keep) > 1:
        raise BenchError(f"schedule '{said}': an option is given twice", "give each option once")
    return MultiScale(stages, float(keep[0].partition(":")[2]) if keep else 1.0)


def _in_pieces(text: str) -> list[str]:
    """A spelling's body and options; the plus of `lite:(2+1)x3` or `lite:2+1x3` parts nothing."""
    found = re.match(r"lite:(\([0-9]{1,4}\+1\)|[0-9]{1,4}\+1)x[0-9]{1,4}(?=\+|$)", text)
    start = found.end() if found else 0
    head, *rest = text[start:].split("+")
    return [text[:start] + head, *rest]


def _parse_lite(body: str, options: list[str], said: str) -> MultiScaleLite:
    found = re.fullmatch(r"lite(?::\(?([0-9]{1,4})\+1\)?x([0-9]{1,4}))?", body)
    if found is None:
        raise BenchError(f"unknown schedule '{said}'", GRAMMAR)
    settings: dict[str, Any] = {"updates": int(found[1]), "blocks": int(found[2])} if found[1] else {}
    for option in options:
        if option not in OPTIONS:
            hint = did_you_mean(option, tuple(OPTIONS), GRAMMAR)
            raise BenchError(f"schedule '{said}': unknown option '+{printable(option)}'", hint)
        key, value = OPTIONS[option]
        if key in settings:
            raise BenchError(f"schedule '{said}': an option is given twice", "give each option once")
        settings[key] = value
    coarse = settings.pop("coarse", 3)
    return MultiScaleLite(Interleaving(**settings), coarse)
