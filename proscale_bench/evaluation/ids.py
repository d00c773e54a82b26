"""Columns of ids: whole numbers, as COCO's are, or text, as cityscapesScripts and many others write them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Id
from proscale_bench.evaluation.average_precision import Integers

Ids = Integers | NDArray[np.object_]  # whole numbers where all are


def id_column(ids: Sequence[Id]) -> Ids:
    """Ids as a column."""
    if set(map(type, ids)) <= {int}:
        return np.array(ids, np.int64)
    column = np.empty(len(ids), object)
    column[:] = ids
    return column


def sorted_ids(ids: Iterable[Id]) -> list[Id]:
    """Ids in pycocotools' order: numbers by size, text by its characters, and numbers first."""
    return sorted(ids, key=_rank)


def ascending(ids: Ids) -> Integers:
    """The places of ids in their order."""
    if ids.dtype != object:
        return np.argsort(ids)
    items = ids.tolist()
    return np.array(sorted(range(len(items)), key=lambda place: _rank(items[place])), np.int64)


def place_of(ids: Ids, known: Ids) -> Integers:
    """The place of each id among the known ones, ascending; -1 where it is not one of them."""
    if object in (ids.dtype, known.dtype):
        places = {id_: place for place, id_ in enumerate(known.tolist())}
        return np.fromiter((places.get(id_, -1) for id_ in ids.tolist()), np.int64, len(ids))
    if not len(known):
        return np.full(len(ids), -1)
    found = np.searchsorted(known, ids).clip(max=len(known) - 1)
    return np.where(known[found] == ids, found, -1)


def are_among(ids: Ids, chosen: Collection[Any]) -> NDArray[np.bool_]:
    """True for each id that is one of the chosen."""
    wanted = set(chosen)
    return np.fromiter((id_ in wanted for id_ in ids.tolist()), bool, len(ids))


def _rank(id_: Id) -> tuple[bool, Any]:
    return isinstance(id_, str), id_
