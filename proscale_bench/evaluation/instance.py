"""Instance AP in memory, image by image: equal to pycocotools to the last digit, whatever order the images come in.

Kept of each detection are its score and which truths it found, some 50 bytes: memory does not grow with the masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Category, ImageEntry
from proscale_bench.evaluation.average_precision import (
    IOU_TYPES,
    MAX_DETECTIONS,
    Floats,
    InstanceScores,
    Integers,
    IouType,
    Matches,
    score_matches,
)
from proscale_bench.evaluation.instance_matching import match
from proscale_bench.evaluation.instance_records import Records, detection_columns, place_of, truth_columns
from proscale_bench.evaluation.run_lengths import encode_masks


class InstanceScorer:
    """AP of a data set, mask and box, one image after another.

    A detection's own box counts for `bbox` alone: for masks it is left away, as detectron2 does, since pycocotools
    would take its area for the mask's. Where there is none, it is made from the mask.

    Args:
        categories: those to score; annotations and detections of others are left out, as pycocotools does.
        reference: pycocotools scores; it keeps every record.
    """

    def __init__(
        self, categories: Sequence[Category], iou_types: Sequence[IouType] = IOU_TYPES, reference: bool = False
    ) -> None:
        self.category_ids = tuple(sorted({category.id for category in categories}))
        self.iou_types = tuple(iou_types)
        self._known = np.array(self.category_ids, np.int64)
        self._matches: dict[int, dict[IouType, Matches]] = {}
        self._records: dict[int, tuple[ImageEntry, Records, Records]] | None = {} if reference else None

    def add(
        self, image: ImageEntry, truths: Sequence[Mapping[str, Any]], detections: Sequence[Mapping[str, Any]]
    ) -> None:
        """Score one image.

        Args:
            truths: its COCO annotations, in the order of their file; `image_id` is of no account.
            detections: its COCO results, as `detections_of` makes them.

        Raises:
            BenchError: a record is not whole.
            ValueError: the image was added before.
        """
        if image.id in self._matches:
            raise ValueError(f"image {image.id} was added before")
        told, told_of = self._known_records(f"image {image.id}: annotations", truths)
        found, found_of = self._known_records(f"image {image.id}: detections", detections)
        self._matches[image.id] = {
            iou_type: self._match(image, told, told_of, found, found_of, iou_type) for iou_type in self.iou_types
        }
        if self._records is not None:
            self._records[image.id] = (image, told, found)

    @property
    def image_ids(self) -> tuple[int, ...]:
        """Of the images added, ascending: what `Matches.image` counts."""
        return tuple(sorted(self._matches))

    def matches(self, iou_type: IouType) -> Matches:
        """Which detections found a truth, of all images; see `bootstrap.average_precisions`."""
        parts = [
            replace(part, image=np.full_like(part.image, place), truth_image=np.full_like(part.truth_image, place))
            for place, part in enumerate(self._matches[id_][iou_type] for id_ in self.image_ids)
        ]
        return join_matches(parts)

    def scores(self) -> dict[IouType, InstanceScores]:
        """Of the images added so far."""
        if self._records is not None:
            return {iou_type: self._reference(iou_type) for iou_type in self.iou_types}
        return {
            iou_type: score_matches(self.matches(iou_type), self.category_ids, iou_type) for iou_type in self.iou_types
        }

    def _known_records(self, place: str, items: Sequence[Mapping[str, Any]]) -> tuple[Records, Integers]:
        """Records of categories that are scored, and the places of those."""
        records = Records(place, items)
        category = place_of(records.integers("category_id"), self._known)
        return records.take(category >= 0), category[category >= 0]

    def _match(
        self,
        image: ImageEntry,
        truths: Records,
        truth_category: Integers,
        detections: Records,
        category: Integers,
        iou_type: IouType,
    ) -> Matches:
        size = (image.height_px, image.width_px)
        none = np.zeros(max(len(truths), len(detections)), np.int64)
        sizes = np.full((len(none), 2), size)
        told, found = len(truths), len(detections)
        return match(
            truth_columns(truths, none[:told], truth_category, sizes[:told], iou_type),
            detection_columns(
                detections,
                none[:found],
                category,
                sizes[:found],
                iou_type,
                boxed=iou_type == "bbox" and bool(detections.has("bbox").all()),
            ),
            MAX_DETECTIONS[-1],
        )

    def _reference(self, iou_type: IouType) -> InstanceScores:
        from proscale_bench.evaluation.instance_reference import reference_scores

        images, annotations, results = [], [], []
        for image, truths, detections in (self._records or {}).values():
            images.append({"id": image.id, "height": image.height_px, "width": image.width_px})
            annotations += [{**truth, "image_id": image.id} for truth in truths.items]
            own = {"bbox"} if iou_type == "segm" or not detections.has("bbox").all() else set()
            results += [
                {**{key: value for key, value in one.items() if key not in own}, "image_id": image.id}
                for one in detections.items
            ]
        categories = [{"id": id_} for id_ in self.category_ids]
        truth = {"images": images, "annotations": annotations, "categories": categories}
        return reference_scores(truth, results, iou_type)


def join_matches(parts: Sequence[Matches]) -> Matches:
    """The matches of several images as one table."""
    columns: dict[str, list[NDArray[Any]]] = {
        name: [getattr(part, name) for part in parts] for name in Matches.__dataclass_fields__
    }
    empty: dict[str, NDArray[Any]] = {"score": np.empty(0)}
    return Matches(
        **{
            name: np.concatenate(column) if column else empty.get(name, np.empty(0, np.int64))
            for name, column in columns.items()
        }
    )


def detections_of(
    image_id: int,
    scores: Sequence[float] | NDArray[Any],
    category_ids: Sequence[int] | NDArray[Any],
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
            "image_id": int(image_id),
            "category_id": int(category_id),
            "segmentation": runs,
            "bbox": box,
            "score": float(score),
        }
        for score, category_id, runs, box in zip(scores, category_ids, encoded, around, strict=True)
    ]
