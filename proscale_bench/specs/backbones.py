"""The backbones: their dimensions, and what they cost.

Sources: ResNet, He et al. 2016 (torchvision's v1.5 layout, stride in the 3x3); Swin, Liu et al. 2021, equations 1 and 2
and table 7 (Swin-B and -L with window 12, as in Mask2Former's configurations). The modules are `models/backbones.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from proscale_bench.errors import look_up
from proscale_bench.specs.levels import Channels
from proscale_bench.specs.terms import Operator, Terms, Tokens


@dataclass(frozen=True)
class ResNet:
    """Bottleneck ResNet. Stage s has `depths[s]` blocks of `width * 2**s` inner channels."""

    depths: tuple[int, int, int, int]
    stem_width: int = 64
    width: int = 64
    expansion: int = 4

    @property
    def channels(self) -> Channels:
        """Channels of res2, res3, res4, res5."""
        c = self.width * self.expansion
        return (c, 2 * c, 4 * c, 8 * c)


@dataclass(frozen=True)
class Swin:
    """Swin Transformer: patch 4, MLP ratio 4, a LayerNorm on each of the four outputs."""

    width: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int

    @property
    def channels(self) -> Channels:
        """Channels of res2, res3, res4, res5."""
        c = self.width
        return (c, 2 * c, 4 * c, 8 * c)


Backbone = ResNet | Swin
BackboneName = Literal["resnet50", "resnet101", "swin_t", "swin_s", "swin_b", "swin_l", "tiny"]

BACKBONES: dict[str, Backbone] = {
    "resnet50": ResNet((3, 4, 6, 3)),
    "resnet101": ResNet((3, 4, 23, 3)),
    "swin_t": Swin(96, (2, 2, 6, 2), (3, 6, 12, 24), window=7),
    "swin_s": Swin(96, (2, 2, 18, 2), (3, 6, 12, 24), window=7),
    "swin_b": Swin(128, (2, 2, 18, 2), (4, 8, 16, 32), window=12),
    "swin_l": Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), window=12),
    "tiny": Swin(16, (1, 1, 2, 1), (1, 2, 4, 8), window=7),  # ours: of the embedded models
}


def get_backbone(name: str) -> Backbone:
    """The backbone of a name.

    Raises:
        BenchError: unknown.
    """
    return look_up(BACKBONES, name, "backbone")


def backbone_name(backbone: Backbone) -> str:
    """The name of a backbone of these dimensions: one of `BACKBONES`, else its kind with its dimensions."""
    for name, known in BACKBONES.items():
        if known == backbone:
            return name
    kind = "resnet" if isinstance(backbone, ResNet) else "swin"
    return f"{kind}-{backbone.width}-{'-'.join(map(str, backbone.depths))}"


def terms_of(backbone: Backbone, norms_folded: bool = False) -> Terms:
    """The coefficients of a backbone; batch norms folded into the convolutions cost nothing."""
    return _resnet_terms(backbone, norms_folded) if isinstance(backbone, ResNet) else _swin_terms(backbone)


@cache
def parameters_of(backbone: Backbone) -> int:
    """The number of parameters. Frozen batch norms have none, as in the official models."""
    if isinstance(backbone, ResNet):
        return sum(weights for weights, _, _ in _convolutions(backbone))
    return _swin_parameters(backbone)


def _convolutions(spec: ResNet) -> Iterator[tuple[int, int, Tokens]]:
    """Weights, output channels and places of each: stem 7x7 at stride 2, then bottlenecks, whose stride is in the 3x3,
    so that a first 1x1 runs at input resolution."""
    yield 7 * 7 * 3 * spec.stem_width, spec.stem_width, Tokens(2)
    c_in = spec.stem_width
    for stage, (depth, c_out) in enumerate(zip(spec.depths, spec.channels, strict=True)):
        c, places = spec.width << stage, Tokens(4 << stage)
        for block in range(depth):
            downsamples = block == 0 and stage > 0
            yield c_in * c, c, Tokens(2 << stage) if downsamples else places
            yield 9 * c * c, c, places
            yield c * c_out, c_out, places
            if downsamples or c_in != c_out:  # 1x1 shortcut
                yield c_in * c_out, c_out, places
            c_in = c_out


@cache
def _resnet_terms(spec: ResNet, norms_folded: bool) -> Terms:
    table = Terms()
    for weights, channels, places in _convolutions(spec):
        table.add(Operator.CONV, weights, places)
        if not norms_folded:
            table.add(Operator.BATCH_NORM, 2 * channels, places)
    return table


@cache
def _swin_terms(spec: Swin) -> Terms:
    """Patch embedding, blocks with attention over padded windows, merging, a norm on each output."""
    table = Terms()
    table.add(Operator.CONV, 4 * 4 * 3 * spec.width, Tokens(4))
    table.add(Operator.LAYER_NORM, 5 * spec.width, Tokens(4))
    for stage, (depth, c) in enumerate(zip(spec.depths, spec.channels, strict=True)):
        places, windowed = Tokens(4 << stage), Tokens(4 << stage, spec.window)
        table.add(Operator.LAYER_NORM, depth * 10 * c + 5 * c, places)  # two a block, one on the output
        table.add(Operator.LINEAR, depth * 8 * c * c, places)  # MLP
        table.add(Operator.LINEAR, depth * 4 * c * c, windowed)  # q, k, v and output
        table.add(Operator.MATMUL, depth * 2 * spec.window**2 * c, windowed)  # Q.K^T and A.V
        if stage < 3:  # merging: four tokens of c become one of 2c
            table.add(Operator.LAYER_NORM, 5 * 4 * c, Tokens(8 << stage))
            table.add(Operator.LINEAR, 4 * c * 2 * c, Tokens(8 << stage))
    return table


def _swin_parameters(spec: Swin) -> int:
    parameters = 4 * 4 * 3 * spec.width + spec.width + 2 * spec.width  # patch embedding and its norm
    for stage, (depth, c, heads) in enumerate(zip(spec.depths, spec.channels, spec.heads, strict=True)):
        bias_table = (2 * spec.window - 1) ** 2 * heads
        parameters += depth * (12 * c * c + 13 * c + bias_table)
        parameters += 2 * c  # output norm
        if stage < 3:
            parameters += 8 * c * c + 8 * c  # merging: 4c to 2c without bias, and its norm
    return parameters
