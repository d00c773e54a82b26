"""The sizes that a cost is counted at: one explicit size, or the sizes of COCO val2017, grouped and exact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from functools import cache, cached_property
from importlib import resources

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.specs.terms import Sides
from proscale_bench.units import Size

MAX_SIDE_PX = 32_768
COCO_SIZES = ("coco-first100", "coco-val")
DEFAULT_SIZE = "coco-first100"
SHORT_PX, LONGEST_PX = 800, 1333  # of COCO evaluation in the papers


@dataclass(frozen=True)
class SizeGroup:
    """`images` images that are padded to one size and whose masks are resized to one output size."""

    padded_height_px: int
    padded_width_px: int
    output_height_px: int
    output_width_px: int
    images: int = 1

    @cached_property
    def sides(self) -> Sides:
        """The sizes of one image of the group."""
        return Sides(*self.padded, *self.output)

    @property
    def padded(self) -> Size:
        """(height, width) as the network sees it."""
        return self.padded_height_px, self.padded_width_px

    @property
    def output(self) -> Size:
        """(height, width) of the masks."""
        return self.output_height_px, self.output_width_px


@dataclass(frozen=True)
class InputSize:
    """The input that `--size` names. `height_px` and `width_px` are None for the COCO sets."""

    name: str
    groups: tuple[SizeGroup, ...]
    height_px: int | None = None
    width_px: int | None = None
    pads: bool = True  # images are padded to a multiple of 32

    @cached_property
    def images(self) -> int:
        return sum(group.images for group in self.groups)

    @property
    def is_single(self) -> bool:
        return self.height_px is not None

    @property
    def sides(self) -> Size:
        """(height, width) of the image, of an explicit size."""
        return self.height_px or 0, self.width_px or 0

    def row(self) -> dict[str, str | int | None]:
        """The `input` of the JSON contract: the sides are None for a set of images."""
        sides = self.groups[0].sides if self.is_single else (None,) * 4
        keys = ("padded_height_px", "padded_width_px", "output_height_px", "output_width_px")
        given = {"size": self.name, "height_px": self.height_px, "width_px": self.width_px}
        return given | dict(zip(keys, sides, strict=True)) | {"images": self.images}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class BatchInput(InputSize):
    """Images of one size that one pass takes together: what is counted is the pass, and a mean is of one of them."""

    batch_size: int = 1

    @property
    def images(self) -> int:
        return self.batch_size


def batch_of(size: InputSize, images: int) -> BatchInput:
    """A pass over so many images of an explicit size, which no model pads."""
    height, width = size.height_px or 0, size.width_px or 0
    return BatchInput(
        size.name, (SizeGroup(height, width, height, width),), height, width, pads=False, batch_size=images
    )


def in_batch(size: InputSize, images: int) -> BatchInput:
    """A pass over so many images of an explicit size, padded as they are."""
    return BatchInput(size.name, size.groups, size.height_px, size.width_px, size.pads, batch_size=images)


def parse_size(size: str | Size = DEFAULT_SIZE, output_size: str | Size | None = None) -> InputSize:
    """Read `800x1333` (height x width), (800, 1333), `coco-first100` or `coco-val`.

    Args:
        size: of the image given to the model, which pads it to a multiple of 32.
        output_size: of the image that masks are resized to; the input's where none is given. The COCO sets have
            their own: the original image sizes.

    Raises:
        BenchError: unknown, or a side outside 1 to 32,768.
    """
    if isinstance(size, str) and size in COCO_SIZES:
        if output_size is not None:
            raise BenchError(
                f"--output-size {_show(output_size)} cannot go with --size {size}",
                "the COCO sets are post-processed at their own original sizes; leave --output-size out",
            )
        return _coco(size)
    height, width = _sides(size, "size")
    out_height, out_width = (height, width) if output_size is None else _sides(output_size, "output size")
    group = SizeGroup(padded(height), padded(width), out_height, out_width)
    return InputSize(f"{height}x{width}", (group,), height, width)


def unpadded(size: InputSize) -> InputSize:
    """The same images for a model that pads none; those of a set of one's own are as they were given."""
    if size.name in COCO_SIZES:
        return _coco(size.name, pads=False)
    if not size.is_single:
        return replace(size, pads=False)
    groups = tuple(
        SizeGroup(size.height_px or 0, size.width_px or 0, *group.output, group.images) for group in size.groups
    )
    return replace(size, groups=groups, pads=False)


def size_of_images(name: str, groups: Iterable[SizeGroup]) -> InputSize:
    """A set of images of one's own. One of COCO's sets is called by its name, whatever it is called here."""
    images: Counter[Sides] = Counter()
    for group in groups:
        images[group.sides] += group.images
    merged = tuple(SizeGroup(*sides, number) for sides, number in sorted(images.items()))
    for known in COCO_SIZES:
        if sorted(_coco(known).groups, key=astuple) == list(merged):
            return _coco(known)
    return InputSize(name, merged)


def resized_size(height_px: int, width_px: int, short_px: int = SHORT_PX, longest_px: int = LONGEST_PX) -> Size:
    """The size an image is resized to: its shorter side to `short_px`, or its longer to `longest_px` if less.

    Source: detectron2's `ResizeShortestEdge`; each product is rounded as floating point numbers are there.
    """
    scale = short_px / min(height_px, width_px)
    # The shorter side is the target itself: height * (800 / height) can miss it by a bit.
    height, width = (
        (float(short_px), scale * width_px) if height_px < width_px else (scale * height_px, float(short_px))
    )
    if max(height, width) > longest_px:
        scale = longest_px / max(height, width)
        height, width = height * scale, width * scale
    return max(int(height + 0.5), 1), max(int(width + 0.5), 1)


def padded(side_px: int) -> int:
    """The side after padding to a multiple of 32."""
    return -(-side_px // SIZE_DIVISOR) * SIZE_DIVISOR


def _sides(size: str | Size, what: str) -> Size:
    if isinstance(size, str):
        match = re.fullmatch(r"([0-9]{1,9})[x×]([0-9]{1,9})", size.strip().lower())
        if not match:
            raise BenchError(
                f"unknown {what} '{size}'",
                did_you_mean(size, COCO_SIZES, f"height x width as in 800x1333, or {' or '.join(COCO_SIZES)}"),
            )
        height, width = int(match[1]), int(match[2])
    else:
        if len(size) != 2 or any(type(side) is not int for side in size):
            raise BenchError(f"{what} {size}: expected (height, width) in whole numbers of pixels")
        height, width = size
    for side in (height, width):
        if not 1 <= side <= MAX_SIDE_PX:
            raise BenchError(
                f"{what} {_show(size)}: a side of {side} pixels", f"each side is 1 to {MAX_SIDE_PX:,} pixels"
            )
    return height, width


def _show(size: str | Size) -> str:
    return size if isinstance(size, str) else f"{size[0]}x{size[1]}"


@cache
def _coco(name: str, pads: bool = True) -> InputSize:
    """From the 5,000 sizes of COCO val2017's annotations (CC BY 4.0) after the shortest-edge 800, longest 1333 resize
    and padding to a multiple of 32."""
    text = resources.files(__package__).joinpath("data/coco_val2017_sizes.csv").read_text("utf-8")
    groups = []
    for line in text.splitlines()[1:]:
        padded_h, padded_w, original_h, original_w, in_all, in_first_100 = map(int, line.split(","))
        if images := in_all if name == "coco-val" else in_first_100:
            sides = (padded_h, padded_w) if pads else resized_size(original_h, original_w)
            groups.append(SizeGroup(*sides, original_h, original_w, images))
    return InputSize(name, tuple(groups), pads=pads)
