"""Training samples: an image with the classes and masks of what is to be found in it, varied as a recipe says.

Which images an iteration sees follows from (seed, iteration): a run that is resumed needs no state, and any number of
processes and accumulations sees the same images, varied in the same way.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.recipe import Augmentation
from proscale_bench.data.batches import load_ahead
from proscale_bench.data.dataset import Annotation, Category, Dataset, ImageEntry
from proscale_bench.data.embedded import NOT_LEARNT, training_shapes
from proscale_bench.data.instances_json import instance_fault, lacks_mask, mask_fault
from proscale_bench.data.pictures import Pixels, read_image
from proscale_bench.data.shapes.categories import CATEGORIES
from proscale_bench.data.shapes.randomness import Random
from proscale_bench.data.shapes.writing import OnImageMade
from proscale_bench.data.truth import instance_truths, panoptic_truth, require_size, runs_of
from proscale_bench.errors import BenchError
from proscale_bench.training.augment import draw_variation


@dataclass(frozen=True)
class LabelledImage:
    """One image to learn from. Crowds and what was cropped away are not among what it has labels of.

    Args:
        image: RGB, [H, W, 3].
        labels: the class of each segment or object, an index into `TrainingSet.classes`, [N]; there may be none.
    """

    image: Pixels
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Sample(LabelledImage):
    """An image as large as the recipe's crop, with the pixels of each segment: [N, H, W], at least one each."""

    masks: NDArray[np.bool_]


class TrainingSet(Protocol):
    """Images to learn from, by index. Samples follow from index and generator alone, and threads may ask for them."""

    @property
    def classes(self) -> tuple[Category, ...]:
        """The categories that may be found, by class index."""

    def __len__(self) -> int: ...

    def sample(self, index: int, random: np.random.Generator) -> LabelledImage:
        """An image, varied.

        Raises:
            BenchError: a file of it cannot be read.
        """

    def name(self, index: int) -> str:
        """The name of the image in errors."""


class ShapesTraining:
    """The embedded data: images of a seed, made on first use (see `data.embedded`)."""

    def __init__(self, images: int, seed: int, augmentation: Augmentation, progress: OnImageMade | None = None) -> None:
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
        """The pixels of instances, [N, H, W], which may overlap; an error of one whose mask is none."""
        from pycocotools import mask as coco

        height, width = image.height_px, image.width_px
        masks = np.zeros((len(things), height, width), np.bool_)
        for mask, thing in zip(masks, things, strict=True):
            fault = instance_fault(thing, image) or mask_fault(thing, image)  # the C code would not ask
            if fault or lacks_mask(thing):
                raise BenchError(f"{self._dataset.instances_json}: annotation {thing['id']}: {fault or 'no mask'}")
            found = thing["segmentation"]
            if isinstance(found, list) or isinstance(found["counts"], list):
                found = coco.frPyObjects(found, height, width)
            mask[:] = coco.decode(coco.merge(found) if isinstance(found, list) else found)
        return masks


AHEAD = 2  # iterations that are loaded or being loaded; of COCO's, each takes about 300 MB
ORDER = 0x6F72646572  # "order": no stream of scenes begins so


@dataclass(frozen=True)
class DrawnImage:
    """An image, and the how many-th time that all are gone through."""

    epoch: int
    index: int

    def generator(self, seed: int) -> np.random.Generator:
        """The generator that its variation is drawn from."""
        return np.random.default_rng([seed, self.epoch, self.index])


def batch_draws(seed: int, iteration: int, batch_size: int, length: int) -> list[DrawnImage]:
    """The images of an iteration, the first of which is 0: a part of one permutation of all after the other.

    Args:
        batch_size: over all processes.
        length: number of all images.
    """
    first = iteration * batch_size
    places = (divmod(place, length) for place in range(first, first + batch_size))
    return [DrawnImage(epoch, int(_permutation(seed, epoch, length)[place])) for epoch, place in places]


def batch_indices(seed: int, iteration: int, batch_size: int, length: int) -> list[int]:
    """The indices of those images."""
    return [draw.index for draw in batch_draws(seed, iteration, batch_size, length)]


def load_batches(
    training_set: TrainingSet,
    seed: int,
    iterations: Iterable[int],
    batch_size: int,
    *,
    rank: int = 0,
    world: int = 1,
    workers: int = 2,
) -> Generator[list[LabelledImage], None, None]:
    """The samples of each iteration, in order, made by threads while earlier ones are learnt from.

    Closing the generator ends the threads, after the images that they are at.

    Args:
        iterations: numbers of the iterations to load.
        batch_size: images of an iteration, over all processes.
        rank, world: place of this process among so many; it takes every `world`-th image.
        workers: number of threads.

    Raises:
        BenchError: a batch is not shared evenly; an image cannot be read, in its iteration's place.
    """
    if batch_size % world:
        raise BenchError(
            f"{batch_size} images an iteration for {world} processes", "batch_size is a multiple of the processes"
        )
    share = batch_size // world

    def draws() -> Iterator[DrawnImage]:
        for iteration in iterations:
            yield from batch_draws(seed, iteration, batch_size, len(training_set))[rank::world]

    def load(draw: DrawnImage) -> LabelledImage:
        try:
            return training_set.sample(draw.index, draw.generator(seed))
        except (BenchError, MemoryError):
            raise
        except Exception as error:
            raise RuntimeError(f"{training_set.name(draw.index)}: {type(error).__name__}: {error}") from error

    with closing(load_ahead(draws(), load, workers, AHEAD * share)) as samples:
        while batch := list(islice(samples, share)):
            yield batch


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """The images in an epoch's order, which no version of numpy changes: sorted by a random word each."""
    return np.argsort(Random(ORDER, seed, epoch).words(length), kind="stable").astype(np.int64)
