"""Backbones, from torchvision's building blocks: images to the features res2, res3, res4, res5.

Attribute names are torchvision's (`conv1`, `layer1`, `features.N`), so its ImageNet weights load by name;
Swin's four output norms, which torchvision does not have, are `norms.0` to `norms.3`.

Sources: He et al. 2016 in torchvision's v1.5 layout (stride in the 3x3); Liu et al. 2021; Cheng et al. 2022,
section 4.1.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck
from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torchvision.ops import Permute

from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.levels import FEATURE_STRIDES

Features = dict[str, Tensor]  # res2 [B, C, H/4, W/4] to res5 [B, 8C, H/32, W/32]

PATCH = 4  # pixels a side of Swin's tokens
MLP_RATIO = 4.0
NORM_EPS = 1e-5
_layer_norm = partial(nn.LayerNorm, eps=NORM_EPS)


def build_backbone(spec: ResNet | Swin, drop_path: float = 0.0) -> nn.Module:
    """The backbone of these dimensions, freshly initialised.

    It maps normalised images [B, 3, H, W], H and W multiples of 32, to `Features`.

    Args:
        drop_path: see `SwinBackbone`; a ResNet has none.
    """
    return ResNetBackbone(spec) if isinstance(spec, ResNet) else SwinBackbone(spec, drop_path)


class FrozenBatchNorm2d(nn.Module):
    """Batch norm as a constant: its own statistics in training too, no gradient, nothing to learn.

    The same operator as `nn.BatchNorm2d` in eval mode, to the last bit. (torchvision's FrozenBatchNorm2d
    folds the statistics first, which rounds differently and counts as a product of two tensors.)
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = NORM_EPS
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ResNetBackbone(nn.Module):
    """Stem and four stages of bottlenecks; no classifier."""

    def __init__(self, spec: ResNet) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, spec.stem_width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm2d(spec.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        # torchvision's block reads its expansion off the class
        block = type("Bottleneck", (Bottleneck,), {"expansion": spec.expansion})
        channels = spec.stem_width
        for stage, depth in enumerate(spec.depths):
            planes = spec.width * 2**stage
            blocks = nn.Sequential()
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                out_channels = planes * spec.expansion
                shortcut = None
                if stride > 1 or channels != out_channels:
                    shortcut = nn.Sequential(
                        nn.Conv2d(channels, out_channels, kernel_size=1, stride=stride, bias=False),
                        FrozenBatchNorm2d(out_channels),
                    )
                blocks.append(block(channels, planes, stride, shortcut, norm_layer=FrozenBatchNorm2d))
                channels = out_channels
            setattr(self, f"layer{stage + 1}", blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Features:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # [B, stem, H/4, W/4]
        features = {}
        for index, name in enumerate(FEATURE_STRIDES, start=1):
            features[name] = x = self.get_submodule(f"layer{index}")(x)
        return features


class SwinBackbone(nn.Module):
    """Patch embedding and four stages of shifted-window attention, each output with a LayerNorm of its own.

    Windows are padded block by block. On an axis no longer than the window torchvision does not shift, where the
    official code does; images of more than 384 pixels a side never come there.

    Args:
        drop_path: in training, how often the last block leaves an image as it is, at each of its two steps (stochastic
            depth, Huang et al. 2016); 0 for the first block, and linear between them.
    """

    def __init__(self, spec: Swin, drop_path: float = 0.0) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is {drop_path}, a rate is at least 0 and below 1")
        rates = iter([drop_path * block / max(sum(spec.depths) - 1, 1) for block in range(sum(spec.depths))])
        patches = nn.Conv2d(3, spec.width, kernel_size=PATCH, stride=PATCH)
        embedding = nn.Sequential(patches, Permute([0, 2, 3, 1]), _layer_norm(spec.width))
        layers: list[nn.Module] = [embedding]
        for stage, (depth, channels) in enumerate(zip(spec.depths, spec.channels, strict=True)):
            if stage > 0:
                layers.append(PatchMerging(channels // 2, norm_layer=_layer_norm))
            blocks = nn.Sequential()
            for index in range(depth):
                shift = spec.window // 2 if index % 2 else 0
                blocks.append(
                    SwinTransformerBlock(
                        channels,
                        spec.heads[stage],
                        window_size=[spec.window, spec.window],
                        shift_size=[shift, shift],
                        mlp_ratio=MLP_RATIO,
                        stochastic_depth_prob=next(rates),
                        norm_layer=_layer_norm,
                    )
                )
            layers.append(blocks)
        self.features = nn.Sequential(*layers)  # embedding, stage 1, merging, stage 2, merging, ...
        self.norms = nn.ModuleList(_layer_norm(channels) for channels in spec.channels)
        for module in self.modules():  # the blocks initialise their bias tables, by the same rule
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Features:
        x = images
        features = {}
        for index, layer in enumerate(self.features):
            x = layer(x)  # [B, h, w, C]
            if index % 2:  # the end of a stage; the next one takes x without the norm
                name, norm = f"res{index // 2 + 2}", self.norms[index // 2]
                features[name] = norm(x).permute(0, 3, 1, 2)  # [B, C, h, w], channels last in memory
        return features
