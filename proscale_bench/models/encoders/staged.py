"""Mask2Former's pixel decoder and PRO-SCALE's: one encoder, whose stages see more and more levels.

The baseline is six layers over all levels without re-calibration. Levels beyond the paper's three are our mapping: see
the spec of the same name.

Sources: Cheng et al. 2022, section 3.2; Aich et al. 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

import torch
from torch import Tensor, nn

from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.models.encoders.retention import RetainingLayer
from proscale_bench.models.position import pixel_centres, sine_position
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.units import Size


class StagedEncoder(parts.UpsamplingEncoder):
    """Token layers in the order of a schedule, then features at stride 4.

    Args:
        schedule: stages and options.
        head: dimensions.
        channels: channels of the backbone's features, by name.
    """

    def __init__(self, schedule: Schedule, head: Head, channels: Mapping[str, int]) -> None:
        super().__init__()
        width = head.width
        self.schedule = schedule
        self.projections = nn.ModuleList(
            parts.projection(channels[_source(level)], width, halving=level not in FEATURE_STRIDES)
            for level in schedule.levels
        )
        self.level_embedding = nn.Parameter(torch.empty(len(schedule.levels), width).normal_())
        self.recalibration = None
        if schedule.recalibration != "none":
            self.recalibration = parts.TokenRecalibration(
                width,
                convolution=schedule.recalibration == "conv",
                layout=schedule.recalibration_layout,
                temperature=schedule.recalibration_temperature,
            )
        self.layers = nn.ModuleList(_token_layer(head, len(layer.levels), layer.keep) for layer in schedule.layers)
        self.add_embedding(channels, width, schedule.pixel_embedding)

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`.

        1. Project every level to the common width.
        2. Re-calibrate the coarser levels by the projected finest one: res5 and res4 by res3.
        3. Run each stage's layers over the joined tokens of its levels.
        4. Bring the finest level to stride 4, add the lateral res2, embed.
        """
        levels, finest = self.schedule.levels, self.schedule.finest
        projected = {
            level: project(features[_source(level)]) for level, project in zip(levels, self.projections, strict=True)
        }
        sizes: dict[str, Size] = {level: (x.shape[-2], x.shape[-1]) for level, x in projected.items()}
        tokens: dict[str, Tensor] = {level: parts.to_tokens(x) for level, x in projected.items()}  # [B, h*w, C]
        if self.recalibration is not None:
            for level in levels[:-1]:
                tokens[level] = self.recalibration(tokens[level], sizes[level], tokens[finest], sizes[finest])
        tokens = self._run_stages(tokens, sizes)

        pyramid = tuple(parts.to_map(tokens[level], sizes[level]) for level in LEVELS)
        mask_features = self.embed(parts.to_map(tokens[finest], sizes[finest]), features)
        return EncoderOutput(mask_features, pyramid)

    def _run_stages(self, tokens: dict[str, Tensor], sizes: dict[str, Size]) -> dict[str, Tensor]:
        """Refine each level's tokens by the layers of the stages that see it."""
        device, width = self.level_embedding.device, self.level_embedding.shape[1]
        position = {
            level: sine_position(sizes[level], width, device) + self.level_embedding[index]
            for index, level in enumerate(self.schedule.levels)
        }
        reference = {level: pixel_centres(sizes[level], device) for level in self.schedule.levels}
        gated = tokens
        layers = iter(self.layers)
        for stage in self.schedule.stages:
            if not stage.layers:
                continue
            grid = parts.TokenGrid.join((sizes[level], position[level], reference[level]) for level in stage.levels)
            joined = torch.cat([tokens[level] for level in stage.levels], dim=1)  # [B, N, C]
            residual = None
            if self.schedule.residual and self.schedule.finest not in stage.levels:
                residual = torch.cat([gated[level] for level in stage.levels], dim=1)
            for layer in islice(layers, stage.layers):
                joined = layer(joined, grid)
                if residual is not None:
                    joined = joined + residual
            refined = torch.split(joined, grid.lengths, dim=1)
            tokens = {**tokens, **dict(zip(stage.levels, refined, strict=True))}
        return tokens

    def between_parts(self, output: EncoderOutput) -> Callable[[], object] | None:
        """The upsampling of the finest level to stride 4, if it is not there: see `PixelEncoder`."""
        return None if self.schedule.finest == "res2" else super().between_parts(output)


def _token_layer(head: Head, levels: int, keep: float) -> parts.TokenLayer:
    dimensions = (head.width, head.encoder_heads, levels, head.encoder_points, head.encoder_ffn)
    return parts.TokenLayer(*dimensions) if keep == 1 else RetainingLayer(*dimensions, keep)


def _source(level: str) -> str:
    """The backbone's feature that a level is made from."""
    return level if level in FEATURE_STRIDES else "res5"
