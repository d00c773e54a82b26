"""Modules that encoders share: projection, token layer, re-calibration, pixel embedding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.position import level_extents, resize
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.encoders.staged import RecalibrationLayout
from proscale_bench.specs.masked_decoder import NORM_GROUPS
from proscale_bench.units import Size

BLOCK = 2048  # tokens


# --- Maps and tokens ---


def to_tokens(feature_map: Tensor) -> Tensor:
    """[B, C, h, w] to [B, h*w, C]."""
    return feature_map.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: Size) -> Tensor:
    """[B, h*w, C] to [B, C, h, w], a view with channels last in memory."""
    return tokens.view(len(tokens), *size, -1).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class TokenGrid:
    """The places of the tokens of some levels, levels one after another, N in all.

    Args:
        sizes: (h, w) of each level.
        position: [N, C], added to queries only.
        reference: [N, 2], pixel centres (x, y) as fractions of width and height.
        extents: the sizes on the device, [L, 2], (w, h).
    """

    sizes: tuple[Size, ...]
    position: Tensor
    reference: Tensor
    extents: Tensor

    @property
    def lengths(self) -> list[int]:
        """Tokens of each level."""
        return [height * width for height, width in self.sizes]

    @classmethod
    def join(cls, levels: Iterable[tuple[Size, Tensor, Tensor]]) -> TokenGrid:
        """One grid from each level's size, position [h*w, C] and reference [h*w, 2]."""
        sizes, positions, references = zip(*levels, strict=True)
        extents = level_extents(sizes, references[0].device)
        return cls(sizes, torch.cat(positions), torch.cat(references), extents)


# --- Modules, in the order in which an encoder meets them ---


def projection(channels: int, width: int, *, halving: bool = False) -> nn.Sequential:
    """1x1 convolution and GroupNorm, from a feature's channels to the encoder's width.

    `halving` makes a level of half the size, rounded up: a 3x3 convolution of stride 2, as in Deformable DETR.
    """
    kernel_size, stride, padding = (3, 2, 1) if halving else (1, 1, 0)
    convolution = nn.Conv2d(channels, width, kernel_size, stride, padding)
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return nn.Sequential(convolution, nn.GroupNorm(NORM_GROUPS, width))


class TokenRecalibration(nn.Module):
    """Token re-calibration (TRC): a coarse level's tokens times a gate that the finest level predicts.

    The finest level, resized to the coarse one, is scored by one linear layer or one 1x1 convolution
    (`convolution`) shared by all levels, and the gate of a token is sigmoid(temperature * score).

    The layout `official` reads the memory of [B, L, C] tokens as [B, C, h, w] without transposing, which
    mixes channels with places; released weights were trained so and need it. `spatial` transposes, for those
    who train anew.

    Source: Aich et al. 2024, section 3.3, and the released models.
    """

    def __init__(self, width: int, *, convolution: bool, layout: RecalibrationLayout, temperature: float) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, 1, kernel_size=1) if convolution else nn.Linear(width, 1)
        nn.init.xavier_uniform_(self.score.weight)
        self.convolution, self.layout, self.temperature = convolution, layout, temperature

    def forward(self, tokens: Tensor, size: Size, finest: Tensor, finest_size: Size) -> Tensor:
        """Gate `tokens` [B, h*w, C] of a level of `size` by the tokens `finest` [B, h3*w3, C]."""
        source = resize(self._as_map(finest, finest_size), size)  # [B, C, h, w]
        if not self.convolution:
            gate = torch.sigmoid(self.temperature * self.score(self._as_tokens(source)))  # [B, h*w, 1]
            return gate * tokens
        gate = torch.sigmoid(self.temperature * self.score(source))  # [B, 1, h, w]
        return self._as_tokens(gate * self._as_map(tokens, size))

    def _as_map(self, tokens: Tensor, size: Size) -> Tensor:
        if self.layout == "spatial":
            return to_map(tokens, size)
        return tokens.reshape(len(tokens), -1, *size)  # the same memory, read as [B, C, h, w]

    def _as_tokens(self, feature_map: Tensor) -> Tensor:
        if self.layout == "spatial":
            return to_tokens(feature_map)
        return feature_map.reshape(len(feature_map), -1, feature_map.shape[1])


class TokenLayer(nn.Module):
    """One encoder layer, post-norm: deformable self-attention, then a feed-forward network.

    The position is added to the queries only; values carry none.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int, ffn: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads, levels, points)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, ffn)
        self.linear2 = nn.Linear(ffn, width)
        self.norm2 = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, tokens: Tensor, grid: TokenGrid) -> Tensor:
        """Refine tokens [B, N, C] that lie on `grid`.

        A token reads the values of all, and beyond that depends on itself alone. So for inference the CPU takes
        tokens in blocks, whose intermediate values stay in its cache; outputs change by rounding at most.
        """
        values = self.attention.values(tokens)
        if tokens.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._refine(tokens, grid.position, grid.reference, values, grid)
        values = values.transpose(1, 2).contiguous().transpose(1, 2)  # head-major in memory, as every block reads it
        blocks = zip(
            torch.split(tokens, BLOCK, dim=1),
            torch.split(grid.position, BLOCK),
            torch.split(grid.reference, BLOCK),
            strict=True,
        )
        return torch.cat([self._refine(*block, values, grid) for block in blocks], dim=1)

    def _refine(self, tokens: Tensor, position: Tensor, reference: Tensor, values: Tensor, grid: TokenGrid) -> Tensor:
        attended = self.attention(tokens + position, reference, values, grid.sizes, grid.extents)
        tokens = self.norm1(tokens + attended)
        hidden = F.relu(self.linear1(tokens), inplace=True)
        output: Tensor = self.norm2(tokens + self.linear2(hidden))
        return output


def lateral(channels: int, width: int) -> nn.Sequential:
    """1x1 convolution without bias and GroupNorm: res2 on its way to the mask features."""
    convolution = nn.Conv2d(channels, width, kernel_size=1, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.GroupNorm(NORM_GROUPS, width))


def pixel_embedding(kind: PixelEmbedding, width: int) -> nn.Sequential:
    """The smoothing of the sum at stride 4: Mask2Former's 3x3 convolution, PRO-SCALE's max-pool (LPE), or a 3x3
    convolution of each channel by itself.

    GroupNorm and ReLU follow each.
    """
    smoothing: nn.Module
    if kind == "maxpool":
        smoothing = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
    else:
        groups = width if kind == "depthwise" else 1
        smoothing = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=groups, bias=False)
        nn.init.kaiming_uniform_(smoothing.weight, a=1)
    return nn.Sequential(smoothing, nn.GroupNorm(NORM_GROUPS, width), nn.ReLU(inplace=True))


def mask_projection(width: int) -> nn.Conv2d:
    """1x1 convolution with bias, to the mask features."""
    convolution = nn.Conv2d(width, width, kernel_size=1)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
