"""Reading dimensions off the shapes of a file's tensors, and what it says of itself beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from proscale_bench.errors import BenchError
from proscale_bench.specs.model import EncoderSpec

MAX_NUMBER = 300  # layers or blocks; the deepest published stage has 36

TensorShapes = Mapping[str, tuple[int, ...]]  # under our keys


class TensorError(BenchError):
    """A tensor that tells nothing; `key` is ours, `what` is wrong with it."""

    def __init__(self, key: str, what: str, hint: str | None = None) -> None:
        super().__init__(f"{key}{what}", hint)
        self.key, self.what = key, what


@dataclass(frozen=True)
class Hints:
    """Hints that a file gives beside its tensors; None where it says nothing."""

    schedule: EncoderSpec | None = None
    encoder_heads: int | None = None
    encoder_points: int | None = None
    encoder_ffn: int | None = None
    decoder_heads: int | None = None
    decoder_points: int | None = None
    queries: int | None = None


def divisor(heads: int | None, width: int) -> int | None:
    """A number of heads that divides a width; None where it does not."""
    return heads if heads and width % heads == 0 else None


def dimension(shapes: TensorShapes, key: str, *, axis: int = 0, rank: int = 2, least: int = 1) -> int:
    """One side of a tensor of this rank; an error where it is missing, of another rank, or too small."""
    shape = shapes.get(key)
    if shape is None:
        raise TensorError(key, " is missing", "the file is damaged, or not of a model that we know")
    if len(shape) != rank or min(shape) < 1 or shape[axis] < least:
        raise TensorError(key, f": shape {list(shape)}, expected {rank} dimensions, none of them empty")
    return shape[axis]


def count(shapes: TensorShapes, pattern: str) -> int:
    """The count of numbers in the keys' place: one more than the largest, gaps being missing tensors."""
    found = {int(match[1]) for key in shapes if (match := re.match(pattern, key))}
    largest = max(found, default=-1) + 1
    if largest > MAX_NUMBER or largest > 2 * len(found) + 8:  # a name alone must not make us build that many layers
        key = pattern.replace(r"(\d+)\.", str(largest - 1)).replace("\\", "")
        raise TensorError(
            key, f": number {largest}, of {len(found)} in the file and at most {MAX_NUMBER}", "the file is damaged"
        )
    return largest
