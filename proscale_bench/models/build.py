"""Models from their specs: the one place that knows which module belongs to which spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

import torch
from torch import nn

from proscale_bench.models.backbones import SwinBackbone, build_backbone
from proscale_bench.models.box_decoder import BoxDecoder, TwoStage
from proscale_bench.models.deformable_detr import DeformableDetr
from proscale_bench.models.encoders.early_exit import EarlyExitEncoder
from proscale_bench.models.encoders.hybrid import HybridEncoder
from proscale_bench.models.encoders.interface import PixelEncoder
from proscale_bench.models.encoders.interleaved import InterleavedEncoder, interleaved_layers
from proscale_bench.models.encoders.multiscale import MultiScaleEncoder, staged_layers
from proscale_bench.models.encoders.pem import PemEncoder
from proscale_bench.models.encoders.staged import StagedEncoder
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.masked_decoder import MaskedDecoder
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders.early_exit import EarlyExit
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.interleaved import Lite
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS, MultiScale, MultiScaleLite
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import FEATURE_STRIDES, Channels
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import EncoderSpec, ModelSpec, pyramid_width

OwnModel = Mask2Former | DeformableDetr


@overload
def build(spec: Mask2FormerSpec, *, device: str | torch.device = ..., drop_path: float = ...) -> Mask2Former: ...
@overload
def build(spec: DeformableDetrSpec, *, device: str | torch.device = ..., drop_path: float = ...) -> DeformableDetr: ...
@overload
def build(spec: ModelSpec, *, device: str | torch.device = ..., drop_path: float = ...) -> OwnModel: ...


def build(spec: ModelSpec, *, device: str | torch.device = "cpu", drop_path: float = 0.0) -> OwnModel:
    """The model of a spec, freshly initialised, in eval mode.

    Args:
        device: where it is built; `meta` takes no memory.
        drop_path: in training, the rate of a Swin's last block: see `backbones.SwinBackbone`.

    Raises:
        TypeError: no module is known for it.
    """
    match spec:
        case Mask2FormerSpec():
            with torch.device(device):
                backbone = build_backbone(spec.backbone, drop_path)
                return assemble(backbone, spec.encoder, spec.head, spec.backbone.channels)
        case DeformableDetrSpec():
            with torch.device(device):
                backbone = build_backbone(spec.backbone, drop_path)
                return assemble_detector(backbone, spec.encoder, spec.head, spec.backbone.channels)
    raise TypeError(f"no module for the model {spec!r}")


def assemble(backbone: nn.Module, encoder: EncoderSpec, head: Head, channels: Channels) -> Mask2Former:
    """A Mask2Former around a backbone of these channels, in eval mode."""
    by_level = dict(zip(FEATURE_STRIDES, channels, strict=True))
    pixel_decoder = build_encoder(encoder, head, by_level)  # first: so a seed gives what it always gave
    return Mask2Former(backbone, pixel_decoder, MaskedDecoder(head, pyramid_width(encoder, head))).eval()


def assemble_detector(
    backbone: nn.Module, encoder: EncoderSpec, head: DetectorHead, channels: Channels
) -> DeformableDetr:
    """A Deformable DETR around a backbone of these channels, in eval mode.

    Raises:
        TypeError: no module is known for the encoder.
    """
    match encoder:
        case MultiScale():
            layers = staged_layers(encoder, head)
        case MultiScaleLite():
            layers = interleaved_layers(encoder.interleaving, head, len(DETECTOR_LEVELS), encoder.coarse)
        case _:
            raise TypeError(f"no module for the detector's encoder {encoder!r}")
    if isinstance(backbone, SwinBackbone):
        backbone.norms[0] = nn.Identity()  # nothing reads res2
    by_level = dict(zip(FEATURE_STRIDES, channels, strict=True))
    module = MultiScaleEncoder(layers, by_level, head.width, levels=len(DETECTOR_LEVELS))
    module.spec, module.head = encoder, head
    return DeformableDetr(backbone, module, TwoStage(head) if head.two_stage else None, BoxDecoder(head)).eval()


def build_encoder(encoder: EncoderSpec, head: Head, channels: Mapping[str, int]) -> PixelEncoder:
    """The module of an encoder, which knows what it was made from.

    Args:
        channels: of the backbone's features, by name.

    Raises:
        TypeError: no module is known for it.
    """
    module = _encoder_module(encoder, head, channels)
    module.spec, module.head = encoder, head
    return module


def _encoder_module(encoder: EncoderSpec, head: Head, channels: Mapping[str, int]) -> PixelEncoder:
    """A new encoder family is one case here."""
    match encoder:
        case Hybrid():
            return HybridEncoder(encoder, head, channels)
        case Schedule():
            return StagedEncoder(encoder, head, channels)
        case EarlyExit():
            return EarlyExitEncoder(encoder, head, channels)
        case Pem():
            return PemEncoder(encoder.pyramid_width(head), head.width, channels)
        case Lite():
            return InterleavedEncoder(encoder, head, channels)
    raise TypeError(f"no module for the encoder {encoder!r}")
