"""A Deformable DETR of ours predicts what transformers' does with the same weights."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from proscale_bench.models.checkpoints.load import load_checkpoint
from proscale_bench.models.deformable_detr import DeformableDetr, padding_of

KINDS = ("plain", "refined", "two-stage")
QUERIES, LABELS = 12, 5


@cache
def theirs_of(kind: str, width: int, heads: int, seed: int) -> Any:
    """A model of transformers, of random weights; what starts at 0 or shared is drawn."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, 64, 128],
        depths=[1, 2, 1, 1],
        layer_type="bottleneck",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.DeformableDetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=width,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=48,
        decoder_ffn_dim=40,
        num_queries=QUERIES,
        num_labels=LABELS,
        num_feature_levels=4,
        dropout=0.0,
        with_box_refine=kind != "plain",
        two_stage=kind == "two-stage",
        two_stage_num_proposals=QUERIES,
    )
    torch.manual_seed(seed)
    model = transformers.DeformableDetrForObjectDetection(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if any(word in name for word in ("sampling_offsets", "attention_weights", "_embed", "reference")):
                one.copy_(0.15 * torch.randn(one.shape, generator=generator))
        for name, one in model.named_buffers():
            if "running_mean" in name:
                one.copy_(0.1 * torch.randn(one.shape, generator=generator))
            if "running_var" in name:
                one.copy_(0.5 + torch.rand(one.shape, generator=generator))
    return model


def file_of(theirs: Any, folder: Path) -> Path:
    theirs.config.save_pretrained(folder)
    state = {key: one.clone().contiguous() for key, one in theirs.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


def images_of(sizes: list[tuple[int, int]], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [255 * torch.rand(3, *size, generator=generator) for size in sizes]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_outputs_of_transformers(kind: str, tmp_path: Path) -> None:
    """Widths, heads, odd sizes, single images and padded batches, drawn from a seed."""
    draw = random.Random(kind)
    for number in range(3):
        width, heads = draw.choice([(32, 4), (64, 8), (96, 4)])
        theirs = theirs_of(kind, width, heads, number)
        ours = load_checkpoint(file_of(theirs, tmp_path / str(number)))
        assert isinstance(ours, DeformableDetr)
        sizes = [(draw.randrange(65, 160), draw.randrange(65, 160)) for _ in range(1 + number % 2)]
        images = images_of(sizes, number)
        padding = padding_of(images)
        prepared = ours.prepare(images)
        mask = torch.ones(prepared.shape[0], *prepared.shape[2:]) if padding is None else ~padding
        expected = theirs(pixel_values=prepared, pixel_mask=mask.long())
        found = ours(images, auxiliary=True)
        torch.testing.assert_close(found.class_logits, expected.logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(found.boxes, expected.pred_boxes, rtol=0, atol=1e-4)
        assert len(found.auxiliary) == 2
        if kind == "two-stage":
            torch.testing.assert_close(
                found.proposals.class_logits.sum(), expected.enc_outputs_class.sum(), rtol=1e-4, atol=1e-3
            )
            tokens = expected.enc_outputs_coord_logits.sigmoid()
            torch.testing.assert_close(found.proposals.boxes.sum(1), tokens.sum(1), rtol=1e-4, atol=1e-3)
        else:
            assert found.proposals is None
