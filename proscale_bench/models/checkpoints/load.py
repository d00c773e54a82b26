"""Opening a checkpoint, and making the model that it holds."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.models.build import assemble, build
from proscale_bench.models.checkpoints.checkpoint import Checkpoint
from proscale_bench.models.checkpoints.checks import check_shapes, check_values
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.hugging_face import hints_of_config
from proscale_bench.models.checkpoints.infer import Hints, Inferred, TensorError, infer
from proscale_bench.models.checkpoints.translate import INDEX, Translation, translate
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.encoders.staged import Schedule, parse_compact
from proscale_bench.units import printable


def open_checkpoint(path: Path, schedule: Schedule | None = None) -> Checkpoint:
    """Read a file and hold every tensor against the model that they describe.

    Missing tensors are in the account and no error here.

    Raises:
        BenchError: unreadable, hostile or damaged; of no layout that we know; a tensor of the wrong shape or type or
            with values that are not finite; a schedule that contradicts a tensor.
    """
    translation = translate(read_stored(path))
    hints = _hints(translation)
    try:
        inferred = infer(translation.shapes, schedule, hints)
    except TensorError as error:
        raise BenchError(f"{path}: {translation.spelt(error.key)}{error.what}", error.hint) from None
    told_by = "given" if schedule else "metadata" if hints.schedule else "shapes"
    model = _build(inferred, "meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    checkpoint = Checkpoint(translation, inferred, told_by, dict(model.state_dict()), parameters)
    check_shapes(checkpoint)
    check_values(checkpoint)
    return checkpoint


def load_checkpoint(path: Path, schedule: Schedule | None = None) -> Mask2Former:
    """The model of a checkpoint, float32 on the CPU, in eval mode.

    A file of a head alone gives a model without a backbone: `model.head(features)` works, `model(images)` says what is
    missing. Tensors without a place in the model are warned of.

    Raises:
        BenchError: see `open_checkpoint`; or a tensor is missing.
    """
    checkpoint = open_checkpoint(path, schedule)
    checkpoint.require_complete()
    strangers = [entry.key for entry in checkpoint.entries if entry.status == "unexpected"]
    if strangers:
        first = printable(strangers[0])
        warnings.warn(
            f"{path}: {len(strangers)} tensors have no place in the model; the first is {first}", stacklevel=3
        )
    return model_of(checkpoint)


def model_of(checkpoint: Checkpoint) -> Mask2Former:
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


def _build(inferred: Inferred, device: str) -> Mask2Former:
    if inferred.spec is not None:
        return build(inferred.spec, device=device)
    with torch.device(device):
        return assemble(MissingBackbone(), inferred.schedule, inferred.head, inferred.backbone.channels)


# --- What the file says of itself ---


def _hints(translation: Translation) -> Hints:
    """From our own metadata, or Hugging Face's configuration.

    Raises:
        BenchError: metadata that is ours and cannot be read, or a configuration that our model does not have.
    """
    path, metadata = translation.stored.path, translation.stored.metadata
    if "config" in metadata:
        return hints_of_config(path / "config.json", metadata["config"])
    if METADATA not in metadata:
        return Hints()
    try:
        told = json.loads(metadata[METADATA])
        numbers = {key: told.get(key) for key in ("encoder_heads", "encoder_points", "decoder_heads")}
        if any(type(number) not in (int, type(None)) or not 1 <= (number or 1) <= 1024 for number in numbers.values()):
            raise ValueError(f"numbers {numbers}")
        return Hints(parse_compact(told["schedule"]), **numbers)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, BenchError) as error:
        raise BenchError(f"{path}: its metadata cannot be read: {str(error)[:200]}", "the file is damaged") from error
