"""RT-DETR's hybrid encoder and Mask2Former's step to stride 4, as a module: see the spec of the same name.

Source: Zhao et al. 2024 (RT-DETR), section 4.2, and what its released code computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from proscale_bench.models.attention import FusedAttention
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.models.position import grid_position, kept_grid_position
from proscale_bench.specs.encoders.hybrid import Hybrid, PositionOrder
from proscale_bench.specs.levels import LEVELS, SIZE_DIVISOR
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.units import Size

NORM_EPS = 1e-5
WIDE, NARROW = (  # what folds of the two branches of a block
    tuple(f"{branch}.{key}" for key in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"))
    for branch in ("wide", "narrow")
)


class HybridEncoder(parts.UpsamplingEncoder):
    """One layer of attention over res5, a top-down and a bottom-up path, then features at stride 4.

    Args:
        spec: blocks and options.
        head: dimensions.
        channels: channels of the backbone's features, by name.
    """

    def __init__(self, spec: Hybrid, head: Head, channels: Mapping[str, int]) -> None:
        super().__init__()
        width = head.width
        self.projections = nn.ModuleList(parts.convolution_norm(channels[level], width, 1) for level in LEVELS)
        self.layers = nn.ModuleList(
            AttentionLayer(width, head.encoder_heads, head.encoder_ffn, spec.position_order) for _ in spec.layers
        )
        self.top_down = TopDown(spec, width)
        self.bottom_up = BottomUp(spec, width)
        self.add_embedding(channels, width, spec.pixel_embedding)

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`.

        1. Project every level to the common width.
        2. Refine the tokens of res5.
        3. Top-down, then bottom-up.
        4. Bring the finest map to stride 4, add the lateral res2, embed.
        """
        res5, res4, res3 = (project(features[level]) for level, project in zip(LEVELS, self.projections, strict=True))
        size = (res5.shape[-2], res5.shape[-1])
        tokens = parts.to_tokens(res5)  # [B, h*w, C]
        for layer in self.layers:
            tokens = layer(tokens, size)
        pyramid = self.bottom_up(*self.top_down(parts.to_map(tokens, size), res4, res3))
        return EncoderOutput(self.embed(pyramid[-1], features), pyramid)

    def least_images(self, size: Size) -> int:
        """See `PixelEncoder`: a batch norm needs two values a channel, and res5 may have one an image."""
        return 1 if max(size) > SIZE_DIVISOR else 2

    def optimize(self) -> None:
        """Fold blocks, and keep the positions of a size: see `PixelEncoder`."""
        for module in list(self.modules()):
            if isinstance(module, CSPLayer):
                module.blocks = nn.Sequential(*map(folded, module.blocks))
            if isinstance(module, AttentionLayer):
                module.position = KeptGridPosition(module.position.order)


class GridPosition(nn.Module):
    """The sine position of every token of a map, made anew for every image."""

    make = staticmethod(grid_position)

    def __init__(self, order: PositionOrder) -> None:
        super().__init__()
        self.order = order

    def forward(self, size: Size, channels: int, device: torch.device) -> Tensor:
        """[h*w, channels] of a map of `size`."""
        return self.make(size, channels, device, self.order == "official")


class KeptGridPosition(GridPosition):
    """The same, made once for all images of a size: nothing that an image costs."""

    make = staticmethod(kept_grid_position)


class AttentionLayer(nn.Module):
    """One layer of a transformer's encoder, post-norm: self-attention, then a feed-forward network with GELU.

    The position is added to queries and keys; values carry none.
    """

    def __init__(self, width: int, heads: int, ffn: int, order: PositionOrder) -> None:
        super().__init__()
        self.position = GridPosition(order)
        self.attention = FusedAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn), nn.GELU(), nn.Linear(ffn, width))
        self.ffn_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        """Refine tokens [B, h*w, C] of a map of `size`."""
        query = tokens + self.position(size, tokens.shape[-1], tokens.device)
        tokens = self.attention_norm(tokens + self.attention(query, query, tokens))
        output: Tensor = self.ffn_norm(tokens + self.ffn(tokens))
        return output


class TopDown(nn.Module):
    """From res5 down: a lateral convolution, doubled in size, and joined to the next level by a CSP layer."""

    def __init__(self, spec: Hybrid, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            parts.convolution_norm(width, width, 1, 1, nn.SiLU(inplace=True)) for _ in LEVELS[1:]
        )
        self.fusions = nn.ModuleList(CSPLayer(spec, width) for _ in LEVELS[1:])

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Maps [B, C, h, w] from coarse to fine. All but the finest go on as their lateral convolution left them."""
        path, *finer = maps
        found = []
        for lateral, fuse, projected in zip(self.laterals, self.fusions, finer, strict=True):
            found.append(lateral(path))
            doubled = F.interpolate(found[-1], size=projected.shape[-2:], mode="nearest")
            path = fuse(torch.cat((doubled, projected), dim=1))
        return (*found, path)


class BottomUp(nn.Module):
    """From the finest map up: halved in size by a convolution, and joined to the next coarser one by a CSP layer."""

    def __init__(self, spec: Hybrid, width: int) -> None:
        super().__init__()
        self.downsampling = nn.ModuleList(
            parts.convolution_norm(width, width, 3, 2, nn.SiLU(inplace=True)) for _ in LEVELS[1:]
        )
        self.fusions = nn.ModuleList(CSPLayer(spec, width) for _ in LEVELS[1:])

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Maps [B, C, h, w] from coarse to fine, and the pyramid in the same order."""
        *coarser, path = maps
        found = [path]
        for halve, fuse, coarse in zip(self.downsampling, self.fusions, reversed(coarser), strict=True):
            path = fuse(torch.cat((halve(path), coarse), dim=1))
            found.append(path)
        return tuple(reversed(found))


class CSPLayer(nn.Module):
    """Two joined maps, [B, 2C, h, w] to [B, C, h, w]: through RepVGG blocks, and past them."""

    def __init__(self, spec: Hybrid, width: int) -> None:
        super().__init__()
        hidden, block = spec.hidden(width), FoldedBlock if spec.folded else RepVGGBlock
        self.through = parts.convolution_norm(2 * width, hidden, 1, 1, nn.SiLU(inplace=True))
        self.past = parts.convolution_norm(2 * width, hidden, 1, 1, nn.SiLU(inplace=True))
        self.blocks = nn.Sequential(*(block(hidden) for _ in range(spec.blocks)))
        self.output = (
            nn.Identity() if hidden == width else parts.convolution_norm(hidden, width, 1, 1, nn.SiLU(inplace=True))
        )

    def forward(self, joined: Tensor) -> Tensor:
        """See the class."""
        output: Tensor = self.output(self.blocks(self.through(joined)) + self.past(joined))
        return output


class RepVGGBlock(nn.Module):
    """A 3x3 and a 1x1 convolution side by side, [B, C, h, w] to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = parts.convolution_norm(width, width, 3)
        self.narrow = parts.convolution_norm(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.silu(self.wide(x) + self.narrow(x), inplace=True)


class FoldedBlock(nn.Module):
    """The one 3x3 convolution that a `RepVGGBlock` is in inference; the state of one loads by folding it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.register_load_state_dict_pre_hook(_fold_state)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.silu(self.convolution(x), inplace=True)


def folded(block: nn.Module) -> FoldedBlock:
    """The block folded, equal up to rounding; a folded one as it is."""
    if isinstance(block, FoldedBlock):
        return block
    assert isinstance(block, RepVGGBlock)
    kernel = next(block.parameters())
    found = FoldedBlock(len(kernel)).to(kernel.device)
    found.load_state_dict(block.state_dict())
    return found.eval().requires_grad_(kernel.requires_grad)


def fold_blocks(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """The tensors of an encoder or model with its blocks folded, in float32, and what each folded one came from."""
    found = dict(tensors)
    folds: dict[str, tuple[str, ...]] = {}
    for first in [key for key in tensors if key.endswith(f".{WIDE[0]}")]:
        prefix = first.removesuffix(WIDE[0])
        _fold_state(None, found, prefix)
        gone = tuple(key for key in tensors if key.startswith(prefix) and key not in found)
        folds |= {key: gone for key in found if key.startswith(prefix) and gone}
    return found, folds


@torch.no_grad()
def _fold_state(module: nn.Module | None, state: dict[str, Any], prefix: str, *others: Any) -> None:
    """Put the folded convolution of a block in the place of its two branches, in a state dict."""
    if not all(f"{prefix}{name}" in state for name in (*WIDE, *NARROW)):
        return  # a folded block's already, or one that is not whole: what is missing will be named
    sums = []
    for branch in (WIDE, NARROW):
        kernel, gamma, beta, mean, variance = (state.pop(f"{prefix}{name}").float() for name in branch)
        state.pop(f"{prefix}{branch[-1]}".replace("running_var", "num_batches_tracked"), None)
        margin = [(3 - kernel.shape[-1]) // 2] * 4  # the 1x1 is the centre of a 3x3
        padded = F.pad(kernel, margin)
        sums.append(fuse_conv_bn_weights(padded, None, mean, variance, NORM_EPS, gamma, beta))
    for key, (wide, narrow) in zip(("weight", "bias"), zip(*sums, strict=True), strict=True):
        state[f"{prefix}convolution.{key}"] = wide + narrow
