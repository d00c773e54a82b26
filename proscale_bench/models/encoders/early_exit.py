"""ECO-M2F's early exit: Mask2Former's pixel decoder, which an image leaves after the layer that a gate chooses.

Source: Yao et al. 2024 (ECO-M2F).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from proscale_bench.errors import BenchError
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interface import EncoderOutput, PixelEncoder
from proscale_bench.models.position import pixel_centres, resize, sine_position
from proscale_bench.specs.encoders.early_exit import DEPTH, EXITS, FIRST_EXIT, EarlyExit
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.units import Size


class EarlyExitEncoder(PixelEncoder):
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
        self.lateral = parts.lateral(channels["res2"], width)
        self.pixel_embedding = parts.pixel_embedding("conv", width)
        self.mask_features = parts.mask_projection(width)

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`.

        1. Project every level to the common width.
        2. Choose each image's exit by the mean of its projected res5.
        3. Run layers over the joined tokens up to the last exit; an image keeps what it was at its own.
        4. Bring res3 to stride 4, add the lateral res2, embed.
        """
        projected = {level: project(features[level]) for level, project in zip(LEVELS, self.projections, strict=True)}
        by_level = [parts.to_tokens(projected[level]) for level in LEVELS]  # [B, h*w, C] each
        sizes: list[Size] = [(x.shape[-2], x.shape[-1]) for x in projected.values()]
        gates = () if self.training else (self.gate(by_level[0].mean(dim=1)),)
        exits = self._exits(gates, len(by_level[0])) if self.exit is None else None
        tokens, grid = torch.cat(by_level, dim=1), self._grid(sizes)
        for number, layer in enumerate(self.layers[: self.exit if exits is None else int(exits.max())], start=1):
            refined = layer(tokens, grid)
            stays = None if exits is None else (exits >= number)[:, None, None]  # [B, 1, 1]
            tokens = refined if stays is None else torch.where(stays, refined, tokens)

        refined_levels = torch.split(tokens, grid.lengths, dim=1)
        pyramid = tuple(parts.to_map(one, size) for one, size in zip(refined_levels, sizes, strict=True))
        res2 = self.lateral(features["res2"])  # [B, C, H/4, W/4]
        embedded = self.pixel_embedding(resize(pyramid[-1], res2.shape[-2:]).add_(res2))
        return EncoderOutput(self.mask_features(embedded), pyramid, gates)

    def _exits(self, gates: tuple[Tensor, ...], images: int) -> Tensor:
        """The number of layers that each image sees, [B]: as the gate's logits [B, 5] say, or in training drawn."""
        if not gates:
            return torch.randint(FIRST_EXIT, DEPTH + 1, (images,), device=self.level_embedding.device)
        return gates[0].argmax(dim=1) + FIRST_EXIT

    def _grid(self, sizes: list[Size]) -> parts.TokenGrid:
        device, width = self.level_embedding.device, self.level_embedding.shape[1]
        return parts.TokenGrid.join(
            (size, sine_position(size, width, device) + embedding, pixel_centres(size, device))
            for size, embedding in zip(sizes, self.level_embedding, strict=True)
        )

    def between_parts(self, output: EncoderOutput) -> Callable[[], object]:
        """The upsampling of the finest level to stride 4: see `PixelEncoder`."""
        height, width = output.mask_features.shape[-2:]
        return lambda: resize(output.pyramid[-1], (height, width))
