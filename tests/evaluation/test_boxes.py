"""Boxes without masks: chosen as the published post-processing does, and scored as pycocotools scores them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers.models.deformable_detr.image_processing_deformable_detr import DeformableDetrImageProcessor

from proscale_bench.data.batches import form_batches
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.pictures import Pixels
from proscale_bench.evaluation.boxes import BoxPredictor, FoundBoxes, best_boxes, detections_of_boxes
from proscale_bench.evaluation.detector import detector_of
from proscale_bench.evaluation.runner import Work, evaluate, results_of
from proscale_bench.evaluation.saved import PredictionWriter
from proscale_bench.evaluation.summary import summarise
from proscale_bench.models.processes import Processes
from tests.data.made import make_dataset

STATS = ("ap_bbox", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


class Guessing(torch.nn.Module):
    """A detector of chance, whose output follows from the image alone."""

    def __init__(self, queries: int, classes: int) -> None:
        super().__init__()
        self.queries, self.classes = queries, classes
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: Sequence[torch.Tensor]) -> Any:
        generators = [torch.Generator().manual_seed(int(image.sum())) for image in images]
        logits = torch.stack([torch.randn(self.queries, self.classes, generator=one) for one in generators])
        boxes = torch.stack([torch.rand(self.queries, 4, generator=one) for one in generators])
        return SimpleNamespace(class_logits=logits, boxes=boxes * torch.tensor([1, 1, 0.9, 0.9]))


@pytest.mark.parametrize("queries", [7, 300])
def test_the_best_are_chosen_as_published(queries: int) -> None:
    image = np.random.default_rng(queries).integers(0, 255, (40, 50, 3), np.uint8)
    model = Guessing(queries, 5)
    (found,) = detector_of(model)([image])
    out = model([torch.from_numpy(image).permute(2, 0, 1).float()])
    told = DeformableDetrImageProcessor().post_process_object_detection(
        SimpleNamespace(logits=out.class_logits, pred_boxes=out.boxes), threshold=0.0, target_sizes=[(40, 50)]
    )[0]
    np.testing.assert_allclose(found.scores, told["scores"], atol=1e-6)
    np.testing.assert_array_equal(found.classes, told["labels"])
    ours = np.array([one["bbox"] for one in detections_of_boxes(1, found, range(5), (40, 50))])
    ours[:, 2:] += ours[:, :2]
    np.testing.assert_allclose(ours, told["boxes"], atol=1e-4)


def test_of_equal_scores_the_earlier_box_comes_first() -> None:
    found = best_boxes(np.array([[0.5, 0.9], [0.9, 0.5]], np.float32), np.eye(2, 4), top=3)
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.5])
    assert found.classes.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(found.boxes, np.eye(2, 4)[[0, 1, 0]])


def test_classes_that_stand_for_nothing_are_left_out_of_the_best() -> None:
    found = FoundBoxes(np.array([0.9, 0.8]), np.array([0, 1]), np.array([[0, 0, 1, 1], [0.5, 0.25, 0.25, 1]]))
    assert detections_of_boxes("a", found, [None, 7], (10, 20)) == [
        {"image_id": "a", "category_id": 7, "bbox": [10.0, 2.5, 0.0, 7.5], "score": 0.8}
    ]


@pytest.fixture
def scored(tmp_path: Path) -> tuple[dict[str, float | None], Path, Path]:
    """Metrics of boxes near the truth and of others, the truth's file and the results' file."""
    made = make_dataset(tmp_path / "coco", 12)
    dataset = open_dataset(made.root)
    assert dataset.instances is not None
    things = [one.id for one in dataset.categories if one.is_thing]
    entries, random = iter(dataset.images), np.random.default_rng(0)

    def detect(images: Sequence[Pixels]) -> Iterator[FoundBoxes]:
        for _ in images:  # of one size after the other, so in the order of the data
            entry = next(entries)
            told = [one for one in dataset.instances[entry.id] if not one["iscrowd"]]
            boxes = np.array([one["bbox"] for one in told for _ in range(40)], float)
            boxes[:, 2:] += boxes[:, :2]
            boxes += random.normal(0, 2, boxes.shape)
            scores = random.random((len(boxes), len(things))).round(2)  # some are equal
            yield best_boxes(scores, boxes / ((entry.width_px, entry.height_px) * 2))

    predictor = BoxPredictor(detect, dataset, things, None)
    work = Work(dataset, form_batches(dataset.images, 1, None), frozenset({"boxes"}))
    writer = PredictionWriter(tmp_path / "saved")
    evaluate(work, predictor, tmp_path / "journal", Processes(), writer=writer)
    writer.finish(work.images, results_of(work, tmp_path / "journal"), work.tasks)
    summary = summarise(work, tmp_path / "journal", 20, 0)
    assert summary.intervals_pct.keys() == {"ap_bbox"}
    return summary.metrics_pct, made.instances_json, tmp_path / "saved" / "instances.json"


def test_box_ap_is_pycocotools(scored: tuple[dict[str, float | None], Path, Path]) -> None:
    metrics, truth, results = scored
    assert all("segmentation" not in one for one in json.loads(results.read_text()))
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        evaluation = COCOeval(annotated, annotated.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    told = {name: 100 * value if value >= 0 else None for name, value in zip(STATS, evaluation.stats, strict=False)}
    assert metrics == told
    assert metrics["ap_bbox"] is not None
    assert metrics["ap_bbox"] > 0


def test_a_batch_is_predicted_as_its_images_are() -> None:
    images: list[Pixels] = [np.full((30, 40, 3), value, np.uint8) for value in (10, 200)]
    detect = detector_of(Guessing(9, 3))
    together = list(detect(images))
    for image, found in zip(images, together, strict=True):
        (alone,) = detect([image])
        np.testing.assert_array_equal(alone.boxes, found.boxes)
