"""Modules that encoders share: projection, token layer, re-calibration, pixel embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.encoders.interface import EncoderOutput, PixelEncoder
from proscale_bench.models.encoders.pooling import NeighbourMaxPool
from proscale_bench.models.position import (
    MASK2FORMER,
    Sine,
    level_extents,
    padded_centres,
    padded_sine_position,
    pixel_centres,
    resize,
    sine_position,
)
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
    return tokens.view(tokens.shape[0], *size, -1).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class TokenGrid:
    """The places of the tokens of some levels, levels one after another, N in all.

    Args:
        sizes: (h, w) of each level.
        position: [N, C], or [B, N, C] of padded images; added to queries only.
        reference: pixel centres (x, y) as fractions of width and height: [N, 2] or, of padded images, [B, N, L * 2].
        extents: the sizes on the device, [L, 2], (w, h).
        padding: [B, N], True where a token is padding; None where none is.
    """

    sizes: tuple[Size, ...]
    position: Tensor
    reference: Tensor
    extents: Tensor
    padding: Tensor | None = None

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

    @classmethod
    def of_padded(cls, paddings: Sequence[Tensor], positions: Sequence[Tensor]) -> TokenGrid:
        """The grid of padded images, from each level's padding [B, h, w] and position [B, h*w, C]."""
        sizes = tuple((one.shape[-2], one.shape[-1]) for one in paddings)
        return cls(
            sizes,
            torch.cat(list(positions), dim=1),
            padded_centres(paddings),
            level_extents(sizes, paddings[0].device),
            torch.cat([one.flatten(1) for one in paddings], dim=1),
        )

    def coarsest(self, levels: int) -> TokenGrid:
        """The grid of the first so many levels."""
        if levels == len(self.sizes):
            return self
        count, whole = sum(self.lengths[:levels]), self.reference.ndim == 2
        return TokenGrid(
            self.sizes[:levels],
            self.position[..., :count, :],
            self.reference[:count] if whole else self.reference[:, :count, : 2 * levels],
            self.extents[:levels],
            None if self.padding is None else self.padding[:, :count],
        )


def join_levels(
    maps: Sequence[Tensor], level_embedding: Tensor, sine: Sine = MASK2FORMER, padding: Tensor | None = None
) -> tuple[Tensor, TokenGrid]:
    """The tokens of all levels, and their grid.

    Args:
        maps: of each level, [B, C, h, w], coarse to fine.
        level_embedding: [L, C], added to each level's position.
        sine: dimensions of the position.
        padding: of the images, [B, H, W], True where a pixel is padding; None where none is.

    Returns:
        [B, N, C], level after level, and where they lie.
    """
    tokens = torch.cat([to_tokens(one) for one in maps], dim=1)
    sizes = [(one.shape[-2], one.shape[-1]) for one in maps]
    device, width = tokens.device, tokens.shape[-1]
    if padding is None:
        positions = [sine_position(size, width, device, sine) for size in sizes]
        centres = [pixel_centres(size, device) for size in sizes]
        embedded = [position + level for position, level in zip(positions, level_embedding, strict=True)]
        return tokens, TokenGrid.join(zip(sizes, embedded, centres, strict=True))
    paddings = [F.interpolate(padding[None].float(), size=size)[0].bool() for size in sizes]  # nearest
    positions = [padded_sine_position(one, width, sine) for one in paddings]
    embedded = [position + level for position, level in zip(positions, level_embedding, strict=True)]
    return tokens, TokenGrid.of_padded(paddings, embedded)


def split_levels(tokens: Tensor, grid: TokenGrid) -> tuple[Tensor, ...]:
    """Tokens [B, N, C] as the maps of their levels, [B, C, h, w]."""
    levels = torch.split(tokens, grid.lengths, dim=1)
    return tuple(to_map(level, size) for level, size in zip(levels, grid.sizes, strict=True))


# --- Modules, in the order in which an encoder meets them ---


def projection(channels: int, width: int, *, halving: bool = False, groups: int = NORM_GROUPS) -> nn.Sequential:
    """1x1 convolution and GroupNorm, from a feature's channels to the encoder's width.

    `halving` makes a level of half the size, rounded up: a 3x3 convolution of stride 2, as in Deformable DETR.
    """
    kernel_size, stride, padding = (3, 2, 1) if halving else (1, 1, 0)
    convolution = nn.Conv2d(channels, width, kernel_size, stride, padding)
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return nn.Sequential(convolution, nn.GroupNorm(groups, width))


def convolution_norm(c_in: int, c_out: int, kernel: int, stride: int = 1, *activation: nn.Module) -> nn.Sequential:
    """Convolution without bias, batch norm, and an activation where one is given; maps keep their size at stride 1."""
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=(kernel - 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), *activation)


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
        return tokens.flatten(1).view(*tokens.shape[::2], *size)  # the same memory, read as [B, C, h, w]

    def _as_tokens(self, feature_map: Tensor) -> Tensor:
        if self.layout == "spatial":
            return to_tokens(feature_map)
        return feature_map.flatten(1).view(feature_map.shape[0], -1, feature_map.shape[1])


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between them, added to their input, and a norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return feed_forward(tokens, self.linear1, self.linear2, self.norm)


def feed_forward(tokens: Tensor, linear1: nn.Module, linear2: nn.Module, norm: nn.Module) -> Tensor:
    """See `FeedForward`."""
    output: Tensor = norm(tokens + linear2(F.relu(linear1(tokens), inplace=True)))
    return output


class TokenLayer(nn.Module):
    """One encoder layer, post-norm: deformable self-attention, then a feed-forward network.

    The position is added to the queries only; values carry none.

    Args:
        attention: what tokens read each other by; deformable attention where None.
        refines: the number of coarsest levels whose tokens are refined, by reading all; None: all of them.
        coarse: the number of coarsest levels whose tokens go through the FFN of `ffn`; all others have a small one.
            None: all of them.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        levels: int,
        points: int,
        ffn: int,
        *,
        attention: DeformableAttention | None = None,
        refines: int | None = None,
        coarse: int | None = None,
    ) -> None:
        super().__init__()
        self.refines, self.coarse = refines, coarse
        self.attention = attention or DeformableAttention(width, heads, levels, points)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, ffn)
        self.linear2 = nn.Linear(ffn, width)
        self.norm2 = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)
        self.small_ffn = None if coarse is None else FeedForward(width, width)

    def forward(self, tokens: Tensor, grid: TokenGrid) -> Tensor:
        """Refine tokens [B, N, C] that lie on `grid`; those that are not refined are as they were.

        A token reads the values of all, and beyond that depends on itself alone. So for inference the CPU takes
        tokens in blocks, whose intermediate values stay in its cache; outputs change by rounding at most.
        """
        refined = sum(grid.lengths[: self.refines])  # the coarsest levels come first
        done = self.refine(tokens, refined, self.attention.values(tokens, grid.padding), grid)
        if refined < tokens.shape[1]:
            done.append(tokens[:, refined:])
        return done[0] if len(done) == 1 else torch.cat(done, dim=1)

    def refine(self, queries: Tensor, number: int, values: Tensor, grid: TokenGrid) -> list[Tensor]:
        """The first `number` of the queries [B, Q, C], refined, in blocks one after another.

        Args:
            values: what they read: see `DeformableAttention.values`.
            grid: its positions and references are the queries', its sizes the values'.
        """
        blocks = [slice(0, number)]
        if queries.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            values = values.contiguous()  # every block reads them
            blocks = [slice(start, min(start + BLOCK, number)) for start in range(0, number, BLOCK)]
        return [self._refine(queries, block, values, grid) for block in blocks]

    def _refine(self, tokens: Tensor, block: slice, values: Tensor, grid: TokenGrid) -> Tensor:
        """The tokens of a block, refined."""
        tokens, position, reference = tokens[:, block], grid.position[..., block, :], grid.reference[..., block, :]
        attended = self.attention(tokens + position, reference, values, grid.sizes, grid.extents)
        tokens = self.norm1(tokens + attended)
        if self.small_ffn is None:
            return self._feed_forward(tokens)
        coarse, fine = torch.tensor_split(tokens, (max(sum(grid.lengths[: self.coarse]) - block.start, 0),), dim=1)
        parts = [ffn(part) for ffn, part in ((self._feed_forward, coarse), (self.small_ffn, fine)) if part.shape[1]]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return feed_forward(tokens, self.linear1, self.linear2, self.norm2)


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
        smoothing = NeighbourMaxPool()
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


class UpsamplingEncoder(PixelEncoder):
    """An encoder that ends as Mask2Former's: its finest level comes to stride 4, meets res2, and is embedded."""

    def add_embedding(self, channels: Mapping[str, int], width: int, kind: PixelEmbedding) -> None:
        """Add the modules of this end."""
        self.lateral = lateral(channels["res2"], width)
        self.pixel_embedding = pixel_embedding(kind, width)
        self.mask_features = mask_projection(width)

    def embed(self, finest: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The mask features [B, C, H/4, W/4], from the finest level [B, C, h, w] and the backbone's res2."""
        res2: Tensor = self.lateral(features["res2"])
        size = (res2.shape[-2], res2.shape[-1])
        summed = res2 + finest if finest.shape[-2:] == size else resize(finest, size).add_(res2)
        output: Tensor = self.mask_features(self.pixel_embedding(summed))
        return output

    def between_parts(self, output: EncoderOutput) -> Callable[[], object] | None:
        """The upsampling of the finest level to stride 4: see `PixelEncoder`."""
        height, width = output.mask_features.shape[-2:]
        return lambda: resize(output.pyramid[-1], (height, width))
