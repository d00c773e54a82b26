"""A detector through the commands: trained, evaluated by boxes alone, drawn, swept, compared and held to a limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from proscale_bench.bench.class_order import category_ids_of
from proscale_bench.bench.predictors import judged_by
from proscale_bench.config.weights import shipped_weights
from proscale_bench.data.dataset import Category
from proscale_bench.data.shapes.writing import write_shapes
from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import mask2former
from tests.cli import run

SEGMENTER = str(next(path for name, path in shipped_weights().items() if name == "tiny-1-1-1"))
RECIPE = """schema_version: 1
name: boxes
model: deformable-detr
data: {source: coco, split: null}
backbone: tiny
iterations: 2
batch_size: 2
augmentation: {crop: [96, 96]}
optimizer: {learning_rate: 5.0e-4, backbone_multiplier: 1.0}
schedule: {kind: polynomial}
dropout: 0.1
ema: null
validation: {every: 2, images: 2}
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, 6, 3)
    write_shapes(folder, 4, 4, "train")
    return folder


@pytest.fixture(scope="module")
def weights(shapes: Path) -> Path:
    recipe, out = shapes.parent / "boxes.yaml", shapes.parent / "run"
    recipe.write_text(RECIPE)
    flags = ("--model", "deformable-detr", "-s", "1,0,0,1", "-r", str(recipe), "--coco", str(shapes))
    result = run("train", *flags, "--out", str(out), "--threads", "1")
    assert result.exit_code == 0, result.stderr
    assert "box AP" in result.stderr + result.stdout
    return out / "model.safetensors"


@pytest.fixture(scope="module")
def evaluated(shapes: Path, weights: Path) -> Path:
    """The folder of an evaluation's records, predictions and rows."""
    out = shapes.parent / "eval"
    flags = ("--coco", str(shapes), "--out", str(out), "--bootstrap", "20", "--threads", "1", "--per-class")
    kept = ("--save-predictions", str(out / "saved"), "--export-json", str(out / "rows.json"))
    result = run("eval", "--weights", str(weights), *flags, *kept)
    assert result.exit_code == 0, result.stderr
    assert "box AP" in result.stdout
    assert "PQ" not in result.stdout
    assert "mask" not in result.stdout
    return out


def test_its_boxes_alone_are_evaluated(evaluated: Path) -> None:
    (row,) = json.loads((evaluated / "rows.json").read_text())["results"]
    assert row["evaluation"]["tasks"] == ["boxes"]
    assert row["ap_bbox"] is not None
    assert [row[name] for name in ("pq", "ap", "miou")] == [None] * 3
    assert {"ap50", "ap75"} <= row["accuracy"].keys()
    assert {entry.name for entry in (evaluated / "saved").iterdir()} == {"instances.json"}


def test_its_saved_boxes_score_the_same(evaluated: Path, shapes: Path, tmp_path: Path) -> None:
    flags = ("--coco", str(shapes), "--tasks", "boxes", "--bootstrap", "0", "--reference")
    result = run(
        "eval", "--from-predictions", str(evaluated / "saved"), *flags, "--export-json", str(tmp_path / "a.json")
    )
    assert result.exit_code == 0, result.stderr
    (one,), (other,) = (
        json.loads(path.read_text())["results"] for path in (tmp_path / "a.json", evaluated / "rows.json")
    )
    assert one["ap_bbox"] == other["ap_bbox"]
    assert one["accuracy"]["ap50"] == other["accuracy"]["ap50"]


@pytest.mark.parametrize("flags", [("--tasks", "panoptic"), ("--tasks", "boxes,instance"), ("--visuals", "1")])
def test_masks_of_a_detector_are_refused(weights: Path, shapes: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    result = run("eval", "--weights", str(weights), "--coco", str(shapes), "--out", str(tmp_path), *flags)
    assert result.exit_code == 2
    assert "Deformable DETR" in result.stderr
    if "--tasks" in flags:
        out = str(tmp_path / "out")
        assert run("predict", "-w", str(weights), str(shapes / "val"), *flags, "--out", out).exit_code == 2


def test_boxes_of_a_segmenter_without_instances_are_refused() -> None:
    spec = mask2former(parse_compact("1,1,1"), "tiny")
    assert judged_by(spec, ("panoptic", "instance"), None, "w") == ("panoptic", "instance")
    assert judged_by(spec, ("boxes",), ("boxes",), "w") == ("boxes",)

    class Semantic(type(spec)):  # type: ignore[misc]
        tasks = frozenset(("semantic",))

    semantic = Semantic(spec.backbone, spec.encoder, spec.head)
    with pytest.raises(BenchError, match="predicts semantic, and no boxes") as caught:
        judged_by(semantic, ("boxes",), ("boxes",), "w")
    assert caught.value.exit_code == 2
    with pytest.raises(BenchError, match="predicts semantic, and what there is or was asked for is boxes"):
        judged_by(semantic, ("boxes",), None, "w")


def test_pictures_have_boxes(weights: Path, shapes: Path, evaluated: Path, tmp_path: Path) -> None:
    out = tmp_path / "predicted"
    as_eval = ("--resize", "none", "--threads", "1")
    result = run("predict", "-w", str(weights), str(shapes / "val"), "--out", str(out), *as_eval)
    assert result.exit_code == 0, result.stderr
    assert {entry.name for entry in out.iterdir()} >= {"instances.json", "pictures"}
    assert not (out / "panoptic.json").exists()
    assert len(list((out / "pictures").iterdir())) == 6
    found, saved = (json.loads((folder / "instances.json").read_text()) for folder in (out, evaluated / "saved"))
    assert [one["bbox"] for one in found] == [one["bbox"] for one in saved]
    with Image.open(next((out / "pictures").iterdir())) as picture:
        assert max(picture.size) > 320  # enlarged


def test_sweep_compare_report_and_check_know_it(weights: Path, shapes: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "sweep.yaml", tmp_path / "swept"
    file.write_text(
        f"schema_version: 1\nname: boxes\nsizes: ['128x128']\n"
        f"weights: ['{weights}']\nevaluate: {{data: '{shapes}', split: val, bootstrap: 20}}\n"
    )
    result = run("sweep", str(file), "--out", str(out))
    assert result.exit_code == 0, result.stderr
    assert "box AP" in result.stdout
    report = run("report", str(out))
    assert report.exit_code == 0, report.stderr
    text = (out / "report.md").read_text()
    assert "box AP against total GFLOPs" in text
    assert "PQ" not in text
    assert "Mask2Former" not in text
    assert '"y":"ap_bbox"' in (out / "index.html").read_text()
    budgets = tmp_path / "budgets.yaml"
    budget = f"schema_version: 1\nbudgets:\n  - weights: '{weights}'\n    dataset: val\n    ap_bbox: {{min: 100}}\n"
    budgets.write_text(budget)
    checked = run("check", str(budgets), "--records", str(out))
    assert checked.exit_code == 1, checked.stderr
    assert "EXCEEDED  ap_bbox" in checked.stdout
    compared = run("compare", str(out), str(out), "--all")
    assert compared.exit_code == 0, compared.stderr
    assert "box AP" in compared.stdout


def test_a_sweep_for_masks_alone_is_refused_at_its_place(weights: Path, shapes: Path, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    text = f"schema_version: 1\nname: boxes\nsizes: ['128x128']\nweights: ['{weights}']\n"
    file.write_text(f"{text}evaluate:\n  data: '{shapes}'\n  tasks: [panoptic, semantic]\n")
    result = run("sweep", str(file), "--out", str(tmp_path / "swept"))
    assert result.exit_code == 2
    assert f"{file}:7:3: model.safetensors: a Deformable DETR predicts boxes" in result.stderr


def test_classes_of_a_published_detector_are_found() -> None:
    """COCO's 80 things have 91 places; those that stand for nothing are called N/A, where they are called at all."""
    things = [Category(1, "person", True), Category(3, "car", True), Category(4, "dog", True)]
    assert category_ids_of((), 5, things, "w")[0] == (None, 1, None, 3, 4)
    assert category_ids_of((), 3, things, "w")[0] == (1, 3, 4)
    assert category_ids_of(("N/A", "dog", "Person", "car", "n/a"), 5, things, "w")[0] == (None, 4, 1, 3, None)
    for names, classes in (((), 4), (("person", "car", "cat"), 3)):
        with pytest.raises(BenchError):
            category_ids_of(names, classes, things, "w")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model", "deformable-detr", "-r", "shapes"), "the recipe shapes is a mask2former's"),
        (("-r", "shapes-detection"), "the recipe shapes-detection is a deformable-detr's"),
        (("--model", "deformable-dert"), "no model of this name"),
        (("--model", "deformable-detr+refin"), "unknown option"),
        (("--model", "deformable-detr", "-s", "3,3,3"), "four"),
        (("--model", "deformable-detr", "--start", SEGMENTER), "is of mask2former"),
    ],
)
def test_what_does_not_fit_a_detectors_training_is_refused(flags: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = run("train", *flags, "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "run").exists()
