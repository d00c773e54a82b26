"""A picture being composed: what is in front at every pixel, and what it looks like there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.shapes.outlines import Mask, rim
from proscale_bench.data.shapes.randomness import Int32s, Random
from proscale_bench.data.shapes.textures import Color

VOID = 0  # the segment of what has none
LEAST_PX = 100  # what is put in front covers at least so many pixels
FULL = 256  # light that changes nothing


@dataclass(frozen=True)
class Paint:
    """Something to be put in front of all else: where, and in which colours.

    Args:
        top, left: corner of its window, which lies inside the picture.
        mask: True for the pixels of the window that it covers.
        tone: 0 for its first colour and 256 for its second, as large as the window.
        pair: the two colours.
    """

    top: int
    left: int
    mask: Mask
    tone: Int32s
    pair: tuple[Color, Color]

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class Canvas:
    """Paints and segments. A segment may have many paints, as a crowd has; segment 0 is void.

    Nothing may be put in front that would leave less than its `keep` of a segment to be seen.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width)
        self.segment: NDArray[np.uint8] = np.zeros(self.shape, np.uint8)  # [H, W]
        self._paint = np.zeros(self.shape, np.uint8)  # [H, W]: an index into _pairs
        self._tone = np.zeros(self.shape, np.int32)
        self._light = np.full(self.shape, FULL, np.int32)
        self._pairs: list[tuple[Color, Color]] = []
        self._keep = [0]
        self._area = [height * width]

    def put(self, paints: list[Paint], keep: int | None, shadow: int = 0, rimmed: bool = False) -> bool:
        """Put paints in front, as one new segment, or as void where `keep` is None.

        Args:
            keep: pixels of it that must stay to be seen, in percent of what is there now.
            shadow: distance that it is thrown, in pixels.
            rimmed: True makes outermost pixels darker.

        Returns:
            Whether it was put: not if too little of it or of another segment would be seen.
        """
        covered = np.zeros(self.shape, np.bool_)
        for paint in paints:
            covered[paint.window] |= paint.mask
        hidden = np.bincount(self.segment[covered], minlength=len(self._area)).tolist()
        left = [area - less for area, less in zip(self._area, hidden, strict=True)]
        segment, area = VOID, sum(hidden)
        if area < LEAST_PX or any(rest < least for rest, least in zip(left, self._keep, strict=True)):
            return False
        self._area = left
        if keep is None:
            self._area[VOID] += area
        else:
            segment = len(self._area)
            self._area.append(area)
            self._keep.append(area * keep // 100)
        self.segment[covered] = segment
        if shadow:
            thrown = np.zeros(self.shape, np.bool_)
            thrown[shadow:, shadow:] = covered[:-shadow, :-shadow]
            self._light[thrown] = self._light[thrown] * 5 >> 3
        for paint in paints:
            window, mask = paint.window, paint.mask
            self._paint[window][mask] = len(self._pairs)
            self._tone[window][mask] = paint.tone[mask]
            self._light[window][mask] = FULL
            if rimmed:
                self._light[window][rim(mask)] = FULL // 2
            self._pairs.append(paint.pair)
        return True

    def picture(self, random: Random) -> NDArray[np.uint8]:
        """The canvas as a camera sees it, [H, W, 3]: lit from one side, a little out of focus, and grainy."""
        height, width = self.shape
        down, across = random.between(-48, 48), random.between(-48, 48)
        y = np.arange(height, dtype=np.int32)[:, None] * 2 - height
        x = np.arange(width, dtype=np.int32) * 2 - width
        light = self._light * (random.between(224, 296) + y * down // height + x * across // width) >> 8
        pairs = np.array(self._pairs, np.int32).transpose(1, 2, 0)  # [2, 3, paints]
        first, second = pairs[0].take(self._paint, axis=1), (pairs[1] - pairs[0]).take(self._paint, axis=1)
        second *= self._tone
        second += first << 8
        second >>= 8
        second *= light
        second >>= 8
        seen = _softened(second) if random.chance(75) else second  # [3, H, W]: whole planes are quickest
        grain = random.words(height * width).reshape(height, width)
        reach = random.between(4, 28)
        for channel in range(3):
            bits = (grain >> np.uint64(16 * channel)).astype(np.uint16)
            swing = ((bits & np.uint16(255)) + (bits >> np.uint16(8))).astype(np.int32) - 255
            seen[channel] += swing * reach >> 8
        return np.ascontiguousarray(np.clip(seen, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _softened(seen: Int32s) -> Int32s:
    """Each pixel of planes [3, H, W] blended with its neighbours, 1:2:1 down and across."""
    padded = np.pad(seen, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, 1:-1] << 1
    rows += padded[:, :-2]
    rows += padded[:, 2:]
    blended = rows[:, :, 1:-1] << 1
    blended += rows[:, :, :-2]
    blended += rows[:, :, 2:]
    blended >>= 4
    return blended
