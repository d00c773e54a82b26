"""Files of detectors: our own, which say which they hold, and those under the names of transformers and the official
code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from proscale_bench.bench.specs import ModelChoice, read_spec
from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.load import load_checkpoint, open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from proscale_bench.models.checkpoints.warm_start import start_from
from proscale_bench.specs.deformable_detr import DeformableDetrSpec, deformable_detr
from proscale_bench.specs.encoders.multiscale import MultiScale, parse_compact
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.spelling import parse_encoder

KINDS = ("", "+refine", "+two-stage")


def spec_of(schedule: str = "baseline", kind: str = "", **given: Any) -> DeformableDetrSpec:
    found = deformable_detr(
        parse_compact(schedule), "tiny", name=f"deformable-detr{kind}", classes=3, queries=5, **given
    )
    return replace(found, head=replace(found.head, decoder_layers=2, encoder_ffn=24, decoder_ffn=40))


def file_of(spec: DeformableDetrSpec, path: Path) -> nn.Module:
    torch.manual_seed(0)
    model = build(spec)
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.05 * torch.randn(one.shape))
    save_checkpoint(model, path)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", ["baseline:2", "1,1,0,1+keep:0.3", "lite:(2+1)x1+h2l2+kda"])
def test_our_own_files_say_which_model_they_hold(schedule: str, kind: str, tmp_path: Path) -> None:
    spec, path = spec_of(schedule, kind), tmp_path / "model.safetensors"
    model = file_of(spec, path)
    checkpoint = open_checkpoint(path)
    assert checkpoint.inferred.spec == spec
    assert read_spec(path) == spec
    assert checkpoint.schedule_from == "metadata"
    assert {entry.status for entry in checkpoint.entries} == {"matched"}
    loaded = load_checkpoint(path)
    for (key, ours), (_, theirs) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(ours, theirs), key
    row = checkpoint.inspect().row()
    assert (row["schedule"], row["classes"], row["queries"]) == (spec.variant, 3, 5)
    (same,) = ModelChoice(weights=path).specs()
    assert same == spec


@pytest.mark.parametrize("kind", KINDS)
def test_the_official_names_there_and_back(kind: str, tmp_path: Path) -> None:
    """Heads that layers share, or have each: levels the other way round; two stages do not say how many they choose."""
    spec, ours = spec_of("baseline:2", kind), tmp_path / "ours.safetensors"
    file_of(spec, ours)
    official = tmp_path / "official.pth"
    convert_checkpoint(open_checkpoint(ours), official)
    state = torch.load(official)["model"]
    heads = {"": 2, "+refine": 2, "+two-stage": 3}[kind]
    assert f"class_embed.{heads - 1}.bias" in state
    assert f"class_embed.{heads}.bias" not in state
    assert ("transformer.decoder.bbox_embed.0.layers.2.bias" in state) == bool(kind)
    assert state["input_proj.3.0.weight"].shape[2:] == (3, 3)
    checkpoint = open_checkpoint(official)
    assert checkpoint.translation.keys.layout.name == "official"
    found = checkpoint.inferred.spec
    assert found is not None
    assert replace(found, head=replace(found.head, queries=5)) == spec
    assert checkpoint.digest == open_checkpoint(ours).digest
    assert not {entry.status for entry in checkpoint.entries} - {"converted", "matched", "unused"}
    again = tmp_path / "again.safetensors"
    convert_checkpoint(checkpoint, again, "ours")
    first, second = load_file(ours), load_file(again)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_levels_are_turned(kind: str, tmp_path: Path) -> None:
    ours, official = tmp_path / "ours.safetensors", tmp_path / "official.pth"
    file_of(spec_of("baseline:2", kind), ours)
    convert_checkpoint(open_checkpoint(ours), official)
    theirs, mine = torch.load(official)["model"], load_file(ours)
    assert torch.equal(theirs["transformer.level_embed"][0], mine["encoder.level_embedding"][3])
    bias = theirs["transformer.encoder.layers.1.self_attn.sampling_offsets.bias"].view(4, 4, 4, 2)
    assert torch.equal(bias[:, 0], mine["encoder.layers.1.attention.sampling_offsets.bias"].view(4, 4, 4, 2)[:, 3])


def test_what_a_layout_has_no_place_for(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    file_of(spec_of("1,0,0,1"), path)
    for layout in ("official", "huggingface"):
        with pytest.raises(BenchError, match=f"layout {layout} has no detector of schedule 1,0,0,1"):
            convert_checkpoint(open_checkpoint(path), tmp_path / ("x.pth" if layout == "official" else "x"), layout)


def test_a_detector_starts_from_a_baseline(tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    model = file_of(spec_of("baseline:3", "+refine"), base)
    started = start_from(open_checkpoint(base), parse_compact("1,1,0,1"), tmp_path / "new.safetensors")
    assert started.layers == (0, 1, 2)
    new = load_checkpoint(tmp_path / "new.safetensors")
    assert not started.left
    whole = model.state_dict()["encoder.layers.0.attention.sampling_offsets.bias"].view(4, 4, -1)
    part = new.state_dict()["encoder.layers.0.attention.sampling_offsets.bias"].view(4, 1, -1)
    assert torch.equal(part[:, 0], whole[:, 0])
    assert torch.equal(new.state_dict()["decoder.queries"], model.state_dict()["decoder.queries"])


def test_checkpoints_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    detector, segmenter = tmp_path / "detector.safetensors", tmp_path / "segmenter.safetensors"
    file_of(spec_of(), detector)
    torch.manual_seed(0)
    save_checkpoint(build(mask2former(baseline(), "tiny", classes=3)), segmenter)
    with pytest.raises(BenchError, match="is of mask2former"):
        ModelChoice(models=("deformable-detr",), weights=segmenter).specs()
    with pytest.raises(BenchError, match=r"--model deformable-detr\+refine, and .* is of deformable-detr"):
        ModelChoice(models=("deformable-detr+refine",), weights=detector).specs()
    with pytest.raises(BenchError, match="'3,3,3' is not four numbers"):
        ModelChoice(schedules=("3,3,3",), weights=detector).specs()
    with pytest.raises(BenchError, match="'3,3,3' is not four numbers"):
        open_checkpoint(detector, parse_encoder("3,3,3"))
    with pytest.raises(BenchError, match="a detector's encoder, and this is a Mask2Former"):
        start_from(open_checkpoint(segmenter), MultiScale((1, 1, 1, 1)), tmp_path / "x.safetensors")


def test_a_share_that_no_shape_tells_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    file_of(spec_of("baseline:2+keep:0.3"), path)
    save_file(load_file(path), path)
    with pytest.raises(BenchError, match="keeps a share") as caught:
        open_checkpoint(path)
    assert "give the schedule" in (caught.value.hint or "")
    assert (
        open_checkpoint(path, parse_compact("baseline:2+keep:0.3")).inferred.schedule.compact == "baseline:2+keep:0.3"
    )
    with pytest.raises(BenchError, match="contradicts schedule 2,0,0,0"):
        open_checkpoint(path, parse_compact("2,0,0,0"))


def test_a_configuration_of_another_detector_is_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1], layer_type="bottleneck"
    )
    backbone.out_features = ["stage2", "stage3", "stage4"]
    config = transformers.DeformableDetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=7,
        num_labels=2,
        with_box_refine=True,
        two_stage=True,
        two_stage_num_proposals=9,
    )
    torch.manual_seed(0)
    model = transformers.DeformableDetrForObjectDetection(config)
    model.save_pretrained(tmp_path)
    found = open_checkpoint(tmp_path)
    found.require_complete()
    assert (found.inferred.head.queries, found.inferred.head.num_classes) == (9, 2)
    told = json.loads((tmp_path / "config.json").read_text())
    for setting, value, words in (
        ("num_feature_levels", 3, "num_feature_levels is 3"),
        ("decoder_layers", 3, "decoder_layers is 3, and the tensors are of 2"),
        ("encoder_attention_heads", "x", "not a number"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(told | {setting: value}))
        with pytest.raises(BenchError, match=words):
            open_checkpoint(tmp_path)
