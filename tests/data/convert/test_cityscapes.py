"""Cityscapes as its own scripts read it: the same panoptic files, and the same scores to the last digit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proscale_bench as psb
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.convert.cityscapes import CATEGORIES, LABELS, NOT_COUNTED_THINGS
from tests.cli import run
from tests.data.convert.sources import STEMS, cityscapes

labels = pytest.importorskip("cityscapesscripts.helpers.labels")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return cityscapes(tmp_path / "cityscapes")


def converted(source: Path, out: Path) -> Path:
    result = run("data", "convert", "cityscapes", str(source), str(out))
    assert result.exit_code == 0, result.stderr
    return out


def test_the_classes_are_those_of_the_scripts() -> None:
    counted = [label for label in labels.labels if not label.ignoreInEval]
    assert [(one.id, one.name, one.is_thing, one.color) for one in CATEGORIES] == [
        (label.id, label.name, label.hasInstances, label.color) for label in counted
    ]
    assert [label.trainId for label in counted] == list(range(19))
    assert max(labels.id2label) == LABELS - 1
    numbered = {label.id for label in labels.labels if label.hasInstances and label.ignoreInEval}
    assert numbered == set(NOT_COUNTED_THINGS)


@pytest.mark.parametrize("train_ids", [False, True])
def test_panoptic_files_of_the_scripts_and_instance_ids_say_the_same(
    source: Path, tmp_path: Path, train_ids: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    ours = converted(source, tmp_path / "ours")
    convert2panoptic(str(source / "gtFine"), useTrainId=train_ids, setNames=["val"])
    suffix = "_trainId" if train_ids else ""
    document = json.loads((source / "gtFine" / f"cityscapes_panoptic_val{suffix}.json").read_text())
    theirs = converted(source, tmp_path / "theirs")
    places = {category.id: place if train_ids else category.id for place, category in enumerate(CATEGORIES)}
    for name in ("panoptic", "instances"):
        mine, other = (json.loads((one / "annotations" / f"{name}_val.json").read_text()) for one in (ours, theirs))
        assert [image["file_name"] for image in mine["images"]] == [image["file_name"] for image in other["images"]]
        for one in mine["annotations"]:
            for segment in one.get("segments_info", [one]):
                segment["category_id"] = places[segment["category_id"]]
        assert mine["annotations"] == other["annotations"]
    listed = json.loads((theirs / "annotations" / "panoptic_val.json").read_text())
    assert [one["segments_info"] for one in listed["annotations"]] == [
        one["segments_info"] for one in sorted(document["annotations"], key=lambda one: one["image_id"])
    ]
    for stem in STEMS:
        kept = theirs / "panoptic_val" / stem.split("_", maxsplit=1)[0] / f"{stem}_leftImg8bit.png"
        written = source / "gtFine" / f"cityscapes_panoptic_val{suffix}" / f"{stem}_gtFine_panoptic.png"
        assert (np.asarray(Image.open(kept)) == np.asarray(Image.open(written))).all()


def test_panoptic_files_alone_will_do(source: Path, tmp_path: Path) -> None:
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    both = converted(source, tmp_path / "both")
    convert2panoptic(str(source / "gtFine"), setNames=["val"])
    for path in (source / "gtFine" / "val").rglob("*.png"):
        path.unlink()
    alone = converted(source, tmp_path / "alone")
    for name in ("panoptic_val.json", "instances_val.json"):
        assert (alone / "annotations" / name).read_bytes() == (both / "annotations" / name).read_bytes()


def test_groups_are_crowds(source: Path, tmp_path: Path) -> None:
    out = converted(source, tmp_path / "out")
    found = json.loads((out / "annotations" / "instances_val.json").read_text())["annotations"]
    assert {one["category_id"] for one in found if one["iscrowd"]} == {33}
    assert {one["category_id"] for one in found if not one["iscrowd"]} == {24, 26}


def _predictions(source: Path, out: Path, tmp_path: Path) -> tuple[list[str], list[str]]:
    """Write noisy predictions as class places for us and as label ids for the scripts; return theirs and the truth."""
    random = np.random.default_rng(7)
    there = [7, 23, 24, 26, 33]
    places = {category.id: place for place, category in enumerate(CATEGORIES)}
    predictions, truths = [], []
    for image in open_dataset(out).images:
        stem = Path(image.file_name).name.removesuffix("_leftImg8bit.png")
        truth = source / "gtFine" / "val" / stem.split("_", maxsplit=1)[0] / f"{stem}_gtFine_labelIds.png"
        found = np.array(Image.open(truth))
        noisy = ~np.isin(found, there) | (random.random(found.shape) < 0.3)
        found[noisy] = random.choice(there, int(noisy.sum()))
        theirs = tmp_path / "theirs" / f"{stem}.png"
        ours = tmp_path / "ours" / "semantic" / Path(image.file_name).with_suffix(".png")
        for path in (theirs, ours):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(found).save(theirs)
        Image.fromarray(np.vectorize(places.get)(found).astype(np.uint8)).save(ours)
        predictions.append(str(theirs))
        truths.append(str(truth))
    return predictions, truths


def test_semantic_scores_are_those_of_the_scripts(source: Path, tmp_path: Path) -> None:
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling

    out = converted(source, tmp_path / "out")
    predictions, truths = _predictions(source, out, tmp_path)
    settings = evalPixelLevelSemanticLabeling.args
    settings.evalInstLevelScore, settings.evalPixelAccuracy, settings.JSONOutput = False, False, False
    settings.quiet, settings.evalLabels = True, []
    theirs = evalPixelLevelSemanticLabeling.evaluateImgLists(predictions, truths, settings)
    flags = ("--coco", str(out), "--tasks", "semantic", "--bootstrap", "0", "--export-json", "-")
    result = run("eval", "--from-predictions", str(tmp_path / "ours"), *flags)
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    assert row["miou"] == 100 * theirs["averageScoreClasses"]
    ours = {one["name"]: one["iou"] for one in row["accuracy"]["evaluated"]["classes"]}
    for name, score in theirs["classScores"].items():
        if name in ours:
            assert ours[name] == (None if math.isnan(score) else 100 * score), name
    assert sum(score is not None for score in ours.values()) == 5


def test_panoptic_scores_are_those_of_the_scripts(source: Path, tmp_path: Path) -> None:
    from cityscapesscripts.evaluation.evalPanopticSemanticLabeling import evaluatePanoptic
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    out = converted(source, tmp_path / "out")
    convert2panoptic(str(source / "gtFine"), setNames=["val"])
    truth = source / "gtFine" / "cityscapes_panoptic_val.json"
    document = json.loads(truth.read_text())
    listed = json.loads((out / "annotations" / "panoptic_val.json").read_text())
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    annotations = []
    by_stem = {Path(one["file_name"]).name.split("_left", maxsplit=1)[0]: one for one in listed["annotations"]}
    for entry in document["annotations"]:
        pixels = np.array(Image.open(truth.with_suffix("") / entry["file_name"]))
        shifted = np.roll(pixels, 2, axis=1)
        segments = [one for one in entry["segments_info"] if not one["iscrowd"]]
        crowds = [one["id"] for one in entry["segments_info"] if one["iscrowd"]]
        ids = shifted.astype(int) @ [1, 256, 65536]
        shifted[np.isin(ids, crowds)] = 0
        kept = [one for one in segments if ((shifted.astype(int) @ [1, 256, 65536]) == one["id"]).any()]
        for folder in (ours, theirs):
            Image.fromarray(shifted).save(folder / entry["file_name"])
        annotations.append({**entry, "segments_info": kept})
    (tmp_path / "theirs.json").write_text(json.dumps({"annotations": annotations}))
    renamed = [{**one, "image_id": by_stem[one["image_id"]]["image_id"]} for one in annotations]
    (tmp_path / "ours.json").write_text(json.dumps({"annotations": renamed}))
    found = psb.evaluate_panoptic(
        out / "annotations" / "panoptic_val.json", out / "panoptic_val", tmp_path / "ours.json", ours
    )
    results = tmp_path / "results.json"
    expected = evaluatePanoptic(
        str(truth), str(truth.with_suffix("")), str(tmp_path / "theirs.json"), str(theirs), str(results)
    )
    for group, quality in (("All", found.all), ("Things", found.things), ("Stuff", found.stuff)):
        there = expected[group]
        wanted = [there["pq"], there["sq"], there["rq"]]
        assert [quality.pq, quality.sq, quality.rq] == pytest.approx(wanted, rel=1e-14), "it sums images in any order"
    assert 0 < found.all.pq < 1
