"""Predictions that a model makes: panoptic maps, instances and class maps at the size of the original image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proscale_bench.config.choices import OFFICIAL_THRESHOLDS, PostprocessingThresholds
from proscale_bench.data.batches import Batch, padded_size
from proscale_bench.data.dataset import Category, Dataset, Id, ImageEntry
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.images import read_resized
from proscale_bench.evaluation.instance import detections_of
from proscale_bench.evaluation.results import Prediction
from proscale_bench.models import postprocess
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.running import autocast
from proscale_bench.results.accuracy import Task
from proscale_bench.results.profile import DType
from proscale_bench.units import Size


@dataclass(frozen=True)
class BatchLogits:
    """A model's output for a batch of images, float32, and the size that post-processing needs.

    Args:
        pred_logits: class logits of every query, [B, Q, K+1], the last "no object".
        pred_masks: mask logits of every query, [B, Q, h, w].
        padded_size: (height, width) in pixels that the images were padded to.
        exits: the exit that each image took, as a place among the model's; empty where it has none to choose from.
    """

    pred_logits: Tensor
    pred_masks: Tensor
    padded_size: Size
    exits: tuple[int, ...] = ()


def run_model(model: Mask2Former, images: Sequence[NDArray[np.uint8]], dtype: DType = "fp32") -> BatchLogits:
    """The model's logits for images [h, w, 3] of one padded shape, computed on the model's device."""
    device = model.pixel_mean.device
    tensors = [torch.from_numpy(image).to(device).permute(2, 0, 1).float() for image in images]
    with torch.inference_mode(), autocast(device, dtype):
        out = model(tensors)
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    chooses = out.gates and model.encoder.spec.exits  # type: ignore[attr-defined] # a gate stands before exits
    exits = tuple(out.gates[0].argmax(dim=1).tolist()) if chooses else ()
    return BatchLogits(out.pred_logits.float(), out.pred_masks.float(), padded_size((height, width)), exits)


class PostProcessor:
    """Turns logits into predictions in the data set's own categories, in float32.

    Args:
        categories: the data set's categories, in the order of the model's classes.
        tasks: tasks to predict.
        thresholds: thresholds that a query must reach.
        places: the data set's class index of each of them; None where their order is the data set's.
    """

    def __init__(
        self,
        categories: Sequence[Category],
        tasks: Collection[Task],
        thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
        places: Sequence[int] | None = None,
    ) -> None:
        self.tasks, self.thresholds = frozenset(tasks), thresholds
        self.places = None if places is None else np.array(places, dtype=np.uint16)
        self.category_ids = tuple(category.id for category in categories)
        self.things = frozenset(index for index, category in enumerate(categories) if category.is_thing)

    @torch.inference_mode()
    def prediction(
        self, logits: BatchLogits, index: int, image_id: Id, image_size: Size, output_size: Size
    ) -> Prediction:
        """The prediction for one image of a batch.

        Args:
            index: the image's place in the batch.
            image_id: the data set's id of the image.
            image_size: (height, width) in pixels, as the model was given it.
            output_size: (height, width) in pixels of the original.
        """
        classes = logits.pred_logits[index]
        masks = postprocess.resize_masks(
            logits.pred_masks[index], logits.padded_size, image_size, output_size, skip_identities=True
        )
        ids, detections, labels, best_score = None, None, None, None
        segments: tuple[PredictedSegment, ...] = ()
        if "panoptic" in self.tasks:
            found = postprocess.panoptic(classes, masks, self.things, self.thresholds)
            ids = found.map.cpu().numpy()
            best_score = postprocess.best_score(classes)
            segments = tuple(
                PredictedSegment(segment.id, self.category_ids[segment.category]) for segment in found.segments
            )
        if {"instance", "boxes"} & self.tasks:
            best = postprocess.instances(classes, masks, top_k=self.thresholds.instances, thing_classes=self.things)
            scores, places, shapes, boxes = (
                tensor.cpu().numpy() for tensor in (best.scores, best.classes, best.masks, best.boxes)
            )
            category_ids = [self.category_ids[place] for place in places.tolist()]
            detections = tuple(detections_of(image_id, scores, category_ids, shapes, boxes))
        if "semantic" in self.tasks:
            likeliest = postprocess.semantic(classes, masks).max(dim=0).indices
            labels = likeliest.to(torch.int16).cpu().numpy().astype(np.uint16)
            labels = labels if self.places is None else self.places[labels]
        exit_ = logits.exits[index] if logits.exits else None
        return Prediction(image_id, ids, segments, detections, labels, best_score, exit_)


class ImagePredictor:
    """Reads and resizes images in threads, and predicts a batch at a time with whatever gives logits.

    Args:
        classes: number of the model's classes.
        resize: (short side, longest side) in pixels, or None: images are given as they are.
        thresholds: thresholds of post-processing.
        categories: the data set's, in the order of the model's classes; None: the data set's order.

    Raises:
        BenchError: the model has other classes than the data set.
    """

    def __init__(
        self,
        classes: int,
        dataset: Dataset,
        tasks: Collection[Task],
        resize: tuple[int, int] | None,
        thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
        categories: Sequence[Category] | None = None,
    ) -> None:
        if classes != len(dataset.categories):
            raise BenchError(
                f"the weights know {classes} classes, {dataset.name} has {len(dataset.categories)} categories",
                "weights and data must be of the same classes, in the same order",
            )
        self._dataset, self._resize = dataset, resize
        known = dataset.categories if categories is None else tuple(categories)
        places = None if known == dataset.categories else [dataset.class_of[category.id] for category in known]
        self._post_processor = PostProcessor(known, tasks, thresholds, places)

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> BatchLogits:
        """The model's output for images [h, w, 3] of one padded size."""
        raise NotImplementedError

    def load(self, image: ImageEntry) -> NDArray[np.uint8]:
        """An image as the model gets it, [h, w, 3].

        Raises:
            BenchError: the image is unreadable, or not of the size that the annotations say.
        """
        return read_resized(self._dataset, image, self._resize)

    def predict(self, batch: Batch, loaded: Sequence[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """The predictions of a batch, one by one: masks at the original size are large."""
        logits = self.logits(loaded)
        for index, (image, pixels) in enumerate(zip(batch.images, loaded, strict=True)):
            height, width, _ = pixels.shape
            size = (image.height_px, image.width_px)
            yield self._post_processor.prediction(logits, index, image.id, (height, width), size)


class ModelPredictor(ImagePredictor):
    """Predicts with a model in torch; see `ImagePredictor`.

    Args:
        model: prepared for inference, on its device.
        dtype: number format of the forward pass.
    """

    def __init__(
        self,
        model: Mask2Former,
        dataset: Dataset,
        tasks: Collection[Task],
        resize: tuple[int, int] | None,
        dtype: DType = "fp32",
        thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
        categories: Sequence[Category] | None = None,
    ) -> None:
        super().__init__(model.decoder.class_head.out_features - 1, dataset, tasks, resize, thresholds, categories)
        self._model, self._dtype = model, dtype

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> BatchLogits:
        return run_model(self._model, images, self._dtype)


class ExportedPredictor(ImagePredictor):
    """Predicts with an exported file, and holds every panoptic map against the one of the model in torch.

    Args:
        run: gives the file's logits of images [h, w, 3] of one padded size.
        reference: the model in torch, prepared for inference; None: maps are held against nothing.
    """

    def __init__(
        self,
        run: Callable[[Sequence[NDArray[np.uint8]]], BatchLogits],
        reference: Mask2Former | None,
        classes: int,
        dataset: Dataset,
        tasks: Collection[Task],
        resize: tuple[int, int] | None,
        thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
        categories: Sequence[Category] | None = None,
    ) -> None:
        super().__init__(classes, dataset, tasks, resize, thresholds, categories)
        self._run = run
        self._torch = None
        if reference is not None and "panoptic" in tasks:
            self._torch = ModelPredictor(reference, dataset, ["panoptic"], resize, "fp32", thresholds, categories)

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> BatchLogits:
        return self._run(images)

    def predict(self, batch: Batch, loaded: Sequence[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """See `ImagePredictor.predict`; `same_map` says whether torch's panoptic map is the same, pixel by pixel."""
        predictions = super().predict(batch, loaded)
        if self._torch is None:
            yield from predictions
            return
        for ours, theirs in zip(predictions, self._torch.predict(batch, loaded), strict=True):
            yield replace(ours, same_map=_same_map(ours, theirs))


def _same_map(one: Prediction, other: Prediction) -> bool:
    """Both see the same segments: ids, categories, and every pixel."""
    ours, theirs = one.panoptic_ids, other.panoptic_ids
    if ours is None or theirs is None:
        return False
    return one.segments == other.segments and bool(np.array_equal(ours, theirs))
