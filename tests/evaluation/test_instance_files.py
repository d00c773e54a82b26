"""AP of files against pycocotools: its goldens, random sets, and everything that it crashes on."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest

import proscale_bench as psb
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import IouType, accumulate
from proscale_bench.evaluation.instance_files import (
    columns_of,
    evaluate_instances,
    known_detections,
    read_ground_truth,
    read_results,
)
from proscale_bench.evaluation.instance_matching import engine_tables, match
from tests.evaluation.golden import FIXTURES, shared, unpack
from tests.evaluation.instance_sets import pycocotools_stats, random_set, write_set

IOU_TYPES: tuple[IouType, ...] = ("segm", "bbox")
with zipfile.ZipFile(FIXTURES / "ap_edge.zip") as archive:
    EDGES: dict[str, Any] = json.loads(archive.read("expected.json"))


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("ap_edge", tmp_path_factory.mktemp("ap_edge"))


def as_summed_here(golden: list[float]) -> object:
    """The golden numbers, made with numpy 2.4: numpy 2.2 takes the same mean in another order, 1e-16 away.

    So does pycocotools with it, and what is asked for is its number: that is compared with == everywhere.
    """
    same = tuple(map(int, np.__version__.split(".")[:2])) >= (2, 4)
    return golden if same else pytest.approx(golden, rel=1e-14, abs=0)


@pytest.mark.parametrize("iou_type", IOU_TYPES)
@pytest.mark.parametrize("reference", [False, True])
def test_golden_instances(iou_type: IouType, reference: bool, tmp_path: Path) -> None:
    folder = unpack("instances", tmp_path)
    golden = json.loads((folder / "golden_ap.json").read_text())[iou_type]
    scores = evaluate_instances(folder / "gt.json", folder / "dets.json", iou_type, reference=reference)
    assert list(scores.stats) == golden["stats"]
    assert {str(id_): ap for id_, ap in scores.per_category.items()} == golden["per_category_ap"]
    assert scores.warnings == ()


@pytest.mark.parametrize("iou_type", IOU_TYPES)
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_golden_of_real_annotations(kind: str, iou_type: IouType) -> None:
    folder = shared("real/val2014_100")
    results = folder / f"instances_val2014_fake{kind}100_results.json"
    gt = folder / "instances_val2014_100.json"
    scores = evaluate_instances(gt, results, iou_type)
    assert list(scores.stats) == pycocotools_stats(gt, results, iou_type)
    golden = json.loads((folder / "golden_ap.json").read_text())[results.name]
    if kind == iou_type:
        assert list(scores.stats) == as_summed_here(golden["stats"])
        assert {str(id_): ap for id_, ap in scores.per_category.items()} == golden["per_category_ap"]


@pytest.mark.parametrize("case", EDGES)
def test_edge_cases(case: str, edges: Path) -> None:
    name, _, iou_type = case.partition("/")
    expected = EDGES[case]
    limits = (1, 10, 300) if name == "maxdets_1_10_300" else (1, 10, 100)
    files = (edges / f"{name}.gt.json", edges / f"{name}.dets.json")
    if name == "unknown_image":  # the reference crashes
        with pytest.raises(BenchError, match=r"image 77 is not in"):
            evaluate_instances(*files, iou_type, max_detections=limits)  # type: ignore[arg-type]
        return
    if name == "gt_without_iscrowd":  # the reference crashes, and counts 0 where it is there
        truth = json.loads(files[0].read_text())
        expected = pycocotools_stats(*_with_crowds(files, truth, 0), iou_type)
    scores = evaluate_instances(*files, iou_type, max_detections=limits)  # type: ignore[arg-type]
    if name == "empty_detections":  # the reference crashes, and has zeros for results that are there and empty
        expected = [0.0] * 12
    assert list(scores.stats) == expected


def _with_crowds(files: tuple[Path, Path], truth: dict[str, Any], crowd: int) -> tuple[Path, Path]:
    """The same files with `iscrowd` in every annotation."""
    path = files[0].with_suffix(".crowds.json")
    path.write_text(json.dumps({**truth, "annotations": [{"iscrowd": crowd, **one} for one in truth["annotations"]]}))
    return path, files[1]


@pytest.mark.parametrize("seed", range(60))
def test_random_sets_equal_pycocotools(tmp_path: Path, seed: int) -> None:
    files = write_set(tmp_path, *random_set(seed))
    for iou_type in IOU_TYPES:
        scores = evaluate_instances(*files, iou_type)
        assert list(scores.stats) == pycocotools_stats(*files, iou_type)
        assert scores == evaluate_instances(*files, iou_type, reference=True)


def extreme_set(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A random set with areas, scores and boxes of any size."""
    truth, results = random_set(seed)
    rng = np.random.default_rng(seed)
    for one in truth["annotations"]:
        one["area"] = float(rng.choice([-5, 0, 1024, 9216, 1e10, 1e10 + 1, 1e300]))
        one["bbox"] = [float(side) for side in rng.choice([0, 1, 5.5, 1e5], 4)]
    for one in results:
        one["score"] = float(rng.choice([-1e308, -1, -0.0, 0, 5e-324, 1, 1e308]))
        if "bbox" in one:
            one["bbox"] = [float(side) for side in rng.choice([0, 1, 5.5, 1e5], 4)]
    return truth, results


@pytest.mark.parametrize("make", [random_set, extreme_set])
def test_both_engines_have_the_same_tables_and_say_nothing(
    tmp_path: Path, make: Callable[[int], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    compared = 0
    for seed in range(100, 160):
        gt, found = write_set(tmp_path, *make(seed))
        truth = read_ground_truth(gt)
        results, image = read_results(found, truth)
        for iou_type in IOU_TYPES:
            truths, detections, _ = columns_of(truth, results, image, iou_type)
            detections = known_detections(detections)
            tables = engine_tables(truths, detections, len(truth.image_ids), len(truth.category_ids))
            if tables is not None:
                compared += 1
                ours = accumulate(match(truths, detections, 100), len(truth.category_ids), [1, 10, 100])
                assert np.array_equal(tables[0][..., -1], ours[0][..., -1])
                assert np.array_equal(tables[1], ours[1])
    assert compared > 50
    assert capfd.readouterr() == ("", "")


def test_very_many_annotations_are_scored_alike_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million took 4.4 GB: the engine is left out, truths are compared some at a time, and JSON is read otherwise."""
    folders = [tmp_path / str(seed) for seed in range(6)]
    for folder in folders:
        folder.mkdir()
    files = [write_set(folder, *random_set(seed)) for seed, folder in enumerate(folders)]
    before = [evaluate_instances(*pair, iou_type) for pair in files for iou_type in IOU_TYPES]
    package = "proscale_bench"
    monkeypatch.setattr(f"{package}.evaluation.instance_files.MOST_ANNOTATIONS", 0)
    monkeypatch.setattr(f"{package}.evaluation.instance_matching.TRUTHS_AT_ONCE", 2)
    monkeypatch.setattr(f"{package}.data.documents.BIG_BYTES", 0)
    assert [evaluate_instances(*pair, iou_type) for pair in files for iou_type in IOU_TYPES] == before


@pytest.mark.parametrize("limits", [(1, 10, 300), (100, 100, 100), (1, 3, 5), (100, 2, 7), (1, 100, 200)])
def test_other_limits_equal_pycocotools(tmp_path: Path, limits: tuple[int, int, int]) -> None:
    for seed in (3, 8, 21):
        files = write_set(tmp_path, *random_set(seed))
        for iou_type in IOU_TYPES:
            scores = evaluate_instances(*files, iou_type, max_detections=limits)
            assert list(scores.stats) == pycocotools_stats(*files, iou_type, limits)
            assert any("100 detections" in warning for warning in scores.warnings) == (100 not in limits)


def square(y: int, x: int, side: int) -> dict[str, Any]:
    mask = np.zeros((20, 30), np.uint8, order="F")
    mask[y : y + side, x : x + side] = 1
    runs = pycocotools.mask.encode(mask)
    return {"size": [20, 30], "counts": runs["counts"].decode()}


def good() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Two truths found, one of them by mask and box."""
    truth = {
        "images": [{"id": 1, "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {
                "id": id_,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "area": 25,
                "bbox": [x, 2, 5, 5],
                "segmentation": square(2, x, 5),
            }
            for id_, x in ((1, 3), (2, 20))
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": square(2, 3, 5)},
        {"image_id": 1, "category_id": 1, "score": 0.4, "segmentation": square(2, 20, 5)},
    ]
    return truth, results


def truth_with(index: int | None, key: str, value: Any) -> Callable[[Any, Any], Any]:
    """A change of an annotation, or of the first image or category where there is no index."""

    def change(truth: Any, results: Any) -> None:
        target = truth["annotations"][index] if index is not None else truth
        if value is None:
            del target[key]
        else:
            target[key] = value

    return change


def result_with(key: str, value: Any, index: int = 1) -> Callable[[Any, Any], Any]:
    def change(truth: Any, results: Any) -> None:
        if value is DELETED:
            del results[index][key]
        else:
            results[index][key] = value

    return change


DELETED = object()
WHOLE = square(2, 3, 5)["counts"]

BAD: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "no images": (truth_with(None, "images", None), r"gt\.json: 'images' is missing"),
    "no categories": (truth_with(None, "categories", None), r"gt\.json: 'categories' is missing"),
    "images an object": (truth_with(None, "images", {}), r"gt\.json: 'images': expected a list, found an object"),
    "annotations null": (truth_with(None, "annotations", 3), r"gt\.json: 'annotations': expected a list, found 3"),
    "an image as text": (truth_with(None, "images", ["x"]), r"gt\.json: images\[0\]: expected an object, found 'x'"),
    "image without id": (truth_with(None, "images", [{"height": 1}]), r"images\[0\]: 'id' is missing"),
    "image without height": (truth_with(None, "images", [{"id": 1, "width": 3}]), r"images\[0\]: 'height' is missing"),
    "image of no size": (
        truth_with(None, "images", [{"id": 1, "width": 0, "height": 3}]),
        r"images\[0\]: expected a height and width from 1",
    ),
    "two images of an id": (
        truth_with(None, "images", [{"id": 1, "height": 20, "width": 30}] * 2),
        r"images\[1\]: 'id': 1 is also that of \[0\]",
    ),
    "two categories of an id": (truth_with(None, "categories", [{"id": 1}] * 2), r"categories\[1\]: 'id': 1 is also"),
    "category id a list": (truth_with(None, "categories", [{"id": []}]), r"categories\[0\]: 'id': expected a whole"),
    "annotation id twice": (truth_with(1, "id", 1), r"annotations\[1\]: 'id': 1 is also that of \[0\]"),
    "annotation id a list": (truth_with(1, "id", ["2"]), r"\[1\]: 'id': expected a whole number or text, found a list"),
    "annotation id half": (
        truth_with(1, "id", 1.5),
        r"annotations\[1\]: 'id': expected a whole number or text, found 1\.5",
    ),
    "annotation id huge": (truth_with(1, "id", 1 << 80), r"annotations\[1\]: 'id': expected a whole number"),
    "annotation id true": (
        truth_with(1, "id", True),
        r"annotations\[1\]: 'id': expected a whole number or text, found true",
    ),
    "no area": (truth_with(1, "area", None), r"annotations\[1\]: 'area' is missing"),
    "area text": (truth_with(1, "area", "25"), r"annotations\[1\]: 'area': expected a number, found '25'"),
    "iscrowd negative": (truth_with(0, "iscrowd", -1), r"annotations\[0\]: 'iscrowd': expected 0 or 1, found -1"),
    "iscrowd of two bytes": (truth_with(0, "iscrowd", 256), r"annotations\[0\]: 'iscrowd': expected 0 or 1, found 256"),
    "iscrowd text": (truth_with(0, "iscrowd", "1"), r"annotations\[0\]: 'iscrowd': expected 0 or 1, found '1'"),
    "no segmentation": (truth_with(0, "segmentation", None), r"annotations\[0\]: 'segmentation' is missing"),
    "no polygon": (truth_with(0, "segmentation", []), r"annotations\[0\]: 'segmentation': no polygon"),
    "odd polygon": (truth_with(0, "segmentation", [[1] * 7]), r"annotations\[0\]: .*at least 6 numbers, found 7 num"),
    "short polygon": (truth_with(0, "segmentation", [[1] * 4]), r"at least 6 numbers, found 4 numbers"),
    "flat polygon": (truth_with(0, "segmentation", [1] * 6), r"at least 6 numbers, found 1"),
    "polygon of text": (truth_with(0, "segmentation", [["1"] * 6]), r"a corner is no number"),
    "polygon far away": (truth_with(0, "segmentation", [[1e9] * 6]), r"a corner is no number up to 100,000"),
    "polygon of nan": (truth_with(0, "segmentation", [[math.nan] * 6]), r"a corner is no number"),
    "runs too short": (truth_with(0, "segmentation", {"size": [20, 30], "counts": [3, 4]}), "do not cover 20 x 30"),
    "runs below zero": (truth_with(0, "segmentation", {"size": [20, 30], "counts": [-1, 601]}), "do not cover 20 x 30"),
    "runs of halves": (truth_with(0, "segmentation", {"size": [20, 30], "counts": [0.5, 599.5]}), "do not cover"),
    "segmentation text": (truth_with(0, "segmentation", "x"), r"expected polygons or run lengths, found 'x'"),
    "results an object": (lambda truth, results: {"annotations": results}, r"results\.json: expected a list"),
    "results of numbers": (lambda truth, results: [1], r"results\.json\[0\]: expected an object, found 1"),
    "an empty result": (lambda truth, results: [{}], r"results\.json\[0\]: 'image_id' is missing"),
    "unknown image": (result_with("image_id", 7), r"results\.json\[1\]: image 7 is not in .*gt\.json \(1 of 2"),
    "image id text": (result_with("image_id", "1"), r"results\.json\[1\]: image '1' is not in"),
    "no category": (result_with("category_id", DELETED), r"results\.json\[1\]: 'category_id' is missing"),
    "category null": (
        result_with("category_id", None),
        r"\[1\]: 'category_id': expected a whole number or text, found null",
    ),
    "no score": (result_with("score", DELETED), r"results\.json\[1\]: 'score' is missing"),
    "score text": (result_with("score", "0.5"), r"results\.json\[1\]: 'score': expected a number, found '0\.5'"),
    "score null": (result_with("score", None), r"results\.json\[1\]: 'score': expected a number, found null"),
    "no mask": (result_with("segmentation", DELETED), r"results\.json\[1\]: 'segmentation' is missing"),
    "neither mask nor box": (
        result_with("segmentation", DELETED, 0),
        r"results\.json\[0\]: neither a segmentation nor a bbox",
    ),
    "mask of polygons": (result_with("segmentation", [[1] * 6]), r"\[1\]: 'segmentation': expected run lengths"),
    "mask without counts": (result_with("segmentation", {"size": [20, 30]}), r"\[1\]: 'segmentation': expected run"),
    "mask of another size": (
        result_with("segmentation", {"size": [30, 20], "counts": WHOLE}),
        r"its size is 30 x 20, its image's 20 x 30",
    ),
    "size of text": (result_with("segmentation", {"size": "20", "counts": WHOLE}), r"its size is '20'"),
    "counts a list": (result_with("segmentation", {"size": [20, 30], "counts": [600]}), r"expected counts as text"),
    "counts cut off": (
        result_with("segmentation", {"size": [20, 30], "counts": WHOLE[:-1]}),
        r"results\.json\[1\]: 'segmentation': the counts are corrupt",
    ),
    "counts too long": (result_with("segmentation", {"size": [20, 30], "counts": WHOLE + "5"}), "counts are corrupt"),
    "counts unended": (result_with("segmentation", {"size": [20, 30], "counts": WHOLE + "o"}), "counts are corrupt"),
    "counts endless": (result_with("segmentation", {"size": [20, 30], "counts": "o" * 99 + "0"}), "counts are corrupt"),
    "counts below zero": (result_with("segmentation", {"size": [20, 30], "counts": "m"}), "counts are corrupt"),
    "counts empty": (result_with("segmentation", {"size": [20, 30], "counts": ""}), "counts are corrupt"),
    "counts no ASCII": (result_with("segmentation", {"size": [20, 30], "counts": "é" + WHOLE}), "counts are corrupt"),
    "counts a space": (result_with("segmentation", {"size": [20, 30], "counts": " " + WHOLE}), "counts are corrupt"),
    "box of three": (
        lambda truth, results: [{**results[0], "bbox": [1, 2, 3]}],
        r"results\.json\[0\]: 'bbox': expected four numbers, .* found \[1, 2, 3\]",
    ),
    "boxes beyond all floats": (
        lambda truth, results: [{**one, "bbox": [1, 2, 10**400, 10**400]} for one in results],
        r"results\.json\[0\]: 'bbox': expected four",
    ),
    "negative width": (lambda truth, results: [{**results[0], "bbox": [1, 2, -3, 4]}], r"'bbox': expected four"),
    "box of nan": (lambda truth, results: [{**results[0], "bbox": [math.nan] * 4}], r"'bbox': expected four"),
    "box of text": (lambda truth, results: [{**results[0], "bbox": ["1"] * 4}], r"found \['1', '1', '1', '1'\]"),
    "box null": (
        lambda truth, results: [{**results[0], "bbox": None}],
        r"'bbox': expected four numbers, .* found null",
    ),
    "a box then none": (
        lambda truth, results: [{**results[0], "bbox": [1, 2, 3, 4]}, results[1]],
        r"results\.json\[1\]: 'bbox' is missing",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("reference", [False, True])
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, name: str, reference: bool) -> None:
    change, message = BAD[name]
    truth, results = good()
    changed = change(truth, results)
    gt, found = write_set(tmp_path, truth, results if changed is None else changed)
    with pytest.raises(BenchError, match=message):
        evaluate_instances(gt, found, "segm", reference=reference)


@pytest.mark.parametrize("text", ["", "{", '[{"image_id": 1', "[1,]", "\xff", "[" * 100_000])
@pytest.mark.parametrize("which", [0, 1])
def test_a_file_cut_in_half_is_named(tmp_path: Path, text: str, which: int) -> None:
    files = write_set(tmp_path, *good())
    files[which].write_bytes(text.encode("latin-1"))
    with pytest.raises(BenchError, match=files[which].name):
        evaluate_instances(*files)


def test_a_missing_file_swapped_files_and_an_unknown_type_are_named(tmp_path: Path) -> None:
    gt, results = write_set(tmp_path, *good())
    with pytest.raises(BenchError, match=r"none\.json"):
        evaluate_instances(tmp_path / "none.json", results)
    with pytest.raises(BenchError, match="swapped"):
        evaluate_instances(results, gt)
    with pytest.raises(BenchError, match="unknown IoU type 'keypoints'"):
        evaluate_instances(gt, results, "keypoints")  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="three limits"):
        evaluate_instances(gt, results, max_detections=(1, 10, 0))


MISLEADING: dict[str, tuple[Callable[[Any, Any], Any], IouType, str]] = {
    "id 0": (truth_with(0, "id", 0), "segm", "has the id 0"),
    "ignore flag": (truth_with(0, "ignore", 1), "segm", "`ignore` set"),
    "unlisted image": (truth_with(0, "image_id", 9), "bbox", "annotations of images or categories that it does not"),
    "no annotations": (truth_with(None, "annotations", []), "segm", "no annotations: every number is -1"),
    "no results": (lambda truth, results: [], "segm", "no results: 0 wherever"),
    "unknown category": (result_with("category_id", 5), "segm", r"lacks are left out: 5"),
    "NaN": (result_with("score", math.nan), "segm", "1 of 2 scores are NaN"),
    "empty boxes": (
        lambda truth, results: [{**one, "bbox": [0.0] * 4} for one in results],
        "bbox",
        "every box is empty, as Mask2Former writes them",
    ),
    "one empty box": (
        lambda truth, results: [{**one, "bbox": [0, 0, score, 1]} for score, one in enumerate(results)],
        "bbox",
        "1 of 2 boxes are empty",
    ),
    "boxes as masks": (
        lambda truth, results: [{"image_id": 1, "category_id": 1, "score": 1, "bbox": [3, 2, 5, 5]}],
        "segm",
        "1 of 1 results have no mask",
    ),
    "boxes with masks": (
        lambda truth, results: [{**one, "bbox": [3, 2, 5, 5]} for one in results],
        "segm",
        "whose areas pycocotools takes",
    ),
}


@pytest.mark.parametrize("name", MISLEADING)
def test_what_misleads_the_numbers_is_said_and_they_are_pycocotools(tmp_path: Path, name: str) -> None:
    change, iou_type, message = MISLEADING[name]
    truth, results = good()
    changed = change(truth, results)
    files = write_set(tmp_path, truth, results if changed is None else changed)
    with pytest.warns(UserWarning, match=message):
        scores = psb.evaluate_instances(*files, iou_type)
    assert list(scores.stats) == pycocotools_stats(*files, iou_type)
    assert len(scores.warnings) == 1


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_categories_without_a_truth_take_no_memory(tmp_path: Path, iou_type: IouType) -> None:
    """Tables of 10,000 categories would take gigabytes; the numbers are those of the few that have truths."""
    truth, results = random_set(3)
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    few = write_set(tmp_path / "few", truth, results)
    ids = {category["id"] for category in truth["categories"]}
    more = [{"id": number} for number in range(1_000, 11_000)]
    many = write_set(tmp_path / "many", {**truth, "categories": [*truth["categories"], *more]}, results)
    expected = evaluate_instances(*few, iou_type)
    tracemalloc.start()
    found = evaluate_instances(*many, iou_type)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.stats == expected.stats == tuple(pycocotools_stats(*few, iou_type))
    assert {id_: ap for id_, ap in found.per_category.items() if id_ in ids} == expected.per_category
    assert peak < 100 << 20


def test_good_files_say_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = write_set(tmp_path, *good())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = psb.evaluate_instances(str(files[0]), files[1])
        evaluate_instances(*files, reference=True)
    assert (scores.ap, scores.ap50, scores.ap_large, scores.ar_1) == (scores.stats[0], 1.0, -1.0, 0.5)
    assert scores.per_category == {1: scores.ap}
    assert capfd.readouterr() == ("", "")


def test_annotations_by_image_keep_the_order_of_the_file(tmp_path: Path) -> None:
    truth, results = good()
    truth["images"].append({"id": 5, "height": 1, "width": 1})
    gt, _ = write_set(tmp_path, truth, results)
    by_image = read_ground_truth(gt).by_image()
    assert {id_: [one["id"] for one in found] for id_, found in by_image.items()} == {1: [1, 2], 5: []}


def test_records_in_the_file_are_not_changed_by_scoring(tmp_path: Path) -> None:
    truth, results = good()
    before = copy.deepcopy((truth, results))
    files = write_set(tmp_path, truth, results)
    evaluate_instances(*files)
    assert tuple(json.loads(path.read_text()) for path in files) == before


def test_torch_is_not_imported(tmp_path: Path) -> None:
    files = write_set(tmp_path, *good())
    code = (
        f"import proscale_bench, sys; proscale_bench.evaluate_instances({str(files[0])!r}, {str(files[1])!r})\n"
        "assert 'torch' not in sys.modules and 'pycocotools' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
