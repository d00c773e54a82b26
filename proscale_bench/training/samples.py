"""What training reads: an image with the classes and masks of what is to be found in it, varied as a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.recipe import Augmentation
from proscale_bench.data.dataset import Category, Dataset, ImageEntry
from proscale_bench.data.embedded_training import NOT_LEARNT, OnProgress, training_shapes
from proscale_bench.data.instances_json import Annotation, instance_fault
from proscale_bench.data.pictures import Pixels, read_image
from proscale_bench.data.shapes.categories import CATEGORIES
from proscale_bench.data.truth import instance_truths, panoptic_truth, require_size, runs_of
from proscale_bench.errors import BenchError
from proscale_bench.training.augment import draw_variation


@dataclass(frozen=True)
class Sample:
    """One image to learn from. Crowds and what was cropped away are not among its segments.

    Args:
        image: RGB, [H, W, 3], as large as the recipe's crop.
        labels: the class of each segment, an index into `TrainingSet.classes`, [N]; there may be none.
        masks: its pixels, [N, H, W], at least one each.
    """

    image: Pixels
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


class TrainingSet(Protocol):
    """Images to learn from, by index. Samples follow from index and generator alone, and threads may ask for them."""

    @property
    def classes(self) -> tuple[Category, ...]:
        """What may be found, by class index."""

    def __len__(self) -> int: ...

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """An image, varied.

        Raises:
            BenchError: a file of it cannot be read.
        """

    def name(self, index: int) -> str:
        """What an error calls the image."""


class ShapesTraining:
    """The embedded data: images of a seed, made on first use (see `data.embedded_training`)."""

    def __init__(self, images: int, seed: int, augmentation: Augmentation, progress: OnProgress | None = None) -> None:
        self.classes = CATEGORIES
        self._augmentation = augmentation
        self._seed = seed
        self._shapes = training_shapes(images, seed, progress)

    def __len__(self) -> int:
        return len(self._shapes)

    def name(self, index: int) -> str:
        return f"scene {index} of seed {self._seed}"

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        scene = self._shapes.scene(index)
        variation = draw_variation(self._augmentation, scene.segments.shape, random)
        segments = variation.of_map(scene.segments)
        there = np.bincount(segments.reshape(-1), minlength=len(scene.classes) + 1)[1:] > 0
        kept = np.flatnonzero(there & (scene.classes != NOT_LEARNT))
        masks = segments == (kept + 1).astype(np.uint8)[:, None, None]  # [N, H, W]
        return Sample(variation.of_image(scene.image), scene.classes[kept].astype(np.int64), masks)


class CocoTraining:
    """A data set in COCO's formats: its panoptic truth; where it has instances only, its things."""

    def __init__(self, dataset: Dataset, augmentation: Augmentation) -> None:
        self.classes = dataset.categories
        self._dataset = dataset
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._dataset.images)

    def name(self, index: int) -> str:
        entry = self._dataset.images[index]
        return f"{self._dataset.image_dir / entry.file_name} (image {entry.id})"

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        entry = self._dataset.images[index]
        path = self._dataset.image_dir / entry.file_name
        image = read_image(path)
        require_size(path, entry, image.shape)
        variation = draw_variation(self._augmentation, image.shape[:2], random)
        if self._dataset.panoptic is not None:
            ids, truth = panoptic_truth(self._dataset, entry)
            ids = variation.of_map(ids)
            there = set(runs_of(ids)[0].tolist())
            segments = [segment for segment in truth.segments if segment.id in there and not segment.is_crowd]
            categories = [segment.category_id for segment in segments]
            masks = ids == np.array([segment.id for segment in segments], np.uint32)[:, None, None]  # [N, H, W]
        else:
            things = [thing for thing in instance_truths(self._dataset, entry.id) if not thing["iscrowd"]]
            masks = variation.of_map(self._masks(things, entry))
            there_at = np.flatnonzero(masks.any((1, 2)))
            categories = [things[place]["category_id"] for place in there_at]
            masks = masks[there_at]
        labels = np.array([self._dataset.class_of[category] for category in categories], np.int64)
        return Sample(variation.of_image(image), labels, masks)

    def _masks(self, things: Sequence[Annotation], image: ImageEntry) -> NDArray[np.bool_]:
        """The pixels of instances, [N, H, W]; they may overlap.

        Raises:
            BenchError: a mask that is none.
        """
        from pycocotools import mask as coco

        height, width = image.height_px, image.width_px
        masks = np.zeros((len(things), height, width), np.bool_)
        for mask, thing in zip(masks, things, strict=True):
            if fault := instance_fault(thing, image):  # the C code would not ask
                raise BenchError(f"{self._dataset.instances_json}: annotation {thing['id']}: {fault}")
            found = thing["segmentation"]
            if isinstance(found, list) or isinstance(found["counts"], list):
                found = coco.frPyObjects(found, height, width)
            mask[:] = coco.decode(coco.merge(found) if isinstance(found, list) else found)
        return masks
