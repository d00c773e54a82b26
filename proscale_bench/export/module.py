"""The module that is exported: images in, logits and masks out, with everything between inside the file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from proscale_bench.cost.geometry import parse_size
from proscale_bench.errors import BenchError
from proscale_bench.export.extras import first_line
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.backbones import Swin
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.units import Size
from proscale_bench.version import __version__

ExportSampling = Literal["grid_sample", "gather"]
INPUT, OUTPUTS = "images", ("pred_logits", "pred_masks")
MIN_SIDES, MAX_SIDES, MAX_BATCH = 2, 256, 64  # of a dynamic export, sides in units of the size divisor


@dataclass(frozen=True)
class ExportSettings:
    """The input that an exported file takes, and how its deformable attention samples.

    Args:
        size: (height, width) of the images in pixels; of a dynamic export, those that it is traced at.
        batch_size: number of images in a run.
        dynamic: height and width may be any multiples of 32, and the batch of any size.
        sampling: `grid_sample`, or `gather`: the same by indexing alone.
        floating: images are float32 and not uint8; 0 to 255 in either.
    """

    size: Size = (640, 640)
    batch_size: int = 1
    dynamic: bool = False
    sampling: ExportSampling = "grid_sample"
    floating: bool = False

    def __post_init__(self) -> None:
        least = MIN_SIDES * SIZE_DIVISOR
        if self.dynamic and any(side % SIZE_DIVISOR or side < least for side in self.size):
            shown = "x".join(map(str, self.size))
            what = f"sides are multiples of {SIZE_DIVISOR}, at least {least}"
            raise BenchError(f"--size {shown} of a dynamic export: {what}", "as in 640x640")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.floating else torch.uint8


def size_of(text: str) -> Size:
    """(height, width) of `640x640`.

    Raises:
        BenchError: no such size, or a set of sizes.
    """
    size = parse_size(text)
    if size.height_px is None or size.width_px is None:
        raise BenchError(f"size {text}: a set of sizes", "an exported file takes one, as 640x640, or all: dynamic")
    return size.height_px, size.width_px


class ImagesToPredictions(nn.Module):
    """A Mask2Former as an exported file has it. Images are RGB, 0 to 255, [B, 3, H, W]; see `Predictions`."""

    def __init__(self, model: Mask2Former) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        predictions = self.model(images.to(self.model.pixel_mean.dtype))
        return predictions.pred_logits, predictions.pred_masks


def prepared(model: Mask2Former, settings: ExportSettings) -> ImagesToPredictions:
    """A model as it is exported, in place: with the exact optimizations of inference, for the CPU."""
    prepare_for_inference(model, sampling_name=settings.sampling)
    return ImagesToPredictions(model).eval()


def captured(module: ImagesToPredictions, spec: Mask2FormerSpec, settings: ExportSettings) -> ExportedProgram:
    """The graph of a model at a size, or at all sizes.

    Raises:
        BenchError: a gate decides what runs; something follows from the size, and all sizes are asked for; or torch
            cannot capture it.
    """
    if spec.exits:
        exits = ", ".join(one.variant for one in spec.exits)
        raise BenchError(
            f"{spec}: its gate decides image by image which layers run, and a graph is one", f"export {exits}"
        )
    if settings.dynamic and (obstacle := _obstacle(spec)):
        hint = "leave out --dynamic, and export a file for each size"
        raise BenchError(f"{spec}: cannot be exported for all sizes: {obstacle}", hint)
    images = torch.zeros(settings.batch_size, 3, *settings.size, dtype=settings.dtype)
    shapes: Any = None
    if settings.dynamic:
        images = images.expand(max(2, settings.batch_size), -1, -1, -1)  # one of one would be taken for a constant
        sides = [SIZE_DIVISOR * Dim(name, min=MIN_SIDES, max=MAX_SIDES) for name in ("rows", "columns")]
        shapes = {"images": {0: Dim("batch", min=1, max=MAX_BATCH), 2: sides[0], 3: sides[1]}}
    try:
        with torch.no_grad():
            return torch.export.export(module, (images,), dynamic_shapes=shapes, strict=False)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # its own errors derive from these
        sizes = " for all sizes" if settings.dynamic else ""
        hint = "leave out --dynamic, and export a file for each size" if settings.dynamic else "try another --size"
        raise BenchError(f"{spec}: torch cannot capture its graph{sizes}: {first_line(error)}", hint) from error


def _obstacle(spec: Mask2FormerSpec) -> str | None:
    """Name what of a model is fixed by the size of its images; None where nothing is."""
    if isinstance(spec.backbone, Swin):
        return "a Swin's windows and their masks follow from the size"
    if isinstance(spec.encoder, Schedule) and spec.encoder.keep != 1:
        return "the number of tokens that it keeps follows from the size"
    return None


def metadata(spec: Mask2FormerSpec, settings: ExportSettings, **told: Any) -> str:
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
