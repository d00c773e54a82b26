"""ECO-M2F's early exit: Mask2Former's pixel decoder, which an image leaves after the layer that a gate chooses.

Source: Yao et al. 2024 (ECO-M2F).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from proscale_bench.errors import BenchError
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.specs.encoders.early_exit import DEPTH, EXITS, FIRST_EXIT, EarlyExit
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.masked_decoder import Head


class EarlyExitEncoder(parts.UpsamplingEncoder):
    """Six layers over all levels, as many of them as an image needs, then features at stride 4.

    Weights are the same whatever the exit. Where the gate chooses, every image of a batch has an exit of its own, and
    its output is what it would be alone. In training without a fixed exit every image leaves after a layer drawn at
    random, so that all of them learn to be the last; the gate then has no part in the loss.

    Args:
        spec: the fixed exit, or none.
        head: dimensions.
        channels: channels of the backbone's features, by name.

    Raises:
        BenchError: the spec is an expectation over exits, which is no model.
    """

    def __init__(self, spec: EarlyExit, head: Head, channels: Mapping[str, int]) -> None:
        super().__init__()
        if spec.shares is not None:
            raise BenchError(
                f"{spec} is an expectation, and no model", "name 'early-exit', or one exit: 'early-exit:3'"
            )
        width = head.width
        self.exit = spec.exit
        self.projections = nn.ModuleList(parts.projection(channels[level], width) for level in LEVELS)
        self.level_embedding = nn.Parameter(torch.empty(len(LEVELS), width).normal_())
        self.gate = nn.Linear(width, len(EXITS))
        nn.init.xavier_uniform_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.layers = nn.ModuleList(
            parts.TokenLayer(width, head.encoder_heads, len(LEVELS), head.encoder_points, head.encoder_ffn)
            for _ in range(DEPTH)
        )
        self.add_embedding(channels, width, "conv")

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`.

        1. Project every level to the common width.
        2. Choose each image's exit by the mean of its projected res5.
        3. Run layers over the joined tokens up to the last exit; an image keeps what it was at its own.
        4. Bring res3 to stride 4, add the lateral res2, embed.
        """
        projected = [project(features[level]) for level, project in zip(LEVELS, self.projections, strict=True)]
        tokens, grid = parts.join_levels(projected, self.level_embedding)
        gates = () if self.training else (self.gate(tokens[:, : grid.lengths[0]].mean(dim=1)),)
        exits = self._exits(gates, len(tokens)) if self.exit is None else None
        for number, layer in enumerate(self.layers[: self.exit if exits is None else int(exits.max())], start=1):
            refined = layer(tokens, grid)
            stays = None if exits is None else (exits >= number)[:, None, None]  # [B, 1, 1]
            tokens = refined if stays is None else torch.where(stays, refined, tokens)

        pyramid = parts.split_levels(tokens, grid)
        return EncoderOutput(self.embed(pyramid[-1], features), pyramid, gates)

    def _exits(self, gates: tuple[Tensor, ...], images: int) -> Tensor:
        """The number of layers that each image sees, [B]: as the gate's logits [B, 5] say, or in training drawn."""
        if not gates:
            return torch.randint(FIRST_EXIT, DEPTH + 1, (images,), device=self.level_embedding.device)
        return gates[0].argmax(dim=1) + FIRST_EXIT
