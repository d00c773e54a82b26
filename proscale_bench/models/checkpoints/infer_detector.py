"""The architecture of a Deformable DETR, read off the shapes of its tensors.

A file of ours says which encoder it has, how many points queries read, and how many queries two stages choose. Else an
encoder is read off its layers, which see more and more levels, with heads of four points as in the published models.
"""

from __future__ import annotations

from proscale_bench.models.checkpoints.shapes import Hints, TensorError, TensorShapes, count, dimension, divisor
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS, MultiScale, MultiScaleLite, parse_compact
from proscale_bench.specs.masked_decoder import NORM_GROUPS
from proscale_bench.specs.model import EncoderSpec

POINTS = 4
ANCHOR = "decoder.class_heads.0.weight"
CROSS = "decoder.layers.0.cross_attention.sampling_offsets.weight"
TWO_STAGE = "proposals.query.weight"
DetectorEncoder = MultiScale | MultiScaleLite


def is_detector(shapes: TensorShapes) -> bool:
    """The tensors are a detector's and not a Mask2Former's."""
    return ANCHOR in shapes


def detector_head(shapes: TensorShapes, hints: Hints) -> DetectorHead:
    """The dimensions of what follows the backbone.

    Raises:
        TensorError: a tensor that tells a dimension is missing or of no possible shape.
    """
    width = dimension(shapes, "encoder.level_embedding", axis=1)
    if width % NORM_GROUPS:
        raise TensorError("encoder.level_embedding", f": width {width} is no multiple of {NORM_GROUPS} norm groups")
    points = hints.decoder_points or POINTS
    heads, rest = divmod(dimension(shapes, CROSS), len(DETECTOR_LEVELS) * points * 2)
    if rest or not divisor(heads, width):
        raise TensorError(CROSS, f": {dimension(shapes, CROSS)} rows are not heads * 4 levels * {points} points * 2")
    layers = count(shapes, r"decoder\.layers\.(\d+)\.")
    two_stage = TWO_STAGE in shapes
    first = "encoder.layers.0.linear1.weight"
    return DetectorHead(
        width=width,
        encoder_heads=divisor(hints.encoder_heads, width) or heads,
        encoder_points=hints.encoder_points or POINTS,
        encoder_ffn=hints.encoder_ffn or (dimension(shapes, first) if first in shapes else DetectorHead.encoder_ffn),
        decoder_heads=heads,
        decoder_ffn=dimension(shapes, "decoder.layers.0.linear1.weight"),
        decoder_layers=layers,
        queries=hints.queries or DetectorHead.queries if two_stage else dimension(shapes, "decoder.queries"),
        num_classes=dimension(shapes, ANCHOR),
        decoder_points=points,
        refine=two_stage or "decoder.class_heads.1.weight" in shapes,
        two_stage=two_stage,
    )


def as_detectors(encoder: EncoderSpec) -> EncoderSpec:
    """An encoder that was named without knowing whose it is, as a detector spells it.

    Raises:
        BenchError: no detector has one of this spelling.
    """
    return encoder if isinstance(encoder, DetectorEncoder) else parse_compact(encoder.compact)


def detector_encoder(shapes: TensorShapes, head: DetectorHead) -> EncoderSpec:
    """The encoder whose layers see so many of the coarsest levels each.

    Raises:
        TensorError: layers that keep a share of the tokens, see fewer levels than those before, or have a second FFN.
    """
    stages = [0, 0, 0, 0]
    for layer in range(count(shapes, r"encoder\.layers\.(\d+)\.")):
        prefix = f"encoder.layers.{layer}"
        for key, what in (
            (f"{prefix}.score.weight", "keeps a share"),
            (f"{prefix}.small_ffn.norm.weight", "is Lite's"),
        ):
            if key in shapes:
                message = f": the encoder {what}, and no shape tells which"
                raise TensorError(key, message, "give the schedule that it was trained with")
        key = f"{prefix}.attention.sampling_offsets.weight"
        levels, rest = divmod(dimension(shapes, key), 2 * head.encoder_points * head.encoder_heads)
        if rest or not 1 <= levels <= len(stages) or any(stages[levels:]):
            what = (
                f": {dimension(shapes, key)} rows are not those of more and more levels with {head.encoder_heads} heads"
            )
            raise TensorError(key, what, "the file is damaged, or not of an encoder that we know")
        stages[levels - 1] += 1
    first, second, third, full = stages
    return MultiScale((first, second, third, full))
