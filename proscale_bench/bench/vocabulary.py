"""The words for a model's classes, where no data set says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from proscale_bench.bench.evaluate import COCO_RESIZE, Resize
from proscale_bench.bench.weights import Weights
from proscale_bench.config.trained_on import trained_on
from proscale_bench.config.weights import METADATA
from proscale_bench.data.dataset import Category
from proscale_bench.data.documents import Reader, read_json
from proscale_bench.data.shapes.categories import CATEGORIES as SHAPES
from proscale_bench.errors import BenchError


@dataclass(frozen=True)
class Vocabulary:
    """The words for a model's classes, the ids of images that a file of them knows, and the scale they are seen at.

    Args:
        categories: in the order of the model's classes.
        image_ids: by file name; empty where no file is given.
        resize: (short side, longest side) in pixels that pictures are resized to; None: given as they are.
    """

    categories: tuple[Category, ...]
    image_ids: Mapping[str, int | str] = field(default_factory=dict)
    resize: Resize | None = COCO_RESIZE


def read_categories(path: Path) -> Vocabulary:
    """The categories of a panoptic JSON, of one of instances, all of whose categories are things, or of a mere list.

    Raises:
        BenchError: unreadable, no such list, or an id is there twice.
    """
    document = read_json(path)
    reader = Reader(path, "", {"categories": document} if isinstance(document, list) else document)
    categories = tuple(
        Category(one.integer("id"), one.text("name", str(one.integer("id"))), one.flag("isthing", True))
        for one in reader.objects("categories")
    )
    if len({category.id for category in categories}) < len(categories) or not categories:
        raise reader.error("'categories': empty, or an id is there twice")
    images = reader.objects("images", required=False)
    return Vocabulary(categories, {one.text("file_name"): _image_id(one) for one in images})


def _image_id(image: Reader) -> int | str:
    """A number, or the text that Cityscapes' and ADE20K's files have."""
    return image.text("id") if isinstance(image.document.get("id"), str) else image.integer("id")


def vocabulary_of(weights: Weights, path: Path, told: Vocabulary | None) -> Vocabulary:
    """The words for the classes of weights: those that a file told, else the weights' own.

    Args:
        path: the weights' file, for messages.

    Raises:
        BenchError: nobody says what the classes are, or the file has others than the weights.
    """
    classes = weights.model.decoder.class_head.out_features - 1
    of_shapes = _trained_on(weights.metadata) == "shapes" and classes == len(SHAPES)
    seen = trained_on(weights.metadata)
    resize = None if of_shapes else seen.resize or COCO_RESIZE
    if told is not None:
        if len(told.categories) != classes:
            raise BenchError(
                f"{path} knows {classes} classes, and {len(told.categories)} categories are given",
                "the categories are the weights' classes, in their order",
            )
        return replace(told, resize=resize)
    if of_shapes:
        return Vocabulary(SHAPES, resize=resize)
    if len(seen.classes) == classes:
        ids = [one.id for one in seen.classes]
        ours = ids if None not in ids and len(set(ids)) == classes else range(classes)
        things = (one.isthing is not False for one in seen.classes)
        found = (
            Category(id_ or 0, one.name, thing) for id_, one, thing in zip(ours, seen.classes, things, strict=True)
        )
        return Vocabulary(tuple(found), resize=resize)
    raise BenchError(
        f"{path} knows {classes} classes, and nothing says what they are called",
        "give --categories FILE, the JSON of annotations that they were trained with",
    )


def _trained_on(metadata: Mapping[str, str]) -> object:
    try:
        return json.loads(metadata[METADATA])["provenance"]["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
