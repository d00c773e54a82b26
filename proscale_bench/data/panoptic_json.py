"""COCO's panoptic JSON, of the truth and of predictions, read as the reference tool reads it.

Repeated categories, images and ids are kept as the file has them: what they mean is for the reader's user to say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from proscale_bench.data.dataset import Category, Id, ImageEntry, PanopticEntry, Segment
from proscale_bench.data.documents import LIMIT, Reader, kind_of, plain_integers, read_json
from proscale_bench.units import printable

Parsed = TypeVar("Parsed")

MAX_SIDE = 1 << 20
MAX_NAME = 200  # characters of a category's name in a record


@dataclass(frozen=True)
class PanopticTruth:
    """A panoptic JSON of the truth, in the file's order; `images` is empty where the file lists none."""

    categories: tuple[Category, ...]
    images: tuple[ImageEntry, ...]
    entries: tuple[PanopticEntry, ...]


@dataclass(frozen=True)
class PredictedSegment:
    """A segment of a predicted panoptic map: its id there and its category's."""

    id: int
    category_id: Id


@dataclass(frozen=True)
class PredictedEntry:
    """The panoptic prediction for one image: its PNG, seen from the maps' folder, and its segments."""

    image_id: Id
    file_name: str
    segments: tuple[PredictedSegment, ...]


def read_panoptic_truth(path: Path, *, with_images: bool = True) -> PanopticTruth:
    """The truth in a panoptic JSON.

    Args:
        path: path of the file, such as `annotations/panoptic_val2017.json`.
        with_images: False leaves the list of images unread: the metric needs the annotations alone.

    Raises:
        BenchError: unreadable, no JSON, or a field that is missing or of another type, with its place.
    """
    document = Reader(path, "", read_json(path))
    images = document.objects("images", required=False) if with_images else []
    return PanopticTruth(
        categories=tuple(_category(reader) for reader in document.objects("categories")),
        images=tuple(read_image_entry(reader) for reader in images),
        entries=tuple(
            PanopticEntry(
                image_id=reader.identifier("image_id"),
                file_name=read_file_name(reader),
                segments=_segments(reader, ("id", "category_id", "iscrowd", "area"), _plain_segment, _segment),
            )
            for reader in document.objects("annotations")
        ),
    )


def read_panoptic_categories(path: Path) -> tuple[Category, ...]:
    """The categories of a panoptic JSON, and nothing else of it; errors as of `read_panoptic_truth`."""
    return tuple(_category(reader) for reader in Reader(path, "", read_json(path)).objects("categories"))


def read_panoptic_predictions(path: Path) -> tuple[PredictedEntry, ...]:
    """The predictions in a panoptic JSON, in the file's order; their areas and crowds, if any, are not asked for.

    Raises:
        BenchError: unreadable, no JSON, or a field that is missing or of another type, with its place.
    """
    document = Reader(path, "", read_json(path))
    return tuple(
        PredictedEntry(
            image_id=reader.identifier("image_id"),
            file_name=read_file_name(reader),
            segments=_segments(reader, ("id", "category_id"), PredictedSegment, _prediction),
        )
        for reader in document.objects("annotations")
    )


def _category(reader: Reader) -> Category:
    """A category with its colour, which reads as none where it cannot be one."""
    return read_category(reader, is_thing=reader.flag("isthing"), color=_color(reader.document.get("color")))


def read_category(reader: Reader, is_thing: bool, color: tuple[int, int, int] | None = None) -> Category:
    """A category whose name a record can hold: one that cannot be printed is escaped, a long one is cut."""
    category_id = reader.identifier("id")
    written = reader.text("name", str(category_id))
    name = printable(written or str(category_id) or "''")
    name = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
    return Category(category_id, name, is_thing, color, None if name == written else written)


def read_image_entry(reader: Reader) -> ImageEntry:
    """An image of the list of images.

    Raises:
        BenchError: a field is missing or of another type, or its size cannot be one.
    """
    height, width = reader.integer("height"), reader.integer("width")
    for key, side in (("height", height), ("width", width)):
        if not 0 < side <= MAX_SIDE:
            raise reader.error(f"'{key}': {side} pixels", f"a side has 1 to {MAX_SIDE:,} pixels")
    return ImageEntry(reader.identifier("id"), read_file_name(reader), height, width)


def read_file_name(reader: Reader, key: str = "file_name") -> str:
    """The name of a file below a folder, which it must not leave: `a.png` or `sub/a.png`.

    Raises:
        BenchError: missing, no text, absolute, climbing out with `..`, or no name that a file can have.
    """
    name = reader.text(key)
    try:
        possible = bool(os.fsencode(name)) and "\0" not in name and bool(PurePath(name).name)  # "." has none
    except UnicodeEncodeError:  # half a surrogate pair
        possible = False
    if not possible:
        raise reader.error(f"'{key}': {name[:40]!a} is no name of a file")
    parts = re.split(r"[/\\]", name)
    if not parts[0] or ".." in parts or re.fullmatch("[A-Za-z]:", parts[0]):
        raise reader.error(f"'{key}': {kind_of(name)} leads out of its folder", "names are seen from the maps' folder")
    return name


def _segments(
    reader: Reader, keys: tuple[str, ...], quick: Callable[..., Parsed], careful: Callable[[Reader], Parsed]
) -> tuple[Parsed, ...]:
    """An annotation's segments: there are 57,000 in val2017, so a Reader looks only at what is not plainly right."""
    found = reader.document.get("segments_info")
    if not isinstance(found, list):
        reader.objects("segments_info")  # says what is wrong
    segments = []
    for index, info in enumerate(found or ()):
        numbers = plain_integers(info, *keys)
        where = f"{reader.where}.segments_info[{index}]"
        segments.append(quick(*numbers) if numbers else careful(Reader(reader.path, where, info)))
    return tuple(segments)


def _plain_segment(segment_id: int, category_id: int, crowd: int, area: int) -> Segment:
    return Segment(segment_id, category_id, crowd == 1, area)


def _segment(reader: Reader) -> Segment:
    area = reader.number("area")
    if isinstance(area, int) and not -LIMIT < area < LIMIT:
        raise reader.error(f"'area': expected a number of pixels, found {kind_of(area)}")
    if "iscrowd" not in reader.document:  # panopticapi has no number either
        raise reader.error("'iscrowd' is missing", 'write "iscrowd": 0 into every segment that is no crowd')
    return Segment(reader.integer("id"), reader.identifier("category_id"), reader.flag("iscrowd"), area)


def _prediction(reader: Reader) -> PredictedSegment:
    return PredictedSegment(reader.integer("id"), reader.identifier("category_id"))


def _color(found: Any) -> tuple[int, int, int] | None:
    plain = isinstance(found, list) and all(type(channel) is int and 0 <= channel <= 255 for channel in found)
    return (found[0], found[1], found[2]) if plain and len(found) == 3 else None
