"""The models that are evaluated: read from a checkpoint, or untrained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from proscale_bench.bench.count import dimensions_of, label_of
from proscale_bench.config.architecture import Architecture, backbone_name, get_architecture
from proscale_bench.config.weights import DIGEST, METADATA
from proscale_bench.errors import BenchError
from proscale_bench.results.record import Identity
from proscale_bench.specs.encoders.staged import Schedule

if TYPE_CHECKING:
    from proscale_bench.models.mask2former import Mask2Former

MAX_SOURCE = 200  # characters that a record keeps of a name


class TrainingOrigin(NamedTuple):
    """What a file of weights says of its training; None where it does not say.

    Args:
        recipe: SHA-256 of all that decides what is learnt.
        start: what it started from: `fresh`, `backbone` or `baseline`.
    """

    seed: int | None = None
    recipe: str | None = None
    start: str | None = None


UNKNOWN_ORIGIN = TrainingOrigin()


@dataclass(frozen=True)
class Weights:
    """A model, what it is made of, and what it is called."""

    model: Mask2Former
    schedule: Schedule
    architecture: Architecture
    digest: str
    source: str  # the file's name, or how else they came about
    origin: TrainingOrigin = UNKNOWN_ORIGIN

    @property
    def identity(self) -> Identity:
        """What a record says of the model: all its dimensions, and the weights' digest."""
        return Identity(
            backbone=backbone_name(self.architecture.backbone),
            schedule=self.schedule.compact,
            encoder=self.schedule.encoder,
            label=label_of(self.schedule),
            classes=self.architecture.head.num_classes,
            dimensions=dimensions_of(self.architecture),
            weights=self.digest,
        )


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
        read_origin(checkpoint.translation.stored.metadata),
    )


def read_origin(metadata: Mapping[str, str]) -> TrainingOrigin:
    """What the metadata of a file of ours say of the training."""
    try:
        provenance = json.loads(metadata[METADATA])["provenance"]
        seed, recipe = provenance.get("seed"), provenance.get("recipe_digest")
        start = (provenance.get("start") or {}).get("kind")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return UNKNOWN_ORIGIN
    return TrainingOrigin(
        seed if type(seed) is int else None,
        recipe if isinstance(recipe, str) and DIGEST.fullmatch(recipe) else None,
        start if start in ("fresh", "backbone", "baseline") else None,
    )


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
