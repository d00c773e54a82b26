"""Models that are exported in seconds."""

from __future__ import annotations

from dataclasses import replace

import torch

from proscale_bench.models.build import build
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.backbones import ResNet
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.specs.spelling import parse_encoder

SMALL = ResNet((1, 1, 1, 1), stem_width=8, width=8, expansion=2)


def small_spec(encoder: str = "1,1,1") -> Mask2FormerSpec:
    """A ResNet with one layer in each stage, and a head of three layers."""
    named = mask2former(parse_encoder(encoder), "tiny", classes=5, queries=7, width=32)
    head = replace(named.head, encoder_ffn=48, decoder_ffn=48, decoder_layers=3)
    return replace(named, backbone=SMALL, head=head)


def small_model(spec: Mask2FormerSpec) -> Mask2Former:
    """The model with weights that leave nothing trivial."""
    torch.manual_seed(0)
    model = build(spec)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sampling_offsets" in name or "attention_weights" in name:
                parameter.normal_(std=0.3)
            if name == "decoder.mask_head.4.weight":
                parameter.mul_(0.02)  # many logits of masks near zero, where masks of attention flip
    return model
