"""Random numbers that are the same everywhere and for ever: SplitMix64, in whole numbers.

numpy's generators may change their streams between versions, and floats their last digits between machines.
Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

Item = TypeVar("Item")
Int32s = NDArray[np.int32]


def _mix(value: int) -> int:
    value = (value ^ (value >> 30)) * FACTORS[0] & MASK
    value = (value ^ (value >> 27)) * FACTORS[1] & MASK
    return value ^ (value >> 31)


class Random:
    """A stream of numbers that follows from its key alone, such as (seed, index of the image)."""

    def __init__(self, *key: int) -> None:
        self._state = 0
        for part in key:
            self._state = _mix((self._state ^ part) + GAMMA & MASK)

    def below(self, end: int) -> int:
        """A whole number in 0..end-1; `end` is at most 2^32."""
        self._state = self._state + GAMMA & MASK
        return (_mix(self._state) >> 32) * end >> 32

    def between(self, first: int, last: int) -> int:
        """A whole number in first..last, both included."""
        return first + self.below(last - first + 1)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def weighted(self, weights: Sequence[int]) -> int:
        """An index, as often as its weight has it."""
        return bisect_right(list(accumulate(weights)), self.below(sum(weights)))

    def words(self, count: int) -> NDArray[np.uint64]:
        """So many 64-bit words, [count]: what `count` steps of the stream give, at once."""
        words = np.arange(1, count + 1, dtype=np.uint64)
        words *= np.uint64(GAMMA)
        words += np.uint64(self._state)
        self._state = self._state + GAMMA * count & MASK
        words ^= words >> np.uint64(30)
        words *= np.uint64(FACTORS[0])
        words ^= words >> np.uint64(27)
        words *= np.uint64(FACTORS[1])
        words ^= words >> np.uint64(31)
        return words

    def bytes(self, height: int, width: int) -> Int32s:
        """0..255, [height, width]."""
        top: Int32s = (self.words(height * width) >> np.uint64(56)).astype(np.int32)
        return top.reshape(height, width)

    def clouds(self, height: int, width: int, log_cell: int) -> Int32s:
        """Smooth noise in 0..255, [height, width]: random values 2^log_cell pixels apart, and blends between them."""
        cell = 1 << log_cell
        lattice = self.bytes(height // cell + 2, width // cell + 2)
        row, down = _blend(height, log_cell)
        column, across = _blend(width, log_cell)
        rows: Int32s = lattice[row] * (256 - down)[:, None] + lattice[row + 1] * down[:, None]
        left, right = rows[:, column], rows[:, column + 1]
        return (left * (256 - across) + right * across) >> 16


def _blend(length: int, log_cell: int) -> tuple[Int32s, Int32s]:
    """The lattice point before each pixel, and the share of 256 of the one after it: 3 t^2 - 2 t^3."""
    pixel = np.arange(length, dtype=np.int32)
    part = (pixel & (1 << log_cell) - 1) << 8 - log_cell
    return pixel >> log_cell, part * part * (768 - 2 * part) >> 16
