"""Many encoders that differ in numbers of layers alone, as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proscale_bench.specs.model import EncoderSpec


@dataclass(frozen=True)
class Grid:
    """Encoders that differ in numbers of layers alone: at each place from one on, and so many in all.

    A cost of such encoders is mostly linear in these numbers, so that a few of them tell all (`cost/search.py`).

    Args:
        make: the encoder of a number of layers at each place.
        places: how many numbers `make` takes; 0 for a single encoder.
        most: the largest sum of the numbers.
    """

    make: Callable[..., EncoderSpec]
    places: int = 0
    most: int = 0


def single(encoder: EncoderSpec) -> Grid:
    """The grid of one encoder."""
    return Grid(lambda: encoder)
