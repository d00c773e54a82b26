"""The reference: pycocotools itself, on records that were found whole."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from proscale_bench.evaluation.average_precision import MAX_DETECTIONS, InstanceScores, IouType, per_category


def reference_scores(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    iou_type: IouType,
    max_detections: tuple[int, int, int] = MAX_DETECTIONS,
    warnings: tuple[str, ...] = (),
) -> InstanceScores:
    """What pycocotools makes of annotations and results; it writes into both.

    Args:
        truth: with `images`, `annotations` and `categories`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        annotated = COCO()
        annotated.dataset = truth
        annotated.createIndex()
        if results:
            found = annotated.loadRes(results)
        else:  # loadRes reads the first
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(annotated, found, iou_type)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    category_ids = [int(id_) for id_ in evaluation.params.catIds]
    stats: Sequence[float] = np.asarray(evaluation.stats).tolist()
    return InstanceScores(iou_type, tuple(stats), per_category(evaluation.eval["precision"], category_ids), warnings)
