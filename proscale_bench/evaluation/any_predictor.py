"""Predictions of somebody else's model: images as it was trained on them, and readers of what it answers.

A reader makes predictions of one kind of outputs: queries with classes and masks, or with classes and boxes. What
makes them of logits is this tool's post-processing, or the model's own (see `TheirMasks`, `TheirBoxes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import box_convert

from proscale_bench.cost.geometry import resized_size
from proscale_bench.data.batches import Batch, resize
from proscale_bench.data.dataset import Category, Dataset, Id, ImageEntry
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.data.pictures import read_image
from proscale_bench.data.truth import require_size
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.boxes import FoundBoxes, best_boxes, detections_of_boxes
from proscale_bench.evaluation.instance import detections_of
from proscale_bench.evaluation.model_predictor import BatchLogits, PostProcessor
from proscale_bench.evaluation.results import Detection, Prediction
from proscale_bench.models.postprocess import mask_boxes
from proscale_bench.models.running import autocast
from proscale_bench.results.profile import DType
from proscale_bench.units import Size

Scores = Literal["softmax", "sigmoid"]  # of classes: one of them or "no object", or each by itself
Call = Callable[[nn.Module, Tensor, Tensor], Any]  # a model, images [B, 3, H, W] and where they are [B, H, W]


@dataclass(frozen=True)
class ImageInput:
    """The way in which an image becomes what a model is given.

    Args:
        mean, std: of each channel, of values from 0 to 1.
        fixed: (height, width) that every image gets; None: as `--resize` says.
        stretched: to the fixed size; otherwise it fits into it, and the rest is padding.
        multiple: sides are padded to a multiple of it where no size is fixed.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    fixed: Size | None = None
    stretched: bool = False
    multiple: int = 1

    @property
    def words(self) -> str | None:
        """The fixed size as protocols have it; None where there is none."""
        if self.fixed is None:
            return None
        return f"{self.fixed[0]}x{self.fixed[1]} {'stretched' if self.stretched else 'padded'}"

    def size_of(self, image: ImageEntry, asked: Size | None) -> Size:
        """The size that an image is resized to.

        Args:
            asked: (short side, longest side) where no size is fixed; None leaves it as it is.
        """
        if self.fixed is not None and self.stretched:
            return self.fixed
        if self.fixed is not None:
            height, width = self.fixed
            scale = min(height / image.height_px, width / image.width_px)
            return max(1, int(scale * image.height_px + 0.5)), max(1, int(scale * image.width_px + 0.5))
        if asked is None:
            return image.height_px, image.width_px
        return resized_size(image.height_px, image.width_px, *asked)

    def padded(self, sizes: Sequence[Size]) -> Size:
        """The size of a batch of images of these sizes."""
        if self.fixed is not None:
            return self.fixed
        height, width = (-(-max(side) // self.multiple) * self.multiple for side in zip(*sizes, strict=True))
        return height, width

    def batch(self, images: Sequence[NDArray[np.uint8]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images [h, w, 3] as the model is given them: [B, 3, H, W], zeros where nothing is, and where they are."""
        height, width = self.padded([(image.shape[0], image.shape[1]) for image in images])
        pixels = torch.zeros(len(images), 3, height, width, device=device)
        there = torch.zeros(len(images), height, width, dtype=torch.int64, device=device)
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.std))
        for place, image in enumerate(images):
            own = torch.from_numpy(image).to(device).permute(2, 0, 1).float() / 255
            pixels[place, :, : image.shape[0], : image.shape[1]] = (own - mean) / std
            there[place, : image.shape[0], : image.shape[1]] = 1
        return pixels, there


@dataclass(frozen=True)
class GivenImage:
    """An image of a batch: its place there, the size that it has there, and the size of the batch."""

    entry: ImageEntry
    place: int
    size: Size
    padded_size: Size

    @property
    def original_size(self) -> Size:
        return self.entry.height_px, self.entry.width_px


class OutputReader(Protocol):
    """A maker of predictions from a model's outputs."""

    def read(self, outputs: Any, image: GivenImage) -> Prediction:
        """The prediction of one image of a batch.

        Raises:
            BenchError: these are no outputs of the kind that it reads.
        """


class AnyModelPredictor:
    """Reads and resizes images in threads, and has somebody else's model predict a batch at a time.

    Args:
        model: in eval mode, on its device.
        call: gives the model its images.
        asked: (short side, longest side) in pixels, or None; of no account where the model's input has one size.
    """

    def __init__(
        self,
        model: nn.Module,
        call: Call,
        dataset: Dataset,
        given: ImageInput,
        asked: Size | None,
        reader: OutputReader,
        dtype: DType = "fp32",
    ) -> None:
        self._model, self._call, self._dataset = model, call, dataset
        self._given, self._asked, self._reader, self._dtype = given, asked, reader, dtype

    def load(self, image: ImageEntry) -> NDArray[np.uint8]:
        """An image as the model gets it but for its padding, [h, w, 3].

        Raises:
            BenchError: the image is unreadable, or not of the size that the annotations say.
        """
        path = self._dataset.image_dir / image.file_name
        pixels = read_image(path)
        require_size(path, image, pixels.shape)
        return np.array(resize(pixels, self._given.size_of(image, self._asked)))

    def predict(self, batch: Batch, loaded: Sequence[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """The predictions of a batch, one by one."""
        device = next(self._model.parameters()).device
        pixels, there = self._given.batch(loaded, device)
        with torch.inference_mode(), autocast(device, self._dtype):
            outputs = self._call(self._model, pixels, there)
        for place, (image, one) in enumerate(zip(batch.images, loaded, strict=True)):
            size, padded = (one.shape[0], one.shape[1]), (pixels.shape[2], pixels.shape[3])
            with torch.inference_mode():
                yield self._reader.read(outputs, GivenImage(image, place, size, padded))


def output(outputs: Any, name: str) -> Tensor:
    """One of a model's outputs, float32.

    Raises:
        BenchError: it has none of that name.
    """
    found = getattr(outputs, name, None)
    if not isinstance(found, Tensor):
        raise BenchError(f"the model answers without '{name}'", "its configuration names another class of its family")
    return found.float()


class OurMasks:
    """Queries with classes and masks, by this tool's post-processing."""

    def __init__(self, post_processor: PostProcessor) -> None:
        self._post_processor = post_processor

    def read(self, outputs: Any, image: GivenImage) -> Prediction:
        logits = output(outputs, "class_queries_logits"), output(outputs, "masks_queries_logits")
        batch = BatchLogits(*logits, image.padded_size)
        entry = image.entry
        return self._post_processor.prediction(batch, image.place, entry.id, image.size, image.original_size)


@dataclass(frozen=True)
class OurBoxes:
    """Queries with classes and boxes: the best pairs of query and class, whatever their score.

    With softmax a query has one class, its likeliest but "no object", as in DETR; with sigmoid it may have several.
    Boxes are (center x, center y, width, height) as shares of the image.

    Args:
        category_ids: the data set's id of each of the model's classes; None for a class that the data have not.
        top: the number of pairs that are kept.
    """

    category_ids: Sequence[Id | None]
    scores: Scores
    top: int

    def read(self, outputs: Any, image: GivenImage) -> Prediction:
        logits = output(outputs, "logits")[image.place]
        corners = box_convert(output(outputs, "pred_boxes")[image.place], "cxcywh", "xyxy").cpu().numpy()
        if self.scores == "softmax":
            likeliest = logits.softmax(-1)[:, :-1].max(-1)
            best = likeliest.values.argsort(descending=True, stable=True)[: self.top].cpu().numpy()
            found = FoundBoxes(
                likeliest.values.cpu().numpy()[best], likeliest.indices.cpu().numpy()[best], corners[best]
            )
        else:
            found = best_boxes(logits.sigmoid().cpu().numpy(), corners, self.top)
        return _prediction(found, image, self.category_ids, image.original_size)


def _prediction(found: FoundBoxes, image: GivenImage, ids: Sequence[Id | None], size: Size) -> Prediction:
    """Boxes as a prediction; those of classes beyond the known ones, as "no object" is, are left out."""
    known = (*ids, *[None] * (1 + max(found.classes.tolist(), default=0)))
    return Prediction(image.entry.id, detections=tuple(detections_of_boxes(image.entry.id, found, known, size)))


@dataclass(frozen=True)
class TheirBoxes:
    """Queries with classes and boxes, by the image processor of the model's own family.

    Args:
        post_process: its `post_process_object_detection`.
        category_ids: see `OurBoxes`.
    """

    post_process: Callable[..., Any]
    category_ids: Sequence[Id | None]

    def read(self, outputs: Any, image: GivenImage) -> Prediction:
        sizes = [image.original_size]
        (theirs,) = self.post_process(one_of(outputs, image.place), threshold=0.0, target_sizes=sizes)
        found = FoundBoxes(*(theirs[name].cpu().numpy() for name in ("scores", "labels", "boxes")))
        return _prediction(found, image, self.category_ids, (1, 1))  # in pixels already


@dataclass(frozen=True)
class TheirMasks:
    """Queries with classes and masks, by the image processor of the model's own family.

    What it knows nothing of is as it does it: it takes padding for a part of the image, and scales masks by way of
    384x384 in several families.

    Args:
        semantic, panoptic, instances: its methods of outputs and sizes, made ready; None for a task not asked for.
    """

    categories: Sequence[Category]
    semantic: Callable[..., Any] | None
    panoptic: Callable[..., Any] | None
    instances: Callable[..., Any] | None
    places: NDArray[np.uint16] | None = None

    def read(self, outputs: Any, image: GivenImage) -> Prediction:
        alone, size = one_of(outputs, image.place), [image.original_size]
        ids, detections, labels = None, None, None
        segments: tuple[PredictedSegment, ...] = ()
        if self.panoptic is not None:
            (found,) = self.panoptic(alone, target_sizes=size)
            ids, segments = self._segments(found)
        if self.instances is not None:
            (found,) = self.instances(alone, target_sizes=size)
            detections = self._detections(image.entry, found)
        if self.semantic is not None:
            (likeliest,) = self.semantic(alone, target_sizes=size)
            labels = likeliest.cpu().numpy().astype(np.uint16)
            labels = labels if self.places is None else self.places[labels]
        return Prediction(image.entry.id, ids, segments, detections, labels)

    def _segments(self, found: dict[str, Any]) -> tuple[NDArray[np.int32], tuple[PredictedSegment, ...]]:
        """Ids from 1 and void 0, whatever theirs are. Some list what they fused once for each query."""
        theirs = found["segmentation"].cpu().numpy()
        ids = np.zeros(theirs.shape, np.int32)
        segments: list[PredictedSegment] = []
        for one in {one["id"]: one for one in found["segments_info"]}.values():
            own = theirs == one["id"]
            if own.any():
                segments.append(PredictedSegment(len(segments) + 1, self.categories[one["label_id"]].id))
                ids[own] = len(segments)
        return ids, tuple(segments)

    def _detections(self, image: ImageEntry, found: dict[str, Any]) -> tuple[Detection, ...]:
        """Instances of things, from a map of ids or a map for each."""
        theirs = found["segmentation"]
        kept = [
            (place, one)
            for place, one in enumerate(found["segments_info"])
            if self.categories[one["label_id"]].is_thing
        ]
        if not kept:
            return ()
        masks = torch.stack([theirs[place] == 1 if theirs.ndim == 3 else theirs == one["id"] for place, one in kept])
        scores = [one["score"] for _, one in kept]
        ids = [self.categories[one["label_id"]].id for _, one in kept]
        return tuple(detections_of(image.id, scores, ids, masks.cpu().numpy(), mask_boxes(masks).cpu().numpy()))


class _OfOneImage:
    """A model's outputs of one image of a batch, float32, under their own names."""

    patch_offsets = None

    def __init__(self, outputs: Any, place: int) -> None:
        for name in ("class_queries_logits", "masks_queries_logits", "logits", "pred_boxes"):
            if isinstance(found := getattr(outputs, name, None), Tensor):
                setattr(self, name, found[place : place + 1].float())


def one_of(outputs: Any, place: int) -> Any:
    """The outputs of one image of a batch, as post-processing of transformers takes them."""
    return _OfOneImage(outputs, place)
