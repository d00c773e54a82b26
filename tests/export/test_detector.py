"""Detectors as exported files: proved, counted, of every size, timed and evaluated."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from proscale_bench.config.sweep import read_sweep_file
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.embedded import embedded_validation
from proscale_bench.errors import BenchError
from proscale_bench.export.description import spec_of
from proscale_bench.export.engines import load_exported
from proscale_bench.export.settings import ExportSettings, refuse_unexportable
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.specs.deformable_detr import DeformableDetrSpec, deformable_detr
from proscale_bench.specs.encoders.multiscale import parse_compact
from tests.cli import run
from tests.export.models import SMALL

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from proscale_bench.export.export import export_model
from proscale_bench.export.proof import _is_reordered


def small_detector(name: str, encoder: str, classes: int = 3) -> DeformableDetrSpec:
    """A detector on a ResNet with one layer in each stage, and a decoder of two layers."""
    spec = deformable_detr(parse_compact(encoder), "tiny", name=name, classes=classes, queries=9, width=32)
    return replace(spec, backbone=SMALL, head=replace(spec.head, decoder_layers=2))


def small_model(spec: DeformableDetrSpec) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build(spec)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sampling_offsets" in name or "attention_weights" in name or "box_head" in name:
                parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("deformable-detr+two-stage", "1,0,0,1"),
        pytest.param("deformable-detr+refine", "lite:(1+1)x1", marks=pytest.mark.slow),
        pytest.param("deformable-detr", "0,0,0,1+keep:0.5", marks=pytest.mark.slow),
    ],
)
def test_a_detector_is_proved_and_its_nodes_are_the_closed_forms(name: str, encoder: str, tmp_path: Path) -> None:
    spec = small_detector(name, encoder)
    found = export_model(small_model(spec), spec, tmp_path / "a.onnx", ExportSettings((70, 101), 2), images=2)
    assert (found.proof.holds, found.proof.images, found.proof.equal_maps) == (True, 4, None)
    assert found.row()["outputs"] == {"class_logits": [2, 9, 3], "boxes": [2, 9, 4]}
    folded = {} if spec.head.two_stage else {"linear": -2 * 9 * 32 * 2}  # the points of queries, which are constants
    assert found.graph_difference == folded


@pytest.mark.slow
def test_one_file_takes_every_size_and_batch(tmp_path: Path) -> None:
    spec = small_detector("deformable-detr+two-stage", "1,0,0,1")
    settings = ExportSettings((128, 192), dynamic=True)
    found = export_model(small_model(spec), spec, tmp_path / "a.onnx", settings, images=5)
    assert (found.proof.holds, found.proof.images) == (True, 14)
    loaded = load_exported(found.path, threads=1)
    assert (loaded.size, loaded.batch_size, loaded.pads) == (None, None, False)
    with pytest.raises(BenchError, match="multiples of 64"):
        loaded.run(np.zeros((1, 3, 96, 128), np.uint8))


def test_what_a_file_of_all_sizes_cannot_be() -> None:
    spec = small_detector("deformable-detr", "1,0,0,1")
    refuse_unexportable(spec, ExportSettings((128, 192), dynamic=True))
    for encoder, size, said in (
        ("1,0,0,1", (96, 128), "multiples of 64"),
        ("0,0,0,1+keep:0.5", (128, 128), "number of tokens that it keeps"),
    ):
        with pytest.raises(BenchError, match=said):
            refuse_unexportable(small_detector("deformable-detr", encoder), ExportSettings(size, dynamic=True))
    with pytest.raises(BenchError, match="use larger images"):
        refuse_unexportable(spec, ExportSettings((32, 32)))


def test_a_file_says_which_detector_it_is() -> None:
    spec = small_detector("deformable-detr+refine", "lite:(2+1)x3+h2l2")
    told = {
        "family": spec.family,
        "schedule": spec.variant,
        "backbone_dimensions": {"kind": "resnet", **asdict(SMALL)},
        "head": asdict(spec.head),
    }
    assert spec_of(json.loads(json.dumps(told)), Path("a.onnx")) == spec
    for wrong in ({"refine": 1}, {"queries": True}, {"width": 0}, {"colour": 1}):
        with pytest.raises(BenchError, match="does not say which model it is"):
            spec_of({**told, "head": {**told["head"], **wrong}}, Path("a.onnx"))  # type: ignore[dict-item]
    for other in ("Mask2Former", None, ["Deformable DETR"]):
        with pytest.raises(BenchError, match="does not say which model it is"):
            spec_of({**told, "family": other}, Path("a.onnx"))


def test_queries_in_another_order_are_no_error() -> None:
    torch.manual_seed(0)
    logits, boxes = torch.randn(2, 9, 3), torch.rand(2, 9, 4)
    order = torch.randperm(9)
    assert _is_reordered([logits, boxes], [logits[:, order], boxes[:, order] + 1e-6], 1e-4)
    assert not _is_reordered([logits, boxes], [logits[:, order], boxes], 1e-4)
    twice = torch.tensor([0, 0, *range(2, 9)])
    assert not _is_reordered([logits, boxes], [logits[:, twice], boxes[:, twice]], 1e-4)


def test_a_detector_that_flags_or_a_sweep_name_is_one_of_ours(tmp_path: Path) -> None:
    small = ("--model", "deformable-detr", "-b", "tiny", "-s", "1,0,0,1", "--engine", "onnxruntime", "--size", "32x32")
    found = run("profile", *small)
    assert (found.exit_code, "use larger images" in found.stderr) == (2, True)
    document = {"name": "x", "schedules": ["1,0,0,1"], "models": ["deformable-detr"], "sizes": ["96x128"]}
    asked = {"backbones": ["tiny"], "profile": {"engines": ["torch", "onnxruntime"]}}
    (tmp_path / "s.yaml").write_text(json.dumps({"schema_version": 1, **document, **asked}))
    assert read_sweep_file(tmp_path / "s.yaml").file.value.own_models == ["deformable-detr"]


@pytest.mark.slow
def test_a_detector_is_timed_and_evaluated_in_another_engine(tmp_path: Path) -> None:
    data = open_dataset(embedded_validation(lambda done, total: None))
    spec = small_detector("deformable-detr+refine", "1,0,0,1", sum(one.is_thing for one in data.categories))
    weights, kept = str(tmp_path / "d.safetensors"), ("--threads", "1", "--exported", str(tmp_path / "exported"))
    save_checkpoint(small_model(spec), Path(weights))  # type: ignore[arg-type]
    both = ("--weights", weights, "--engine", "torch", "--engine", "onnxruntime", "--export-json", "-")
    found = run("profile", *both, *kept, "--size", "96x128", "--repeats", "2", "--out", str(tmp_path / "p"))
    rows = json.loads(found.stdout)["results"]
    assert [row.get("inference_engine") for row in rows].count("onnxruntime") == 2
    found = run("eval", *both, *kept, "--limit", "2", "--bootstrap", "0", "--out", str(tmp_path / "e"))
    ours, theirs = json.loads(found.stdout)["results"]
    assert theirs["ap_bbox"] == pytest.approx(ours["ap_bbox"], abs=0.05)
    assert theirs["evaluation"]["tasks"] == ["boxes"]
    int8 = str(tmp_path / "int8.onnx")
    run("models", "export", weights, int8, "--size", "128x160", "--quantize", "int8", "--images", "1")
    found = run("eval", "--weights", int8, "--limit", "1", "--bootstrap", "0", "--export-json", "-", *kept[:2])
    (row,) = json.loads(found.stdout)["results"]
    assert (row["dtype"], row["model"]) == ("int8", "Deformable DETR")
    refused = run("eval", "--weights", int8, "--limit", "2", "--bootstrap", "0")
    assert (refused.exit_code, "takes images of 128x160" in refused.stderr) == (2, True)
