"""Panoptic JSON and PNGs whose ids are text, as the scripts of Cityscapes and of Mask2Former for ADE20K write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proscale_bench.data.convert.source import (
    MAX_SEGMENT_ID,
    ConvertRequest,
    SourceImage,
    SourceSplit,
    TrueSegment,
    chosen_splits,
    require_file,
)
from proscale_bench.data.dataset import Annotation, Category, Id
from proscale_bench.data.documents import Reader, kind_of, read_json
from proscale_bench.data.panoptic_json import read_file_name
from proscale_bench.data.pictures import IdMap, read_id_map
from proscale_bench.errors import BenchError

ADE_IMAGE_DIRS = {"train": ("training", "train"), "val": ("validation", "val"), "test": ("testing", "test")}


@dataclass(frozen=True)
class PanopticFile:
    """A panoptic JSON: its categories, and for each image the file name, the PNG's name and the segments."""

    path: Path
    categories: tuple[Category, ...]
    entries: tuple[tuple[str, str, tuple[TrueSegment, ...]], ...]


def ade20k(request: ConvertRequest) -> list[SourceSplit]:
    """ADE20K as Mask2Former's `prepare_ade20k_pan_seg.py` leaves it.

    `ade20k_panoptic_SPLIT.json`, `ade20k_panoptic_SPLIT/` and `images/training/` or `images/validation/`. Instances are
    the things of the maps: ADE20K's do not overlap.

    Raises:
        BenchError: something is missing or wrong in the JSON.
    """
    root, prefix = request.source, "ade20k_panoptic_"
    there = [path.stem.removeprefix(prefix) for path in sorted(root.glob(f"{prefix}*.json"))]
    names = chosen_splits(root, there, request.splits, f"{prefix}SPLIT.json and {prefix}SPLIT/")
    return [_ade_split(request, name, read_panoptic_file(root / f"{prefix}{name}.json")) for name in names]


def _ade_split(request: ConvertRequest, name: str, found: PanopticFile) -> SourceSplit:
    root = request.source
    folders = [root / "images" / folder for folder in (*ADE_IMAGE_DIRS.get(name, ()), name)]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return panoptic_split(
        name, found, root / f"ade20k_panoptic_{name}", (lambda file: folder / file) if request.images_needed else None
    )


def panoptic_split(
    name: str,
    found: PanopticFile,
    maps: Path,
    image_of: Callable[[str], Path] | None,
    instances_of: Callable[[str], Sequence[Annotation] | None] = lambda file_name: None,
    new_name: Callable[[str], str] = lambda file_name: file_name,
) -> SourceSplit:
    """A split of a panoptic JSON.

    Args:
        maps: folder of its PNGs.
        image_of: the file of an image by its `file_name`; None where images are not converted.
        instances_of: its instances, likewise; None: the things of the map.
        new_name: where an image goes below the split's folder.
    """

    def samples() -> Iterator[SourceImage]:
        for file_name, png, segments in found.entries:
            path = require_file(maps / png, f"which {found.path.name} lists")
            image = None if image_of is None else require_file(image_of(file_name), f"which {found.path.name} lists")
            ids = read_id_map(path)
            require_same_ids(ids, segments, str(path))
            yield SourceImage(new_name(file_name), str(path), image, ids, segments, instances_of(file_name))

    return SourceSplit(name, found.categories, len(found.entries), samples)


def require_same_ids(ids: IdMap, segments: Sequence[TrueSegment], where: str) -> None:
    """A map has the ids that are listed, and no others but 0.

    Raises:
        BenchError: it has others, or lacks one.
    """
    there = set(np.unique(ids).tolist()) - {0}
    listed = {segment.id for segment in segments}
    if unknown := sorted(there - listed):
        pixels = int((ids == unknown[0]).sum())
        raise BenchError(
            f"{where}: {pixels:,} pixels of the id {unknown[0]}, which its segments do not list",
            "the map and the list are not of one image, or the map was resized with blending",
        )
    if absent := sorted(listed - there):
        raise BenchError(
            f"{where}: segment {absent[0]} is listed, and the map has no pixel of it",
            "the map and the list are not of one image",
        )


def segments_from(readers: Sequence[Reader], known: frozenset[Id], key: str = "category_id") -> tuple[TrueSegment, ...]:
    """The segments of a `segments_info`.

    Raises:
        BenchError: a field is missing, an id cannot be one or is there twice, or a category is not listed.
    """
    segments: dict[int, TrueSegment] = {}
    for reader in readers:
        segment = TrueSegment(reader.integer("id"), reader.integer(key), reader.flag("iscrowd", False))
        if not 0 < segment.id <= MAX_SEGMENT_ID:
            raise reader.error(f"'id': {segment.id}", f"ids of segments are 1 to {MAX_SEGMENT_ID:,}, 0 is void")
        if segment.id in segments:
            raise reader.error(f"'id': {segment.id} is there twice", "each segment has an id of its own in its image")
        if segment.category_id not in known:
            raise reader.error(f"'{key}': {segment.category_id} is no category", "the list of categories lacks it")
        segments[segment.id] = segment
    return tuple(segments.values())


def read_panoptic_file(path: Path) -> PanopticFile:
    """A panoptic JSON whose image ids may be text or numbers, with an annotation for each of its images.

    Raises:
        BenchError: unreadable, or the first of what is wrong, with its place.
    """
    document = Reader(path, "", read_json(path))
    categories = categories_from(document)
    known = frozenset(category.id for category in categories)
    images = {_key(reader, "id"): read_file_name(reader) for reader in document.objects("images")}
    if len(images) < len(document.objects("images")):
        raise document.error("'images': an id is there twice", "each image has an id of its own")
    entries: dict[str, tuple[str, str, tuple[TrueSegment, ...]]] = {}
    for reader in document.objects("annotations"):
        key = _key(reader, "image_id")
        if key not in images:
            raise reader.error(f"'image_id': {key} is not among the images", "images and annotations are one to one")
        if key in entries:
            raise reader.error(f"'image_id': {key} is annotated twice", "images and annotations are one to one")
        entries[key] = images[key], read_file_name(reader), segments_from(reader.objects("segments_info"), known)
    for key, name in images.items():
        if key not in entries:
            raise document.error(f"image {key} ({name}) has no annotation", "images and annotations are one to one")
    return PanopticFile(path, categories, tuple(entries[key] for key in images))


def categories_from(document: Reader) -> tuple[Category, ...]:
    """COCO's list of categories, in its order.

    Raises:
        BenchError: empty, a field is missing, or an id is there twice.
    """
    found = document.objects("categories")
    categories = tuple(Category(one.integer("id"), one.text("name"), one.flag("isthing"), _color(one)) for one in found)
    if not categories or len({category.id for category in categories}) < len(categories):
        raise document.error("'categories': empty, or an id is there twice", "each category has an id of its own")
    return categories


def _color(reader: Reader) -> tuple[int, int, int] | None:
    color = reader.document.get("color")
    if not isinstance(color, list) or len(color) != 3 or not all(type(one) is int for one in color):
        return None
    return color[0], color[1], color[2]


def _key(reader: Reader, field: str) -> str:
    value = reader.document.get(field)
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        found = kind_of(value) if field in reader.document else "nothing"
        raise reader.error(f"'{field}': expected text or a whole number, found {found}")
    return str(value)
