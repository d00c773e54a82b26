"""Opening a checkpoint, every tensor held against the model that they describe, and making that model."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from proscale_bench.config.weights import METADATA, told_dimensions, told_encoder
from proscale_bench.errors import BenchError
from proscale_bench.models.build import OwnModel, assemble, build
from proscale_bench.models.checkpoints.checkpoint import BATCHES, INDEX, SCHEDULED, Checkpoint, Translation, translate
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.hugging_face import hints_of_config, refuse_contradiction
from proscale_bench.models.checkpoints.infer import Inferred, infer, levels_of
from proscale_bench.models.checkpoints.shapes import Hints, TensorError
from proscale_bench.models.encoders.hybrid import fold_blocks
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import printable

WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_DERIVED_BYTES = 256 * 2**20  # indices that a file leaves out: Swin-L's take 4 MiB


def open_checkpoint(path: Path, schedule: EncoderSpec | None = None) -> Checkpoint:
    """Read a file and hold every tensor against the model that they describe.

    Missing tensors are in the account and no error here. A file of `hybrid` is one of `hybrid+folded` too, if that is
    given.

    Raises:
        BenchError: unreadable, hostile or damaged; of no layout that we know; a tensor of the wrong shape or type or
            with values that are not finite; a schedule that contradicts a tensor.
    """
    translation = translate(read_stored(path))
    hints = _hints(translation)
    if isinstance(schedule, Hybrid) and schedule.folded and hints.schedule == replace(schedule, folded=False):
        return folded(open_checkpoint(path))
    try:
        inferred = infer(translation.shapes, schedule, hints)
    except TensorError as error:
        raise BenchError(f"{path}: {translation.spelt(error.key)}{error.what}", error.hint) from None
    if "config" in translation.stored.metadata:
        refuse_contradiction(path / "config.json", translation.stored.metadata["config"], inferred)
    told_by = "given" if schedule else "metadata" if hints.schedule else "shapes"
    model = _build(inferred, "meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    checkpoint = Checkpoint(translation, inferred, told_by, dict(model.state_dict()), parameters)
    _check_shapes(checkpoint)
    _check_values(checkpoint)
    _check_digest(checkpoint)
    return checkpoint


def folded(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint of the hybrid encoder with its blocks folded: float32, of weights with a digest of their own."""
    translation, schedule = checkpoint.translation, checkpoint.inferred.schedule
    assert isinstance(schedule, Hybrid)
    tensors, folds = fold_blocks(translation.tensors)
    sources = {key: one for key, one in translation.keys.sources.items() if key in tensors}
    for key, names in folds.items():
        sources[key] = tuple(source for name in names for source in translation.keys.sources[name])
    keys = replace(translation.keys, sources=sources)
    inferred = replace(checkpoint.inferred, schedule=replace(schedule, folded=True))
    model = _build(inferred, "meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    translation = replace(translation, keys=keys, tensors=tensors)
    return Checkpoint(translation, inferred, "given", dict(model.state_dict()), parameters)


def load_checkpoint(path: Path, schedule: EncoderSpec | None = None) -> OwnModel:
    """The model of a checkpoint, float32 on the CPU, in eval mode.

    A file of a head alone gives a model without a backbone: `model.head(features)` works, `model(images)` says what is
    missing. Tensors without a place in the model are warned of.

    Raises:
        BenchError: see `open_checkpoint`; or a tensor is missing.
    """
    checkpoint = open_checkpoint(path, schedule)
    checkpoint.require_complete()
    for caution in checkpoint.cautions:
        warnings.warn(caution, stacklevel=3)
    return model_of(checkpoint)


def model_of(checkpoint: Checkpoint) -> OwnModel:
    """The model of a complete checkpoint."""
    model = _build(checkpoint.inferred, "cpu")
    tensors = checkpoint.translation.tensors
    with torch.no_grad():
        for key, ours in model.state_dict().items():
            if key in tensors and not key.endswith(INDEX):
                ours.copy_(tensors[key])
    return model


class MissingBackbone(nn.Module):
    """A stand-in for the backbone that the checkpoint does not hold."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        raise BenchError(
            "this checkpoint holds a head without a backbone", "call model.head(features) with features of your own"
        )


def _build(inferred: Inferred, device: str) -> OwnModel:
    if inferred.spec is not None:
        return build(inferred.spec, device=device)
    with torch.device(device):
        return assemble(MissingBackbone(), inferred.schedule, inferred.head, inferred.backbone.channels)


# --- What the file says of itself ---


def _hints(translation: Translation) -> Hints:
    """From our own metadata, which must be readable, or Hugging Face's configuration, which our model must have."""
    path, metadata = translation.stored.path, translation.stored.metadata
    if "config" in metadata:
        return hints_of_config(path / "config.json", metadata["config"])
    if METADATA not in metadata:
        return Hints()
    try:
        told = json.loads(metadata[METADATA])
        return Hints(told_encoder(told), **told_dimensions(told))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, BenchError) as error:
        raise BenchError(f"{path}: its metadata cannot be read: {str(error)[:200]}", "the file is damaged") from error


# --- Whether the tensors are that model's ---


def _check_shapes(checkpoint: Checkpoint) -> None:
    """Every tensor has the model's shape, and a schedule that was told decides no other tensors than there are."""
    translation, encoder = checkpoint.translation, checkpoint.inferred.schedule
    shapes = translation.shapes
    told = {"given": f"schedule {encoder.compact}", "metadata": f"its own metadata, schedule {encoder.compact}"}
    scheduled: tuple[str, ...] = SCHEDULED if isinstance(encoder, Schedule) else ("encoder.",)
    if isinstance(encoder, Schedule) and encoder.levels != levels_of(shapes):
        scheduled += ("encoder.projections.", "encoder.level_embedding")
    told_by = told.get(checkpoint.schedule_from)

    def contradiction(key: str, what: str) -> BenchError:
        return BenchError(
            f"{checkpoint.path}: contradicts {told_by}: {translation.spelt(key)} {what}",
            "leave the schedule out, and it is read off the file",
        )

    for key, expected in checkpoint.expected.items():
        decided = told_by is not None and key.startswith(scheduled)
        needed = tuple(expected.shape)
        if key not in shapes:
            if decided:
                raise contradiction(key, f"is missing, where it needs {list(needed)}")
        elif shapes[key] != needed:
            if decided:
                raise contradiction(key, f"is {list(shapes[key])}, where it needs {list(needed)}")
            raise BenchError(
                f"{checkpoint.path}: {translation.spelt(key)}: shape {list(shapes[key])}, expected {list(needed)}",
                "the other tensors say so; the file is damaged, or of a model that we do not know",
            )
    stray = next((key for key in shapes if key.startswith(scheduled) and key not in checkpoint.expected), None)
    if stray and told_by:
        raise contradiction(stray, "has no place in it")
    derived = [expected for key, expected in checkpoint.expected.items() if key not in shapes and key.endswith(INDEX)]
    if sum(index.numel() * index.element_size() for index in derived) > MAX_DERIVED_BYTES:
        raise BenchError(f"{checkpoint.path}: {len(derived)} windows too large for what is in the file")


def _check_values(checkpoint: Checkpoint) -> None:
    """Weights are floating and finite, also as float32; Swin's indices are those that follow from the window, and batch
    norms count what they have seen."""
    translation = checkpoint.translation
    indices: dict[int, Tensor] = {}
    for key, expected in checkpoint.expected.items():
        tensor = translation.tensors.get(key)
        if tensor is None:
            continue
        where = f"{checkpoint.path}: {translation.spelt(key)}"
        if key.endswith(INDEX):
            known = indices.setdefault(len(expected), _relative_position_index(len(expected)))
            if not torch.equal(tensor.to(known.dtype), known):
                raise BenchError(f"{where}: not the indices of its window", "the file is damaged")
        elif key.endswith(BATCHES):
            if tensor.dtype != expected.dtype or tensor < 0:
                raise BenchError(f"{where}: not a number of batches", "the file is damaged")
        elif tensor.dtype not in WEIGHT_TYPES:
            raise BenchError(f"{where}: {tensor.dtype} is no type of weights", "save it in floating point")
        elif strange := _count_not_finite(tensor):
            raise BenchError(
                f"{where}: {strange:,} of {tensor.numel():,} values are not finite",
                "training diverged, or the bytes are damaged or in the other order",
            )


def _check_digest(checkpoint: Checkpoint) -> None:
    """The weights are those that the file says it was written with. A flipped bit is a finite number too."""
    told = json.loads(checkpoint.translation.stored.metadata.get(METADATA, "{}")).get("weights")
    if told is not None and told != checkpoint.digest:
        what = f"its weights have digest {checkpoint.digest[:12]}, and it says {printable(str(told))[:12]}"
        raise BenchError(f"{checkpoint.path}: {what}", "the file is damaged, or was changed: download it again")


def _count_not_finite(tensor: Tensor) -> int:
    """The number of values that float32 cannot hold."""
    extremes = torch.stack(torch.aminmax(tensor.reshape(-1)))  # in one pass; not a number where any value is not
    if extremes.float().isfinite().all():
        return 0
    return int((~tensor.float().isfinite()).sum())


def _relative_position_index(entries: int) -> Tensor:
    """The row of the bias table for each pair of a window's places: [window ** 4], as official files have it."""
    window = round(entries**0.25)
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    places = torch.stack((rows, columns)).flatten(1)  # [2, window ** 2]
    apart = places[:, :, None] - places[:, None] + window - 1  # [2, window ** 2, window ** 2]: rows, columns
    return torch.flatten(apart[0] * (2 * window - 1) + apart[1])
