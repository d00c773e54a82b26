"""Predictions that somebody made: files in COCO's formats, as `saved.py` and other tools write them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from proscale_bench.data.batches import Batch
from proscale_bench.data.dataset import Id, ImageEntry
from proscale_bench.data.panoptic_json import PredictedEntry, PredictedSegment, read_panoptic_predictions
from proscale_bench.data.pictures import read_id_map, read_label_map
from proscale_bench.data.truth import png_name
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import (
    IOU_TYPES,
    MAX_DETECTIONS,
    InstanceScores,
    IouType,
    Matches,
    iou_types_of,
    reference_scores,
)
from proscale_bench.evaluation.ids import are_among
from proscale_bench.evaluation.instance_files import (
    columns_of,
    known_detections,
    read_ground_truth,
    read_results,
    score_columns,
)
from proscale_bench.evaluation.instance_matching import match
from proscale_bench.evaluation.map_files import check_predictions
from proscale_bench.evaluation.results import Cautions, Prediction
from proscale_bench.evaluation.runner import Work
from proscale_bench.evaluation.saved import INSTANCES_JSON, PANOPTIC_DIR, PANOPTIC_JSON, SEMANTIC_DIR
from proscale_bench.results.accuracy import Task

# What ours are called, then what detectron2's evaluators call theirs.
PANOPTIC_JSONS = (PANOPTIC_JSON, "predictions.json")
PANOPTIC_DIRS = (PANOPTIC_DIR, "panoptic_seg", ".")
INSTANCES_JSONS = (INSTANCES_JSON, "coco_instances_results.json")
KINDS: dict[Task, tuple[str, ...]] = {
    "panoptic": (*PANOPTIC_JSONS, PANOPTIC_DIR),
    "instance": INSTANCES_JSONS,
    "semantic": (SEMANTIC_DIR,),
    "boxes": INSTANCES_JSONS,
}


def tasks_in(folder: Path) -> tuple[Task, ...]:
    """The tasks that a folder has predictions for."""
    return tuple(task for task, names in KINDS.items() if any((folder / name).exists() for name in names))


class FilePredictor:
    """Reads the predictions of each image; those of instances are one file, which `scorer` scores.

    Args:
        folder: with `panoptic.json` and `panoptic/`, `instances.json`, `semantic/`, as far as the tasks need them.
        work: images and tasks to evaluate.
        reference: AP by pycocotools.

    Raises:
        BenchError: a file is missing, damaged, or does not fit the data.
    """

    def __init__(self, folder: Path, work: Work, reference: bool = False) -> None:
        if not folder.is_dir():
            raise BenchError(f"{folder}: not a folder", "give the folder that --save-predictions wrote, or one like it")
        cautions = Cautions()
        images = work.images
        self._panoptic: dict[Id, PredictedEntry] | None = None
        self.scorer: FileScorer | None = None
        self._semantic_dir: Path | None = None
        if "panoptic" in work.tasks:
            self._panoptic_json = _find(folder, PANOPTIC_JSONS, "panoptic")
            self._panoptic_dir = _find(folder, PANOPTIC_DIRS, "panoptic")
            chosen, known = ({image.id for image in some} for some in (images, work.dataset.images))
            entries = read_panoptic_predictions(self._panoptic_json)
            entries = tuple(one for one in entries if one.image_id in chosen or one.image_id not in known)
            truth = work.dataset.panoptic
            assert truth is not None
            annotated = [truth[image.id] for image in images]
            self._panoptic = check_predictions(
                self._panoptic_json, work.dataset.categories, annotated, entries, cautions
            )
        if kinds := iou_types_of(work.tasks):
            truth_json = work.dataset.instances_json
            assert truth_json is not None
            results_json = _find(folder, INSTANCES_JSONS, "instance" if "instance" in work.tasks else "boxes")
            self.scorer = FileScorer(truth_json, results_json, [image.id for image in images], kinds, reference)
        if "semantic" in work.tasks:
            self._semantic_dir = _find(folder, (SEMANTIC_DIR,), "semantic")
        self.warnings = cautions.lines()

    def load(self, image: ImageEntry) -> Prediction:
        """The prediction of an image.

        Raises:
            BenchError: a map that cannot be read.
        """
        ids, labels = None, None
        segments: tuple[PredictedSegment, ...] = ()
        if self._panoptic is not None:
            entry = self._panoptic[image.id]
            ids, segments = read_id_map(self._panoptic_dir / entry.file_name), entry.segments
        if self._semantic_dir is not None:
            labels = read_label_map(self._semantic_dir / png_name(image))
        return Prediction(image.id, ids, segments, None, labels)

    def predict(self, batch: Batch, loaded: Sequence[Prediction]) -> Iterator[Prediction]:
        """The predictions as they were loaded."""
        yield from loaded


def _find(folder: Path, names: Sequence[str], task: str) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise BenchError(
        f"{folder}: no {' or '.join(names)}", f"leave {task} out of --tasks if these predictions are not of that kind"
    )


class FileScorer:
    """Scores a file as `evaluate_instances` does: what `InstanceScorer` is to a model's own detections.

    Args:
        gt_json, results_json: COCO files.
        image_ids: those to score.
        iou_types: masks and boxes, or boxes alone.
        reference: pycocotools scores.

    Raises:
        BenchError: a file is unreadable or a record is not whole, with its place.
    """

    def __init__(
        self,
        gt_json: Path,
        results_json: Path,
        image_ids: Collection[Id],
        iou_types: Sequence[IouType] = IOU_TYPES,
        reference: bool = False,
    ) -> None:
        everything = read_ground_truth(gt_json)
        results, image = read_results(results_json, everything)
        chosen = are_among(everything.image_ids, image_ids)
        self._truth = everything.only(image_ids)
        self._results = results.take(chosen[image])
        self._image = (np.cumsum(chosen) - 1)[image[chosen[image]]]
        self._reference = reference
        self._columns = {kind: columns_of(self._truth, self._results, self._image, kind) for kind in iou_types}

    @property
    def category_ids(self) -> tuple[Id, ...]:
        """Ascending: what `Matches.category` counts."""
        return tuple(self._truth.category_ids.tolist())

    def matches(self, iou_type: IouType) -> Matches:
        """The results that found a truth."""
        truths, detections, _ = self._columns[iou_type]
        return match(truths, known_detections(detections), MAX_DETECTIONS[-1])

    def scores(self) -> dict[IouType, InstanceScores]:
        """The scores of each type."""
        return {kind: self._score(kind) for kind in self._columns}

    def _score(self, iou_type: IouType) -> InstanceScores:
        truths, detections, warnings = self._columns[iou_type]
        if self._reference:
            return reference_scores(
                self._truth.for_reference(), list(map(dict, self._results.items)), iou_type, MAX_DETECTIONS, warnings
            )
        return score_columns(self._truth, truths, detections, iou_type, MAX_DETECTIONS, warnings)
