"""What is evaluated on what, and how: what `eval` and a sweep ask for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from proscale_bench.cost.geometry import InputSize, SizeGroup, size_of_images
from proscale_bench.data.batches import Batch, form_batches
from proscale_bench.data.dataset import Dataset
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import Task
from proscale_bench.results.profile import DeviceType, DType

COCO_RESIZE = (800, 1333)
Resize = tuple[int, int]  # short side, longest side


@dataclass(frozen=True)
class Request:
    """What is evaluated on what, and how its metrics are made.

    Args:
        resize: (short side, longest side) that images are resized to; None: given as they are.
        limit: the first so many images; None: all.
        resamples: of the bootstrap; 0 for none.
        reference: AP by pycocotools.
    """

    dataset: Dataset
    tasks: tuple[Task, ...]
    resize: Resize | None
    limit: int | None = None
    batch_size: int = 1
    resamples: int = 1000
    seed: int = 0
    reference: bool = False

    @property
    def name(self) -> str:
        """Of the images: the split, and how many of it."""
        name, limit = self.dataset.name, self.limit
        return f"{name}[:{limit}]" if limit is not None and limit < len(self.dataset.images) else name

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        short, longest = self.resize or (None, 0)
        return form_batches(self.dataset.images[: self.limit], self.batch_size, short, longest)

    @property
    def resize_words(self) -> str:
        return "none" if self.resize is None else f"{self.resize[0]},{self.resize[1]}"

    @cached_property
    def images_digest(self) -> str:
        """Of the data set's annotations and of which images are evaluated, in which order."""
        ids = [image.id for image in self.dataset.images[: self.limit]]
        return hashlib.sha256(f"{self.dataset.digest} {ids}".encode()).hexdigest()

    @cached_property
    def size(self) -> InputSize:
        """The sizes of the images as the model gets them: what its cost is counted at."""
        return size_of_images(
            self.name,
            (
                SizeGroup(batch.padded_height_px, batch.padded_width_px, image.height_px, image.width_px)
                for batch in self.batches
                for image in batch.images
            ),
        )


@dataclass(frozen=True)
class Settings:
    """How the model is run. `threads` None: as many as PyTorch likes."""

    device: DeviceType
    dtype: DType = "fp32"
    compiled: bool = False
    sampling: str = "auto"
    optimizations: bool = True
    threads: int | None = None


def tasks_on(dataset: Dataset, wanted: tuple[Task, ...] | None) -> tuple[Task, ...]:
    """The tasks that are wanted; None: all that there is truth for.

    Raises:
        BenchError: a task that the data have no truth for.
    """
    there = tasks_of(dataset)
    for task in wanted or ():
        if task not in there:
            raise BenchError(
                f"{dataset.name} has no truth for the task {task}",
                f"it has {', '.join(there)}; 'proscale-bench data check' says what is missing",
            )
    return wanted or there


def tasks_of(dataset: Dataset) -> tuple[Task, ...]:
    """What there is truth for."""
    tasks: list[Task] = []
    if dataset.panoptic is not None:
        tasks.append("panoptic")
    if dataset.instances_json is not None:
        tasks.append("instance")
    if dataset.semantic_dir is not None or dataset.panoptic is not None:
        tasks.append("semantic")
    return tuple(tasks)


def default_resize(dataset: Dataset) -> Resize | None:
    """As the official pipeline resizes; not at all where the images are small and made for it."""
    return COCO_RESIZE if dataset.resizes else None
