"""`eval --graph`: an ONNX file of anybody's, evaluated once its outputs, images and classes are named; else refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from proscale_bench.data.coco import open_dataset
from proscale_bench.data.embedded import embedded_validation
from tests.cli import Result, run

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES, THINGS = 13, 8  # of the embedded data
MASKS = ("--outputs", "logits=classes", "--outputs", "masks=regions", "--normalize", "imagenet")
BOXES = ("--outputs", "logits=classes", "--outputs", "boxes=regions", "--normalize", "unit", "--stretch")
IN_ORDER = ("--classes-by", "order")


def constant_answer(path: Path, logits: np.ndarray, regions: np.ndarray, images: tuple[int | str, ...]) -> Path:
    """A graph that answers the same whatever it sees: `classes` and `regions`."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0)]
    nodes.append(helper.make_node("Sub", ["mean", "mean"], ["nothing"]))
    ends, kept = [], []
    for name, values in (("classes", logits), ("regions", regions)):
        kept.append(onnx.numpy_helper.from_array(values.astype(np.float32), f"own_{name}"))
        nodes.append(helper.make_node("Add", [f"own_{name}", "nothing"], [name]))
        ends.append(helper.make_tensor_value_info(name, float32, values.shape))
    taken = [helper.make_tensor_value_info("images", float32, images)]
    made = helper.make_graph(nodes, "graph", taken, ends, kept)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def masks(folder: Path, images: tuple[int | str, ...] = (1, 3, 128, 160)) -> Path:
    """One query that is sure of the first class everywhere, and one that is sure of nothing."""
    logits = np.full((1, 2, CLASSES + 1), -9.0)
    logits[0, 0, 0] = logits[0, 1, CLASSES] = 9
    return constant_answer(folder / "masks.onnx", logits, np.full((1, 2, 8, 10), 5.0), images)


def boxes(folder: Path, images: tuple[int | str, ...] = (1, 3, 64, 64)) -> Path:
    """A box of the second thing in the middle, half as wide and high as the image."""
    logits = np.full((1, 1, THINGS), -9.0)
    logits[0, 0, 1] = 4
    return constant_answer(folder / "boxes.onnx", logits, np.full((1, 1, 4), 0.5), images)


def evaluate(folder: Path, *arguments: str) -> Result:
    how = ("--limit", "1", "--bootstrap", "0", "--threads", "1", "--out", str(folder / "run"), "--export-json", "-")
    return run("eval", *arguments, "--save-predictions", str(folder / "saved"), *how)


def test_masks_are_evaluated(tmp_path: Path) -> None:
    file, data = masks(tmp_path), open_dataset(embedded_validation(lambda done, total: None))
    for names in (False, True):
        classes: tuple[str, ...] = IN_ORDER
        if names:
            (tmp_path / "names.txt").write_text("\n".join(one.name for one in reversed(data.categories)))
            classes = ("--class-names", str(tmp_path / "names.txt"))
        found = evaluate(tmp_path, "--graph", str(file), *MASKS, *classes, "--force")
        assert found.exit_code == 0, found.stderr
        (row,) = json.loads(found.stdout)["results"]
        assert (row["model"], row["mode"], row["inference_engine"]) == ("custom", "exported", "onnxruntime")
        assert row["pq"] is not None
        (annotation,) = json.loads((tmp_path / "saved" / "panoptic.json").read_text())["annotations"]
        (segment,) = annotation["segments_info"]
        assert segment["category_id"] == data.categories[-1 if names else 0].id


@pytest.mark.parametrize("stretched", [True, False])
def test_boxes_are_fractions_of_what_the_file_sees(stretched: bool, tmp_path: Path) -> None:
    data = open_dataset(embedded_validation(lambda done, total: None))
    flags = BOXES if stretched else BOXES[:-1]
    found = evaluate(tmp_path, "--graph", str(boxes(tmp_path)), *flags, "--scores", "sigmoid", *IN_ORDER)
    assert found.exit_code == 0, found.stderr
    best = json.loads((tmp_path / "saved" / "instances.json").read_text())[0]
    image = data.images[0]
    height, width = image.height_px, image.width_px
    seen = (height, width) if stretched else (max(height, width),) * 2  # an image that fits in is padded to a square
    assert best["category_id"] == [one.id for one in data.categories if one.is_thing][1]
    assert best["bbox"] == pytest.approx([seen[1] / 4, seen[0] / 4, seen[1] / 2, seen[0] / 2], rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "what its outputs are"),
        (("--outputs", "logits=classes"), "what its outputs are"),
        (MASKS[:4], "how images are normalised"),
        (MASKS, "what its classes are"),
        ((*BOXES, *IN_ORDER), "how its classes are scored"),
        ((*MASKS, *IN_ORDER, "--scores", "sigmoid"), "--scores is of boxes"),
        (("--outputs", "logits=class", *MASKS[2:], *IN_ORDER), "did you mean 'classes'?"),
        ((*BOXES, *IN_ORDER, "--scores", "softmax"), "[B, queries, 4] are evaluated"),
        ((*MASKS, *IN_ORDER, "-n", "2"), "takes 1 images"),
        ((*MASKS, *IN_ORDER, "--engine", "torch"), "runs no ONNX file"),
        ((*MASKS, *IN_ORDER, "--quantize", "int8"), "leave out --quantize"),
        ((*MASKS, *IN_ORDER, "--resize", "64,64"), "takes images of 128x160 alone"),
        ((*MASKS, *IN_ORDER, "--weights", "a.pth"), "exclude each other"),
        ((*MASKS[:-1], "caffe", *IN_ORDER), "normalization"),
    ],
)
def test_what_is_not_said_or_does_not_fit_is_refused(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = evaluate(tmp_path, "--graph", str(masks(tmp_path)), *arguments)
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr
    assert not list((tmp_path / "run").glob("*.json"))


def test_files_and_classes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    logits, regions = np.zeros((1, 2, 5)), np.zeros((1, 2, 8, 10))
    other = constant_answer(tmp_path / "other.onnx", logits, regions, (1, 3, 128, 160))
    (tmp_path / "cut.onnx").write_bytes(other.read_bytes()[:200])
    (tmp_path / "names.txt").write_text("a\nb\n")
    names = ("--class-names", str(tmp_path / "names.txt"))
    tokens = constant_answer(tmp_path / "tokens.onnx", logits, regions, (1, 77))
    for file, classes, said in [
        (other, IN_ORDER, "knows 4 classes"),
        (other, names, "and 2 are named"),
        (tokens, IN_ORDER, "no images [B, 3, H, W]"),
        (tmp_path / "cut.onnx", IN_ORDER, "not a whole ONNX file"),
        (tmp_path / "none.onnx", IN_ORDER, "no .onnx file"),
    ]:
        found = evaluate(tmp_path, "--graph", str(file), *MASKS, *classes)
        assert (found.exit_code, said in found.stderr) == (2, True), found.stderr
    alone = run("eval", *MASKS[:2])
    assert (alone.exit_code, "--graph names" in alone.stderr) == (2, True)
