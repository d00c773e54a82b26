"""Instance AP in memory, image by image: equal to pycocotools to the last digit, whatever order the images come in.

Kept of each detection are its score and which truths it found, some 50 bytes: memory does not grow with the masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Category, Id, ImageEntry
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import (
    IOU_TYPES,
    MAX_DETECTIONS,
    InstanceScores,
    Integers,
    IouType,
    Matches,
    reference_scores,
    scores_of,
)
from proscale_bench.evaluation.ids import Ids, id_column, place_of, sorted_ids
from proscale_bench.evaluation.instance_matching import match
from proscale_bench.evaluation.instance_records import Records, detection_columns, truth_columns
from proscale_bench.evaluation.run_lengths import encode_masks

BATCH_IMAGES, BATCH_DETECTIONS = 64, 2048  # scored at a time: some megabytes of records


class InstanceScorer:
    """AP of a data set, mask and box, one image after another.

    A detection's own box counts for `bbox` alone: for masks it is left away, as detectron2 does, since pycocotools
    would take its area for the mask's. Where an image's detections do not all have one, boxes are made from the masks.

    Args:
        categories: those to score; annotations and detections of others are left out, as pycocotools does.
        reference: pycocotools scores; it keeps every record.
    """

    def __init__(
        self, categories: Sequence[Category], iou_types: Sequence[IouType] = IOU_TYPES, reference: bool = False
    ) -> None:
        self.category_ids = tuple(sorted_ids({category.id for category in categories}))
        self.iou_types = tuple(iou_types)
        self.reference = reference
        self._known = id_column(self.category_ids)
        self._ids: set[Id] = set()
        self._waiting: list[_Image] = []
        self._detections_waiting = 0
        self._scored: list[_Batch] = []

    def add(
        self, image: ImageEntry, truths: Sequence[Mapping[str, Any]], detections: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take one image; some images are scored at a time, which is faster.

        Args:
            truths: its COCO annotations, in the order of their file; `image_id` is of no account.
            detections: its COCO results, as `detections_of` makes them; likewise.

        Raises:
            BenchError: a record of this image, or of one before it, is not whole.
            ValueError: the image was added before.
        """
        if image.id in self._ids:
            raise ValueError(f"image {image.id} was added before")
        self._ids.add(image.id)
        self._waiting.append(_Image(image, truths, detections))
        self._detections_waiting += len(detections)
        if self._detections_waiting >= BATCH_DETECTIONS or len(self._waiting) >= BATCH_IMAGES:
            self._score_waiting()

    @property
    def image_ids(self) -> tuple[Id, ...]:
        """Ids of the images added, ascending: what `Matches.image` counts."""
        return tuple(sorted_ids(self._ids))

    def matches(self, iou_type: IouType) -> Matches:
        """The detections of all images that found a truth; see `bootstrap.average_precisions`.

        Raises:
            BenchError: a record is not whole.
        """
        self._score_waiting()
        ids = id_column(self.image_ids)
        parts = []
        for batch in self._scored:
            found = batch.matches[iou_type]
            image, truth_image = (place_of(batch.image_ids[one], ids) for one in (found.image, found.truth_image))
            parts.append(replace(found, image=image, truth_image=truth_image))
        return _joined(parts)

    def scores(self) -> dict[IouType, InstanceScores]:
        """The scores of the images added so far.

        Raises:
            BenchError: a record is not whole.
        """
        self._score_waiting()
        if self.reference:
            return {iou_type: self._reference(iou_type) for iou_type in self.iou_types}
        return {kind: scores_of(self.matches(kind), self.category_ids, kind) for kind in self.iou_types}

    def _score_waiting(self) -> None:
        if not self._waiting:
            return
        batches = []
        try:
            for boxed in (True, False):
                alike = [one for one in self._waiting if one.boxed == boxed]
                if alike:
                    batches.append(self._batch(alike, boxed, "annotations", "detections"))
        except BenchError:  # in one of them, which names itself when it is alone
            for one in self._waiting:
                name = f"image {one.entry.id}"
                self._batch([one], one.boxed, f"{name}: annotations", f"{name}: detections")
            raise
        self._scored += batches
        self._waiting, self._detections_waiting = [], 0

    def _batch(self, images: list[_Image], boxed: bool, truths_place: str, detections_place: str) -> _Batch:
        sizes = np.array([(one.entry.height_px, one.entry.width_px) for one in images], np.int64)
        truths, truth_image, truth_category = self._records(truths_place, [one.truths for one in images])
        found, image, category = self._records(detections_place, [one.detections for one in images])
        matches = {}
        for iou_type in self.iou_types:
            told = truth_columns(truths, truth_image, truth_category, sizes[truth_image], iou_type)
            own_boxes = boxed and iou_type == "bbox"
            columns = detection_columns(found, image, category, sizes[image], iou_type, boxed=own_boxes)
            matches[iou_type] = match(told, columns, MAX_DETECTIONS[-1])
        ids = id_column([one.entry.id for one in images])
        return _Batch(ids, matches, images if self.reference else [])

    def _records(self, place: str, of_images: list[Sequence[Mapping[str, Any]]]) -> tuple[Records, Integers, Integers]:
        """Records of categories that are scored, each one's image in the batch, and its category's place."""
        records = Records(place, [record for of_image in of_images for record in of_image])
        image = np.repeat(np.arange(len(of_images)), [len(of_image) for of_image in of_images])
        category = place_of(records.ids("category_id"), self._known)
        known = category >= 0
        return records.take(known), image[known], category[known]

    def _reference(self, iou_type: IouType) -> InstanceScores:
        images, annotations, results = [], [], []
        left_away = "bbox" if iou_type == "segm" else None
        for one in (one for batch in self._scored for one in batch.images):
            entry, own = one.entry, {"image_id": one.entry.id}
            images.append({"id": entry.id, "height": entry.height_px, "width": entry.width_px})
            annotations += [{**truth, **own} for truth in one.truths]
            for found in one.detections:
                results.append({key: value for key, value in found.items() if key != left_away} | own)
        categories = [{"id": id_} for id_ in self.category_ids]
        truth = {"images": images, "annotations": annotations, "categories": categories}
        return reference_scores(truth, results, iou_type)


@dataclass(frozen=True)
class _Image:
    """An image and its records."""

    entry: ImageEntry
    truths: Sequence[Mapping[str, Any]]
    detections: Sequence[Mapping[str, Any]]

    @property
    def boxed(self) -> bool:
        """True if all detections have boxes of their own."""
        return all("bbox" in found for found in self.detections)


@dataclass(frozen=True)
class _Batch:
    """The matches of some images: `Matches.image` counts `image_ids`; records are kept for the reference alone."""

    image_ids: Ids
    matches: dict[IouType, Matches]
    images: list[_Image]


def _joined(parts: Sequence[Matches]) -> Matches:
    """Several tables as one, detections by image."""
    columns = {}
    for name in (field.name for field in fields(Matches)):
        nothing = np.empty(0, float if name == "score" else np.int64)
        columns[name] = np.concatenate([nothing, *(getattr(part, name) for part in parts)])
    order = np.argsort(columns["image"], kind="stable")
    sorted_ones = ("image", "category", "score", "rank", "matched", "ignored")
    return Matches(**{name: values[order] if name in sorted_ones else values for name, values in columns.items()})


def detections_of(
    image_id: Id,
    scores: Sequence[float] | NDArray[Any],
    category_ids: Sequence[Id] | NDArray[Any],
    masks: NDArray[np.bool_],
    boxes: NDArray[np.floating[Any]],
) -> list[dict[str, Any]]:
    """One image's instances as COCO results, which JSON can hold.

    Args:
        scores, category_ids: [N].
        masks: [N, H, W].
        boxes: [N, 4], (x0, y0, x1, y1) around each mask, x1 and y1 just outside it.

    Returns:
        Each with its mask as run lengths and, as pycocotools makes it from them, its box as (x, y, width, height).
    """
    from hotcoco import mask

    encoded = encode_masks(masks, boxes)
    around = np.asarray(mask.to_bbox(encoded)).reshape(-1, 4).tolist() if encoded else []
    return [
        {
            "image_id": image_id if isinstance(image_id, str) else int(image_id),
            "category_id": category_id if isinstance(category_id, str) else int(category_id),
            "segmentation": runs,
            "bbox": box,
            "score": float(score),
        }
        for score, category_id, runs, box in zip(scores, category_ids, encoded, around, strict=True)
    ]
