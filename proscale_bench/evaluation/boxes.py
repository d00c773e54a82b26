"""Predictions of detectors: the best boxes of each image as COCO results, which have no masks.

Nothing here knows a model: a detector is any function from images to class scores and boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.batches import Batch
from proscale_bench.data.dataset import Dataset, Id, ImageEntry
from proscale_bench.data.pictures import Pixels
from proscale_bench.evaluation.images import read_resized
from proscale_bench.evaluation.results import Prediction
from proscale_bench.units import Size

TOP = 100  # pairs of box and class of an image, as COCO scores


@dataclass(frozen=True)
class FoundBoxes:
    """A detector's boxes in one image, best first.

    Args:
        scores: [N].
        classes: places among the detector's classes, [N].
        boxes: corners as fractions of the image's width and height, [N, 4] as (x0, y0, x1, y1).
    """

    scores: NDArray[np.floating[Any]]
    classes: NDArray[np.int64]
    boxes: NDArray[np.floating[Any]]


Detector = Callable[[Sequence[Pixels]], Iterable[FoundBoxes]]  # from images [h, w, 3], each of its own size


def best_boxes(scores: NDArray[np.floating[Any]], boxes: NDArray[np.floating[Any]], top: int = TOP) -> FoundBoxes:
    """The best pairs of box and class, as Deformable DETR chooses them: a box may be there with several classes.

    Args:
        scores: score of each class for each box, [Q, C]; of equal ones the earlier comes first.
        boxes: [Q, 4], see `FoundBoxes`.
        top: number of pairs.
    """
    flat = scores.reshape(-1)
    best = np.argsort(-flat, kind="stable")[:top]
    queries, classes = np.divmod(best, scores.shape[1])
    return FoundBoxes(flat[best], classes, boxes[queries])


def detections_of_boxes(
    image_id: Id, found: FoundBoxes, category_ids: Sequence[Id | None], image_size: Size
) -> list[dict[str, Any]]:
    """One image's boxes as COCO results, which JSON can hold.

    Args:
        category_ids: the data set's id of each of the detector's classes; None leaves boxes of a class out.
        image_size: (height, width) of the original image.

    Returns:
        Each with its box as (x, y, width, height) in pixels; a box may reach over the image's border.
    """
    height, width = image_size
    corners = found.boxes.astype(float) * (width, height, width, height)
    corners[:, 2:] = (corners[:, 2:] - corners[:, :2]).clip(min=0)
    ids = [category_ids[place] for place in found.classes.tolist()]
    return [
        {
            "image_id": image_id if isinstance(image_id, str) else int(image_id),
            "category_id": category_id,
            "bbox": box,
            "score": score,
        }
        for score, category_id, box in zip(found.scores.tolist(), ids, corners.tolist(), strict=True)
        if category_id is not None
    ]


class BoxPredictor:
    """Reads and resizes images in threads, and has a detector predict a batch at a time: a `runner.Predictor`.

    Args:
        category_ids: the data set's id of each of the detector's classes; None for a class that the data do not have,
            whose boxes are left out of the best.
        resize: (short side, longest side) in pixels, or None: images are given as they are.
    """

    def __init__(
        self, detector: Detector, dataset: Dataset, category_ids: Sequence[Id | None], resize: tuple[int, int] | None
    ) -> None:
        self._detector, self._dataset, self._resize = detector, dataset, resize
        self._ids = tuple(category_ids)

    def load(self, image: ImageEntry) -> Pixels:
        """An image as the detector gets it, [h, w, 3].

        Raises:
            BenchError: the image is unreadable, or not of the size that the annotations say.
        """
        return read_resized(self._dataset, image, self._resize)

    def predict(self, batch: Batch, loaded: Sequence[Pixels]) -> Iterator[Prediction]:
        """The predictions of a batch."""
        for image, found in zip(batch.images, self._detector(loaded), strict=True):
            size = (image.height_px, image.width_px)
            yield Prediction(image.id, detections=tuple(detections_of_boxes(image.id, found, self._ids, size)))
