"""COCO's panoptic JSON as objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.data.dataset import Category, ImageEntry, PanopticEntry, Segment
from proscale_bench.data.panoptic_json import (
    PredictedEntry,
    PredictedSegment,
    read_panoptic_predictions,
    read_panoptic_truth,
)
from proscale_bench.errors import BenchError
from tests.evaluation.golden import shared

DOCUMENT: dict[str, Any] = {
    "info": {"year": 2017},
    "images": [{"id": 9, "file_name": "9.jpg", "height": 4, "width": 6, "license": 1}],
    "categories": [
        {"supercategory": "animal", "id": 18, "name": "dog", "isthing": 1, "color": [0, 0, 255]},
        {"id": 200, "isthing": 0, "color": "blue"},
        {"id": 3, "name": "car", "isthing": True, "color": [0, 0, 256]},
    ],
    "annotations": [
        {
            "image_id": 9,
            "file_name": "9.png",
            "segments_info": [
                {"id": 70000, "category_id": 18, "iscrowd": 0, "area": 12, "bbox": [0, 0, 3, 4]},
                {"id": 5.0, "category_id": 200, "iscrowd": True, "area": 3.5},
                {"id": 6, "category_id": 200, "iscrowd": 2, "area": 1},
            ],
        }
    ],
}


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_the_truth_is_read_in_the_files_order(tmp_path: Path) -> None:
    truth = read_panoptic_truth(write(tmp_path / "truth.json", DOCUMENT))
    assert truth.categories == (
        Category(18, "dog", True, (0, 0, 255)),
        Category(200, "200", False),
        Category(3, "car", True),
    )
    assert truth.images == (ImageEntry(9, "9.jpg", 4, 6),)
    segments = (Segment(70000, 18, False, 12), Segment(5, 200, True, 3.5), Segment(6, 200, False, 1))
    assert truth.entries == (PanopticEntry(9, "9.png", segments),)


def test_predictions_need_ids_and_categories_alone(tmp_path: Path) -> None:
    document = {"annotations": DOCUMENT["annotations"]}
    segments = (PredictedSegment(70000, 18), PredictedSegment(5, 200), PredictedSegment(6, 200))
    found = read_panoptic_predictions(write(tmp_path / "predictions.json", document))
    assert found == (PredictedEntry(9, "9.png", segments),)


def test_the_list_of_images_may_be_absent_or_left_unread(tmp_path: Path) -> None:
    without = {key: value for key, value in DOCUMENT.items() if key != "images"}
    assert read_panoptic_truth(write(tmp_path / "without.json", without)).images == ()
    broken = write(tmp_path / "broken.json", {**DOCUMENT, "images": [3]})
    assert read_panoptic_truth(broken, with_images=False).images == ()
    with pytest.raises(BenchError, match=r"images\[0\]: expected an object, found 3"):
        read_panoptic_truth(broken)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id", None, "expected a whole number or text, found null"),
        ("file_name", "../9.jpg", "leads out of its folder"),
        ("height", 0, "0 pixels"),
        ("width", -4, "-4 pixels"),
        ("width", 2**40, "pixels"),
        ("height", "4", "expected a whole number, found '4'"),
    ],
)
def test_an_image_that_cannot_be_is_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    document = {**DOCUMENT, "images": [{**DOCUMENT["images"][0], key: value}]}
    with pytest.raises(BenchError, match=rf"images\[0\]: '{key}': .*{message}"):
        read_panoptic_truth(write(tmp_path / "truth.json", document))


def test_real_annotations_are_read() -> None:
    truth = read_panoptic_truth(shared("real/panopticapi_sample/panoptic_examples.json"))
    assert len(truth.categories) == 133
    assert sum(category.is_thing for category in truth.categories) == 80
    assert truth.categories[0] == Category(1, "person", True, (220, 20, 60))
    assert [(image.id, image.height_px, image.width_px) for image in truth.images] == [
        (142238, 427, 640),
        (439180, 360, 640),
    ]
    assert truth.entries[0].segments[0] == Segment(3937500, 1, False, 3528)
