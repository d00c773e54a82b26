"""Lite-DETR's interleaved update as a pixel decoder of Mask2Former; our mapping: see the spec of the same name.

Source: Li et al. 2023 (Lite DETR), section 4; the path to stride 4 is Mask2Former's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.models.key_aware_attention import KeyAwareAttention, linear
from proscale_bench.specs.encoders.interleaved import COARSE, Interleaving, Lite
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.masked_decoder import Head


class InterleavedEncoder(parts.UpsamplingEncoder):
    """Layers that refine res5 and res4, some of them res3 too; then features at stride 4.

    Args:
        spec: layers and pixel embedding.
        head: dimensions.
        channels: channels of the backbone's features, by name.
    """

    def __init__(self, spec: Lite, head: Head, channels: Mapping[str, int]) -> None:
        super().__init__()
        width = head.width
        self.projections = nn.ModuleList(parts.projection(channels[level], width) for level in LEVELS)
        self.level_embedding = nn.Parameter(torch.empty(len(LEVELS), width).normal_())
        self.layers = interleaved_layers(spec.interleaving, head, len(LEVELS), len(COARSE))
        self.add_embedding(channels, width, spec.pixel_embedding)

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`.

        1. Project every level to the common width.
        2. Run all layers over the joined tokens.
        3. Bring res3 to stride 4, add the lateral res2, embed.
        """
        projected = [project(features[level]) for level, project in zip(LEVELS, self.projections, strict=True)]
        tokens, grid = parts.join_levels(projected, self.level_embedding)
        for layer in self.layers:
            tokens = layer(tokens, grid)
        pyramid = parts.split_levels(tokens, grid)
        return EncoderOutput(self.embed(pyramid[-1], features), pyramid)

    def optimize(self) -> None:
        """Sample keys that are the values once: see `PixelEncoder`."""
        for layer in self.layers:
            if isinstance(layer.attention, KeyAwareAttention):
                layer.attention.samples_once = True


def interleaved_layers(interleaving: Interleaving, head: Head, levels: int, coarse: int) -> nn.ModuleList:
    """The layers of an interleaved update, for any levels; what they are given is coarse to fine.

    Args:
        levels: number of levels.
        coarse: how many of them, the coarsest, every layer refines.
    """
    one, width = interleaving, head.width
    shape = (width, head.encoder_heads, levels, head.encoder_points)

    def attention() -> DeformableAttention:
        if one.key_aware:
            return KeyAwareAttention(*shape, same_locations=one.same_locations, project_keys=one.project_keys)
        plain = DeformableAttention(*shape, same_locations=one.same_locations)
        plain.query_proj = linear(width)  # in official weights too, where nothing reads it either
        return plain

    def layer(refines_all: bool) -> parts.TokenLayer:
        return parts.TokenLayer(
            *shape,
            head.encoder_ffn,
            attention=attention(),
            refines=None if refines_all else coarse,
            coarse=coarse if refines_all and one.small_ffn else None,
        )

    return nn.ModuleList(layer(one.refines_all(index)) for index in range(one.layers))
