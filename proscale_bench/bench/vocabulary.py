"""The words for a model's classes, where no data set says them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from proscale_bench.bench.class_order import stands_for_nothing
from proscale_bench.bench.evaluate import COCO_RESIZE, Resize
from proscale_bench.bench.weights import Weights
from proscale_bench.config.trained_on import KnownClass, data_of, trained_on
from proscale_bench.data.coco import SHAPES as SHAPES_DESCRIPTION
from proscale_bench.data.dataset import Category, Id
from proscale_bench.data.documents import Reader, read_json
from proscale_bench.data.known_classes import COCO, EMBEDDED, KNOWN
from proscale_bench.data.panoptic_json import read_category
from proscale_bench.data.shapes.categories import CATEGORIES as SHAPES
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

CATEGORIES_HINT = "give --categories FILE, the JSON of annotations that they were trained with"


@dataclass(frozen=True)
class Vocabulary:
    """The words for a model's classes, the ids of images that a file of them knows, and the scale they are seen at.

    Args:
        categories: in the order of the model's classes.
        image_ids: by file name; empty where no file is given.
        resize: (short side, longest side) in pixels that pictures are resized to; None: given as they are.
        note: what was taken for granted; None: nothing.
    """

    categories: tuple[Category, ...]
    image_ids: Mapping[str, Id] = field(default_factory=dict)
    resize: Resize | None = COCO_RESIZE
    note: str | None = None


def read_categories(path: Path) -> Vocabulary:
    """The categories of a panoptic JSON, of one of instances, all of whose categories are things, or of a mere list.

    Raises:
        BenchError: unreadable, no such list, or an id is there twice.
    """
    document = read_json(path)
    reader = Reader(path, "", {"categories": document} if isinstance(document, list) else document)
    categories = tuple(read_category(one, one.flag("isthing", True)) for one in reader.objects("categories"))
    if len({category.id for category in categories}) < len(categories) or not categories:
        raise reader.error("'categories': empty, or an id is there twice")
    images = reader.objects("images", required=False)
    info = reader.document.get("info")
    resizes = not (isinstance(info, dict) and info.get("description") == SHAPES_DESCRIPTION)
    ids = {one.text("file_name"): one.identifier("id") for one in images}
    return Vocabulary(categories, ids, COCO_RESIZE if resizes else None)


def vocabulary_of(weights: Weights, path: Path, told: Vocabulary | None) -> Vocabulary:
    """The words for the classes of weights: those that a file told, else the weights' own, else COCO's for 133 classes.

    Of names without kinds, as Hugging Face's `id2label` has them, things are what a well-known data set has as things.

    Args:
        path: the weights' file, for messages.

    Raises:
        BenchError: nobody says what the classes are, or the file has others than the weights.
    """
    if "boxes" in weights.spec.tasks:
        return _words_of_detector(weights, path, told)
    classes = weights.segmenter.decoder.class_head.out_features - 1
    of_shapes = data_of(weights.metadata) == EMBEDDED and classes == len(SHAPES)
    seen = trained_on(weights.metadata)
    resize = seen.resize or COCO_RESIZE
    if told is not None:
        if len(told.categories) != classes:
            raise BenchError(
                f"{path} knows {classes} classes, and {len(told.categories)} categories are given",
                "the categories are the weights' classes, in their order",
            )
        return replace(told, resize=told.resize and resize)  # images of Shapes are given as they are
    if of_shapes:
        return Vocabulary(SHAPES, resize=None)
    if len(seen.classes) == classes:
        return Vocabulary(_of_names(seen.classes, path), resize=resize)
    if classes == len(COCO):
        return Vocabulary(COCO, resize=resize, note=f"{path} does not name its classes: 133 are taken as COCO's")
    raise BenchError(f"{path} knows {classes} classes, and nothing says what they are called", CATEGORIES_HINT)


def _words_of_detector(weights: Weights, path: Path, told: Vocabulary | None) -> Vocabulary:
    """The words for a detector's classes, which are things; see `vocabulary_of`. COCO's 80 have up to 91 places."""
    seen, classes = trained_on(weights.metadata), weights.spec.classes
    resize = seen.resize or COCO_RESIZE
    coco = _things(COCO)
    if told is not None:
        return replace(told, categories=_things(told.categories), resize=told.resize and resize)
    if data_of(weights.metadata) == EMBEDDED and classes == len(_things(SHAPES)):
        return Vocabulary(_things(SHAPES), resize=None)
    if len(seen.classes) == classes:
        named = [replace(one, isthing=True) for one in seen.classes if not stands_for_nothing(one.name)]
        return Vocabulary(_of_names(named, path, tuple(map(_things, KNOWN))), resize=resize)
    if classes in (len(coco), 1 + max(int(one.id) for one in coco)):
        note = f"{path} does not name its classes: {classes} are taken as those of COCO's things"
        return Vocabulary(coco, resize=resize, note=note)
    raise BenchError(f"{path} knows {classes} classes, and nothing says what they are called", CATEGORIES_HINT)


def _things(categories: Sequence[Category]) -> tuple[Category, ...]:
    return tuple(category for category in categories if category.is_thing)


def _of_names(
    classes: Sequence[KnownClass], path: Path, known_lists: Sequence[Sequence[Category]] = KNOWN
) -> tuple[Category, ...]:
    """Categories of classes that a file names; kinds and ids that it does not say are those of a known data set."""
    names = {one.name for one in classes}
    known: Sequence[Category] = next((listed for listed in known_lists if names == {one.name for one in listed}), ())
    by_name = {one.name: one for one in known}
    ids = [by_name[one.name].id if known and one.id is None else one.id for one in classes]
    whole = [place if id_ is None else id_ for place, id_ in enumerate(ids)]
    if None in ids or len(set(whole)) < len(whole):
        whole = list(range(len(classes)))
    found = []
    for id_, one in zip(whole, classes, strict=True):
        is_thing = one.isthing if one.isthing is not None or not known else by_name[one.name].is_thing
        if is_thing is None:
            said = printable(f"{path} does not say whether '{one.name}' is a thing or stuff")
            raise BenchError(said, CATEGORIES_HINT)
        found.append(Category(id_, one.name, is_thing))
    return tuple(found)
