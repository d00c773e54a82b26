"""Predictions in pictures of which no truth is known: files of them in COCO's formats, and pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.bench.evaluate import COCO_RESIZE, Resize
from proscale_bench.bench.execution import ExecutionSettings
from proscale_bench.bench.predictors import predictor_of
from proscale_bench.bench.weights import Weights
from proscale_bench.config.choices import OFFICIAL_THRESHOLDS, ClassesBy, PostprocessingThresholds
from proscale_bench.data.batches import form_batches, load_ahead
from proscale_bench.data.dataset import Category, Dataset, Id, ImageEntry
from proscale_bench.data.image_files import ImageFiles
from proscale_bench.data.pictures import read_image
from proscale_bench.data.truth import png_name
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import Task

if TYPE_CHECKING:
    from PIL.Image import Image

    from proscale_bench.evaluation.results import Detection, Prediction

COMMAND = "predict"
PICTURE_DIR = "pictures"
DRAWN_SCORE = 0.3  # from which on a detector's box is drawn; files have all
ALL_TASKS: tuple[Task, ...] = ("panoptic", "instance", "semantic")


@dataclass(frozen=True)
class PredictionRequest:
    """Pictures to predict, and how.

    Args:
        resize: (short side, longest side) in pixels that pictures are resized to; None: given as they are.
        classes_by: how classes of weights meet the categories: see `in_order_of`.
    """

    files: ImageFiles
    categories: tuple[Category, ...]
    tasks: tuple[Task, ...] = ALL_TASKS
    resize: Resize | None = COCO_RESIZE
    batch_size: int = 1
    thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS
    classes_by: ClassesBy = "name"

    @property
    def dataset(self) -> Dataset:
        """The pictures as a data set without any truth."""
        return Dataset(
            name=str(self.files.root),
            images=self.files.images,
            image_dir=self.files.root,
            categories=self.categories,
            panoptic=None,
            panoptic_dir=None,
            instances_json=None,
            semantic_dir=None,
            digest="",
        )


@dataclass(frozen=True)
class NamedSegment:
    """A segment of a panoptic map."""

    id: int
    category_id: Id
    name: str
    is_thing: bool
    area_px: int


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """A picture's prediction at its own size; None or empty for a task that was not asked for.

    Args:
        panoptic: ids of segments, [H, W]; 0 is no segment.
        segments: the segments of that map.
        instances: COCO results, best first: dictionaries with `category_id`, `score`, `segmentation` and `bbox`; a
            detector's have no `segmentation`.
        semantic: places in the list of categories, [H, W].
    """

    file: Path
    image_id: Id
    panoptic: NDArray[Any] | None
    segments: tuple[NamedSegment, ...]
    instances: tuple[Detection, ...]
    semantic: NDArray[Any] | None


def predictions(
    request: PredictionRequest, settings: ExecutionSettings, weights: Weights
) -> Iterator[tuple[ImageEntry, Prediction]]:
    """Predict picture by picture, exactly as `evaluate_model` does.

    Batches are formed of pictures of one padded size, so pictures come in another order than they are listed where a
    batch holds more than one.

    Raises:
        BenchError: no such device, a model of other classes, a picture that cannot be read any more, no memory.
    """
    import torch

    from proscale_bench.evaluation.runner import IMAGES_AHEAD, LOADERS
    from proscale_bench.measure.memory import is_out_of_memory, memory_guard
    from proscale_bench.models.inference import prepare_for_inference
    from proscale_bench.models.running import check_device, global_state

    check_device(settings.device, settings.dtype)
    dataset = request.dataset
    chosen = predictor_of(
        weights, dataset, request.tasks, request.resize, settings.dtype, request.thresholds, request.classes_by
    )
    predictor = chosen.predictor
    batches = form_batches(dataset.images, request.batch_size, *(request.resize or (None, 0)))
    ahead = max(2, IMAGES_AHEAD // max((len(batch.images) for batch in batches), default=1))
    guard = memory_guard() if settings.device == "cpu" else nullcontext()
    with global_state(settings.dtype, settings.threads), guard:
        prepare_for_inference(
            weights.model.to(torch.device(settings.device)),
            optimizations=settings.optimizations,
            sampling_name=settings.sampling,
            compiled=settings.compiled,
        )
        try:
            loading = load_ahead(batches, lambda batch: [predictor.load(one) for one in batch.images], LOADERS, ahead)
            for batch, loaded in zip(batches, loading, strict=True):
                yield from zip(batch.images, predictor.predict(batch, loaded), strict=True)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BenchError(
                f"out of memory at batch size {request.batch_size}", "use a smaller --batch-size or --resize"
            ) from error


def write_predictions(
    folder: Path,
    request: PredictionRequest,
    found: Iterator[tuple[ImageEntry, Prediction]],
    *,
    pictures: bool = True,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> str | None:
    """Fill a new folder: `panoptic.json`, `panoptic/`, `instances.json`, `semantic/` and `pictures/`, of panoptic
    segments, or of boxes where they alone are predicted.

    `panoptic.json` lists the images and categories too. Detections come in the order of the pictures.

    Returns:
        The reason why no picture has a panoptic segment; None where one has, or the task was not asked for.

    Raises:
        BenchError: as of `predictions`, or the folder cannot be written.
    """
    from proscale_bench.evaluation.saved import INSTANCES_JSON, PANOPTIC_JSON, PredictionWriter, list_of_json
    from proscale_bench.files import write_atomic

    writer = PredictionWriter(folder)
    images = request.files.images
    place = {image.id: index for index, image in enumerate(images)}
    segments: dict[Id, list[dict[str, Id]]] = {}
    waiting: dict[int, Sequence[Any]] = {}  # detections of pictures that come before their turn
    turn, best_score = 0, 0.0
    with list_of_json(folder / INSTANCES_JSON if {"instance", "boxes"} & set(request.tasks) else None) as append:
        for done, (image, prediction) in enumerate(found, start=1):
            writer.write(image, prediction)
            best_score = max(best_score, prediction.best_score or 0.0)
            segments[image.id] = [{"id": one.id, "category_id": one.category_id} for one in prediction.segments]
            if pictures and (prediction.panoptic_ids is not None or request.tasks == ("boxes",)):
                stream = io.BytesIO()
                draw(request, image, prediction).save(stream, "png", compress_level=3)
                write_atomic(folder / PICTURE_DIR / png_name(image), stream.getvalue())
            waiting[place[image.id]] = prediction.detections or ()
            while turn in waiting:
                for detection in waiting.pop(turn):
                    append(detection)
                turn += 1
            on_image(done, len(images))
    if "panoptic" not in request.tasks:
        return None
    write_atomic(folder / PANOPTIC_JSON, json.dumps(_panoptic_document(request, segments)) + "\n")
    return None if any(segments.values()) else request.thresholds.unreached(best_score)


def named(request: PredictionRequest, found: Sequence[tuple[ImageEntry, Prediction]]) -> list[PredictedImage]:
    """Predictions with the names of their segments, in the order of the pictures."""
    categories = {category.id: category for category in request.categories}
    by_image = {image.id: prediction for image, prediction in found}
    result = []
    for image in request.files.images:
        prediction = by_image[image.id]
        areas = np.bincount([0] if prediction.panoptic_ids is None else prediction.panoptic_ids.reshape(-1))
        segments = tuple(
            NamedSegment(one.id, one.category_id, known.name, known.is_thing, int(areas[one.id]))
            for one in prediction.segments
            for known in (categories[one.category_id],)
        )
        file = request.files.root / image.file_name
        detections = tuple(prediction.detections or ())
        result.append(PredictedImage(file, image.id, prediction.panoptic_ids, segments, detections, prediction.labels))
    return result


def draw(request: PredictionRequest, image: ImageEntry, prediction: Prediction) -> Image:
    """A picture with its panoptic segments and their names, else with its boxes; see `render.overlay`."""
    from proscale_bench.render.overlay import DrawnBox, DrawnSegment, boxed, overlaid

    classes = {category.id: (index, category.name) for index, category in enumerate(request.categories)}
    pixels = read_image(request.files.root / image.file_name)
    if prediction.panoptic_ids is None:
        seen = [one for one in prediction.detections or () if one["score"] >= DRAWN_SCORE]
        known = [(one, *classes[one["category_id"]]) for one in seen]
        return boxed(pixels, [DrawnBox(one["bbox"], place, f"{name} {one['score']:.2f}") for one, place, name in known])
    return overlaid(
        pixels,
        prediction.panoptic_ids,
        [DrawnSegment(one.id, *classes[one.category_id], None) for one in prediction.segments],
    )


def _panoptic_document(request: PredictionRequest, segments: dict[Id, list[dict[str, Id]]]) -> dict[str, Any]:
    images = request.files.images
    return {
        "images": [
            {"id": one.id, "file_name": one.file_name, "height": one.height_px, "width": one.width_px} for one in images
        ],
        "annotations": [
            {"image_id": one.id, "file_name": png_name(one), "segments_info": segments[one.id]} for one in images
        ],
        "categories": [{"id": one.id, "name": one.name, "isthing": int(one.is_thing)} for one in request.categories],
    }
