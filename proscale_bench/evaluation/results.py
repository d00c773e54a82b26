"""A prediction for one image, what the metrics keep of it, and warnings about many files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from proscale_bench.data.dataset import Id
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.evaluation.panoptic import PanopticCounts
from proscale_bench.evaluation.semantic import SemanticCounts

Detection = Mapping[str, Any]  # a COCO result: image_id, category_id, score, segmentation, bbox


@dataclass(frozen=True)
class Prediction:
    """A prediction for one image, at its original size, in the data set's categories; None for a task not asked for.

    Args:
        image_id: the data set's id of the image.
        panoptic_ids: ids of segments, [H, W]; 0 is void.
        segments: id and category of every segment of that map.
        detections: instances as COCO results.
        labels: class indices, [H, W].
        best_score: of the query that is surest to see an object, where a model makes panoptic segments.
        exit: the exit that the image took, as a place among the model's, where it has some to choose from.
        same_map: whether the panoptic map is the one of the model in torch, where an exported file was run beside it.
    """

    image_id: Id
    panoptic_ids: NDArray[Any] | None = None
    segments: tuple[PredictedSegment, ...] = ()
    detections: tuple[Detection, ...] | None = None
    labels: NDArray[Any] | None = None
    best_score: float | None = None
    exit: int | None = None
    same_map: bool | None = None


@dataclass(frozen=True)
class ImageResult:
    """The counts that are kept of one image: small, and the same after a trip through JSON.

    Detections are judged at the end, since AP sorts those of all images together; the rest is judged at once.
    """

    image_id: Id
    panoptic: PanopticCounts | None = None
    segments: tuple[PredictedSegment, ...] = ()
    detections: tuple[Detection, ...] | None = None
    semantic: SemanticCounts | None = None
    best_score: float | None = None
    exit: int | None = None
    same_map: bool | None = None

    def document(self) -> dict[str, Any]:
        """The result as a line of the journal."""
        document: dict[str, Any] = {"image_id": self.image_id}
        if self.panoptic is not None:
            counts = self.panoptic
            document["panoptic"] = [counts.matches, counts.false_positives, counts.false_negatives]
            document["segments"] = [(segment.id, segment.category_id) for segment in self.segments]
        if self.best_score is not None:
            document["best_score"] = self.best_score
        if self.exit is not None:
            document["exit"] = self.exit
        if self.same_map is not None:
            document["same_map"] = self.same_map
        if self.detections is not None:
            document["detections"] = self.detections
        if self.semantic is not None:
            pixels = self.semantic
            document["semantic"] = [pixels.classes, pixels.intersection, pixels.truth, pixels.predicted]
        return document

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> ImageResult:
        panoptic, semantic, detections = (document.get(key) for key in ("panoptic", "semantic", "detections"))
        if panoptic is not None:
            matches, *unmatched = panoptic
            panoptic = PanopticCounts(tuple((category, iou) for category, iou in matches), *map(tuple, unmatched))
        return cls(
            image_id=document["image_id"],
            panoptic=panoptic,
            segments=tuple(PredictedSegment(*pair) for pair in document.get("segments", ())),
            detections=None if detections is None else tuple(detections),
            semantic=None if semantic is None else SemanticCounts(*map(tuple, semantic)),
            best_score=document.get("best_score"),
            exit=document.get("exit"),
            same_map=document.get("same_map"),
        )


class Cautions:
    """Warnings about many files, gathered: one line a kind, with their number and the first, not one an image."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, example: str) -> None:
        count, first = self._found.get(kind, (0, example))
        self._found[kind] = (count + 1, first)

    def lines(self) -> tuple[str, ...]:
        """One line a kind, in the order in which the kinds were first met."""
        return tuple(f"{kind}: {count:,}, the first {first}" for kind, (count, first) in self._found.items())
