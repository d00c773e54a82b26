"""The module that is exported: images in, logits and masks or boxes out, everything between inside the file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from proscale_bench.errors import BenchError
from proscale_bench.export.extras import first_line
from proscale_bench.export.settings import (
    MAX_BATCH,
    MAX_SIDES,
    MIN_SIDES,
    ExportSettings,
    refuse_unexportable,
    sides_divisor,
)
from proscale_bench.models.build import OwnModel
from proscale_bench.models.deformable_detr import DeformableDetr
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.version import __version__

INPUT = "images"
MASKS, BOXES = ("pred_logits", "pred_masks"), ("class_logits", "boxes")  # outputs of the two families


class ImagesToPredictions(nn.Module):
    """A model as an exported file has it. Images are RGB, 0 to 255, [B, 3, H, W]; see `outputs_of`."""

    def __init__(self, model: OwnModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found: Any = self.model(images.to(self.model.pixel_mean.dtype))
        if isinstance(self.model, DeformableDetr):
            return found.class_logits, found.boxes
        return found.pred_logits, found.pred_masks


def outputs_of(spec: OwnSpec) -> tuple[str, str]:
    """The names of a model's outputs: see `Predictions` of masks, and `QueryBoxes` of boxes."""
    return MASKS if isinstance(spec, Mask2FormerSpec) else BOXES


def prepared(model: OwnModel, settings: ExportSettings) -> ImagesToPredictions:
    """A model as it is exported, in place: with the exact optimizations of inference, for the CPU."""
    prepare_for_inference(model, sampling_name=settings.sampling)
    return ImagesToPredictions(model).eval()


def captured(module: ImagesToPredictions, spec: OwnSpec, settings: ExportSettings) -> ExportedProgram:
    """The graph of a model at a size, or at all sizes.

    Raises:
        BenchError: a gate decides what runs; something follows from the size, and all sizes are asked for; or torch
            cannot capture it.
    """
    refuse_unexportable(spec, settings)
    images = torch.zeros(
        settings.batch_size, 3, *settings.size, dtype=torch.float32 if settings.floating else torch.uint8
    )
    shapes: Any = None
    if settings.dynamic:
        images = images.expand(max(2, settings.batch_size), -1, -1, -1)  # one of one would be taken for a constant
        sides = [sides_divisor(spec.pads) * Dim(name, min=MIN_SIDES, max=MAX_SIDES) for name in ("rows", "columns")]
        shapes = {"images": {0: Dim("batch", min=1, max=MAX_BATCH), 2: sides[0], 3: sides[1]}}
    try:
        with torch.no_grad():
            return torch.export.export(module, (images,), dynamic_shapes=shapes, strict=False)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # its own errors derive from these
        sizes = " for all sizes" if settings.dynamic else ""
        hint = "leave out --dynamic, and export a file for each size" if settings.dynamic else "try another --size"
        raise BenchError(f"{spec}: torch cannot capture its graph{sizes}: {first_line(error)}", hint) from error


def metadata(spec: OwnSpec, settings: ExportSettings, **told: Any) -> str:
    """The description that a file carries of itself: model, input, and where the weights are from; JSON."""
    said = {
        "version": __version__,
        "family": spec.family,
        "schedule": spec.variant,
        "backbone": spec.backbone_name,
        "backbone_dimensions": {"kind": type(spec.backbone).__name__.lower(), **asdict(spec.backbone)},
        "head": asdict(spec.head),
        "input": {**asdict(settings), "color": "RGB", "range": [0, 255], "layout": "NCHW"},
    }
    return json.dumps(said | {key: value for key, value in told.items() if value is not None})
