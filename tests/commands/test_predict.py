"""`predict`: pictures and COCO results without any truth, equal to what `eval` sees."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proscale_bench as psb
from proscale_bench.config.weights import shipped_weights
from proscale_bench.data.shapes.writing import write_shapes
from proscale_bench.errors import BenchError
from tests.cli import run
from tests.data.made import CATEGORIES, edit_json, make_dataset

WEIGHTS = str(next(path for name, path in shipped_weights().items() if name == "tiny-1-1-1"))
METRICS = ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap_bbox", "miou")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, 6, 3)
    return folder


@pytest.fixture(scope="module")
def predicted(shapes: Path) -> Path:
    out = shapes.parent / "predictions"
    result = run("predict", "--weights", WEIGHTS, str(shapes / "val"), "--out", str(out), "--threads", "1")
    assert result.exit_code == 0, result.stderr
    assert f"6 pictures predicted by 1,1,1 tiny-1-1-1.safetensors: {out}" in result.stdout
    return out


def scores(*arguments: str, at: Path) -> dict[str, float]:
    result = run("eval", *arguments, "--bootstrap", "0", "--export-json", str(at), "--force", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(at.read_text())["results"]
    return {metric: row[metric] for metric in METRICS}


def test_its_predictions_score_as_the_weights_do(shapes: Path, predicted: Path, tmp_path: Path) -> None:
    data = ("--coco", str(shapes), "--out", str(tmp_path / "run"))
    by_weights = scores("--weights", WEIGHTS, *data, at=tmp_path / "a.json")
    assert scores("--from-predictions", str(predicted), *data, at=tmp_path / "b.json") == by_weights
    assert by_weights["pq"] > 0


def test_with_the_annotations_it_resizes_as_eval_does(shapes: Path, tmp_path: Path) -> None:
    """Data that do not call themselves Shapes are resized as COCO's, whatever the weights saw."""
    copy = tmp_path / "mine"
    shutil.copytree(shapes, copy)
    for name in ("panoptic_val.json", "instances_val.json"):
        edit_json(copy / "annotations" / name, lambda document: document["info"].update(description="mine"))
    out, data = tmp_path / "out", ("--coco", str(copy), "--tasks", "panoptic", "--limit", "1")
    flags = ("--categories", str(copy / "annotations" / "panoptic_val.json"), "--tasks", "panoptic")
    picture = str(copy / "val" / "000000000001.png")
    assert run("predict", "-w", WEIGHTS, picture, *flags, "--out", str(out), "--threads", "1").exit_code == 0
    by_weights = scores("--weights", WEIGHTS, *data, "--out", str(tmp_path / "run"), at=tmp_path / "a.json")
    assert scores("--from-predictions", str(out), *data, at=tmp_path / "b.json") == by_weights


def test_batches_and_ids_of_an_annotation_file_change_nothing_else(shapes: Path, tmp_path: Path) -> None:
    """Ids that no file name tells come from the JSON of the classes; results are in the order of the pictures."""
    annotations = shapes / "annotations" / "panoptic_val.json"
    document = json.loads(annotations.read_text())
    for image in document["images"]:
        image["id"] += 100
    (tmp_path / "ids.json").write_text(json.dumps(document))
    flags = ("--categories", str(tmp_path / "ids.json"), "--batch-size", "4", "--tasks", "panoptic,instance")
    arguments = (str(shapes / "val" / "*.png"), "--out", str(tmp_path / "out"), "--no-pictures")
    assert run("predict", "-w", WEIGHTS, *arguments, *flags).exit_code == 0
    found = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    ids = [100 + index for index in range(1, 7)]
    assert [entry["image_id"] for entry in found["annotations"]] == [image["id"] for image in found["images"]] == ids
    detected = [one["image_id"] for one in json.loads((tmp_path / "out" / "instances.json").read_text())]
    assert detected == sorted(detected)
    assert set(detected) <= set(ids)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".") == [
        "instances.json",
        "panoptic",
        "panoptic.json",
    ]


def test_text_ids_of_an_annotation_file_stay_text(shapes: Path, tmp_path: Path) -> None:
    """The scripts of Cityscapes and ADE20K call images by text, and list files of several folders."""
    document = json.loads((shapes / "annotations" / "panoptic_val.json").read_text())
    for image in document["images"]:
        image.update(id=f"aachen_{image['id']}", file_name=f"aachen/{image['file_name']}")
    (tmp_path / "ids.json").write_text(json.dumps(document))
    arguments = (str(shapes / "val"), "--out", str(tmp_path / "out"), "--categories", str(tmp_path / "ids.json"))
    assert run("predict", "-w", WEIGHTS, *arguments, "--no-pictures").exit_code == 0
    found = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [one["image_id"] for one in found["annotations"]] == [f"aachen_{number}" for number in range(1, 7)]
    detections = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert {one["image_id"] for one in detections} <= {image["id"] for image in document["images"]}


def test_pictures_are_drawn_with_names_and_a_legend(shapes: Path, predicted: Path) -> None:
    for path in (shapes / "val").iterdir():
        with Image.open(path) as image, Image.open(predicted / "pictures" / path.name) as drawn:
            scale = 640 // max(image.size)
            assert drawn.width == image.width * scale
            assert drawn.height > image.height * scale, "the legend stands below"


def test_the_python_function_gives_the_same(shapes: Path, predicted: Path, tmp_path: Path) -> None:
    found = psb.predict(WEIGHTS, shapes / "val", threads=1)
    listed = json.loads((predicted / "panoptic.json").read_text())
    assert [one.image_id for one in found] == [entry["image_id"] for entry in listed["annotations"]]
    for one, entry in zip(found, listed["annotations"], strict=True):
        assert one.file == (shapes / "val" / f"{one.image_id:012}.png").resolve()
        pixels = np.asarray(Image.open(predicted / "panoptic" / entry["file_name"]), np.uint32)
        assert (one.panoptic == pixels @ np.array([1, 256, 65536], np.uint32)).all()
        assert (one.semantic == np.asarray(Image.open(predicted / "semantic" / entry["file_name"]))).all()
        segments = [{"id": segment.id, "category_id": segment.category_id} for segment in one.segments]
        assert segments == entry["segments_info"]
        assert all(segment.area_px == (one.panoptic == segment.id).sum() for segment in one.segments)
    detections = [detection for one in found for detection in one.instances]
    assert detections == json.loads((predicted / "instances.json").read_text())
    assert found[0].segments[0].name in {"sky", "water", "bricks", "tiles", "gravel"} | {
        *("disc", "square", "triangle", "bar", "ring", "star", "cross", "crescent")
    }
    psb.predict(WEIGHTS, shapes / "val", out=tmp_path / "out", threads=1)
    for name in ("panoptic.json", "instances.json"):
        assert (tmp_path / "out" / name).read_bytes() == (predicted / name).read_bytes()


def test_the_python_function_takes_what_the_command_takes(shapes: Path, tmp_path: Path) -> None:
    picture, out = sorted((shapes / "val").iterdir())[0], tmp_path / "out"
    how = {"threads": 1, "tasks": ["panoptic"]}
    (plain,) = psb.predict(WEIGHTS, picture, **how)
    (least,) = psb.predict(WEIGHTS, picture, score_threshold=0.0, overlap_threshold=0.0, mask_threshold=0.25, **how)
    (most,) = psb.predict(WEIGHTS, picture, score_threshold=1.0, **how)
    assert len(least.segments) > len(plain.segments) > len(most.segments) == 0
    (other,) = psb.predict(
        WEIGHTS, picture, schedule="1,1,1", dtype="bf16", sampling="grid_sample", optimizations=False, **how
    )
    assert {one.name for one in other.segments} & {one.name for one in plain.segments}
    psb.predict(WEIGHTS, picture, out=out, pictures=False, **how)
    assert not (out / "pictures").exists()
    with pytest.raises(BenchError, match="exists"):
        psb.predict(WEIGHTS, picture, out=out, **how)
    psb.predict(WEIGHTS, picture, out=out, overwrite=True, **how)
    assert (out / "pictures").is_dir()
    for odd in ({"dtype": "int8"}, {"score_threshold": 1.5}, {"limit": 3}, {"sampling": "nearest"}, {"speed": 1}):
        with pytest.raises(BenchError, match=next(iter(odd))):
            psb.predict(WEIGHTS, picture, **how, **odd)  # type: ignore[arg-type]


def test_every_unreadable_picture_is_named_before_torch_is_loaded(shapes: Path, tmp_path: Path) -> None:
    good = sorted((shapes / "val").iterdir())[0]
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "good.png").write_bytes(good.read_bytes())
    result = run("predict", "-w", WEIGHTS, str(tmp_path), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "2 pictures cannot be read" in result.stderr
    assert "cut.png" in result.stderr
    assert "text.jpg: not an image" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing.jpg",), "missing.jpg: no such file or folder"),
        (("none*.jpg",), "none*.jpg: nothing matches this pattern"),
        (("empty",), "no picture in this folder"),
        (("a.png", "a.jpg"), "differ in the ending alone"),
        (("a.png", "--weights", "missing.pth"), "missing.pth: no such file"),
        (("a.png", "--tasks", "boxes!"), "unknown task"),
        (("a.png", "--resize", "9"), "not two sides"),
        (("a.png", "--categories", "two.json"), "knows 13 classes, and 4 categories are given"),
        (("a.png", "--categories", "a.png"), "a.png"),
    ],
)
def test_bad_input_is_named(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (32, 32)).save(name)
    Path("two.json").write_text(json.dumps({"categories": CATEGORIES}))
    given = () if "--weights" in arguments else ("--weights", WEIGHTS)
    result = run("predict", *given, *arguments, "--out", "out")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not Path("out").exists()


def test_only_its_own_folders_are_replaced(predicted: Path, shapes: Path, tmp_path: Path) -> None:
    picture = str(shapes / "val" / "000000000001.png")
    again = ("predict", "-w", WEIGHTS, picture, "--out")
    assert f"{predicted} exists" in run(*again, str(predicted)).stderr
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    for arguments in ((*again, str(mine)), (*again, str(mine), "--force")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert f"{mine} exists" in result.stderr
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    out = tmp_path / "out"
    assert run(*again, str(out)).exit_code == 0
    assert run(*again, str(out), "--force", "--tasks", "panoptic").exit_code == 0
    assert not (out / "instances.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"], "nothing is left beside them"


def test_weights_that_name_no_classes_ask_for_them(tmp_path: Path) -> None:
    """A model of four classes that no training of ours wrote."""
    import torch

    model = psb.build_model("1,1,1", "tiny", num_classes=4)
    torch.save(model.state_dict(), tmp_path / "four.pth")
    made = make_dataset(tmp_path / "made")
    arguments = ("predict", "-w", str(tmp_path / "four.pth"), str(made.images), "--out", str(tmp_path / "out"))
    result = run(*arguments)
    assert result.exit_code == 2
    assert "knows 4 classes, and nothing says what they are called" in result.stderr
    assert "--categories" in result.stderr
    flags = ("--categories", str(made.panoptic_json), "--resize", "64,96")
    assert run(*arguments, *flags).exit_code == 0
    listed = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [image["id"] for image in listed["images"]] == [10, 11, 12]
    data = ("--coco", str(made.root), "--resize", "64,96", "--out", str(tmp_path / "run"))
    by_weights = scores("--weights", str(tmp_path / "four.pth"), *data, at=tmp_path / "a.json")
    by_files = scores("--from-predictions", str(tmp_path / "out"), *data[:2], at=tmp_path / "b.json")
    assert by_files == by_weights
    assert [category["name"] for category in listed["categories"]] == ["person", "dog", "grass", "sky"]


def test_a_picture_without_a_segment_says_why(shapes: Path, tmp_path: Path) -> None:
    arguments = (str(shapes / "val" / "000000000001.png"), "--out", str(tmp_path / "out"))
    result = run("predict", "-w", WEIGHTS, *arguments, "--score-threshold", "1")
    assert result.exit_code == 0
    assert "no panoptic segment: no query exceeds the score 1, the surest has 0.9" in result.stderr
    assert "--score-threshold lowers it" in result.stderr
    (entry,) = json.loads((tmp_path / "out" / "panoptic.json").read_text())["annotations"]
    assert entry["segments_info"] == []
    assert (tmp_path / "out" / "pictures" / "000000000001.png").is_file()
