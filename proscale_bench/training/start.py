"""What a training starts from: a baseline's checkpoint, a backbone's ImageNet weights, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from proscale_bench.config.recipe import Recipe
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.checkpoint import digest
from proscale_bench.models.checkpoints.checks import WEIGHT_TYPES
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.infer import NoBackbone
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.translate import INDEX
from proscale_bench.models.checkpoints.warm_start import warm_start
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.results.inspection import WarmStart
from proscale_bench.units import printable

OWN = "norms."  # of Swin's outputs: no classifier has them
# Of torchvision's files: the classifier, Swin's last norm, what batch norm counts, what follows from the window.
UNUSED = re.compile(rf"(fc|head|norm)\.(weight|bias)|.*\.(num_batches_tracked|{INDEX})")
WHOLE_MODEL = re.compile(r"(module\.|model\.)?(backbone|sem_seg_head|encoder|decoder)\.|model\.pixel_level_module\.")


@dataclass(frozen=True)
class Start:
    """What a training started from, as its records tell it.

    Args:
        kind: `fresh`, a `backbone`'s weights or a `baseline`.
        file: its name.
        digest: of the weights that were taken from it.
        warm_start: of a baseline: what became of every tensor.
    """

    kind: Literal["fresh", "backbone", "baseline"]
    file: str = ""
    digest: str = ""
    warm_start: WarmStart | None = None


def initialise(model: Mask2Former, recipe: Recipe) -> Start:
    """Give a freshly built model the weights that its recipe starts from, in place; all of them or, on error, none.

    Raises:
        BenchError: a file that cannot be read, is no baseline, or is of another backbone; both kinds of file at once.
    """
    if recipe.start is not None and recipe.backbone_weights is not None:
        raise BenchError(
            f"{recipe.start} has a backbone already, and {recipe.backbone_weights} is another", "keep one of them"
        )
    if recipe.start is not None:
        return _from_baseline(model, Path(recipe.start))
    if recipe.backbone_weights is not None:
        return _from_backbone(model, Path(recipe.backbone_weights))
    return Start("fresh")


def _from_baseline(model: Mask2Former, path: Path) -> Start:
    baseline = open_checkpoint(path)
    if isinstance(baseline.inferred.backbone, NoBackbone):
        raise BenchError(f"{path}: a head alone", "start from a checkpoint with its backbone")
    return Start("baseline", path.name, baseline.digest, warm_start(model, baseline))


@torch.no_grad()
def _from_backbone(model: Mask2Former, path: Path) -> Start:
    """ImageNet's weights, under torchvision's names, which our backbones have too."""
    stored = read_stored(path).tensors
    state = model.backbone.state_dict()
    expected = {key: tensor for key, tensor in state.items() if not key.startswith(OWN) and not key.endswith(INDEX)}
    taken: dict[str, Tensor] = {}
    for key, ours in expected.items():
        if key not in stored:
            whole = any(WHOLE_MODEL.match(name) for name in stored)
            raise BenchError(
                f"{path}: {key} is missing",
                "this is a whole model: give it as 'start'"
                if whole
                else "give the weights of the same backbone, under torchvision's names",
            )
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
    return Start("backbone", path.name, digest(taken))
