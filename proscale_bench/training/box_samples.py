"""Samples for detectors: an image without padding, with the classes and boxes of the things in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.recipe import Augmentation, DetrAugmentation
from proscale_bench.data.dataset import Dataset
from proscale_bench.data.embedded import CLASS_OF, training_shapes
from proscale_bench.data.instances_json import instance_fault
from proscale_bench.data.pictures import Pixels, read_image
from proscale_bench.data.shapes.categories import THINGS
from proscale_bench.data.shapes.writing import OnImageMade
from proscale_bench.data.truth import instance_truths, require_size
from proscale_bench.errors import BenchError
from proscale_bench.training.augment import Variation, draw_variation
from proscale_bench.training.samples import LabelledImage


@dataclass(frozen=True)
class BoxSample(LabelledImage):
    """An image of a size of its own, with the boxes of its objects.

    Args:
        boxes: centre, width and height as fractions of the image, [N, 4] as (cx, cy, w, h), float32.
    """

    boxes: NDArray[np.float32]


class ShapesBoxes:
    """The things of the embedded data: a `TrainingSet`. A box is around what is seen of one."""

    def __init__(
        self, images: int, seed: int, augmentation: Augmentation | DetrAugmentation, progress: OnImageMade | None = None
    ) -> None:
        self.classes = tuple(thing.category for thing in THINGS)
        self._place = {CLASS_OF[one.id]: place for place, one in enumerate(self.classes)}
        self._augmentation, self._seed = augmentation, seed
        self._shapes = training_shapes(images, seed, progress)

    def __len__(self) -> int:
        return len(self._shapes)

    def name(self, index: int) -> str:
        return f"scene {index} of seed {self._seed}"

    def sample(self, index: int, random: np.random.Generator) -> BoxSample:
        scene = self._shapes.scene(index)
        variation = draw_variation(self._augmentation, scene.segments.shape, random)
        segments = variation.of_map(scene.segments)
        labels, boxes = [], []
        for id_, label in enumerate(scene.classes.tolist(), start=1):
            rows, columns = (np.flatnonzero((segments == id_).any(axis)) for axis in (1, 0))
            if label in self._place and len(rows):
                labels.append(self._place[label])
                boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        return _sample(variation, scene.image, labels, np.array(boxes, float).reshape(-1, 4))


class CocoBoxes:
    """The things of a data set in COCO's formats, which need no masks: a `TrainingSet`.

    Raises:
        BenchError: the data set has no instances.
    """

    def __init__(self, dataset: Dataset, augmentation: Augmentation | DetrAugmentation) -> None:
        if dataset.instances is None:
            raise BenchError(f"{dataset.name}: no boxes to learn", f"instances_{dataset.name}.json is needed")
        self.classes = tuple(category for category in dataset.categories if category.is_thing)
        self._place = {category.id: place for place, category in enumerate(self.classes)}
        self._dataset, self._augmentation = dataset, augmentation

    def __len__(self) -> int:
        return len(self._dataset.images)

    def name(self, index: int) -> str:
        entry = self._dataset.images[index]
        return f"{self._dataset.image_dir / entry.file_name} (image {entry.id})"

    def sample(self, index: int, random: np.random.Generator) -> BoxSample:
        entry = self._dataset.images[index]
        path = self._dataset.image_dir / entry.file_name
        image = read_image(path)
        require_size(path, entry, image.shape)
        things = [thing for thing in instance_truths(self._dataset, entry.id) if not thing["iscrowd"]]
        for thing in things:
            if fault := instance_fault(thing, entry):
                raise BenchError(f"{self._dataset.instances_json}: annotation {thing['id']}: {fault}")
        boxes = np.array([thing["bbox"] for thing in things], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        variation = draw_variation(self._augmentation, image.shape[:2], random)
        boxes = variation.of_boxes(boxes)
        there = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(1))
        return _sample(variation, image, [self._place[things[place]["category_id"]] for place in there], boxes[there])


def _sample(variation: Variation, image: Pixels, labels: list[int], boxes: NDArray[np.float64]) -> BoxSample:
    """The seen part of a variation, and boxes (x0, y0, x1, y1) in pixels of that."""
    height, width = variation.seen
    corners = boxes / (width, height, width, height)
    centred = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    seen = np.ascontiguousarray(variation.of_image(image)[:height, :width])
    return BoxSample(seen, np.array(labels, np.int64), centred.astype(np.float32))
