"""The formulas: what each part of the model costs, as coefficients by operator and quantity.

A model's cost is linear in a handful of quantities of the input's size, so a part is a table of coefficients. Tables
that follow from the backbone or the head alone are made once and shared: nobody changes them.

Sources: He et al. 2016; Liu et al. 2021, eq. 1-2; Zhu et al. 2021 (Deformable DETR), appendix A.1; Cheng et al. 2022,
section 3; Aich et al. 2025, section 3. One multiply-accumulate is 1.
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from functools import cache

from proscale_bench.config.architecture import Architecture, Head, ResNet, Swin
from proscale_bench.cost.rules import Operator
from proscale_bench.specs.encoders.staged import LEVELS, Level, Schedule

# Tokens of a level in units of the tokens at stride 32.
TOKENS_OF = {"res5": 1, "res4": 4, "res3": 16, "res2": 64}


class Quantity(IntEnum):
    """What a cost is linear in."""

    ONE = 0
    TOKENS = 1  # at stride 32: padded height * width / 1024
    WINDOWED_1 = 2  # tokens of the first Swin stage, padded to windows; 3, 4, 5: of the others
    WINDOWED_2 = 3
    WINDOWED_3 = 4
    WINDOWED_4 = 5
    MASK_EINSUM = 6  # one product of queries and mask features, rounded as the rules say
    SEMANTIC_EINSUM = 7
    OUTPUT_PX = 8
    MASK_EINSUM_RES5 = 9  # the same product over the places of a level: as executed
    MASK_EINSUM_RES4 = 10
    MASK_EINSUM_RES3 = 11


Terms = Counter[tuple[Operator, Quantity]]


def part_terms(architecture: Architecture, schedule: Schedule, as_executed: bool = False) -> dict[str, Terms]:
    """The coefficients of every part but the token layers.

    Args:
        as_executed: after the exact rewrites of inference (see `models/inference.py`): batch norms are folded into
            convolutions, and masks that serve only as attention masks are predicted at their level's resolution.
    """
    backbone, head = architecture.backbone, architecture.head
    return {
        "backbone": resnet_terms(backbone, as_executed) if isinstance(backbone, ResNet) else swin_terms(backbone),
        "encoder_projection": projection_terms(backbone.channels, head.width),
        "encoder_recalibration": recalibration_terms(schedule, head.width),
        "pixel_embedding": pixel_embedding_terms(schedule, backbone.channels[0], head.width),
        "fpn_upsampling": _terms((Operator.UPSAMPLE_BILINEAR2D, 4 * head.width * TOKENS_OF["res2"])),
        "transformer_decoder": decoder_terms(head, as_executed),
        "postprocessing": postprocessing_terms(head.queries),
    }


def layer_terms(head: Head, schedule: Schedule) -> list[Terms]:
    """The coefficients of every token layer, in order."""
    return [token_layer_terms(head, levels) for _, levels in schedule.layers]


def _terms(*entries: tuple[Operator, int]) -> Terms:
    """Terms in proportion to the tokens at stride 32."""
    terms: Terms = Counter()
    for operator, amount in entries:
        terms[operator, Quantity.TOKENS] += amount
    return terms


@cache
def resnet_terms(spec: ResNet, norms_folded: bool = False) -> Terms:
    """Stem 7x7 at stride 2, then bottlenecks; the stride is in the 3x3, so a first 1x1 runs at input resolution."""
    positions = 4 * TOKENS_OF["res2"]
    conv = positions * 7 * 7 * 3 * spec.stem_width
    norm = positions * 2 * spec.stem_width
    c_in = spec.stem_width
    for stage, (depth, c_out) in enumerate(zip(spec.depths, spec.channels, strict=True)):
        positions = TOKENS_OF["res2"] >> (2 * stage)
        c = spec.width << stage
        for block in range(depth):
            downsamples = block == 0 and stage > 0
            positions_in = 4 * positions if downsamples else positions
            conv += positions_in * c_in * c + positions * (9 * c * c + c * c_out)
            norm += 2 * (positions_in * c + positions * (c + c_out))
            if downsamples or c_in != c_out:  # 1x1 shortcut
                conv += positions * c_in * c_out
                norm += 2 * positions * c_out
            c_in = c_out
    return _terms((Operator.CONV, conv), (Operator.BATCH_NORM, 0 if norms_folded else norm))


@cache
def swin_terms(spec: Swin) -> Terms:
    """Patch embedding, blocks with attention over padded windows, merging, a norm on each output."""
    tokens = TOKENS_OF["res2"]
    terms = _terms((Operator.CONV, 4 * 4 * 3 * spec.width * tokens), (Operator.LAYER_NORM, 5 * spec.width * tokens))
    for stage, (depth, c) in enumerate(zip(spec.depths, spec.channels, strict=True)):
        tokens = TOKENS_OF["res2"] >> (2 * stage)
        windowed = Quantity(Quantity.WINDOWED_1 + stage)
        terms[Operator.LAYER_NORM, Quantity.TOKENS] += depth * 10 * c * tokens
        terms[Operator.LINEAR, Quantity.TOKENS] += depth * 8 * c * c * tokens  # MLP
        terms[Operator.LINEAR, windowed] += depth * 4 * c * c  # q, k, v and output
        terms[Operator.MATMUL, windowed] += depth * 2 * spec.window**2 * c  # Q.K^T and A.V
        terms[Operator.LAYER_NORM, Quantity.TOKENS] += 5 * c * tokens  # output
        if stage < 3:  # merging: four tokens of c become one of 2c
            terms[Operator.LAYER_NORM, Quantity.TOKENS] += 5 * 4 * c * tokens // 4
            terms[Operator.LINEAR, Quantity.TOKENS] += 4 * c * 2 * c * tokens // 4
    return terms


@cache
def projection_terms(channels: tuple[int, int, int, int], width: int) -> Terms:
    """A 1x1 convolution and a GroupNorm on each of res3, res4, res5."""
    _, c3, c4, c5 = channels
    tokens = [(c3, TOKENS_OF["res3"]), (c4, TOKENS_OF["res4"]), (c5, TOKENS_OF["res5"])]
    return _terms(
        (Operator.CONV, sum(c * width * n for c, n in tokens)),
        (Operator.GROUP_NORM, sum(5 * width * n for _, n in tokens)),
    )


def recalibration_terms(schedule: Schedule, width: int) -> Terms:
    """res3 resized to res5 and to res4, one weight a channel, a gate on every token of the two."""
    if schedule.recalibration == "none":
        return Counter()
    gated = TOKENS_OF["res5"] + TOKENS_OF["res4"]
    weight = Operator.LINEAR if schedule.recalibration == "linear" else Operator.CONV
    return _terms(
        (Operator.UPSAMPLE_BILINEAR2D, 4 * width * gated),
        (weight, width * gated),
        (Operator.GATING, width * gated),
    )


@cache
def token_layer_terms(head: Head, levels: tuple[Level, ...]) -> Terms:
    """Deformable attention over the tokens of `levels`, and an FFN; d(2d + 3HLP + 2F) in linears a token."""
    tokens = sum(TOKENS_OF[level] for level in levels)
    d, samples = head.width, len(levels) * head.encoder_points  # samples a head
    offsets_and_weights = 3 * d * head.encoder_heads * samples
    return _terms(
        (Operator.LINEAR, tokens * (2 * d * d + offsets_and_weights + 2 * d * head.encoder_ffn)),
        (Operator.GRID_SAMPLER, tokens * 4 * d * samples),
        (Operator.WEIGHTED_SUM, tokens * d * samples),
        (Operator.LAYER_NORM, tokens * 2 * 5 * d),
    )


def pixel_embedding_terms(schedule: Schedule, c2: int, width: int) -> Terms:
    """Lateral 1x1 + norm, a 3x3 convolution or max-pool + norm, and the 1x1 to the mask features, at stride 4."""
    tokens = TOKENS_OF["res2"]
    kernel = 9 * width * width if schedule.pixel_embedding == "conv" else 0
    return _terms(
        (Operator.CONV, tokens * (c2 * width + kernel + width * width)),
        (Operator.GROUP_NORM, tokens * 2 * 5 * width),
    )


@cache
def decoder_terms(head: Head, masks_at_levels: bool = False) -> Terms:
    """Layers of masked cross-attention, self-attention and FFN; a prediction before each and at the end.

    A layer's attention mask is a prediction at stride 4 resized to its level; or, `masks_at_levels`, a prediction
    from the mask features resized to its level, which is done once a level.
    """
    c, q, layers = head.width, head.queries, head.decoder_layers
    source = sum(TOKENS_OF[LEVELS[layer % 3]] for layer in range(layers))  # attended tokens of all layers
    # resized: the mask features, once to each level; or the masks, to each layer's level
    resized = c * sum(TOKENS_OF[level] for level in LEVELS) if masks_at_levels else q * source
    predictions = layers + 1
    terms = _terms(
        (Operator.LINEAR, 2 * c * c * source),  # keys and values
        (Operator.BMM, q * c * source),  # A.V
        (Operator.MASKED_QK, q * c * source),
        (Operator.UPSAMPLE_BILINEAR2D, 4 * resized),
    )
    query_linears = layers * 6 * c * c  # q and output of the cross-attention; q, k, v and output of the other
    terms[Operator.LINEAR, Quantity.ONE] += q * (
        query_linears + layers * 2 * c * head.decoder_ffn + predictions * 3 * c * c
    )
    terms[Operator.LINEAR, Quantity.ONE] += q * c * (head.num_classes + 1)  # only the last prediction's
    terms[Operator.BMM, Quantity.ONE] += layers * 2 * q * q * c
    terms[Operator.LAYER_NORM, Quantity.ONE] += 5 * q * c * (3 * layers + predictions)
    if masks_at_levels:
        for layer in range(layers):
            terms[Operator.MASK_EINSUM, Quantity(Quantity.MASK_EINSUM_RES5 + layer % 3)] += 1
    terms[Operator.MASK_EINSUM, Quantity.MASK_EINSUM] += 1 if masks_at_levels else predictions
    return terms


@cache
def postprocessing_terms(queries: int) -> Terms:
    """Masks resized to the padded input and to the output, even where the sizes are equal; the semantic product."""
    terms = _terms((Operator.UPSAMPLE_BILINEAR2D, 4 * queries * 1024))
    terms[Operator.UPSAMPLE_BILINEAR2D, Quantity.OUTPUT_PX] += 4 * queries
    terms[Operator.SEMANTIC_EINSUM, Quantity.SEMANTIC_EINSUM] += 1
    return terms
