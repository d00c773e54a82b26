"""Mask2Former's head: its dimensions, and what its transformer decoder and post-processing cost.

Source: Cheng et al. 2022, sections 3 and 4.1. The module is `models/masked_decoder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS
from proscale_bench.specs.terms import Einsum, One, Operator, OutputPixels, Terms, Tokens, terms

NORM_GROUPS = 32


@dataclass(frozen=True)
class Head:
    """All that follows the backbone: pixel decoder and transformer decoder, `width` channels throughout."""

    width: int = 256
    encoder_heads: int = 8
    encoder_points: int = 4
    encoder_ffn: int = 1024
    decoder_heads: int = 8
    decoder_ffn: int = 2048
    decoder_layers: int = 9
    queries: int = 100
    num_classes: int = 133  # COCO panoptic


@cache
def decoder_terms(head: Head, pyramid_width: int, masks_at_levels: bool = False) -> Terms:
    """Layers of masked cross-attention, self-attention and FFN; a prediction before each and at the end.

    A layer's attention mask is a prediction at stride 4 resized to its level; or, with `masks_at_levels`, a prediction
    from the mask features resized to its level, which is done once a level. A pyramid of `pyramid_width` channels that
    is not as wide as the head is projected first.
    """
    c, q, layers = head.width, head.queries, head.decoder_layers
    predictions = layers + 1
    query_linears = layers * 6 * c * c  # q and output of the cross-attention; q, k, v and output of the other
    table = terms(
        (Operator.LINEAR, q * (query_linears + layers * 2 * c * head.decoder_ffn + predictions * 3 * c * c), One()),
        (Operator.LINEAR, q * c * (head.num_classes + 1), One()),  # only the last prediction's
        (Operator.BMM, layers * 2 * q * q * c, One()),
        (Operator.LAYER_NORM, 5 * q * c * (3 * layers + predictions), One()),
        (Operator.MASK_EINSUM, 1 if masks_at_levels else predictions, Einsum(q * c, Tokens(4))),
    )
    for layer in range(layers):
        source = Tokens(FEATURE_STRIDES[LEVELS[layer % len(LEVELS)]])  # the tokens that it attends to
        table.add(Operator.LINEAR, 2 * c * c, source)  # keys and values
        table.add(Operator.BMM, q * c, source)  # A.V
        table.add(Operator.MASKED_QK, q * c, source)
        if masks_at_levels:
            table.add(Operator.MASK_EINSUM, 1, Einsum(q * c, source))
        else:
            table.add(Operator.UPSAMPLE_BILINEAR2D, 4 * q, source)
    for places in (Tokens(FEATURE_STRIDES[level]) for level in LEVELS):
        table.add(Operator.CONV, pyramid_width * c if pyramid_width != c else 0, places)
        table.add(Operator.UPSAMPLE_BILINEAR2D, 4 * c if masks_at_levels else 0, places)
    return table


@cache
def postprocessing_terms(head: Head) -> Terms:
    """Masks resized to the padded input and to the output, even where the sizes are equal; the semantic product."""
    return terms(
        (Operator.UPSAMPLE_BILINEAR2D, 4 * head.queries, Tokens(1)),
        (Operator.UPSAMPLE_BILINEAR2D, 4 * head.queries, OutputPixels()),
        (Operator.SEMANTIC_EINSUM, 1, Einsum(head.queries * head.num_classes, OutputPixels())),
    )


def decoder_parameters(head: Head, pyramid_width: int) -> int:
    """Layers, queries, level embeddings, norm, class head and mask head; projections of a pyramid of another width."""
    c, ffn, q = head.width, head.decoder_ffn, head.queries
    attention = 4 * (c * c + c)
    layer = 2 * attention + (2 * c * ffn + ffn + c) + 3 * 2 * c
    predictions = 2 * c + c * (head.num_classes + 1) + head.num_classes + 1 + 3 * (c * c + c)
    projections = len(LEVELS) * (pyramid_width * c + c) if pyramid_width != c else 0
    return projections + head.decoder_layers * layer + 2 * q * c + len(LEVELS) * c + predictions
