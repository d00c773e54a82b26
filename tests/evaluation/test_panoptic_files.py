"""Panoptic quality of files: panopticapi's numbers to the last digit, and what we say where it has none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import proscale_bench as psb
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.map_files import ScoredFiles, score_panoptic_files
from proscale_bench.evaluation.panoptic import PanopticCounts, PanopticQuality, RunningQuality, panoptic_quality
from tests.evaluation.golden import shared, unpack

REFUSED = {
    "missing_prediction": r"pred\.json: no prediction for 1 of 1 images, the first image 1",
    "pred_png_id_not_in_json": r"image 1: .*pred/a\.png: id 70000 is in the map and not among the segments",
    "pred_json_id_not_in_png": r"image 1: .*pred/a\.png: id 77 among the segments and not in the map",
    "pred_unknown_category": r"pred\.json: image 1: segment 5: unknown category 44",
    "gt_area_missing": r"gt\.json: annotations\[0\]\.segments_info\[0\]: 'area' is missing",
    "gt_iscrowd_missing": r"gt\.json: annotations\[0\]\.segments_info\[0\]: 'iscrowd' is missing",
    "size_mismatch": r"image 1: .*pred/a\.png: 29 x 20 pixels where the truth has 30 x 20",
    "gray_png_pred": r"image 1: .*pred/a\.png: PNG of mode L",
    "missing_png": r"image 1: .*pred/gone\.png: No such file",
    "missing_folder": r"pred: not a folder",
}
WITHOUT_A_GROUP = ("no_stuff_category", "stuff_category_without_segments", "no_images")
WARNED = {
    "extra_prediction": "predictions for images that the truth lacks, left out: 1, the first image 99",
    "duplicate_prediction_last_wins": "images predicted more than once; the last counts: 1, the first image 1",
    "gt_unknown_category": "of an unknown category, which count nowhere: 1, the first image 1, id 300, category 44",
    "gt_png_id_not_in_json": "ids in maps of the truth that its JSON lacks",
    "gt_json_id_not_in_png": "true segments without a pixel in their map, which can only be missed",
    "gt_json_area_wrong_small": "the first image 1, id 5: 100 in the JSON, 200 in the map",
    "gt_json_area_wrong_big": "the first image 1, id 5: 900 in the JSON, 200 in the map",
    "gt_json_area_zero_union": "the first image 1, id 5: 0 in the JSON, 200 in the map",
    "pred_id_zero_in_json": "predicted segments with id 0",
    "gt_id_zero_in_json": "true segments with id 0",
    "duplicate_gt_id_last_wins": "true ids that stand twice in an image; the last counts: 1, the first image 1, id 5",
    "no_images": "predictions for images that the truth lacks",
}
QUIET = (
    "ok",
    "pred_all_void",
    "rgba_png_pred",
    "isthing_true_bool",
    "no_stuff_category",
    "stuff_category_without_segments",
)


def score(folder: Path) -> ScoredFiles:
    return score_panoptic_files(folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred")


def assert_same(quality: PanopticQuality, expected: dict[str, Any]) -> None:
    """The same floats; the edge cases have them as text."""
    for key, group in (("All", quality.all), ("Things", quality.things), ("Stuff", quality.stuff)):
        assert (group.pq, group.sq, group.rq) == tuple(float(expected[key][name]) for name in ("pq", "sq", "rq"))
        assert group.classes == expected[key]["n"]
    assert {str(category_id): (of.pq, of.sq, of.rq) for category_id, of in quality.per_class.items()} == {
        key: tuple(float(of[name]) for name in ("pq", "sq", "rq")) for key, of in expected["per_class"].items()
    }


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("panoptic", tmp_path_factory.mktemp("panoptic"))


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("panoptic_edge", tmp_path_factory.mktemp("panoptic_edge"))


def by_category(counts: list[PanopticCounts]) -> dict[str, dict[str, float]]:
    """Sum up the categories that were met, in the golden's form."""
    found: dict[str, dict[str, float]] = {}

    def of(category_id: int) -> dict[str, float]:
        return found.setdefault(str(category_id), {"iou": 0.0, "tp": 0, "fp": 0, "fn": 0})

    for image in counts:
        for category_id, iou in image.matches:
            of(category_id)["iou"] += iou
            of(category_id)["tp"] += 1
        for category_id in image.false_positives:
            of(category_id)["fp"] += 1
        for category_id in image.false_negatives:
            of(category_id)["fn"] += 1
    return found


def test_forty_images_are_scored_as_the_reference_scores_them(panoptic: Path) -> None:
    golden = json.loads((panoptic / "golden_pq.json").read_text())
    found = score(panoptic)
    assert_same(found.quality, golden["workers_1"])
    assert by_category(list(found.counts)) == golden["counts"]
    assert list(found.image_ids) == [image["image_id"] for image in golden["per_image"]]
    for counts, image in zip(found.counts, golden["per_image"], strict=True):
        assert by_category([counts]) == image["cats"]
    assert found.quality.warnings == ()


@pytest.mark.parametrize("name", ["eval/panoptic", "real/panoptic3", "eval/panopticapi_sample/panoptic3"])
def test_shared_sets_are_scored_as_the_reference_scores_them(name: str) -> None:
    folder = shared(name)
    assert_same(score(folder).quality, json.loads((folder / "golden_pq.json").read_text())["workers_1"])


def edge_cases() -> list[str]:
    return sorted({*REFUSED, *WITHOUT_A_GROUP, *WARNED, *QUIET})


def test_no_edge_case_is_left_out(edge: Path) -> None:
    assert edge_cases() == sorted(json.loads((edge / "expected.json").read_text()))
    assert len(edge_cases()) == 28


@pytest.mark.parametrize("name", edge_cases())
def test_edge_cases(edge: Path, name: str) -> None:
    expected = json.loads((edge / "expected.json").read_text())[name]
    if name in REFUSED:
        assert "result" not in expected
        with pytest.raises(BenchError, match=REFUSED[name]) as caught:
            score(edge / name)
        assert caught.value.hint or name.endswith("_missing")
        return
    quality = score(edge / name).quality
    if name in WITHOUT_A_GROUP:
        assert expected["error"] == "ZeroDivisionError"
        assert (quality.stuff.pq, quality.stuff.sq, quality.stuff.rq, quality.stuff.classes) == (None, None, None, 0)
        counts = {str(key): of for key, of in quality.per_class.items() if of.tp + of.fp + of.fn}
        assert {key: (of.tp, of.fp, of.fn, of.sq * of.tp) for key, of in counts.items()} == {
            key: (of["tp"], of["fp"], of["fn"], of["iou"]) for key, of in expected["counts_before_error"].items()
        }
    else:
        assert_same(quality, expected["result"])
    if name in WARNED:
        assert len(quality.warnings) == 1
        assert WARNED[name] in quality.warnings[0]
    else:
        assert quality.warnings == ()


def test_warnings_are_gathered_by_kind(panoptic: Path, tmp_path: Path) -> None:
    truth = json.loads((panoptic / "gt.json").read_text())
    wrong = 0
    for annotation in truth["annotations"]:
        for info in annotation["segments_info"]:
            info["area"] += 1
            wrong += not info["iscrowd"]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    quality = score_panoptic_files(
        tmp_path / "gt.json", panoptic / "gt", panoptic / "pred.json", panoptic / "pred"
    ).quality
    assert len(quality.warnings) == 1
    assert f"over 1: {wrong}, the first image 7, id " in quality.warnings[0]


def test_progress_sees_the_quality_so_far(panoptic: Path) -> None:
    seen: list[tuple[int, int, float | None]] = []

    def note(done: int, images: int, running: RunningQuality) -> None:
        seen.append((done, images, running.pq))

    found = score_panoptic_files(
        panoptic / "gt.json", panoptic / "gt", panoptic / "pred.json", panoptic / "pred", progress=note
    )
    assert [done for done, _, _ in seen] == list(range(1, 41))
    assert {images for _, images, _ in seen} == {40}
    assert seen[9][2] == panoptic_quality(found.counts[:10], found.categories).all.pq
    assert seen[-1][2] == found.quality.all.pq


def test_an_image_annotated_twice_counts_twice_as_in_the_reference(edge: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(edge / "ok", folder)
    truth = json.loads((folder / "gt.json").read_text())
    truth["annotations"] *= 2
    truth["categories"].append({**truth["categories"][0], "isthing": 0})
    del truth["images"]  # nothing asks for it
    (folder / "gt.json").write_text(json.dumps(truth))
    quality = score(folder).quality
    assert quality.per_class[2].tp == 2
    assert (quality.things.classes, quality.stuff.classes) == (1, 2)
    assert any("images that the truth has more than once; each counts: 1" in line for line in quality.warnings)
    assert any("category ids that stand twice in the truth; the last counts: 1" in line for line in quality.warnings)


def test_a_predicted_id_that_stands_twice_is_of_its_last_category(edge: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(edge / "ok", folder)
    predictions = json.loads((folder / "pred.json").read_text())
    segments = predictions["annotations"][0]["segments_info"]
    segments.append({**segments[0], "category_id": 2})
    segments[0]["category_id"] = 44  # overruled, so nobody minds
    (folder / "pred.json").write_text(json.dumps(predictions))
    quality = score(folder).quality
    assert quality.per_class[1].fn == quality.per_class[2].fp == 1
    assert quality.warnings == (
        "predicted ids that stand twice in an image; the last counts: 1, the first image 1, id 5",
    )


def test_maps_may_lie_in_subfolders_and_behind_links(edge: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(edge / "ok", folder)
    (folder / "elsewhere").mkdir()
    (folder / "pred" / "a.png").rename(folder / "elsewhere" / "a.png")
    (folder / "pred" / "sub").symlink_to(folder / "elsewhere")
    predictions = json.loads((folder / "pred.json").read_text())
    predictions["annotations"][0]["file_name"] = "sub/a.png"
    (folder / "pred.json").write_text(json.dumps(predictions))
    assert score(folder).quality.all.pq == 1.0


def test_whole_floats_and_booleans_read_as_numbers(edge: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(edge / "ok", folder)
    truth = json.loads((folder / "gt.json").read_text())
    for info in truth["annotations"][0]["segments_info"]:
        info.update(area=float(info["area"]), iscrowd=False, id=float(info["id"]))
    (folder / "gt.json").write_text(json.dumps(truth))
    assert score(folder).quality.all.pq == 1.0


def test_a_map_of_one_pixel(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(tmp_path / "a.png")
    segment = {"id": 1 + 256 * 2 + 65536 * 3, "category_id": 1, "iscrowd": 0, "area": 1}
    document = {
        "categories": [{"id": 1, "isthing": 1}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [segment]}],
    }
    (tmp_path / "both.json").write_text(json.dumps(document))
    found = psb.evaluate_panoptic(tmp_path / "both.json", tmp_path, tmp_path / "both.json", tmp_path)
    assert (found.all.pq, found.things.pq, found.stuff.pq) == (1.0, 1.0, None)


def test_the_public_function_warns_and_takes_text(edge: Path) -> None:
    folder = edge / "gt_json_area_wrong_small"
    with pytest.warns(UserWarning, match="IoU may be wrong, and over 1"):
        quality = psb.evaluate_panoptic(*(os.fspath(folder / name) for name in ("gt.json", "gt", "pred.json", "pred")))
    assert quality.per_class[1].pq == quality.per_class[1].sq == 1.2
    assert quality.all.pq == 1.0666666666666667


def test_scoring_files_never_imports_torch(edge: Path) -> None:
    folder = edge / "ok"
    code = (
        f"import sys, proscale_bench as psb; folder = {str(folder)!r}\n"
        "found = psb.evaluate_panoptic(*(f'{folder}/{name}' for name in ('gt.json', 'gt', 'pred.json', 'pred')))\n"
        "assert found.all.pq == 1.0\n"
        "assert not set(sys.modules) & {'torch', 'torchvision', 'pandas', 'matplotlib'}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
