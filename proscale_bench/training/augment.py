"""Variations of an image for training, and of its truth with it: one is drawn, then applied to all that the image has.

Large-scale jitter: resized, its aspect kept, to fit the crop's size times a scale; then a crop, which is padded below
and to the right where the image is smaller. A crop's pixels alone are resized: of those outside nobody asks.
Detectors are shown several scales instead, each image as large as it is then.
Sources: Ghiasi et al. 2021 (jitter) and Cheng et al. 2022, section 4.1; colours, Liu et al. 2016 (SSD), section 3.6;
scales, Carion et al. 2020, section 4 and appendix A.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.recipe import Augmentation, DetrAugmentation
from proscale_bench.cost.geometry import resized_size
from proscale_bench.data.pictures import Pixels
from proscale_bench.units import Size

GREY = 128  # of padding
VOID = 0
BRIGHTNESS = 32  # at most so much more or less, of 255
CONTRAST = SATURATION = (0.5, 1.5)
NO_LIMIT = 1 << 30  # of a longer side
HUE = 13  # of 256: 18 degrees

Map = TypeVar("Map", bound=NDArray[Any])


@dataclass(frozen=True)
class Colors:
    """A change of colours: `value * contrast + brightness`, then saturation by a factor and hue by 256ths of a turn."""

    brightness: float
    contrast: float
    saturation: float
    hue: int

    def of_image(self, image: Pixels) -> Pixels:
        """An image [H, W, 3] in other colours."""
        from PIL import Image

        image = _table(self.contrast, self.brightness)[image]
        if self.saturation == 1 and self.hue == 0:  # there and back again would cost some of its colours
            return image
        hue, saturation, value = Image.fromarray(image).convert("HSV").split()
        hue = hue.point([(angle + self.hue) % 256 for angle in range(256)])
        saturation = saturation.point(_table(self.saturation).tolist())
        return np.asarray(Image.merge("HSV", (hue, saturation, value)).convert("RGB"))


@dataclass(frozen=True)
class Variation:
    """The origin of each pixel of a crop.

    Args:
        size: (height, width) of the image.
        resized: (height, width) that it is resized to.
        top, left: corner of the crop in the resized image.
        crop: its size.
        flip, vertical_flip: True turns what is seen in it over.
        colors: None leaves them as they are.
    """

    size: Size
    resized: Size
    top: int
    left: int
    crop: Size
    flip: bool = False
    vertical_flip: bool = False
    colors: Colors | None = None

    @property
    def seen(self) -> Size:
        """Height and width of the part of the crop that is not padding."""
        return min(self.crop[0], self.resized[0] - self.top), min(self.crop[1], self.resized[1] - self.left)

    def of_image(self, image: Pixels) -> Pixels:
        """The crop of an image [H, W, 3], by Pillow's bilinear filter on bytes."""
        from PIL import Image

        height, width = self.seen
        if self.resized == self.size:
            found = image[self.top : self.top + height, self.left : self.left + width]
        else:
            down, across = self.size[0] / self.resized[0], self.size[1] / self.resized[1]
            # The filter reaches over the box's border into the image, so this is a part of the whole image resized.
            box = (
                self.left * across,
                self.top * down,
                min((self.left + width) * across, self.size[1]),
                min((self.top + height) * down, self.size[0]),
            )
            found = np.asarray(
                Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BILINEAR, box)
            )
        if self.colors is not None:
            found = self.colors.of_image(found)
        whole = np.full((*self.crop, 3), GREY, np.uint8)
        whole[:height, :width] = found[:: -1 if self.vertical_flip else 1, :: -1 if self.flip else 1]
        return whole

    def of_map(self, values: Map) -> Map:
        """The crop of a map [..., H, W], each value from the pixel nearest to it; 0 in the padding."""
        rows, columns = self._rows_and_columns
        whole = np.zeros((*values.shape[:-2], *self.crop), values.dtype)
        whole[..., : len(rows), : len(columns)] = values.take(rows, axis=-2).take(columns, axis=-1)
        return whole  # type: ignore[return-value]

    def of_boxes(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (x0, y0, x1, y1) in pixels of the image, in those of what is seen of it; of what is not, empty ones."""
        height, width = self.seen
        scale = np.array(self.resized[::-1]) / self.size[::-1]
        found: NDArray[np.float64] = boxes * np.tile(scale, 2) - (self.left, self.top, self.left, self.top)
        found = found.clip(0, (width, height, width, height))
        if self.flip:
            found[:, [0, 2]] = width - found[:, [2, 0]]
        if self.vertical_flip:
            found[:, [1, 3]] = height - found[:, [3, 1]]
        return found

    @cached_property
    def _rows_and_columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        height, width = self.seen
        rows = _nearest(self.top, height, self.size[0], self.resized[0])
        columns = _nearest(self.left, width, self.size[1], self.resized[1])
        return rows[:: -1 if self.vertical_flip else 1], columns[:: -1 if self.flip else 1]


def draw_variation(augmentation: Augmentation | DetrAugmentation, size: Size, random: np.random.Generator) -> Variation:
    """A variation of an image of a size. Whether there are flips or colours changes nothing else that is drawn."""
    if isinstance(augmentation, DetrAugmentation):
        return _draw_scale(augmentation, size, random)
    crop_height, crop_width = augmentation.crop
    height, width = size
    scale = random.uniform(*augmentation.resize)
    factor = min(crop_height * scale / height, crop_width * scale / width)
    resized = max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)
    top = int(random.integers(max(resized[0] - crop_height, 0), endpoint=True))
    left = int(random.integers(max(resized[1] - crop_width, 0), endpoint=True))
    flip, vertical_flip = (bool(one) for one in random.random(2) < 0.5)
    return Variation(
        (height, width),
        resized,
        top,
        left,
        augmentation.crop,
        flip and augmentation.flip,
        vertical_flip and augmentation.vertical_flip,
        _draw_colors(random) if augmentation.color else None,
    )


def _draw_scale(augmentation: DetrAugmentation, size: Size, random: np.random.Generator) -> Variation:
    """One of several scales, half of the time of a part: both steps of resizing become one."""
    flip, cuts = (bool(one) for one in random.random(2) < 0.5)
    short, first = (int(random.choice(sides)) for sides in (augmentation.short_sides, augmentation.crop_short_sides))
    low, high = augmentation.crop_sides
    before = resized_size(*size, first, NO_LIMIT)
    part = tuple(int(random.integers(min(low, side), min(high, side), endpoint=True)) for side in before)
    corner = [int(random.integers(side - kept, endpoint=True)) for side, kept in zip(before, part, strict=True)]
    if not cuts:
        before, part, corner = size, size, [0, 0]
    crop = resized_size(part[0], part[1], short, augmentation.longest_side)
    factors = [after / kept for after, kept in zip(crop, part, strict=True)]
    height, width = (round(side * factor) for side, factor in zip(before, factors, strict=True))
    top, left = (round(place * factor) for place, factor in zip(corner, factors, strict=True))
    resized = max(height, crop[0]), max(width, crop[1])
    return Variation(
        size,
        resized,
        min(top, resized[0] - crop[0]),
        min(left, resized[1] - crop[1]),
        crop,
        flip and augmentation.flip,
    )


def _draw_colors(random: np.random.Generator) -> Colors:
    """Each change is made one time in two."""
    made = random.random(4) < 0.5
    brightness, contrast = random.uniform(-BRIGHTNESS, BRIGHTNESS), random.uniform(*CONTRAST)
    saturation, hue = random.uniform(*SATURATION), int(random.integers(-HUE, HUE, endpoint=True))
    return Colors(
        brightness if made[0] else 0.0,
        contrast if made[1] else 1.0,
        saturation if made[2] else 1.0,
        hue if made[3] else 0,
    )


def _nearest(first: int, count: int, length: int, resized: int) -> NDArray[np.int64]:
    """The pixel of `length` in which the middle of each of `count` resized ones lies, in whole numbers."""
    return (2 * np.arange(first, first + count, dtype=np.int64) + 1) * length // (2 * resized)


def _table(factor: float, more: float = 0.0) -> NDArray[np.uint8]:
    """The new value of each byte."""
    table: NDArray[np.uint8] = np.clip(np.arange(256) * factor + more + 0.5, 0, 255).astype(np.uint8)
    return table
