"""The models that are evaluated: read from a checkpoint, or untrained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.config.architecture import Architecture, get_architecture
from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders.staged import Schedule

if TYPE_CHECKING:
    from proscale_bench.models.mask2former import Mask2Former

MAX_SOURCE = 200  # characters that a record keeps of a name


@dataclass(frozen=True)
class Weights:
    """A model, what it is made of, and what it is called."""

    model: Mask2Former
    schedule: Schedule
    architecture: Architecture
    digest: str
    source: str  # the file's name, or how else they came about
    seed: int | None = None  # of the training, where the file says


def read_weights(path: Path, schedule: Schedule | None = None) -> Weights:
    """A checkpoint's model. Loads torch.

    Raises:
        BenchError: unreadable, hostile, incomplete, or of a head without a backbone.
    """
    from proscale_bench.models.checkpoints.infer import NoBackbone
    from proscale_bench.models.checkpoints.load import model_of, open_checkpoint
    from proscale_bench.units import printable

    checkpoint = open_checkpoint(path, schedule)
    checkpoint.require_complete()
    inferred = checkpoint.inferred
    if isinstance(inferred.backbone, NoBackbone):
        raise BenchError(f"{path}: holds a head without a backbone", "images need a whole model")
    return Weights(
        model_of(checkpoint),
        inferred.schedule,
        Architecture(inferred.backbone, inferred.head),
        checkpoint.digest,
        printable(path.name).replace("\n", " ")[:MAX_SOURCE] or str(path)[:MAX_SOURCE],
        _seed(checkpoint.translation.stored.metadata),
    )


def _seed(metadata: Mapping[str, str]) -> int | None:
    """Of the training, as a file of ours says it."""
    try:
        seed = json.loads(metadata[METADATA])["provenance"]["seed"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return seed if type(seed) is int else None


def random_weights(schedule: Schedule, backbone: str, classes: int, seed: int) -> Weights:
    """An untrained model: what it finds is worth nothing, and takes the same way as what a trained one finds."""
    import torch

    from proscale_bench.models.build import build_model
    from proscale_bench.models.checkpoints.checkpoint import digest

    torch.manual_seed(seed)
    model = build_model(schedule, backbone, classes)
    return Weights(
        model, schedule, get_architecture(backbone, classes), digest(model.state_dict()), f"random weights, seed {seed}"
    )
