"""AP image by image: the numbers of whole files, whatever the order, and records that JSON can hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest

from proscale_bench.data.dataset import Category, ImageEntry
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import IouType
from proscale_bench.evaluation.instance import BATCH_IMAGES, InstanceScorer, detections_of
from proscale_bench.evaluation.instance_files import evaluate_instances
from proscale_bench.evaluation.run_lengths import areas, covered, encode_masks
from tests.evaluation.instance_sets import pycocotools_stats, random_set, write_set

IOU_TYPES: tuple[IouType, ...] = ("segm", "bbox")


def boxless(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A random set whose results are masks alone, and whose annotations are of images that it has."""
    truth, results = random_set(seed)
    known = {image["id"] for image in truth["images"]}
    truth["annotations"] = [one for one in truth["annotations"] if one["image_id"] in known]
    results = [one for one in results if "segmentation" in one]
    for one in results:
        one.pop("bbox", None)
    return truth, results


def fill(scorer: InstanceScorer, truth: dict[str, Any], results: list[dict[str, Any]], order: Any = None) -> None:
    images = truth["images"]
    for place in range(len(images)) if order is None else order:
        image = images[place]
        scorer.add(
            ImageEntry(image["id"], "", image["height"], image["width"]),
            [one for one in truth["annotations"] if one["image_id"] == image["id"]],
            [one for one in results if one["image_id"] == image["id"]],
        )


def categories_of(truth: dict[str, Any]) -> list[Category]:
    return [Category(one["id"], "", True) for one in truth["categories"]]


@pytest.mark.parametrize("seed", range(25))
def test_any_order_of_images_equals_pycocotools(tmp_path: Path, seed: int) -> None:
    truth, results = boxless(seed)
    files = write_set(tmp_path, truth, results)
    rng = np.random.default_rng(seed)
    for reference in (False, True):
        scorer = InstanceScorer(categories_of(truth), reference=reference)
        fill(scorer, truth, results, rng.permutation(len(truth["images"])))
        for iou_type, scores in scorer.scores().items():
            # In a file, results of an image may lie apart: only their order inside it counts.
            assert list(scores.stats) == pycocotools_stats(*files, iou_type)
            assert scores.per_category == evaluate_instances(*files, iou_type).per_category


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, results = boxless(4)
    found = []
    for images in (1, 2, BATCH_IMAGES):
        monkeypatch.setattr("proscale_bench.evaluation.instance.BATCH_IMAGES", images)
        scorer = InstanceScorer(categories_of(truth))
        fill(scorer, truth, results)
        found.append(scorer.scores())
    assert found[0] == found[1] == found[2]


def test_scores_of_some_images_then_of_all() -> None:
    truth, results = boxless(2)
    assert len(truth["images"]) > 1
    scorer, whole = InstanceScorer(categories_of(truth)), InstanceScorer(categories_of(truth))
    fill(scorer, truth, results, [0])
    assert scorer.image_ids == (truth["images"][0]["id"],)
    scorer.scores()
    fill(scorer, truth, results, range(1, len(truth["images"])))
    fill(whole, truth, results)
    assert scorer.scores() == whole.scores()


def test_own_boxes_count_for_boxes_and_not_for_masks(tmp_path: Path) -> None:
    truth, results = boxless(7)
    shifted = [
        {**one, "bbox": (pycocotools.mask.toBbox(one["segmentation"]) + np.array([0.4, 0, 0.5, 0])).tolist()}
        for one in results
    ]
    plain, boxed = write_set(tmp_path, truth, results), tmp_path / "boxed.json"
    boxed.write_text(json.dumps(shifted))
    for reference in (False, True):
        scorer = InstanceScorer(categories_of(truth), reference=reference)
        fill(scorer, truth, shifted)
        scores = scorer.scores()
        assert list(scores["segm"].stats) == pycocotools_stats(*plain, "segm")
        assert list(scores["bbox"].stats) == pycocotools_stats(plain[0], boxed, "bbox")


def test_nothing_at_all_and_one_type_alone() -> None:
    assert InstanceScorer([]).scores()["segm"].stats == (-1.0,) * 12
    scorer = InstanceScorer([Category(3, "", True)], ["bbox"])
    scorer.add(ImageEntry(1, "", 4, 4), [], [])
    assert list(scorer.scores()) == ["bbox"]
    assert scorer.scores()["bbox"].per_category == {3: None}


def test_no_detections_score_zero() -> None:
    truth, _ = boxless(3)
    for reference in (False, True):
        scorer = InstanceScorer(categories_of(truth), reference=reference)
        fill(scorer, truth, [])
        assert {max(scores.stats) for scores in scorer.scores().values()} == {0.0}


def test_an_image_twice_is_refused() -> None:
    scorer = InstanceScorer([])
    scorer.add(ImageEntry(1, "", 4, 4), [], [])
    with pytest.raises(ValueError, match="image 1 was added"):
        scorer.add(ImageEntry(1, "", 4, 4), [], [])


def test_a_record_that_is_not_whole_is_named_with_its_image() -> None:
    scorer = InstanceScorer([Category(1, "", True)])
    scorer.add(ImageEntry(1, "", 4, 4), [], [])
    broken = {"category_id": 1, "score": 1.0, "segmentation": {"size": [4, 4], "counts": "1"}}
    scorer.add(ImageEntry(12, "", 4, 4), [], [broken])
    for ask in (scorer.scores, lambda: scorer.matches("segm")):
        with pytest.raises(BenchError, match=r"image 12: detections\[0\]: 'segmentation': the counts are corrupt"):
            ask()


def random_masks(seed: int, count: int = 12) -> tuple[Any, Any]:
    """[N, H, W], one of them empty, one full, and the boxes around them."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 70, 2)
    masks = rng.random((count, height, width)) < rng.random((count, 1, 1)) ** 3
    masks[1:4, : height // 2] = False
    masks[4], masks[5] = False, True
    boxes = np.zeros((count, 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return masks, boxes


@pytest.mark.parametrize("seed", range(20))
def test_masks_and_boxes_are_encoded_as_pycocotools_does(seed: int) -> None:
    masks, boxes = random_masks(seed)
    expected = pycocotools.mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    scores = np.linspace(0, 1, len(masks), dtype=np.float32)
    records = detections_of(np.int64(9), scores, np.arange(len(masks)), masks, boxes)  # type: ignore[arg-type]
    assert json.loads(json.dumps(records)) == records
    for record, runs, score in zip(records, expected, scores, strict=True):
        assert record["segmentation"] == {"size": list(runs["size"]), "counts": runs["counts"].decode()}
        assert record["bbox"] == pycocotools.mask.toBbox(runs).tolist()
        assert record["score"] == float(score)
    assert [record["category_id"] for record in records] == list(range(len(masks)))
    pixels = np.full(len(masks), masks[0].size)
    assert areas([record["segmentation"] for record in records], pixels).tolist() == masks.sum(axis=(1, 2)).tolist()


def test_a_box_that_is_too_small_cuts_nothing_off() -> None:
    masks, boxes = random_masks(0)
    assert encode_masks(masks, boxes / 2) == encode_masks(masks, boxes) == encode_masks(masks, boxes + 50)
    assert detections_of(1, [], [], masks[:0], boxes[:0]) == []


def covered_slowly(text: str) -> int:
    """The sum of a text's runs modulo 2^32, character by character; -1 where it is none."""
    runs: list[int] = []
    number = width = 0
    for character in text:
        value = ord(character) - ord("0")
        if not 0 <= value < 64 or width == 7:
            return -1
        number |= (value & 31) << 5 * width
        width += 1
        if value < 32:
            number -= (1 << 5 * width) if value & 16 else 0
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = width = 0
    return -1 if width else sum(runs) % (1 << 32)


def test_run_lengths_are_summed_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    texts = [
        "".join(map(chr, rng.integers(48, 112 if rng.random() < 0.9 else 130, rng.integers(0, 14))))
        for _ in range(20_000)
    ]
    found = covered(texts).tolist()
    assert found == [covered_slowly(text) for text in texts]
    assert 0.2 < np.mean(np.array(found) == -1) < 0.8
    assert covered([]).tolist() == []
