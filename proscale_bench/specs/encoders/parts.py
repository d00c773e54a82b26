"""Parts that encoders have in common: the cost of a projection, a token layer, the path to the mask features.

Sources: Zhu et al. 2021 (Deformable DETR), appendix A.1; Cheng et al. 2022, section 3. The modules are
`models/encoders/parts.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS, STRIDES, Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import Operator, Quantity, Terms, Tokens, terms

# The smoothing of the sum at stride 4: PRO-SCALE's 3x3 max-pool (LPE), Mask2Former's 3x3 convolution, one a channel.
PixelEmbedding = Literal["maxpool", "conv", "depthwise"]

PROJECTION = Part("encoder_projection", "projection", "encoder", ("encoder.projections",))
TOKEN_LAYERS = Part("encoder_token_layers", "token layers", "encoder", quoted=True)
PIXEL_EMBEDDING = Part(
    "pixel_embedding",
    "pixel embedding",
    "encoder",
    ("encoder.lateral", "encoder.pixel_embedding", "encoder.mask_features"),
)
FPN_UPSAMPLING = Part("fpn_upsampling", "FPN upsampling", modules=("encoder",))  # the papers charge it to the head


@cache
def numbered_layers(count: int) -> tuple[Part, ...]:
    """The token layers of an encoder as parts, one by one."""
    return tuple(
        Part(f"encoder_token_layer_{n}", f"layer {n}", TOKEN_LAYERS.name, (f"encoder.layers.{n - 1}",), numbered=True)
        for n in range(1, count + 1)
    )


@cache
def conv_norm_terms(kernel: int, c_in: int, c_out: int, places: Quantity, norms_folded: bool = False) -> Terms:
    """A convolution of kernel x kernel and a batch norm, or the convolution alone where the norm is folded into it.

    Args:
        places: those of its output.
    """
    norm = () if norms_folded else ((Operator.BATCH_NORM, 2 * c_out, places),)
    return terms((Operator.CONV, kernel * kernel * c_in * c_out, places), *norm)


@cache
def projection_terms(channels: Channels, width: int, levels: tuple[str, ...] = LEVELS) -> Terms:
    """A convolution and a GroupNorm on each level."""
    table = Terms()
    for level in levels:
        table.add(Operator.CONV, projection_weights(channels, width, level), Tokens(STRIDES[level]))
        table.add(Operator.GROUP_NORM, 5 * width, Tokens(STRIDES[level]))
    return table


def projection_parameters(channels: Channels, width: int, levels: tuple[str, ...] = LEVELS) -> int:
    """Convolutions with bias, and their norms."""
    return sum(projection_weights(channels, width, level) + width + 2 * width for level in levels)


def projection_weights(channels: Channels, width: int, level: str) -> int:
    """The weights of a level's convolution, which are as many as its products at a place.

    It is a 1x1 on a feature of the backbone, and a 3x3 of stride 2 from res5 to res6.
    """
    if level in FEATURE_STRIDES:
        return channels[list(FEATURE_STRIDES).index(level)] * width
    return 9 * channels[-1] * width


@cache
def token_layer_terms(head: Head, levels: tuple[str, ...], keep: float = 1.0, *, keeps_of_all: bool = False) -> Terms:
    """Deformable attention over the tokens of `levels`, and an FFN: d(2d + 3HLP + 2F) in linears a token.

    With `keep` all tokens of the last level, or with `keeps_of_all` of all levels, are values and have a score, and so
    large a share of them are queries.
    """
    d, samples = head.width, len(levels) * head.encoder_points  # samples a head
    offsets_and_weights = 3 * d * head.encoder_heads * samples
    table = Terms()
    for tokens in map(Tokens, (STRIDES[level] for level in levels)):
        table.add(Operator.LINEAR, d * d, tokens)
    for queries in LayerSpec(1, levels, keep=keep, keeps_of_all=keeps_of_all).tokens:
        table.add(Operator.LINEAR, d * d + offsets_and_weights + 2 * d * head.encoder_ffn, queries)
        table.add(Operator.GRID_SAMPLER, 4 * d * samples, queries)
        table.add(Operator.WEIGHTED_SUM, d * samples, queries)
        table.add(Operator.LAYER_NORM, 2 * 5 * d, queries)
    for level in levels if keeps_of_all else levels[-1:]:
        table.add(Operator.LINEAR, d if keep < 1 else 0, Tokens(STRIDES[level]))
    return table


def token_layer_parameters(head: Head, level_count: int, keep: float = 1.0) -> int:
    """Value and output projections, offsets and weights, FFN, two norms; with `keep` a score of tokens."""
    d, ffn = head.width, head.encoder_ffn
    offsets_and_weights = 3 * (d + 1) * head.encoder_heads * level_count * head.encoder_points
    score = d + 1 if keep < 1 else 0
    return 2 * (d * d + d) + offsets_and_weights + (2 * d * ffn + ffn + d) + 4 * d + score


@cache
def pixel_embedding_terms(channels: Channels, width: int, kind: PixelEmbedding) -> Terms:
    """Lateral 1x1 + norm, a 3x3 convolution or max-pool + norm, and the 1x1 to the mask features, at stride 4."""
    return terms(
        (Operator.CONV, channels[0] * width + smoothing_weights(width, kind) + width * width, Tokens(4)),
        (Operator.GROUP_NORM, 2 * 5 * width, Tokens(4)),
    )


def pixel_embedding_parameters(channels: Channels, width: int, kind: PixelEmbedding) -> int:
    """Lateral and norm, the 3x3 convolution where it is one and its norm, the projection to the mask features."""
    lateral = channels[0] * width + 2 * width
    return lateral + smoothing_weights(width, kind) + 2 * width + width * width + width


def smoothing_weights(width: int, kind: PixelEmbedding) -> int:
    """The weights of the 3x3 convolution, which are as many as its products at a place; a max-pool has none."""
    return {"maxpool": 0, "conv": 9 * width * width, "depthwise": 9 * width}[kind]


@cache
def upsampling_terms(width: int) -> Terms:
    """The finest map resized to stride 4, 4 an output element."""
    return terms((Operator.UPSAMPLE_BILINEAR2D, 4 * width, Tokens(4)))
