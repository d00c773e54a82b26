"""The models that are evaluated: read from a checkpoint, or untrained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from proscale_bench.config.weights import DIGEST, METADATA
from proscale_bench.errors import BenchError
from proscale_bench.specs.model import EncoderSpec, ModelSpec

if TYPE_CHECKING:
    from proscale_bench.config.choices import EngineName
    from proscale_bench.data.dataset import Dataset
    from proscale_bench.export.engines import ExportedModel
    from proscale_bench.models.build import OwnModel
    from proscale_bench.models.mask2former import Mask2Former
    from proscale_bench.specs.families import OwnSpec

MAX_SOURCE = 200  # characters that a record keeps of a name


class TrainingOrigin(NamedTuple):
    """The training of weights, as far as their file says; None where it does not.

    Args:
        recipe: SHA-256 of all that decides what is learnt.
        start: where it started from: `fresh`, `backbone` or `baseline`.
    """

    seed: int | None = None
    recipe: str | None = None
    start: str | None = None


UNKNOWN_ORIGIN = TrainingOrigin()


@dataclass(frozen=True)
class Weights:
    """A loaded model with its spec, its digest, its origin, and what its file says of itself."""

    model: OwnModel
    spec: ModelSpec
    digest: str
    source: str  # the file's name, or how else they came about
    origin: TrainingOrigin = UNKNOWN_ORIGIN
    metadata: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()  # what a user should know of the file

    @property
    def segmenter(self) -> Mask2Former:
        """The model, where it predicts masks.

        Raises:
            BenchError: it is a detector.
        """
        from proscale_bench.models.mask2former import Mask2Former

        if not isinstance(self.model, Mask2Former):
            raise BenchError(f"{self.source}: a {self.spec.family} predicts boxes and no masks", "give a Mask2Former's")
        return self.model


@dataclass(frozen=True)
class ExportedWeights:
    """An exported file with the model that it says it is.

    Args:
        reference: the same weights in torch, where they ship; None where nobody has them.
    """

    file: ExportedModel
    spec: ModelSpec
    digest: str
    source: str
    reference: OwnModel | None = None
    origin: TrainingOrigin = UNKNOWN_ORIGIN
    metadata: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


AnyWeights = Weights | ExportedWeights


def read_exported(
    path: Path, *, trust: bool = False, threads: int | None = None, engine: EngineName | None = None
) -> ExportedWeights:
    """Load an exported file of ours. The weights that ship are held against it where it was made of them.

    Raises:
        BenchError: unreadable, no export of ours, an engine that is not installed, or a package without trust.
    """
    from proscale_bench.config.weights import read_header, shipped_weights
    from proscale_bench.export.description import spec_of
    from proscale_bench.export.engines import load_exported
    from proscale_bench.units import printable

    model = load_exported(path, trust=trust, threads=threads or 0, engine=engine)
    told = model.told
    digest = told.get("weights")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise BenchError(
            f"{path}: does not say of which weights it is", "export a checkpoint: models export WEIGHTS OUT"
        )
    shipped = next((one for one in shipped_weights().values() if read_header(one).digest == digest), None)
    known = read_weights(shipped) if shipped is not None else None
    return ExportedWeights(
        file=model,
        spec=spec_of(told, path),
        digest=digest,
        source=printable(path.name)[:MAX_SOURCE],
        reference=known.model if known else None,
        origin=known.origin if known else UNKNOWN_ORIGIN,
        metadata={METADATA: json.dumps(told)},
    )


def read_weights(path: Path, schedule: EncoderSpec | None = None) -> Weights:
    """Load the model of a checkpoint, with torch.

    Raises:
        BenchError: unreadable, hostile, incomplete, or of a head without a backbone.
    """
    from proscale_bench.models.checkpoints.load import model_of, open_checkpoint
    from proscale_bench.units import printable

    checkpoint = open_checkpoint(path, schedule)
    checkpoint.require_complete()
    spec = checkpoint.inferred.spec
    if spec is None:
        raise BenchError(f"{path}: holds a head without a backbone", "images need a whole model")
    metadata = checkpoint.translation.stored.metadata
    return Weights(
        model_of(checkpoint),
        spec,
        checkpoint.digest,
        printable(path.name).replace("\n", " ")[:MAX_SOURCE] or str(path)[:MAX_SOURCE],
        read_origin(metadata),
        metadata,
        checkpoint.cautions,
    )


def read_origin(metadata: Mapping[str, str]) -> TrainingOrigin:
    """Read the origin of weights from the metadata of a file of ours."""
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


def untrained(dataset: Dataset, name: str, schedule: str | None, backbone: str) -> OwnSpec:
    """The model of a family that has as many classes as the data: a detector as many as there are things.

    Raises:
        BenchError: see `parse_runnable_of` and `own_model`.
    """
    from proscale_bench.bench.specs import DEFAULT_SCHEDULES
    from proscale_bench.config.catalogue import parse_runnable_of
    from proscale_bench.specs.families import is_detector, own_model

    detects = is_detector(name)
    encoder = parse_runnable_of(name, schedule or DEFAULT_SCHEDULES[detects])
    classes = sum(category.is_thing or not detects for category in dataset.categories)
    return own_model(name, encoder, backbone, classes=classes)


def random_weights(spec: ModelSpec, seed: int) -> Weights:
    """Make an untrained model: its predictions are worth nothing, and take the same way as a trained one's."""
    import torch

    from proscale_bench.models.build import build
    from proscale_bench.models.checkpoints.checkpoint import digest

    torch.manual_seed(seed)
    model = build(spec)
    return Weights(model, spec, digest(model.state_dict()), f"random weights, seed {seed}")
