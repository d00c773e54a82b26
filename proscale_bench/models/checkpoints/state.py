"""Where in a document the weights are, and whether its arrays are what they claim to be: without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.unpickle import MAX_ITEMS, Array, spelt_type

MAX_EXPANSION = 4  # bytes of all tensors to bytes of the file: tied weights share theirs
MAX_SIDE = 2**31  # of an array; a longer one is none of a model's

# Where checkpoints keep their weights. Averaged weights come first: they are what their authors evaluate.
AVERAGED = re.compile(r"(^|_)ema(_|$)")
WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights", "params")
MAX_DEPTH = 3  # entries inside one another: Lightning's, of a strategy, of a compiled model
NAMED_ENTRIES = 12  # in an error


def place_of_weights(path: Path, document: Any, kinds: tuple[type, ...]) -> tuple[str, ...]:
    """The entries, one inside the other, that lead to the mapping of names to tensors.

    Weights are the mapping with the most tensors, or one with half as many that is preferred: what counts the updates
    of an average is none of them.

    Args:
        kinds: types of what is a tensor there.

    Raises:
        BenchError: there are none, or several that nothing chooses between.
    """
    found = dict(_states(document, kinds))
    most = max(found.values(), default=0)
    places = sorted((place for place, number in found.items() if 2 * number >= most), key=_preference)
    if not places or (len(places) > 1 and _preference(places[0]) == _preference(places[1])):
        raise _no_state(path, document, [".".join(place) for place in places])
    return places[0]


def require_whole_arrays(path: Path, document: Any, file_bytes: int) -> None:
    """Hold the arrays of the weights against their bytes.

    Raises:
        BenchError: no weights, or an array that is not what it claims.
    """
    node, total = document, 0
    for name in place_of_weights(path, document, (Array,)):
        node = node[name]
    for key, value in node.items():
        if isinstance(key, str) and isinstance(value, Array):
            total += len(checked_array(path, key, value)[2])
            if total > MAX_EXPANSION * file_bytes:
                raise BenchError(f"{path}: claims many times the bytes that it has, at {key}")


def checked_array(path: Path, key: str, array: Array) -> tuple[np.dtype[Any], tuple[int, ...], bytes | bytearray]:
    """The type, shape and bytes of a described array.

    Raises:
        BenchError: it is not of numbers, or has another number of bytes than its shape.
    """
    dtype = np.dtype(spelt_type(array))
    shape, data = array.shape, array.data
    data = data.encode("latin1") if isinstance(data, str) else data  # Python 2's bytes
    shape = (shape,) if type(shape) is int else shape
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 8:
        raise BenchError(f"{path}: {key}: an array without a shape")
    if any(side > MAX_SIDE for side in shape):
        raise BenchError(f"{path}: {key}: an array with a side of over {MAX_SIDE:,}")
    if math.prod(side or 1 for side in shape) > MAX_ITEMS:
        raise BenchError(f"{path}: {key}: an array of a shape that no memory holds")
    if not isinstance(data, (bytes, bytearray)) or len(data) != math.prod(shape) * dtype.itemsize:
        raise BenchError(f"{path}: {key}: an array of shape {list(shape)} without the bytes for it")
    return dtype, shape, data


def _states(node: Any, kinds: tuple[type, ...], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """The mappings of names to tensors in a document, by their place, with the number of their tensors."""
    if not isinstance(node, Mapping):
        return
    if number := sum(isinstance(key, str) and isinstance(value, kinds) for key, value in node.items()):
        yield place, number
    if len(place) < MAX_DEPTH:
        for key, value in node.items():
            if isinstance(key, str) and isinstance(value, Mapping):
                yield from _states(value, kinds, (*place, key))


def _preference(place: tuple[str, ...]) -> tuple[int, ...]:
    """A rank by the names of entries, the least first; names that we do not know are alike."""
    return tuple(
        -1 if AVERAGED.search(name) else WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS) for name in place
    )


def _no_state(path: Path, document: Any, places: list[str]) -> BenchError:
    """The error of a document with no weights in it, or with several that nothing chooses between."""
    entries = [str(key)[:100] for key in document] if isinstance(document, Mapping) else []
    more = [f"and {len(entries) - NAMED_ENTRIES:,} more"] if len(entries) > NAMED_ENTRIES else []
    told = f"entries: {', '.join([*entries[:NAMED_ENTRIES], *more])}" if entries else f"a {type(document).__name__}"
    if places:
        both = " and ".join(places[:2])
        return BenchError(
            f"{path}: weights under {both}, and nothing chooses ({told})", "save those that are meant alone"
        )
    return BenchError(f"{path}: no tensors in it under names ({told})", "expected a state dict, or one under 'model'")
