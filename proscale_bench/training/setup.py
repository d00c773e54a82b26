"""What a training needs before its first iteration: its data, its device, and how the model samples there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from proscale_bench.config.architecture import FEATURE_STRIDES, SIZE_DIVISOR
from proscale_bench.config.recipe import OUTSIDE_DIGEST, Recipe, ShapesData
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.embedded_training import identity_of_images
from proscale_bench.errors import BenchError
from proscale_bench.models.processes import Processes
from proscale_bench.models.sampling import AUTO
from proscale_bench.results.profile import DeviceType
from proscale_bench.specs.encoders.staged import LEVELS, Schedule
from proscale_bench.training.samples import CocoTraining, ShapesTraining, TrainingSet
from proscale_bench.units import Size

MOST_DENSE_TOKENS = 512  # on a CPU, up to which `dense` is the fastest to train with


@dataclass(frozen=True)
class Data:
    """Images to learn from; `digest` is of what they follow from."""

    images: TrainingSet
    name: str
    digest: str


def check_data(recipe: Recipe, coco: Path | None) -> None:
    """
    Raises:
        BenchError: a recipe for COCO's data without a folder of them, or the other way round.
    """
    if isinstance(recipe.data, ShapesData):
        if coco is not None:
            raise BenchError(
                f"the recipe {recipe.name} trains on the embedded data, not on {coco}",
                "leave --coco out, or give a recipe whose data have 'source: coco'",
            )
    elif coco is None:
        raise BenchError(
            f"the recipe {recipe.name} trains on {recipe.data.split} of a folder as COCO's", "name it with --coco DIR"
        )


def open_data(recipe: Recipe, coco: Path | None, processes: Processes, on_progress: Callable[[int, int], None]) -> Data:
    """The images of a recipe; embedded ones are made by the first process where they are missing.

    Raises:
        BenchError: data that cannot be read.
    """
    data = recipe.data
    if not isinstance(data, ShapesData):
        assert coco is not None
        dataset = open_dataset(coco, data.split)
        if not dataset.images:
            raise BenchError(f"{coco}: {data.split} has no images", "there is nothing to learn from")
        return Data(CocoTraining(dataset, recipe.augmentation), data.split, dataset.digest)
    if not processes.is_first:
        processes.wait()
    shapes = ShapesTraining(data.images, data.seed, recipe.augmentation, on_progress)
    if processes.is_first:
        processes.wait()
    return Data(shapes, "shapes", identity_of_images(data.seed, data.images))


def identity_of(recipe: Recipe, schedule: Schedule, seed: int) -> dict[str, Any]:
    """What a training is made of, as far as it is known before anything is opened."""
    fields = recipe.model_dump(mode="json", exclude=set(OUTSIDE_DIGEST))
    return {"schedule": schedule.compact, "seed": seed, "recipe": fields}


def device_of(device: DeviceType, processes: Processes) -> torch.device:
    """This process's own.

    Raises:
        BenchError: there are fewer GPUs than processes.
    """
    if device == "cpu":
        return torch.device("cpu")
    if processes.local_rank >= torch.cuda.device_count():
        raise BenchError(
            f"process {processes.rank} has no GPU: there are {torch.cuda.device_count()}", "start one process a GPU"
        )
    torch.cuda.set_device(processes.local_rank)
    return torch.device("cuda", processes.local_rank)


def sampling_for(name: str, device: torch.device, crop: Size) -> str:
    """What `auto` stands for in training, where it is not what `sampling.choose` says.

    Args:
        crop: of the images.
    """
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in crop)
    tokens = sum(height * width // FEATURE_STRIDES[level] ** 2 for level in LEVELS)
    return "dense" if name == AUTO and device.type == "cpu" and tokens <= MOST_DENSE_TOKENS else name
