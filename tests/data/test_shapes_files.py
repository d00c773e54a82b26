"""Shapes as COCO's files: read back by COCO's own tools, and never half of them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from proscale_bench.data.pictures import read_id_map, read_image
from proscale_bench.data.shapes import CATEGORIES, make_scene
from proscale_bench.data.shapes.randomness import Random
from proscale_bench.data.shapes.writing import run_lengths, write_shapes
from proscale_bench.errors import BenchError

SEED, IMAGES = 4, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(made, IMAGES, SEED, "train")
    return made


@pytest.fixture(scope="module")
def panoptic(folder: Path) -> Any:
    return json.loads((folder / "annotations" / "panoptic_train.json").read_text())


@pytest.fixture(scope="module")
def coco(folder: Path) -> COCO:
    with contextlib.redirect_stdout(None):
        return COCO(folder / "annotations" / "instances_train.json")


def test_files_lie_as_cocos_do(folder: Path) -> None:
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [f"{number:012}.png" for number in range(1, IMAGES + 1)]
    annotations = ["annotations/instances_train.json", "annotations/panoptic_train.json"]
    assert found == [*annotations, *(f"panoptic_train/{name}" for name in names), *(f"train/{name}" for name in names)]


def test_pictures_decode_to_the_scene(folder: Path, panoptic: Any) -> None:
    for index, (image, truth) in enumerate(zip(panoptic["images"], panoptic["annotations"], strict=True)):
        scene = make_scene(SEED, index)
        assert image["id"] == truth["image_id"] == index + 1
        assert (image["height"], image["width"]) == scene.ids.shape
        assert (read_image(folder / "train" / image["file_name"]) == scene.image).all()
        ids = read_id_map(folder / "panoptic_train" / truth["file_name"])
        assert (ids == scene.ids).all()
        # All that a segment says follows from the map.
        assert set(np.unique(ids).tolist()) - {0} == {segment["id"] for segment in truth["segments_info"]}
        for segment in truth["segments_info"]:
            rows, columns = np.nonzero(ids == segment["id"])
            assert segment["area"] == len(rows)
            assert segment["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_pycocotools_finds_the_panoptic_masks(folder: Path, panoptic: Any, coco: COCO) -> None:
    kinds = set()
    for truth in panoptic["annotations"]:
        ids = read_id_map(folder / "panoptic_train" / truth["file_name"])
        things = [segment for segment in truth["segments_info"] if segment["category_id"] in coco.cats]
        instances = coco.loadAnns(coco.getAnnIds(truth["image_id"]))
        assert len(instances) == len(things)
        for thing, instance in zip(things, instances, strict=True):
            mask = ids == thing["id"]
            assert (coco.annToMask(instance) == mask).all()
            assert instance["area"] == mask.sum()
            assert {key: instance[key] for key in ("category_id", "iscrowd", "bbox")} == {
                key: thing[key] for key in ("category_id", "iscrowd", "bbox")
            }
            kinds.add((instance["iscrowd"], type(instance["segmentation"]["counts"])))
    assert kinds == {(0, str), (1, list)}  # as COCO writes crowds; compressed otherwise
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))  # pycocotools takes id 0 for unmatched


def test_the_truth_scores_full_marks_at_pycocotools(folder: Path, coco: COCO) -> None:
    from pycocotools.cocoeval import COCOeval

    detections = [
        {
            "image_id": found["image_id"],
            "category_id": found["category_id"],
            "segmentation": coco.annToRLE(found),
            "score": 1.0,
        }
        for found in coco.anns.values()
        if not found["iscrowd"]
    ]
    with contextlib.redirect_stdout(None):
        scored = COCOeval(coco, coco.loadRes(detections), "segm")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    assert scored.stats[0] == 1.0
    assert min(scored.stats[3:6]) == 1.0  # small, medium, large


def test_categories_have_gaps_names_and_colors(panoptic: Any, coco: COCO) -> None:
    listed = panoptic["categories"]
    assert [(c["id"], c["name"], bool(c["isthing"]), tuple(c["color"])) for c in listed] == [
        (c.id, c.name, c.is_thing, c.color) for c in CATEGORIES
    ]
    ids = [category["id"] for category in listed]
    assert ids == sorted(set(ids))
    assert ids != list(range(ids[0], ids[0] + len(ids)))
    assert len({category["name"] for category in listed}) == len({tuple(c["color"]) for c in listed}) == len(listed)
    assert sorted(coco.cats) == [category["id"] for category in listed if category["isthing"]]


def test_the_documents_say_what_they_are(panoptic: Any, coco: COCO) -> None:
    for document in (panoptic, coco.dataset):
        assert document["info"]["description"] == "Shapes"
        assert document["info"]["version"] == "2"
        assert document["info"]["seed"] == SEED
        assert "CC0" in document["licenses"][0]["name"]
        assert {image["license"] for image in document["images"]} == {document["licenses"][0]["id"]}


def test_what_was_written_is_counted(folder: Path, panoptic: Any, coco: COCO, tmp_path: Path) -> None:
    done = []
    written = write_shapes(tmp_path / "again", IMAGES, SEED, "train", progress=lambda *step: done.append(step))
    assert done == [(number, IMAGES) for number in range(1, IMAGES + 1)]
    crowds = [found for found in coco.anns.values() if found["iscrowd"]]
    areas = [found["area"] for found in coco.anns.values() if not found["iscrowd"]]
    assert (written.images, written.things, written.crowds) == (IMAGES, len(areas), len(crowds))
    assert written.small == sum(area < 1024 for area in areas)
    assert written.medium == sum(1024 <= area < 9216 for area in areas)
    segments = sum(len(truth["segments_info"]) for truth in panoptic["annotations"])
    assert written.stuff + len(coco.anns) == segments
    maps = sorted((folder / "panoptic_train").iterdir())
    assert written.voids == sum(bool((read_id_map(path) == 0).any()) for path in maps)
    for path in (folder / "annotations").iterdir():
        assert (tmp_path / "again" / "annotations" / path.name).read_bytes() == path.read_bytes()


def test_a_short_split_is_the_beginning_of_a_long_one(folder: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path, 3, SEED, "train")
    for path in (tmp_path / "train").iterdir():
        assert path.read_bytes() == (folder / "train" / path.name).read_bytes()


def test_splits_lie_beside_each_other_and_force_replaces_one(tmp_path: Path) -> None:
    write_shapes(tmp_path, 3, 0, "val")
    write_shapes(tmp_path, 1, 1, "train")
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(BenchError, match="val exists"):
        write_shapes(tmp_path, 2, 5, "val")
    assert len(list((tmp_path / "val").iterdir())) == 3
    write_shapes(tmp_path, 2, 5, "val", force=True)
    assert len(list((tmp_path / "val").iterdir())) == len(list((tmp_path / "panoptic_val").iterdir())) == 2
    assert json.loads((tmp_path / "annotations" / "panoptic_val.json").read_text())["info"]["seed"] == 5
    assert len(list((tmp_path / "train").iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("annotations", "mine.txt", "panoptic_train", "panoptic_val", "train", "val"),
    ]


@pytest.mark.parametrize("document", [None, "{", "[]", '{"info": {"description": "COCO 2017 Dataset"}}', '{"info": 1}'])
def test_force_never_removes_what_is_not_of_shapes(tmp_path: Path, document: str | None) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "photo.jpg").write_text("mine")
    if document is not None:
        (tmp_path / "annotations").mkdir()
        (tmp_path / "annotations" / "panoptic_val.json").write_text(document)
    with pytest.raises(BenchError, match="val is not of Shapes"):
        write_shapes(tmp_path, 1, 0, "val", force=True)
    assert (tmp_path / "val" / "photo.jpg").read_text() == "mine"


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_nothing_is_left_of_what_was_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, there: bool
) -> None:
    folder = tmp_path / "shapes"
    if there:
        write_shapes(folder, 2, 0)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    saved = Image.Image.save

    def save(image: Image.Image, path: Path, **options: Any) -> None:
        if path.name.endswith("3.png"):
            raise fault
        saved(image, path, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    expected = KeyboardInterrupt if isinstance(fault, KeyboardInterrupt) else BenchError
    with pytest.raises(expected) as raised:
        write_shapes(folder, 5, 1, force=True)
    if isinstance(raised.value, BenchError):
        assert f"cannot write {folder}: No space left on device" in raised.value.message
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert folder.exists() == there
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("images", "seed", "split", "said"),
    [
        (0, 0, "val", "0 images"),
        (-3, 0, "val", "-3 images"),
        (1_000_001, 0, "val", "1,000,001 images"),
        (1, -1, "val", "seed -1"),
        (1, 1 << 63, "val", "seed 9223372036854775808"),
        (1, 0, "", "split ''"),
        (1, 0, "../val", "split '../val'"),
        (1, 0, "annotations", "split 'annotations'"),
        (1, 0, "a/b", "split 'a/b'"),
        (1, 0, "val\n", "split 'val"),
    ],
)
def test_numbers_and_names_out_of_range_are_named(
    tmp_path: Path, images: int, seed: int, split: str, said: str
) -> None:
    with pytest.raises(BenchError) as raised:
        write_shapes(tmp_path / "new", images, seed, split)
    assert said in raised.value.message
    assert raised.value.hint
    assert not (tmp_path / "new").exists()


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file is not a folder"):
        write_shapes(tmp_path / "file", 1, 0)
    with pytest.raises(BenchError, match=r"cannot write .*file/below"):
        write_shapes(tmp_path / "file" / "below", 1, 0)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "annotations").write_text("a file")
    with pytest.raises(BenchError, match=r"cannot write .*odd"):
        write_shapes(tmp_path / "odd", 1, 0)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(BenchError, match="loop is not a folder"):
        write_shapes(tmp_path / "loop", 1, 0)


@pytest.mark.parametrize("percent", [0, 3, 50, 97, 100])
def test_plain_counts_are_those_that_pycocotools_reads(percent: int) -> None:
    from pycocotools import mask as rle

    random = Random(percent)
    for height, width in ((1, 1), (1, 9), (9, 1), (7, 5), (16, 12)):
        mask = random.bytes(height, width) * 100 < 256 * percent
        plain = {"size": [height, width], "counts": run_lengths(mask)}
        assert (rle.decode(rle.frPyObjects(plain, height, width)) == mask).all()
        assert all(count > 0 for count in plain["counts"][1:])
