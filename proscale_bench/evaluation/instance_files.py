"""Instance AP of COCO files: pycocotools' numbers wherever it gives any, and warnings where the input misleads them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Id
from proscale_bench.data.documents import kind_of, read_json
from proscale_bench.data.instances_json import has_id, tidy_segmentation
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import (
    IOU_TYPES,
    MAX_DETECTIONS,
    InstanceScores,
    Integers,
    IouType,
    reference_scores,
    score_tables,
    scores_of,
)
from proscale_bench.evaluation.ids import Ids, are_among, ascending, place_of, sorted_ids
from proscale_bench.evaluation.instance_matching import Detections, Truths, engine_tables, match
from proscale_bench.evaluation.instance_records import Records, detection_columns, truth_columns
from proscale_bench.machine import no_garbage_collection

# What the engine is asked for. It keeps 0.2 MB for a category and more while it fills them (LVIS has 1,203), and 2 KB
# for an annotation (val2017 has 36,781).
MOST_CATEGORIES = 2_000
MOST_ANNOTATIONS = 250_000


@dataclass(frozen=True)
class GroundTruth:
    """An instances file. Annotations of images or categories that it does not list are left out, as pycocotools does.

    Args:
        document: the whole file.
        image_ids, category_ids: ascending.
        images: in that order.
        annotations: in the file's order.
        image, category: places of the ids of each annotation.
        left_out: number of annotations that were left out.
    """

    path: Path
    document: dict[str, Any]
    image_ids: Ids
    category_ids: Ids
    images: Records
    annotations: Records
    image: Integers
    category: Integers
    left_out: int

    @cached_property
    def sizes(self) -> Integers:
        """[images, 2], (height, width) in pixels."""
        sizes = np.stack((self.images.integers("height"), self.images.integers("width")), axis=1).reshape(-1, 2)
        wrong = np.flatnonzero((sizes < 1).any(axis=1) | (sizes.prod(axis=1) >= 1 << 31))
        if len(wrong):
            raise self.images.error(int(wrong[0]), "expected a height and width from 1, of fewer than 2^31 pixels")
        return sizes

    def columns(self, iou_type: IouType) -> Truths:
        """The annotations for the matching."""
        sizes = self.sizes[self.image] if iou_type == "segm" else np.zeros((len(self.image), 2), np.int64)
        return truth_columns(self.annotations, self.image, self.category, sizes, iou_type)

    def only(self, image_ids: Collection[Id]) -> GroundTruth:
        """The same of some images."""
        chosen = are_among(self.image_ids, image_ids)
        kept = chosen[self.image]
        images, annotations = self.images.take(chosen), self.annotations.take(kept)
        return replace(
            self,
            document={**self.document, "images": list(images.items), "annotations": list(annotations.items)},
            image_ids=self.image_ids[chosen],
            images=images,
            annotations=annotations,
            image=(np.cumsum(chosen) - 1)[self.image[kept]],
            category=self.category[kept],
        )

    def for_reference(self) -> dict[str, Any]:
        """The document as pycocotools can read it, which writes into it: with `iscrowd`, and ids that are numbers."""
        annotations = [{"iscrowd": 0, **annotation} for annotation in self.document.get("annotations", ())]
        for place, annotation in enumerate(annotations, start=1):
            tidy_segmentation(annotation)
            if isinstance(annotation["id"], str):
                annotation["id"] = place if has_id(annotation["id"]) else 0
        return {**self.document, "annotations": annotations}

    def by_image(self) -> dict[Id, list[dict[str, Any]]]:
        """The annotations of each image id, in the file's order."""
        found: dict[Id, list[dict[str, Any]]] = {id_: [] for id_ in self.image_ids.tolist()}
        for id_, annotation in zip(self.image_ids[self.image].tolist(), self.annotations.items, strict=True):
            found[id_].append(annotation)
        return found


def evaluate_instances(
    gt_json: str | PathLike[str],
    results_json: str | PathLike[str],
    iou_type: IouType = "segm",
    *,
    max_detections: tuple[int, int, int] = MAX_DETECTIONS,
    reference: bool = False,
) -> InstanceScores:
    """AP of a results file; no results at all score 0 wherever there is a truth.

    Args:
        gt_json: a COCO instances file.
        results_json: a list of COCO results, with masks, boxes or both.
        iou_type: shapes that are compared, masks ("segm") or boxes ("bbox").
        max_detections: ascending limits of a category in an image; the first of the 12 numbers needs 100 among them.
        reference: pycocotools scores.

    Raises:
        BenchError: a file is unreadable or a record is not whole, with its place.
    """
    if iou_type not in IOU_TYPES:
        raise BenchError(f"unknown IoU type {kind_of(iou_type)}", f"known: {', '.join(IOU_TYPES)}")
    if len(max_detections) != 3 or not all(type(limit) is int and limit > 0 for limit in max_detections):
        raise BenchError(f"three limits of detections are whole numbers from 1, found {max_detections}")
    with no_garbage_collection():  # JSON has no cycles; the search would take a third of the time
        truth = read_ground_truth(Path(gt_json))
        results, image = read_results(Path(results_json), truth)
        truths, detections, warnings = columns_of(truth, results, image, iou_type)
        if 100 not in max_detections:
            warnings += ("AP, the first number, is that of 100 detections, which is no limit here",)
        if reference:
            return reference_scores(truth.for_reference(), list(results.items), iou_type, max_detections, warnings)
        return score_columns(truth, truths, detections, iou_type, max_detections, warnings)


def score_columns(
    truth: GroundTruth,
    truths: Truths,
    detections: Detections,
    iou_type: IouType,
    max_detections: tuple[int, int, int],
    warnings: tuple[str, ...],
) -> InstanceScores:
    """The 12 numbers of both sides, by the fastest engine that knows what they hold."""
    category_ids, detections = truth.category_ids.tolist(), known_detections(detections)
    tables = None
    small = len(category_ids) <= MOST_CATEGORIES and len(truths.image) <= MOST_ANNOTATIONS
    if small and max_detections == MAX_DETECTIONS:
        tables = engine_tables(truths, detections, len(truth.image_ids), len(category_ids))
    if tables is None:
        matches = match(truths, detections, max(max_detections))
        return scores_of(matches, category_ids, iou_type, max_detections, warnings)
    return score_tables(*tables, category_ids, iou_type, max_detections, warnings)


def read_ground_truth(path: Path) -> GroundTruth:
    """Read an instances file.

    Raises:
        BenchError: unreadable, or an id is missing, no number, or there twice.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise BenchError(
            f"{path}: expected an object, found {kind_of(document)}", "results and annotations may be swapped"
        )
    images, categories = (_records(path, document, key) for key in ("images", "categories"))
    annotations = _records(path, {"annotations": [], **document}, "annotations")
    order = ascending(images.unique())
    images = Records(images.place, [images.items[place] for place in order], order.tolist())
    image_ids, category_ids = images.ids("id"), categories.unique()
    category_ids = category_ids[ascending(category_ids)]
    annotations.unique()
    image = place_of(annotations.ids("image_id"), image_ids)
    category = place_of(annotations.ids("category_id"), category_ids)
    known = (image >= 0) & (category >= 0)
    annotations, left_out = annotations.take(known), int(np.count_nonzero(~known))
    return GroundTruth(
        path, document, image_ids, category_ids, images, annotations, image[known], category[known], left_out
    )


def read_results(path: Path, truth: GroundTruth) -> tuple[Records, Integers]:
    """The results in a file, and the place of each one's image.

    Raises:
        BenchError: unreadable, or a result is of an image that the truth does not have.
    """
    document = read_json(path)
    if not isinstance(document, list):
        raise BenchError(
            f"{path}: expected a list of results, found {kind_of(document)}",
            "a results file is a list of {image_id, category_id, score} with a segmentation or a bbox",
        )
    results = Records(str(path), document)
    ids = results.ids("image_id")
    image = place_of(ids, truth.image_ids)
    unknown = np.flatnonzero(image < 0)
    if len(unknown):
        first = kind_of(ids.tolist()[unknown[0]])
        raise results.error(
            int(unknown[0]),
            f"image {first} is not in {truth.path} ({len(unknown)} of {len(ids)} results are of such images)",
            "the results are of another split, or its annotations of fewer images",
        )
    return results, image


def columns_of(
    truth: GroundTruth, results: Records, image: Integers, iou_type: IouType
) -> tuple[Truths, Detections, tuple[str, ...]]:
    """Both sides as pycocotools reads them, a category that the truth lacks as -1, and where that misleads.

    Raises:
        BenchError: a record is not whole, with its place.
    """
    truths = truth.columns(iou_type)
    boxed = bool(len(results) and results.items[0].get("bbox", []) != [])
    category = place_of(results.ids("category_id"), truth.category_ids)
    if not boxed and len(results) and "segmentation" not in results.items[0]:
        raise results.error(0, "neither a segmentation nor a bbox", "is this a file of instance results?")
    sizes = np.zeros((len(image), 2), np.int64) if boxed and iou_type == "bbox" else truth.sizes[image]
    detections = detection_columns(results, image, category, sizes, iou_type, boxed=boxed)
    return truths, detections, tuple(_warnings(truth, truths, results, detections, iou_type, boxed))


def known_detections(detections: Detections) -> Detections:
    """The detections of categories that the truth has."""
    return detections.take(np.flatnonzero(detections.category >= 0))


def _warnings(
    truth: GroundTruth, truths: Truths, results: Records, detections: Detections, iou_type: IouType, boxed: bool
) -> Iterator[str]:
    """Warnings where the numbers are the reference's and not what one might think."""
    found = results.place
    if truth.left_out:
        yield f"{truth.path}: {truth.left_out} annotations of images or categories that it does not list are left out"
    if not len(truths.image):
        yield f"{truth.path}: no annotations: every number is -1, undefined"
    if not truths.named.all():
        yield (
            f"{truth.path}: an annotation has the id 0, which pycocotools takes for no truth once it is found: the "
            "detection that finds it counts as false. Number annotations from 1"
        )
    if any(item.get("ignore", 0) and not item.get("iscrowd", 0) for item in truth.annotations.items):
        yield f"{truth.path}: annotations have `ignore` set: pycocotools reads `iscrowd` in its stead"
    if not len(results):
        yield f"{found}: no results: 0 wherever there is a truth, -1 elsewhere (pycocotools crashes)"
        return
    unknown = detections.category < 0
    if unknown.any():
        ids = sorted_ids({item["category_id"] for item, out in zip(results.items, unknown, strict=True) if out})
        yield f"{found}: {unknown.sum()} results of categories that {truth.path} lacks are left out: {_some(ids)}"
    nan = np.isnan(detections.score)
    if nan.any():
        yield f"{found}: {nan.sum()} of {len(nan)} scores are NaN: those results are ranked last"
    if boxed:
        yield from _box_warnings(found, results.has("segmentation"), detections, iou_type)


def _box_warnings(found: str, masked: NDArray[np.bool_], detections: Detections, iou_type: IouType) -> Iterator[str]:
    empty = detections.area == 0
    if empty.all() and masked.any():
        yield (
            f"{found}: every box is empty, as Mask2Former writes them: they find nothing. Leave `bbox` away, and boxes "
            "are made from the masks"
        )
    elif empty.any() and iou_type == "bbox":
        yield f"{found}: {empty.sum()} of {len(empty)} boxes are empty: they find nothing"
    if iou_type == "segm" and not masked.all():
        yield f"{found}: {(~masked).sum()} of {len(masked)} results have no mask: their boxes are scored as masks"
    if iou_type == "segm" and masked.any() and not empty.all():
        yield (
            f"{found}: the results have boxes, whose areas pycocotools takes for the masks': the numbers of small, "
            "medium and large objects are not those of masks alone"
        )


def _records(path: Path, document: dict[str, Any], key: str) -> Records:
    if key not in document:
        raise BenchError(f"{path}: '{key}' is missing", "is this a COCO instances file?")
    if not isinstance(document[key], list):
        raise BenchError(f"{path}: '{key}': expected a list, found {kind_of(document[key])}")
    return Records(f"{path}: {key}", document[key])


def _some(ids: list[Any]) -> str:
    return ", ".join(map(str, ids[:5])) + (" ..." if len(ids) > 5 else "")
