"""The classes that weights know and the scale at which they saw images, as far as their file says.

Our own files say it in their metadata, Hugging Face's folders in `id2label`, which other files may have as an entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from proscale_bench.config.weights import METADATA

ID2LABEL = "id2label"
PLACEHOLDER = re.compile(r"LABEL_\d+")  # what transformers calls a class that nobody named
MAX_NAME = 200
SIDES = re.compile(r"[1-9]\d{0,3},[1-9]\d{0,3}")


@dataclass(frozen=True)
class KnownClass:
    """A class of a model: its name, and the id and kind that its data gave it; None where the file does not say."""

    name: str
    id: int | str | None = None
    isthing: bool | None = None


@dataclass(frozen=True)
class TrainedOn:
    """The data that weights were trained on.

    Args:
        classes: in the order of the model's; empty where the file does not say.
        resize: (short side, longest side) in pixels that images were fit into; None where the file does not say.
    """

    classes: tuple[KnownClass, ...] = ()
    resize: tuple[int, int] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.classes)

    def fields(self) -> dict[str, Any]:
        """The keys of a file's metadata; none of what is not known."""
        classes = [{key: value for key, value in asdict(one).items() if value is not None} for one in self.classes]
        resize = None if self.resize is None else f"{self.resize[0]},{self.resize[1]}"
        return {"categories": classes or None, "resize": resize}


def places_of(known: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """The place of each wanted class's name among the known ones; None where both do not list the same names.

    Names are equal as of `folded`. Lists that are equal are each other's, whatever is twice in them.
    """
    ours, theirs = ([folded(name) for name in names] for names in (known, wanted))
    if ours == theirs:
        return tuple(range(len(ours)))
    places = {name: place for place, name in enumerate(ours)}
    if len(ours) != len(theirs) or len(places) < len(ours) or places.keys() != set(theirs):
        return None
    return tuple(places[name] for name in theirs)


def folded(name: str) -> str:
    """A class's name without what two spellings of it differ in: case and white space."""
    return " ".join(name.casefold().split())


def trained_on(metadata: Mapping[str, str]) -> TrainedOn:
    """Read what weights were trained on off a file's metadata; what cannot be read is not known."""
    told = _document(metadata.get(METADATA))
    sides = told.get("resize")
    resize = tuple(map(int, sides.split(","))) if isinstance(sides, str) and SIDES.fullmatch(sides) else None
    labels = _document(metadata.get("config")).get(ID2LABEL) or _document(metadata.get(ID2LABEL))
    listed = told.get("categories")
    classes = _listed(listed) if isinstance(listed, list) else _labelled(labels)
    return TrainedOn(classes, None if resize is None else (resize[0], resize[1]))


def data_of(metadata: Mapping[str, str]) -> str | None:
    """The name of the data that weights of our own training learnt from; None where their file does not say."""
    provenance = _document(metadata.get(METADATA)).get("provenance")
    found = provenance.get("data") if isinstance(provenance, dict) else None
    return found if isinstance(found, str) else None


def _document(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(categories: list[Any]) -> tuple[KnownClass, ...]:
    found = []
    for one in categories:
        name, id_, thing = (one.get(key) if isinstance(one, dict) else None for key in ("name", "id", "isthing"))
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            return ()
        found.append(KnownClass(name, id_ if type(id_) in (int, str) else None, thing if type(thing) is bool else None))
    return tuple(found)


def _labelled(labels: Any) -> tuple[KnownClass, ...]:
    """The classes of an `id2label`, whose keys are 0, 1, ... as numbers or text; none of placeholders."""
    if not isinstance(labels, dict):
        return ()
    classes = _listed([{"name": labels.get(str(index))} for index in range(len(labels))])
    return () if all(PLACEHOLDER.fullmatch(one.name) for one in classes) else classes
