"""Counting pixels by runs: neighbours in a segmentation map mostly agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTEST = 2  # pixels a run, on average: with less, as in noise, counting pixels is up to four times faster

Map = NDArray[Any]  # of integers


def runs(first: Map, second: Map) -> tuple[Map, Map, NDArray[np.intp] | None]:
    """The runs of pixels, in reading order, in which neither of two maps [H, W] changes.

    There are some thousands in a map of 300,000 pixels.

    Returns:
        Both maps' values in each run, and its length; the pixels themselves and None where runs are too short.

    Raises:
        ValueError: the maps differ in size.
    """
    if first.shape != second.shape:
        raise ValueError(f"{_size(second)} pixels where the truth has {_size(first)}")
    first, second = first.reshape(-1), second.reshape(-1)
    changes = first[1:] != first[:-1]
    changes |= second[1:] != second[:-1]
    inner_ends = np.flatnonzero(changes)
    if inner_ends.size * SHORTEST >= first.size:
        return first, second, None
    ends = np.append(inner_ends, first.size - 1)
    return first[ends], second[ends], np.diff(ends, prepend=-1)


def _size(values: Map) -> str:
    return " x ".join(str(side) for side in reversed(values.shape))
