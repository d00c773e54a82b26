"""AP of a results file on some images of a data set, with the matches that a bootstrap needs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from proscale_bench.evaluation.average_precision import (
    IOU_TYPES,
    MAX_DETECTIONS,
    InstanceScores,
    IouType,
    Matches,
)
from proscale_bench.evaluation.instance_files import (
    columns_of,
    match_known,
    read_ground_truth,
    read_results,
    score_columns,
)
from proscale_bench.evaluation.instance_reference import reference_scores


class FileScorer:
    """Scores a file as `evaluate_instances` does: what `InstanceScorer` is to a model's own detections.

    Args:
        gt_json, results_json: COCO files.
        image_ids: those to score.
        reference: pycocotools scores.

    Raises:
        BenchError: a file is unreadable or a record is not whole, with its place.
    """

    def __init__(self, gt_json: Path, results_json: Path, image_ids: Collection[int], reference: bool = False) -> None:
        everything = read_ground_truth(gt_json)
        results, image = read_results(results_json, everything)
        chosen = np.isin(everything.image_ids, list(image_ids))
        self._truth = everything.only(image_ids)
        self._results = results.take(chosen[image])
        self._image = (np.cumsum(chosen) - 1)[image[chosen[image]]]
        self._reference = reference
        self._columns = {kind: columns_of(self._truth, self._results, self._image, kind) for kind in IOU_TYPES}

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ascending: what `Matches.category` counts."""
        return tuple(self._truth.category_ids.tolist())

    def matches(self, iou_type: IouType) -> Matches:
        """Which results found a truth."""
        truths, detections, _ = self._columns[iou_type]
        return match_known(truths, detections, MAX_DETECTIONS[-1])

    def scores(self) -> dict[IouType, InstanceScores]:
        """Masks and boxes."""
        return {kind: self._score(kind) for kind in IOU_TYPES}

    def _score(self, iou_type: IouType) -> InstanceScores:
        truths, detections, warnings = self._columns[iou_type]
        if self._reference:
            annotations = [dict(one) for one in self._truth.annotations.items]  # pycocotools writes into them
            truth = {**self._truth.document, "annotations": annotations}
            return reference_scores(truth, list(map(dict, self._results.items)), iou_type, MAX_DETECTIONS, warnings)
        return score_columns(self._truth, truths, detections, iou_type, MAX_DETECTIONS, warnings)
