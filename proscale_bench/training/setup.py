"""Preparations of a training: its data, device and sampling, and the weights that it starts from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from proscale_bench.config.recipe import OUTSIDE_DIGEST, DetectionRecipe, Recipe, ShapesData
from proscale_bench.config.trained_on import KnownClass, TrainedOn
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.dataset import Category
from proscale_bench.data.embedded import identity_of_images
from proscale_bench.data.known_classes import names_of
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.checkpoint import INDEX, Checkpoint, digest
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.load import WEIGHT_TYPES, open_checkpoint
from proscale_bench.models.checkpoints.warm_start import warm_start
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.processes import Processes
from proscale_bench.models.sampling import AUTO, obstacle
from proscale_bench.results.inspection import WarmStart
from proscale_bench.results.profile import DeviceType
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.families import MASK2FORMER, OwnSpec, name_of
from proscale_bench.specs.levels import LEVELS, SIZE_DIVISOR, STRIDES
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.training.box_samples import CocoBoxes, ShapesBoxes
from proscale_bench.training.samples import CocoTraining, ShapesTraining, TrainingSet
from proscale_bench.units import Size, printable

MOST_DENSE_TOKENS = 512  # on a CPU, up to which `dense` is faster to train with than what `auto` is for evaluation


@dataclass(frozen=True)
class TrainingData:
    """Images to learn from; `digest` is of what they follow from."""

    images: TrainingSet
    name: str
    digest: str


def open_data(
    recipe: Recipe, coco: Path | None, processes: Processes, on_progress: Callable[[int, int], None]
) -> TrainingData:
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
        images = CocoBoxes if isinstance(recipe, DetectionRecipe) else CocoTraining
        return TrainingData(images(dataset, recipe.augmentation), dataset.name, dataset.digest)
    if not processes.is_first:
        processes.wait()
    made = ShapesBoxes if isinstance(recipe, DetectionRecipe) else ShapesTraining
    shapes = made(data.images, data.seed, recipe.augmentation, on_progress)
    if processes.is_first:
        processes.wait()
    return TrainingData(shapes, "shapes", identity_of_images(data.seed, data.images))


def identity_of(recipe: Recipe, schedule: EncoderSpec, seed: int, model: str) -> dict[str, Any]:
    """Everything that a training follows from, as far as it is known before anything is opened."""
    fields = recipe.model_dump(mode="json", exclude=set(OUTSIDE_DIGEST))
    named = {} if model == MASK2FORMER else {"model": model}  # states of before there were others say nothing
    return {**named, "schedule": schedule.compact, "seed": seed, "recipe": fields}


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


def sampling_for(name: str, device: torch.device, crop: Size, encoder: EncoderSpec) -> str:
    """The sampling in training: `auto` on a CPU is `fused`, or without a C compiler `dense` where there are few tokens.

    Args:
        crop: (height, width) of the images in pixels.
    """
    if name != AUTO or device.type != "cpu":
        return name
    if obstacle("fused", device) is None:
        return "fused"
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in crop)
    levels = {*LEVELS, *(level for layer in encoder.layers for level in layer.levels)}
    tokens = sum(height * width // STRIDES[level] ** 2 for level in levels)
    return "dense" if tokens <= MOST_DENSE_TOKENS else name


def seen_by(recipe: Recipe, classes: Sequence[Category]) -> TrainedOn:
    """The classes and the scale that a training keeps in its weights."""
    known = tuple(KnownClass(one.name, one.id, one.is_thing) for one in classes)
    return TrainedOn(known, recipe.evaluation_resize)


OWN = "norms."  # of Swin's outputs: no classifier has them
# Of torchvision's files: the classifier, Swin's last norm, what batch norm counts, what follows from the window.
UNUSED = re.compile(rf"(fc|head|norm)\.(weight|bias)|.*\.(num_batches_tracked|{INDEX})")
WHOLE_MODEL = re.compile(r"(module\.|model\.)?(backbone|sem_seg_head|encoder|decoder)\.|model\.pixel_level_module\.")


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a training started from, as its records tell it.

    Args:
        kind: `fresh`, a `backbone`'s weights or a `baseline`.
        file: its name.
        digest: digest of the weights that were taken from it.
        warm_start: account of every tensor of a baseline.
        cautions: what a user should know of its file.
    """

    kind: Literal["fresh", "backbone", "baseline"]
    file: str = ""
    digest: str = ""
    warm_start: WarmStart | None = None
    cautions: tuple[str, ...] = ()


def open_baseline(recipe: Recipe) -> Checkpoint | None:
    """The checkpoint of a whole model that a recipe starts from; None where it starts from none.

    Raises:
        BenchError: a file that cannot be read, is not whole, or is of a head alone; a backbone's weights beside it.
    """
    if recipe.start is None:
        return None
    if recipe.backbone_weights is not None:
        raise BenchError(
            f"{recipe.start} has a backbone already, and {recipe.backbone_weights} is another", "keep one of them"
        )
    baseline = open_checkpoint(Path(recipe.start))
    baseline.require_complete()
    if baseline.inferred.spec is None:
        raise BenchError(f"{recipe.start}: a head alone", "start from a checkpoint with its backbone")
    return baseline


def like(baseline: Checkpoint, named: OwnSpec) -> OwnSpec:
    """A baseline's model with another encoder and other classes: of its own width, heads, layers and queries.

    Args:
        named: the encoder, the classes, and the backbone that the recipe names.

    Raises:
        BenchError: the baseline's backbone is another than the recipe's, or its family than the model's.
    """
    spec = baseline.inferred.spec
    if spec is not None and name_of(spec) != name_of(named):
        message = f"{baseline.path}: is of {name_of(spec)}, and the model is {name_of(named)}"
        raise BenchError(message, "start from a baseline of the same family")
    if spec is None or (spec.backbone != named.backbone and spec.backbone_name in BACKBONES):
        found = "none" if spec is None else spec.backbone_name
        raise BenchError(
            f"{baseline.path}: its backbone is {found}, and the recipe's {named.backbone_name}", f"--backbone {found}"
        )
    classes = named.head.num_classes
    if isinstance(spec, DeformableDetrSpec):
        return replace(spec, encoder=named.encoder, head=replace(spec.head, num_classes=classes))
    return replace(spec, encoder=named.encoder, head=replace(spec.head, num_classes=classes))


def initialise(
    model: Mask2Former, recipe: Recipe, baseline: Checkpoint | None = None, classes: Sequence[str] = ()
) -> InitialWeights:
    """Give a freshly built model the weights that its recipe starts from, in place; all of them or, on error, none.

    Args:
        baseline: the checkpoint that the recipe starts from, where it was opened already.
        classes: names of the model's classes, in order: see `warm_start`.

    Raises:
        BenchError: a file that cannot be read, is no baseline, or is of another backbone; both kinds of file at once.
    """
    baseline = baseline or open_baseline(recipe)
    if baseline is not None:
        head = baseline.inferred.head
        known = names_of(baseline.translation.stored.metadata, head.num_classes)
        taken = warm_start(model, baseline, classes, known)
        return InitialWeights("baseline", baseline.path.name, baseline.digest, taken, baseline.cautions)
    if recipe.backbone_weights is not None:
        return _from_backbone(model, Path(recipe.backbone_weights))
    return InitialWeights("fresh")


@torch.no_grad()
def _from_backbone(model: Mask2Former, path: Path) -> InitialWeights:
    """ImageNet's weights, under torchvision's names, which our backbones have too."""
    stored = read_stored(path).tensors
    state = model.backbone.state_dict()
    expected = {key: tensor for key, tensor in state.items() if not key.startswith(OWN) and not key.endswith(INDEX)}
    taken: dict[str, Tensor] = {}
    for key, ours in expected.items():
        if key not in stored:
            hint = "give the weights of the same backbone, under torchvision's names"
            if any(WHOLE_MODEL.match(name) for name in stored):
                hint = "this is a whole model: give it as 'start'"
            raise BenchError(f"{path}: {key} is missing", hint)
        taken[key] = theirs = stored[key]
        if theirs.shape != ours.shape:
            raise BenchError(
                f"{path}: {key}: shape {list(theirs.shape)}, and the model's is {list(ours.shape)}",
                "the file is of another backbone",
            )
        if theirs.dtype not in WEIGHT_TYPES or not theirs.isfinite().all():
            raise BenchError(f"{path}: {key}: not finite numbers in floating point", "the file is damaged")
    for key in stored:  # ResNet-101 has all that ResNet-50 has, and more
        if key not in expected and not UNUSED.fullmatch(key):
            raise BenchError(f"{path}: {printable(key)} has no place in the model", "the file is of another backbone")
    for key, tensor in taken.items():  # only now that all fit
        expected[key].copy_(tensor)
    return InitialWeights("backbone", path.name, digest(taken))
