"""Annotations and results as many tools write them: text ids, odd `iscrowd`, floats, no masks. AP is pycocotools'."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.data.instances_json import read_instances_truth
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import IouType
from proscale_bench.evaluation.instance_files import evaluate_instances
from tests.evaluation.instance_sets import pycocotools_stats, random_set, write_set

IOU_TYPES: tuple[IouType, ...] = ("segm", "bbox")
Change = Callable[[Any, Any], object]


def text_ids(key: str, listed: str, names: Callable[[int], str]) -> Change:
    """Ids of images or categories as text, in all places."""

    def change(truth: Any, results: Any) -> None:
        for one in truth[listed]:
            one["id"] = names(one["id"])
        for one in (*truth["annotations"], *results):
            one[key] = names(one[key])

    return change


def each(**values: Callable[[Any], Any]) -> Change:
    """A change of each annotation's fields."""

    def change(truth: Any, results: Any) -> None:
        for one in truth["annotations"]:
            for key, made in values.items():
                one[key] = made(one)

    return change


def floats(value: Any) -> Any:
    return {"size": [float(side) for side in value["size"]], "counts": value["counts"]}


def result_sizes(truth: Any, results: Any) -> None:
    for one in results:
        if "segmentation" in one:
            one["segmentation"] = floats(one["segmentation"])


def whole_runs(one: Any) -> Any:
    """Uncompressed counts, written as floats, of a box's pixels or so."""
    height, width = one["segmentation"]["size"]
    return {"size": [height, width], "counts": [float(height), 2.0 * height, float(height * width - 3 * height)]}


def polygon(one: Any) -> list[Any]:
    x, y, width, height = one["bbox"]
    return [x, y, x + width, y, x + width, y + height]


# Where pycocotools gives a number, ours is that one.
ALIKE: dict[str, Change] = {
    "image ids as Cityscapes'": text_ids("image_id", "images", lambda id_: f"aaa_{id_:06}_000019"),
    "image ids as COCO's files": text_ids("image_id", "images", lambda id_: f"{id_:012}"),
    "category ids": text_ids("category_id", "categories", lambda id_: f"class {id_}"),
    "annotation ids": each(id=lambda one: str(one["id"])),
    "iscrowd 2": each(iscrowd=lambda one: 2 * one["iscrowd"]),
    "iscrowd 0.5": each(iscrowd=lambda one: 0.5 if one["id"] % 3 == 0 else one["iscrowd"]),
    "iscrowd -0.5": each(iscrowd=lambda one: -0.5 if one["id"] % 3 == 0 else one["iscrowd"]),
    "iscrowd 1.5": each(iscrowd=lambda one: 1.5 * one["iscrowd"]),
    "iscrowd true": each(iscrowd=lambda one: bool(one["iscrowd"])),
    "sizes of results as floats": result_sizes,
    "counts as floats": each(segmentation=whole_runs),
    "an empty part of a polygon": each(segmentation=lambda one: [polygon(one), []]),
}


def sets(tmp_path: Path, change: Change | None, seed: int) -> tuple[Path, Path]:
    truth, results = random_set(seed)
    truth["annotations"] = [one for one in truth["annotations"] if isinstance(one["segmentation"], dict)]
    results = [one for one in results if one["category_id"] in {each["id"] for each in truth["categories"]}]
    if change is not None:
        change(truth, results)
    folder = tmp_path / f"{seed}"
    folder.mkdir(exist_ok=True)
    return write_set(folder, truth, results)


@pytest.mark.parametrize("iou_type", IOU_TYPES)
@pytest.mark.parametrize("name", ALIKE)
def test_it_is_scored_as_pycocotools_scores_it(tmp_path: Path, name: str, iou_type: IouType) -> None:
    for seed in (0, 1, 2, 3, 4, 5):
        files = sets(tmp_path, ALIKE[name], seed)
        scores = evaluate_instances(*files, iou_type)
        assert list(scores.stats) == pycocotools_stats(*files, iou_type)
        assert scores == evaluate_instances(*files, iou_type, reference=True)


# Where pycocotools stops, the number is that of the usual spelling.
AS_USUAL: dict[str, tuple[Change, Change | None]] = {
    "annotation ids that are no numbers": (each(id=lambda one: f"uuid-{one['id']}"), None),
    "an empty part first": (
        each(segmentation=lambda one: [[], polygon(one)]),
        each(segmentation=lambda one: [polygon(one)]),
    ),
    "no iscrowd": (
        lambda truth, results: [one.pop("iscrowd") for one in truth["annotations"]],
        each(iscrowd=lambda one: 0),
    ),
}


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("iou_type", IOU_TYPES)
@pytest.mark.parametrize("name", AS_USUAL)
def test_where_pycocotools_stops_the_usual_spelling_counts(
    tmp_path: Path, name: str, iou_type: IouType, reference: bool
) -> None:
    change, usual = AS_USUAL[name]
    found = evaluate_instances(*sets(tmp_path, change, 3), iou_type, reference=reference)
    assert list(found.stats) == pycocotools_stats(*sets(tmp_path, usual, 3), iou_type)


@pytest.mark.parametrize("without", [[], [[]], None])
def test_boxes_need_no_masks(tmp_path: Path, without: Any) -> None:
    files = sets(tmp_path, each(segmentation=lambda one: copy.copy(without)), 1)
    assert list(evaluate_instances(*files, "bbox").stats) == pycocotools_stats(*files, "bbox")
    with pytest.raises(BenchError, match="'segmentation'") as caught:
        evaluate_instances(*files, "segm")
    assert without is None or "--tasks boxes" in (caught.value.hint or "")


def test_text_and_numbers_are_different_ids(tmp_path: Path) -> None:
    gt, results = sets(tmp_path, None, 1)
    found = json.loads(results.read_text())
    results.write_text(json.dumps([{**one, "image_id": str(one["image_id"])} for one in found]))
    with pytest.raises(BenchError, match=rf"image '{found[0]['image_id']}' is not in"):
        evaluate_instances(gt, results)


def test_counts_and_sizes_as_floats_become_whole(tmp_path: Path) -> None:
    """Every reader of a data set gets whole numbers, whatever library it hands them to."""
    path = tmp_path / "gt.json"
    segmentation = {"size": [4.0, 3.0], "counts": [5.0, 7.0]}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "area": 7, "bbox": [1, 0, 2, 4], "iscrowd": 1}
    image = {"id": 1, "height": 4, "width": 3, "file_name": "a.png"}
    document = {"images": [image], "categories": [{"id": 1}]}
    path.write_text(json.dumps({**document, "annotations": [{**annotation, "segmentation": segmentation}]}))
    (found,) = read_instances_truth(path).annotations
    assert repr(found["segmentation"]) == "{'size': [4, 3], 'counts': [5, 7]}"


def test_the_best_hundred_of_very_many_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detections past the limit are left out before they are held against every truth; of equal ones the later."""
    import hotcoco

    given: list[int] = []
    load = hotcoco.COCO.load_res
    monkeypatch.setattr(
        "hotcoco.COCO.load_res", lambda self, rows, **masks: given.append(len(rows)) or load(self, rows, **masks)
    )
    annotation = {"image_id": 1, "category_id": 1, "area": 25, "iscrowd": 0}
    truth: dict[str, Any] = {
        "images": [{"id": 1, "height": 40, "width": 400}],
        "categories": [{"id": 1}],
        "annotations": [{**annotation, "id": place + 1, "bbox": [place * 3, 2, 5, 5]} for place in range(120)],
    }
    results = [
        {"image_id": 1, "category_id": 1, "score": round(0.9 - place % 7 / 10, 1), "bbox": [place % 360, 2, 5, 5]}
        for place in range(700)
    ]
    files = write_set(tmp_path, truth, results)
    assert list(evaluate_instances(*files, "bbox").stats) == pycocotools_stats(*files, "bbox")
    assert given == [100]
