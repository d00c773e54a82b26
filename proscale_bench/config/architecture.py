"""The dimensions of every model: what the closed form counts and `models/` builds.

Sources: ResNet, He et al. 2016 (torchvision's v1.5 layout, stride in the 3x3); Swin, Liu et al. 2021, table 7
(Swin-B and -L with window 12, as in Mask2Former's configurations); Mask2Former, Cheng et al. 2022, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from proscale_bench.errors import BenchError, look_up

FEATURE_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
SIZE_DIVISOR = 32  # inputs are padded to a multiple of the coarsest stride


@dataclass(frozen=True)
class ResNet:
    """Bottleneck ResNet. Stage s has `depths[s]` blocks of `width * 2**s` inner channels."""

    depths: tuple[int, int, int, int]
    stem_width: int = 64
    width: int = 64
    expansion: int = 4

    @property
    def channels(self) -> tuple[int, int, int, int]:
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
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of res2, res3, res4, res5."""
        c = self.width
        return (c, 2 * c, 4 * c, 8 * c)


@dataclass(frozen=True)
class Head:
    """All that follows the backbone: pixel decoder and transformer decoder, `width` channels throughout."""

    width: int = 256
    encoder_heads: int = 8
    encoder_points: int = 4
    encoder_ffn: int = 1024
    decoder_heads: int = 8
    decoder_ffn: int = 2048
    decoder_layers: int = 9
    queries: int = 100
    num_classes: int = 133  # COCO panoptic


@dataclass(frozen=True)
class Architecture:
    """A backbone with its head."""

    backbone: ResNet | Swin
    head: Head = Head()


BackboneName = Literal["resnet50", "resnet101", "swin_t", "swin_s", "swin_b", "swin_l", "tiny"]

ARCHITECTURES: dict[str, Architecture] = {
    "resnet50": Architecture(ResNet((3, 4, 6, 3))),
    "resnet101": Architecture(ResNet((3, 4, 23, 3))),
    "swin_t": Architecture(Swin(96, (2, 2, 6, 2), (3, 6, 12, 24), window=7)),
    "swin_s": Architecture(Swin(96, (2, 2, 18, 2), (3, 6, 12, 24), window=7)),
    "swin_b": Architecture(Swin(128, (2, 2, 18, 2), (4, 8, 16, 32), window=12)),
    "swin_l": Architecture(Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), window=12), Head(queries=200)),
    # Ours: the embedded models. Every schedule of the catalogue stays below 1.2 million parameters.
    # The head's width is a multiple of its 32 norm groups.
    "tiny": Architecture(
        Swin(16, (1, 1, 2, 1), (1, 2, 4, 8), window=7),
        Head(width=64, encoder_heads=4, encoder_ffn=128, decoder_heads=4, decoder_ffn=256, decoder_layers=6),
    ),
}


def backbone_name(backbone: ResNet | Swin) -> str:
    """What a backbone of these dimensions is called: a name of `ARCHITECTURES`, else its kind with its dimensions."""
    for name, architecture in ARCHITECTURES.items():
        if architecture.backbone == backbone:
            return name
    kind = "resnet" if isinstance(backbone, ResNet) else "swin"
    return f"{kind}-{backbone.width}-{'-'.join(map(str, backbone.depths))}"


def get_architecture(backbone: str, num_classes: int | None = None, num_queries: int | None = None) -> Architecture:
    """The dimensions behind a backbone's name, with other numbers of classes or queries where given.

    Raises:
        BenchError: unknown backbone, or a number below 1.
    """
    known = look_up(ARCHITECTURES, backbone, "backbone")
    head = known.head
    for what, number in (("classes", num_classes), ("queries", num_queries)):
        if number is not None and number < 1:
            raise BenchError(f"{number} {what}", "a model has at least one")
    if num_classes is not None:
        head = replace(head, num_classes=num_classes)
    if num_queries is not None:
        head = replace(head, queries=num_queries)
    return replace(known, head=head)
