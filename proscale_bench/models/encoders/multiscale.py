"""The encoder of detectors: all levels from stride 8 on, whose images may be padded, through layers over all of them.

With plain layers it is Deformable DETR's, with interleaved ones Lite-DETR's, with layers over fewer levels PRO-SCALE's.

Source: Zhu et al. 2021 (Deformable DETR), section 4.1 and appendix A.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.retention import RetainingLayer
from proscale_bench.models.key_aware_attention import KeyAwareAttention
from proscale_bench.models.position import Sine, valid_centres
from proscale_bench.specs.encoders.multiscale import MultiScale
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.masked_decoder import NORM_GROUPS, Head
from proscale_bench.specs.model import EncoderSpec

DEFORMABLE_DETR = Sine(shift=0.5)
DINO = Sine(temperature=20)  # and Lite-DETR


def plain_layers(head: Head, levels: int, count: int) -> nn.ModuleList:
    """Deformable DETR's layers: all tokens refined by reading all levels."""
    shape = (head.width, head.encoder_heads, levels, head.encoder_points, head.encoder_ffn)
    return nn.ModuleList(parts.TokenLayer(*shape) for _ in range(count))


def staged_layers(spec: MultiScale, head: Head) -> nn.ModuleList:
    """Layers over more and more levels; those over all may keep a share of the tokens."""
    layers = nn.ModuleList()
    for layer in spec.layers:
        shape = (head.width, head.encoder_heads, len(layer.levels), head.encoder_points, head.encoder_ffn)
        kept = RetainingLayer(*shape, layer.keep, of_all=True) if layer.keep < 1 else None
        layers.append(kept or parts.TokenLayer(*shape))
    return layers


class MultiScaleEncoder(nn.Module):
    """Levels projected to one width, further ones by convolutions of stride 2 from res5 on, and token layers.

    Levels and tokens are coarse to fine, as everywhere in the package; the detectors' own code has them the other way.
    A layer sees as many levels, the coarsest, as its attention has; the tokens of the others pass unchanged.

    Args:
        layers: modules like `parts.TokenLayer`.
        channels: channels of the backbone's features, by name.
        width: of the tokens.
        levels: number of levels, from 3.
        sine: dimensions of the position.
        groups: of the projections' norms.
    """

    spec: EncoderSpec  # what `build` made it from, as checkpoints say
    head: Head

    def __init__(
        self,
        layers: Iterable[nn.Module],
        channels: Mapping[str, int],
        width: int,
        *,
        levels: int = 4,
        sine: Sine = DEFORMABLE_DETR,
        groups: int = NORM_GROUPS,
    ) -> None:
        super().__init__()
        self.sine = sine
        further = [channels["res5"], *[width] * (levels - len(LEVELS))][: levels - len(LEVELS)]
        self.projections = nn.ModuleList(
            [parts.projection(inputs, width, halving=True, groups=groups) for inputs in reversed(further)]
            + [parts.projection(channels[level], width, groups=groups) for level in LEVELS]
        )
        self.level_embedding = nn.Parameter(torch.empty(levels, width).normal_())
        self.layers = nn.ModuleList(layers)

    def forward(self, features: Mapping[str, Tensor], padding: Tensor | None = None) -> tuple[Tensor, parts.TokenGrid]:
        """Encode a batch.

        Args:
            features: `{"res3": [B, C3, h, w], ...}`, as a `PixelEncoder` gets them.
            padding: of the images, [B, H, W], True where a pixel is padding; None where none is.

        Returns:
            The tokens of all levels, [B, N, C], and their grid.
        """
        tokens, grid = parts.join_levels(self.project(features), self.level_embedding, self.sine, padding)
        for layer in self.layers:
            seen = grid.coarsest(layer.attention.levels)  # type: ignore[union-attr,arg-type] # a layer of tokens
            refined, others = tokens.tensor_split((sum(seen.lengths),), dim=1)
            refined = layer(refined, seen)
            tokens = torch.cat((refined, others), dim=1) if others.shape[1] else refined
        return tokens, grid

    def optimize(self) -> None:
        """Apply the exact optimizations of inference, in place: keys that are the values are sampled once."""
        for layer in self.layers:
            if isinstance(layer.attention, KeyAwareAttention):
                layer.attention.samples_once = True

    def project(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """The maps of all levels, coarse to fine: [B, C, h, w]."""
        *further, res5, res4, res3 = self.projections
        maps = [res3(features["res3"]), res4(features["res4"]), res5(features["res5"])]
        for level, project in enumerate(reversed(further)):
            maps.append(project(maps[-1] if level else features["res5"]))
        return maps[::-1]


class Proposals(nn.Module):
    """The encoder's tokens as a two-stage detector's first boxes: one at every token, larger on coarser levels."""

    SIDE = 0.05  # of a box on the finest level, as a share of the image
    RANGE = (0.01, 0.99)  # that a box's centre and sides must lie in

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, grid: parts.TokenGrid) -> tuple[Tensor, Tensor]:
        """Propose a box for every token.

        Args:
            tokens: [B, N, C], as `MultiScaleEncoder` gives them.

        Returns:
            The tokens for the detector's heads, [B, N, C], and the logits of the boxes (x, y, width, height),
            [B, N, 4]: infinite where a token is padding or its box leaves the range.
        """
        padding = tokens.new_zeros(tokens.shape[:2], dtype=torch.bool) if grid.padding is None else grid.padding
        boxes = []
        for level, (size, padded) in enumerate(zip(grid.sizes, torch.split(padding, grid.lengths, dim=1), strict=True)):
            centres = valid_centres(padded.view(-1, *size))
            sides = torch.full_like(centres, self.SIDE * 2 ** (len(grid.sizes) - 1 - level))
            boxes.append(torch.cat((centres, sides), dim=-1))
        box = torch.cat(boxes, dim=1)  # [B, N, 4]
        low, high = self.RANGE
        left_out = padding[..., None] | ~((box > low) & (box < high)).all(-1, keepdim=True)
        logits = (box / (1 - box)).log().masked_fill(left_out, torch.inf)
        return self.norm(self.linear(tokens.masked_fill(left_out, 0))), logits
