"""The outlines of things: which pixels a disc, a star or a crescent covers, decided in whole numbers.

Lengths are in sixteenths of a pixel; `u` and `v` are a pixel's place as seen from the thing, turned with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.shapes.randomness import Int32s, Random

UNIT = 14  # directions have length 2^14

# Cosine and sine of 0, 72, 144, 216 and 288 degrees; of 90, 210 and 330 degrees.
FIFTHS = ((16384, 0), (5063, 15582), (-13255, 9630), (-13255, -9630), (5063, -15582))
THIRDS = ((0, 16384), (-14189, -8192), (14189, -8192))

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Outline:
    """A thing's shape and place.

    Args:
        kind: a key of `KINDS`.
        x, y: its centre.
        radius: radius of its corners, or half a square's side.
        cosine, sine: direction that it is turned to, of length 2^14.
        stretch: factor of 256ths by which it is narrower across.
        detail: 0..255, its proportions: a ring's hole, a cross's arms.
    """

    kind: str
    x: int
    y: int
    radius: int
    cosine: int
    sine: int
    stretch: int
    detail: int

    @property
    def reach_px(self) -> int:
        """The largest distance from its centre at which it may cover a pixel."""
        return (self.radius * (23 if self.kind == "square" else 17) >> 8) + 2

    def coordinates(self, top: int, left: int, height: int, width: int) -> tuple[Int32s, Int32s]:
        """`u` and `v` of the centres of a window's pixels, [height, width] each."""
        x = (np.arange(left, left + width, dtype=np.int32) << 4) + (8 - self.x)
        y = (np.arange(top, top + height, dtype=np.int32)[:, None] << 4) + (8 - self.y)
        u = x * self.cosine + y * self.sine >> UNIT
        v = y * self.cosine - x * self.sine >> UNIT
        return u, v

    def covers(self, u: Int32s, v: Int32s) -> Mask:
        """True for the places that lie inside."""
        across = v if self.kind in ("square", "bar") else v * self.stretch >> 8
        is_inside, _ = KINDS[self.kind]
        return is_inside(u, across, self.radius, self.detail)


def draw_outline(random: Random, kind: str, area_px: int, height: int, width: int) -> Outline:
    """An outline of about an area, somewhere in an image of this size; part of it may lie outside."""
    radius = max(isqrt(area_px * 256_000 // KINDS[kind][1]), 32)
    cosine, sine = direction(random)
    margin = min(radius * 3 // 4, 4 * height, 4 * width)
    return Outline(
        kind,
        x=random.between(margin, 16 * width - margin),
        y=random.between(margin, 16 * height - margin),
        radius=radius,
        cosine=cosine,
        sine=sine,
        stretch=random.between(256, 320),
        detail=random.below(256),
    )


def direction(random: Random) -> tuple[int, int]:
    """Cosine and sine of some angle, times 2^14: a rational point of the circle, in any of its quarters."""
    tangent = random.below(64)  # of half the angle, in 64ths
    whole = 64 * 64 + tangent * tangent
    cosine = ((64 * 64 - tangent * tangent) << UNIT) // whole
    sine = ((128 * tangent) << UNIT) // whole
    for _ in range(random.below(4)):
        cosine, sine = -sine, cosine
    return cosine, sine


def rim(mask: Mask) -> Mask:
    """The outermost pixels of what a mask covers; its window's border is none."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    outermost: Mask = mask & ~inner
    return outermost


def _disc(u: Int32s, v: Int32s, radius: int, _: int) -> Mask:
    return u * u + v * v <= radius * radius


def _square(u: Int32s, v: Int32s, radius: int, detail: int) -> Mask:
    """A square of half its width as radius; it is a little less high than wide."""
    return (np.abs(u) <= radius) & (np.abs(v) <= radius * (210 + detail * 46 // 256) >> 8)


def _bar(u: Int32s, v: Int32s, radius: int, detail: int) -> Mask:
    """A bar that is 3.5 to 4.7 times as long as wide."""
    return (np.abs(u) <= radius) & (np.abs(v) <= radius * (54 + detail * 20 // 256) >> 8)


def _triangle(u: Int32s, v: Int32s, radius: int, _: int) -> Mask:
    return _nearer(u, v, THIRDS, radius // 2) >= len(THIRDS)


def _star(u: Int32s, v: Int32s, radius: int, _: int) -> Mask:
    """A pentagram: what is on the inner side of all of its five lines, or of all but one."""
    return _nearer(u, v, FIFTHS, radius * FIFTHS[1][0] >> UNIT) >= len(FIFTHS) - 1


def _cross(u: Int32s, v: Int32s, radius: int, detail: int) -> Mask:
    across, along = np.abs(u), np.abs(v)
    arm = radius * (66 + detail * 24 // 256) >> 8
    return (np.minimum(across, along) <= arm) & (np.maximum(across, along) <= radius)


def _ring(u: Int32s, v: Int32s, radius: int, detail: int) -> Mask:
    return _disc(u, v, radius, 0) & ~_disc(u, v, radius * (118 + detail * 40 // 256) >> 8, 0)


def _crescent(u: Int32s, v: Int32s, radius: int, detail: int) -> Mask:
    bitten = u - (radius * (112 + detail * 32 // 256) >> 8)
    return _disc(u, v, radius, 0) & ~_disc(bitten, v, radius * 210 >> 8, 0)


def _nearer(u: Int32s, v: Int32s, normals: tuple[tuple[int, int], ...], distance: int) -> NDArray[np.int8]:
    """The number of lines on whose inner side a place lies, each at a distance along its normal."""
    inside = np.zeros(u.shape, np.int8)
    for across, along in normals:
        inside += u * across + v * along <= distance << UNIT
    return inside


# What is inside, and what an outline of radius 1 covers, in thousandths, at the middle of its proportions.
KINDS: dict[str, tuple[Callable[[Int32s, Int32s, int, int], Mask], int]] = {
    "disc": (_disc, 2790),
    "square": (_square, 3640),
    "triangle": (_triangle, 1150),
    "bar": (_bar, 1000),
    "ring": (_ring, 1975),
    "star": (_star, 1000),
    "cross": (_cross, 1830),
    "crescent": (_crescent, 1330),
}
