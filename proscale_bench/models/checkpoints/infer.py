"""The architecture and the schedule of a model, read off the shapes of its tensors.

What shapes cannot tell comes from the schedule given, else from the file's metadata, else is as in the released
models: `residual`, the re-calibration's temperature and layout, which levels a stage sees that are not the coarsest
ones; and the number of heads where no token layer sees all levels. The share of tokens that retention keeps is never
guessed. An encoder of another family is never
guessed: the file, or whoever opens it, says which it is, and its tensors are held against that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from math import isqrt

from proscale_bench.models.checkpoints.infer_detector import as_detectors, detector_encoder, detector_head, is_detector
from proscale_bench.models.checkpoints.shapes import Hints, TensorError, TensorShapes, count, dimension, divisor
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders.early_exit import EarlyExit
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.encoders.staged import Recalibration, Schedule, Stage
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.levels import LEVELS, TOKEN_LEVELS, Channels, Level
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.masked_decoder import NORM_GROUPS, Head
from proscale_bench.specs.model import EncoderSpec

DEFAULT_HEADS = 8
NO_HINTS = Hints()
POINTS = 4
MAX_WINDOW = 64  # its index of relative positions has window ** 4 entries; published windows are 7 and 12


@dataclass(frozen=True)
class NoBackbone:
    """The file holds a head alone, for features of these channels."""

    channels: Channels


@dataclass(frozen=True)
class Inferred:
    """A model's dimensions."""

    backbone: ResNet | Swin | NoBackbone
    head: Head
    schedule: EncoderSpec

    @property
    def spec(self) -> OwnSpec | None:
        """The whole model; None of a head alone."""
        if isinstance(self.backbone, NoBackbone):
            return None
        if isinstance(self.head, DetectorHead):
            return DeformableDetrSpec(self.backbone, self.schedule, self.head)
        return Mask2FormerSpec(self.backbone, self.schedule, self.head)


def infer(shapes: TensorShapes, given: EncoderSpec | None = None, hints: Hints = NO_HINTS) -> Inferred:
    """Read a model off its tensors.

    A schedule given is taken at its word; where it contradicts the shapes, the model it describes has other ones.

    Raises:
        TensorError: a tensor that tells a dimension is missing or of no possible shape.
    """
    told = given or hints.schedule
    if is_detector(shapes):
        detector = detector_head(shapes, hints)
        encoder = detector_encoder(shapes, detector) if told is None else as_detectors(told)
        return Inferred(_backbone(shapes), detector, encoder)
    if told is not None and not isinstance(told, Schedule | EarlyExit):
        return Inferred(_backbone(shapes), _told_head(shapes, hints), told)
    width = _width(shapes, "encoder.mask_features.weight")
    rows = [
        dimension(shapes, f"encoder.layers.{index}.attention.sampling_offsets.weight")
        for index in range(count(shapes, r"encoder\.layers\.(\d+)\."))
    ]
    points = hints.encoder_points or POINTS
    per_head = [rows_of_layer // (2 * points) for rows_of_layer in rows]  # heads times levels
    levels = told.levels if isinstance(told, Schedule) else levels_of(shapes)
    heads = (told and _heads_of_schedule(rows, points, told)) or None
    if heads is None or width % heads:
        heads = _heads(rows, per_head, points, width, len(levels), hints.encoder_heads, lenient=told is not None)
    head = Head(
        width=width,
        encoder_heads=heads,
        encoder_points=points,
        encoder_ffn=dimension(shapes, "encoder.layers.0.linear1.weight") if rows else Head.encoder_ffn,
        decoder_heads=divisor(hints.decoder_heads, width) or heads,
        **_decoder(shapes),
    )
    seen = [units // heads for units in per_head]
    return Inferred(_backbone(shapes), head, told or _schedule(shapes, levels, seen))


def _told_head(shapes: TensorShapes, hints: Hints) -> Head:
    """The head of a file that says which encoder it has, and what of its dimensions no decoder shows."""
    width = _width(shapes, "decoder.query_features", axis=1, rank=2)
    return Head(
        width=width,
        encoder_heads=divisor(hints.encoder_heads, width) or DEFAULT_HEADS,
        encoder_points=hints.encoder_points or POINTS,
        encoder_ffn=hints.encoder_ffn or Head.encoder_ffn,
        decoder_heads=divisor(hints.decoder_heads, width) or DEFAULT_HEADS,
        **_decoder(shapes),
    )


def _decoder(shapes: TensorShapes) -> dict[str, int]:
    """The dimensions of the transformer decoder."""
    return {
        "decoder_ffn": dimension(shapes, "decoder.layers.0.linear1.weight"),
        "decoder_layers": count(shapes, r"decoder\.layers\.(\d+)\."),
        "queries": dimension(shapes, "decoder.query_features"),
        "num_classes": dimension(shapes, "decoder.class_head.weight", least=2) - 1,
    }


def _width(shapes: TensorShapes, key: str, *, axis: int = 0, rank: int = 4) -> int:
    width = dimension(shapes, key, axis=axis, rank=rank)
    if width % NORM_GROUPS:
        raise TensorError(key, f": width {width} is no multiple of {NORM_GROUPS} norm groups")
    return width


def levels_of(shapes: TensorShapes) -> tuple[Level, ...]:
    """The levels that an encoder's projections make, coarse to fine."""
    first = TOKEN_LEVELS.index("res6" if _has_res6(shapes) else "res5")
    number, *_ = shapes.get("encoder.level_embedding") or (len(LEVELS),)
    return TOKEN_LEVELS[first : max(first + number, TOKEN_LEVELS.index("res3") + 1)]


def _has_res6(shapes: TensorShapes) -> bool:
    """The coarsest level is made by a 3x3 convolution."""
    return shapes.get("encoder.projections.0.0.weight", ())[2:] == (3, 3)


def _schedule(shapes: TensorShapes, levels: tuple[Level, ...], seen: list[int]) -> Schedule | EarlyExit:
    """The schedule whose layers see so many of the coarsest levels each; or a gate says whose encoder it is."""
    if "encoder.gate.weight" in shapes:
        return EarlyExit()
    if score := next((key for key in shapes if re.fullmatch(r"encoder\.layers\.\d+\.score\.weight", key)), None):
        raise TensorError(
            score,
            ": it scores tokens of which a share is kept, and no shape tells which share",
            "give the schedule that it was trained with, as in --schedule 3,3,3+keep:0.5",
        )
    recalibration: Recalibration = "none"
    if (gate := shapes.get("encoder.recalibration.score.weight")) is not None:
        recalibration = "conv" if len(gate) == 4 else "linear"
    stages = tuple(Stage(levels[:number], len(list(layers))) for number, layers in groupby(seen))
    return Schedule(
        stages or (Stage(LEVELS, 0),),
        recalibration=recalibration,
        pixel_embedding=_pixel_embedding(shapes),
    )


def _pixel_embedding(shapes: TensorShapes) -> PixelEmbedding:
    """A max-pool has no weights, and a depth-wise convolution reads one channel a channel."""
    kernel = shapes.get("encoder.pixel_embedding.0.weight")
    return "maxpool" if kernel is None else "depthwise" if kernel[1:2] == (1,) else "conv"


# --- Heads ---


def _heads_of_schedule(rows: list[int], points: int, schedule: EncoderSpec) -> int | None:
    """The number of heads with which these layers are the schedule's; None if there is none."""
    if len(rows) != len(schedule.layers):
        return None
    found = {divmod(one, 2 * points * len(layer.levels)) for one, layer in zip(rows, schedule.layers, strict=True)}
    heads, rest = next(iter(found), (0, 0))
    return heads if len(found) == 1 and heads and not rest else None


def _heads(
    rows: list[int], per_head: list[int], points: int, width: int, most: int, hint: int | None, *, lenient: bool
) -> int:
    """The number of heads: the last layer sees all levels, `most` of them, if that can be, else as hinted, else eight.

    No number that fits every layer is an error, as are several between which nothing chooses; but if `lenient`, a
    schedule will be held against the shapes, and any number will do for that.
    """

    def fits(heads: int) -> bool:
        levels = [divmod(units, heads) for units in per_head]
        whole = all(not rest and 1 <= number <= most for number, rest in levels)
        return whole and levels == sorted(levels) and width % heads == 0

    if not rows:
        return divisor(hint, width) or DEFAULT_HEADS
    uneven = next((index for index, one in enumerate(rows) if one % (2 * points)), None)
    last = per_head[-1]
    preferred = [hint or 0, last // most if last % most == 0 else 0, DEFAULT_HEADS]
    shared = [last // number for number in range(1, most + 1)]
    possible = [heads for heads in shared if heads and last % heads == 0 and fits(heads)]
    chosen = next((heads for heads in preferred if heads in possible), None)
    if uneven is None and (chosen or len(possible) == 1):
        return chosen or possible[0]
    if lenient:
        return DEFAULT_HEADS
    key = "encoder.layers.{}.attention.sampling_offsets.weight"
    if uneven is None and possible:
        raise TensorError(
            key.format(len(rows) - 1),
            f": {rows[-1]} rows are {' or '.join(map(str, possible))} heads",
            "its token layers do not tell: give the schedule that it was trained with",
        )
    wrong = uneven if uneven is not None else _first_misfit(per_head, most)
    raise TensorError(
        key.format(wrong),
        f": {rows[wrong]} rows are not heads * levels * {points} points * 2 as in the other layers",
        "the file is damaged, or not of an encoder that we know",
    )


def _first_misfit(per_head: list[int], most: int) -> int:
    """The first layer that does not go with the last."""
    heads = per_head[-1] // most if per_head[-1] % most == 0 else DEFAULT_HEADS
    for index, units in enumerate(per_head):
        if units % heads or not 1 <= units // heads <= most:
            return index
    return len(per_head) - 1


# --- Backbones ---


def _backbone(shapes: TensorShapes) -> ResNet | Swin | NoBackbone:
    if "backbone.conv1.weight" in shapes:
        return _resnet(shapes)
    if "backbone.features.0.0.weight" in shapes:
        return _swin(shapes)
    if stray := next((key for key in shapes if key.startswith("backbone.")), None):
        raise TensorError(stray, ": of a backbone that is neither a ResNet nor a Swin, or damaged")
    res2 = dimension(shapes, "encoder.lateral.0.weight", axis=1, rank=4)
    first = int(_has_res6(shapes))
    places = range(first, first + len(LEVELS))
    res5, res4, res3 = (dimension(shapes, f"encoder.projections.{i}.0.weight", axis=1, rank=4) for i in places)
    return NoBackbone((res2, res3, res4, res5))


def _resnet(shapes: TensorShapes) -> ResNet:
    width = dimension(shapes, "backbone.layer1.0.conv1.weight", rank=4)
    out = dimension(shapes, "backbone.layer1.0.conv3.weight", rank=4)  # a basic block has none
    if out % width:
        raise TensorError("backbone.layer1.0.conv3.weight", f": {out} channels are no multiple of {width}")
    one, two, three, four = (count(shapes, rf"backbone\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
    stem = dimension(shapes, "backbone.conv1.weight", rank=4)
    return ResNet((one, two, three, four), stem_width=stem, width=width, expansion=out // width)


def _swin(shapes: TensorShapes) -> Swin:
    width = dimension(shapes, "backbone.features.0.0.weight", rank=4)
    stages = []
    for stage in range(4):
        depth = count(shapes, rf"backbone\.features\.{2 * stage + 1}\.(\d+)\.")
        table = f"backbone.features.{2 * stage + 1}.0.attn.relative_position_bias_table"
        heads = dimension(shapes, table, axis=1)
        if width * 2**stage % heads:
            raise TensorError(table, f": {heads} heads do not divide {width * 2**stage} channels")
        stages.append((depth, heads))
    table = "backbone.features.1.0.attn.relative_position_bias_table"
    rows = dimension(shapes, table)
    window = (isqrt(rows) + 1) // 2
    if (2 * window - 1) ** 2 != rows or window > MAX_WINDOW:
        raise TensorError(table, f": {rows} rows are no window's (2 w - 1)^2 with w up to {MAX_WINDOW}")
    (d1, h1), (d2, h2), (d3, h3), (d4, h4) = stages
    return Swin(width, (d1, d2, d3, d4), (h1, h2, h3, h4), window)
