"""Transformers' Mask2Former, an independent implementation, predicts as ours does with its weights converted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import proscale_bench as psb
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint

from .samples import official, small_model, write

transformers = pytest.importorskip("transformers")
pytest.importorskip("scipy")  # transformers' Mask2Former does not build without it
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TOLERANCE = 1e-4
UNUSED = re.compile(r"\.swin\.layernorm\.|num_batches_tracked$")  # theirs alone
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def theirs(backbone: Any, **settings: int) -> nn.Module:
    """A model of theirs with random weights, in eval mode."""
    head = {
        "hidden_dim": 32,
        "num_attention_heads": 4,
        "encoder_layers": 2,
        "decoder_layers": 4,
        "num_queries": 6,
    } | settings
    width = head["hidden_dim"]
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=width,
        mask_feature_size=width,
        encoder_feedforward_dim=48,
        dim_feedforward=40,
        num_labels=7,
        **head,
    )
    torch.manual_seed(0)
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "criterion" not in key:
                spread = 0.2 if tensor.ndim == 1 else 0.7 / max(1, tensor[0].numel()) ** 0.5
                tensor.copy_(
                    tensor.abs() + 0.5 if key.endswith("running_var") else tensor + spread * torch.randn_like(tensor)
                )
    return model


def swin(**settings: Any) -> Any:
    small = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8], "window_size": 7}
    return transformers.SwinConfig(**{**small, **settings}, out_features=STAGES)


def resnet(**settings: Any) -> Any:
    small = {"embedding_size": 8, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 2, 1, 1]}
    return transformers.ResNetConfig(**{**small, **settings}, layer_type="bottleneck", out_features=STAGES)


@torch.no_grad()
def largest_difference(model: nn.Module, ours: nn.Module, size: tuple[int, int]) -> float:
    """Over class and mask logits, for one random image: theirs sees what ours has normalised and padded."""
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    prepared: Tensor = ours.prepare(images)  # type: ignore[operator, assignment]
    expected = model(pixel_values=prepared, pixel_mask=torch.ones(1, *prepared.shape[-2:], dtype=torch.long))
    found = ours(images)
    assert found.pred_masks.shape == expected.masks_queries_logits.shape
    assert expected.masks_queries_logits.std() > 0.05  # something is predicted
    return max(
        (found.pred_logits - expected.class_queries_logits).abs().max().item(),
        (found.pred_masks - expected.masks_queries_logits).abs().max().item(),
    )


SIDES = st.integers(225, 300)  # padded to 256 or more: every map is larger than the window


@given(
    size=st.tuples(SIDES, SIDES),
    depths=st.tuples(*[st.integers(1, 2)] * 4),
    heads=st.sampled_from([(1, 2, 4, 8), (2, 2, 4, 4)]),
    width=st.sampled_from([32, 64]),
    encoder_heads=st.sampled_from([2, 8]),
    layers=st.integers(1, 3),
)
@settings(max_examples=4, deadline=None)
def test_swin(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    depths: tuple[int, ...],
    heads: tuple[int, ...],
    width: int,
    encoder_heads: int,
    layers: int,
) -> None:
    backbone = swin(depths=list(depths), num_heads=list(heads))
    model = theirs(
        backbone, hidden_dim=width, num_attention_heads=encoder_heads, encoder_layers=layers, decoder_layers=layers + 1
    )
    folder = tmp_path_factory.mktemp("swin")
    model.save_pretrained(folder)
    ours = psb.load_checkpoint(folder)
    assert ours.encoder.schedule.compact == f"baseline:{layers}"
    assert largest_difference(model, ours, size) <= TOLERANCE


def test_swin_of_window_12(tmp_path: Path) -> None:
    model = theirs(swin(window_size=12, depths=[2, 1, 1, 2]))
    model.save_pretrained(tmp_path)
    assert largest_difference(model, psb.load_checkpoint(tmp_path), (416, 416)) <= TOLERANCE


@given(
    size=st.tuples(st.integers(33, 200), st.integers(33, 200)),
    depths=st.tuples(*[st.integers(1, 3)] * 4),
    stem=st.sampled_from([8, 16]),
    width=st.sampled_from([32, 64]),
)
@settings(max_examples=4, deadline=None)
def test_resnet(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], depths: tuple[int, ...], stem: int, width: int
) -> None:
    model = theirs(resnet(depths=list(depths), embedding_size=stem), hidden_dim=width)
    folder = tmp_path_factory.mktemp("resnet")
    model.save_pretrained(folder)
    assert largest_difference(model, psb.load_checkpoint(folder), size) <= TOLERANCE


@pytest.mark.parametrize("backbone", [swin, resnet])
def test_a_state_dict_and_its_file_are_the_same_model(tmp_path: Path, backbone: Any) -> None:
    """In memory, transformers 5 has other names for Swin than in files."""
    model = theirs(backbone())
    model.save_pretrained(tmp_path / "folder")
    folder = open_checkpoint(tmp_path / "folder")
    memory = open_checkpoint(write(tmp_path / "memory.pth", dict(model.state_dict())))
    assert memory.digest == folder.digest
    for checkpoint in (memory, folder):
        assert {entry.status for entry in checkpoint.entries} <= {"converted", "derived", "unused"}


def test_shards_and_pickles(tmp_path: Path) -> None:
    model = theirs(swin())
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").exists()
    shards = open_checkpoint(tmp_path / "shards")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "config.json").write_text((tmp_path / "shards" / "config.json").read_text())
    torch.save(dict(model.state_dict()), tmp_path / "bin" / "pytorch_model.bin")
    assert open_checkpoint(tmp_path / "bin").digest == shards.digest
    index = json.loads((tmp_path / "shards" / "model.safetensors.index.json").read_text())
    first = index["weight_map"]["class_predictor.bias"]
    (tmp_path / "shards" / first).unlink()
    with pytest.raises(BenchError, match="No such file"):
        open_checkpoint(tmp_path / "shards")


@pytest.mark.parametrize("backbone", [swin, resnet])
def test_transformers_reads_what_we_write(tmp_path: Path, backbone: Any) -> None:
    model = theirs(backbone())
    model.save_pretrained(tmp_path / "in")
    convert_checkpoint(open_checkpoint(tmp_path / "in"), tmp_path / "official.pth")
    convert_checkpoint(open_checkpoint(tmp_path / "official.pth"), tmp_path / "out", "huggingface")
    written, expected = (read_stored(tmp_path / name).tensors for name in ("out", "in"))
    assert {key for key in expected.keys() ^ written.keys() if not UNUSED.search(key)} == set()
    again = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "out").eval()
    assert largest_difference(again, psb.load_checkpoint(tmp_path / "official.pth"), (256, 256)) <= TOLERANCE


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("pre_norm", True),
        ("activation_function", "gelu"),
        ("model_type", "maskformer"),
        ("backbone_config.downsample_in_bottleneck", True),
        ("backbone_config.layer_norm_eps", 1e-6),
        ("num_attention_heads", "many"),
    ],
)
def test_configurations_of_other_models_are_refused(tmp_path: Path, setting: str, value: object) -> None:
    convert_checkpoint(
        open_checkpoint(write(tmp_path / "in.pth", official(small_model("baseline:1")))),
        tmp_path / "out",
        "huggingface",
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    *outer, key = setting.split(".")
    (config[outer[0]] if outer else config)[key] = value
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BenchError, match=setting):
        open_checkpoint(tmp_path / "out")
