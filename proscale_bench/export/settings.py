"""The input that an exported file takes, and what cannot be exported. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proscale_bench.config.choices import ExportPrecision
from proscale_bench.cost.geometry import parse_size
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import Swin
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.units import Size

ExportSampling = Literal["grid_sample", "gather"]
MIN_SIDES, MAX_SIDES, MAX_BATCH = 2, 256, 64  # of a dynamic export, sides in units of `sides_divisor`


def sides_divisor(pads: bool) -> int:
    """The number of which sides of all sizes are multiples: a detector, which pads nothing, has levels to stride 64."""
    return SIZE_DIVISOR if pads else 2 * SIZE_DIVISOR


@dataclass(frozen=True)
class ExportSettings:
    """The input that an exported file takes, and how its deformable attention samples.

    Args:
        size: (height, width) of the images in pixels; of a dynamic export, those that it is traced at.
        batch_size: number of images in a run.
        dynamic: height and width may be any multiples of 32, of a detector 64, and the batch of any size.
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


def refuse_unexportable(spec: OwnSpec, settings: ExportSettings) -> None:
    """Refuse what follows from the model and its input alone.

    Raises:
        BenchError: a gate decides what runs; something follows from the size, and all sizes are asked for; or the size
            is too small for its levels.
    """
    spec.require_sides(*settings.size)
    if spec.exits:
        exits = ", ".join(one.variant for one in spec.exits)
        raise BenchError(
            f"{spec}: its gate decides image by image which layers run, and a graph is one", f"export {exits}"
        )
    divisor = sides_divisor(spec.pads)
    if settings.dynamic and (wrong := [side for side in settings.size if side % divisor or side < 2 * divisor]):
        what = f"a side of {wrong[0]}, and a {spec.family}'s are multiples of {divisor}, at least {2 * divisor}"
        raise BenchError(f"--dynamic: {what}", "as in --size 640x640")
    if settings.dynamic and (obstacle := _obstacle(spec)):
        hint = "leave out --dynamic, and export a file for each size"
        raise BenchError(f"{spec}: cannot be exported for all sizes: {obstacle}", hint)


def _obstacle(spec: OwnSpec) -> str | None:
    """Name what of a model is fixed by the size of its images; None where nothing is."""
    if isinstance(spec.backbone, Swin):
        return "a Swin's windows and their masks follow from the size"
    if any(layer.keep != 1 for layer in spec.layers):
        return "the number of tokens that it keeps follows from the size"
    return None
