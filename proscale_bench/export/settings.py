"""The input that an exported file takes, and what cannot be exported. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proscale_bench.config.choices import ExportPrecision
from proscale_bench.cost.geometry import parse_size
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import Swin
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.units import Size

ExportSampling = Literal["grid_sample", "gather"]
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
        precision: of weights and activations of convolutions and linear layers; `int8` is quantised after training.
    """

    size: Size = (640, 640)
    batch_size: int = 1
    dynamic: bool = False
    sampling: ExportSampling = "grid_sample"
    floating: bool = False
    precision: ExportPrecision = "fp32"

    def __post_init__(self) -> None:
        least = MIN_SIDES * SIZE_DIVISOR
        if self.dynamic and any(side % SIZE_DIVISOR or side < least for side in self.size):
            shown = "x".join(map(str, self.size))
            what = f"sides are multiples of {SIZE_DIVISOR}, at least {least}"
            raise BenchError(f"--size {shown} of a dynamic export: {what}", "as in 640x640")


def size_of(text: str) -> Size:
    """(height, width) of `640x640`.

    Raises:
        BenchError: no such size, or a set of sizes.
    """
    size = parse_size(text)
    if size.height_px is None or size.width_px is None:
        raise BenchError(f"size {text}: a set of sizes", "an exported file takes one, as 640x640, or all: dynamic")
    return size.height_px, size.width_px


def refuse_unexportable(spec: Mask2FormerSpec, dynamic: bool) -> None:
    """Refuse what follows from the model alone.

    Raises:
        BenchError: a gate decides what runs; or something follows from the size, and all sizes are asked for.
    """
    if spec.exits:
        exits = ", ".join(one.variant for one in spec.exits)
        raise BenchError(
            f"{spec}: its gate decides image by image which layers run, and a graph is one", f"export {exits}"
        )
    if dynamic and (obstacle := _obstacle(spec)):
        hint = "leave out --dynamic, and export a file for each size"
        raise BenchError(f"{spec}: cannot be exported for all sizes: {obstacle}", hint)


def refuse_unexportable_detector(spec: OwnSpec, settings: ExportSettings) -> None:
    """Refuse what a detector's file cannot be: of all sizes, or in integers.

    Raises:
        BenchError: that is asked for, or the size is too small for its levels.
    """
    for asked, flag in ((settings.dynamic, "--dynamic"), (settings.precision == "int8", "--quantize")):
        if asked:
            raise BenchError(f"{flag}: a detector is exported for one size, in floats", f"leave out {flag}")
    spec.require_sides(*settings.size)


def _obstacle(spec: Mask2FormerSpec) -> str | None:
    """Name what of a model is fixed by the size of its images; None where nothing is."""
    if isinstance(spec.backbone, Swin):
        return "a Swin's windows and their masks follow from the size"
    if isinstance(spec.encoder, Schedule) and spec.encoder.keep != 1:
        return "the number of tokens that it keeps follows from the size"
    return None
