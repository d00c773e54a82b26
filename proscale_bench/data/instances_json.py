"""COCO's instances JSON: read, and every annotation held against what masks, boxes and areas can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from operator import mul
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Annotation, Category, Id, ImageEntry
from proscale_bench.data.documents import LIMIT, Reader, is_number, kind_of, plain_integers, read_json, whole_number
from proscale_bench.data.panoptic_json import read_category, read_image_entry

BOX_SLACK_PX = 2.0
AREA_SLACK_PX = 16.0


@dataclass(frozen=True)
class InstancesTruth:
    """An instances JSON, in the file's order. Annotations are its own dictionaries, `iscrowd` a number in each."""

    categories: tuple[Category, ...]
    images: tuple[ImageEntry, ...]
    annotations: tuple[Annotation, ...]


def read_instances_truth(path: Path) -> InstancesTruth:
    """The truth in an instances JSON; all its categories are things.

    Of annotations, only the ids are looked at: see `instance_fault` for the rest.

    Raises:
        BenchError: unreadable, no JSON, or a field that is missing or of another type, with its place.
    """
    document = Reader(path, "", read_json(path))
    annotations = document.document.get("annotations")
    if not isinstance(annotations, list):
        document.objects("annotations")  # says what is wrong
    for index, annotation in enumerate(annotations or ()):
        numbers = plain_integers(annotation, "id", "image_id", "category_id", "iscrowd")  # of 36,781 in val2017
        if numbers is None or numbers[-1] not in (0, 1):
            reader = Reader(path, f"annotations[{index}]", annotation)
            for key in ("id", "image_id", "category_id"):
                annotation[key] = reader.identifier(key)  # 7.0 becomes 7
            if not is_crowd_number(annotation.setdefault("iscrowd", 0)):
                raise reader.error(f"'iscrowd': expected 0 or 1, found {kind_of(annotation['iscrowd'])}")
            if annotation["iscrowd"] in (0, 1):
                annotation["iscrowd"] = int(annotation["iscrowd"])
        tidy_segmentation(annotation)
    return InstancesTruth(
        categories=tuple(read_category(reader, is_thing=True) for reader in document.objects("categories")),
        images=tuple(read_image_entry(reader) for reader in document.objects("images")),
        annotations=tuple(annotations or ()),
    )


def has_id(annotation_id: Id) -> bool:
    """False for 0, however it is written: pycocotools takes it for no truth at all once it is found."""
    try:
        return float(annotation_id) != 0
    except ValueError:  # text, which pycocotools cannot keep either
        return True


def is_crowd_number(value: Any) -> bool:
    """True if pycocotools reads it: what is not 0 is ignored, and what is not 0 once its fraction is cut, a crowd."""
    return isinstance(value, (int, float)) and -1 < value < 1 << 8


def tidy_segmentation(annotation: Annotation) -> None:
    """Take away parts of a polygon without a point, which draw nothing, and write 5 for the 5.0 of run lengths."""
    found = annotation.get("segmentation")
    if isinstance(found, list) and [] in found:
        annotation["segmentation"] = [part for part in found if part != []]
    elif isinstance(found, dict):
        for key in ("size", "counts"):
            if isinstance(found.get(key), list) and float in map(type, found[key]):
                found[key] = [value if whole_number(value) is None else whole_number(value) for value in found[key]]


def lacks_mask(annotation: Annotation) -> bool:
    """True where an annotation has nothing in its mask's place, as where somebody drew a box."""
    return annotation.get("segmentation") in (None, [], {})


def instance_fault(annotation: Annotation, image: ImageEntry) -> str | None:
    """The reason why no scorer could take an annotation: its area or box is none. None where all is well."""
    area: Any = annotation.get("area")
    box: Any = annotation.get("bbox")
    if not _is_finite(area) or area < 0:
        return f"'area': expected a number of pixels, found {_found(annotation, 'area')}"
    if not isinstance(box, list) or len(box) != 4 or not _are_numbers(box):
        return f"'bbox': expected four numbers [x, y, width, height], found {_found(annotation, 'bbox')}"
    if box[2] < 0 or box[3] < 0:
        return f"'bbox': {box[2]} x {box[3]} pixels"
    return None


def mask_fault(annotation: Annotation, image: ImageEntry) -> str | None:
    """The reason why no scorer could take an annotation's mask. Having none is no fault: boxes can be scored."""
    segmentation = annotation.get("segmentation")
    if lacks_mask(annotation):
        return None
    if isinstance(segmentation, list):
        return _polygons_fault(segmentation, max(image.height_px, image.width_px))
    if isinstance(segmentation, Mapping):
        return _rle_fault(segmentation, image)
    return f"'segmentation': expected polygons or an RLE, found {_found(annotation, 'segmentation')}"


def instance_doubts(annotation: Annotation) -> dict[str, str]:
    """Oddities of an annotation without a fault, by kind of finding; COCO's own crowds are 13 % off."""
    doubts = {}
    if not has_id(annotation["id"]):
        doubts["instance-zero"] = "the id 0"
    if lacks_mask(annotation):
        return doubts
    segmentation, area = annotation["segmentation"], float(annotation["area"])
    if isinstance(segmentation, list):
        pixels = sum(map(_polygon_area, segmentation))
        x, y, width, height = annotation["bbox"]
        xs, ys = (list(chain.from_iterable(polygon[axis::2] for polygon in segmentation)) for axis in (0, 1))
        box, around = (x, y, x + width, y + height), (min(xs), min(ys), max(xs), max(ys))
        if any(abs(listed - found) > BOX_SLACK_PX for listed, found in zip(box, around, strict=True)):
            doubts["instance-box"] = (
                "box from ({:g}, {:g}) to ({:g}, {:g}), mask from ({:g}, {:g}) to ({:g}, {:g})".format(*box, *around)
            )
    else:
        pixels = float(rle_counts(segmentation["counts"])[1::2].sum())
    if not pixels / 2 - AREA_SLACK_PX <= area <= pixels * 2 + AREA_SLACK_PX:
        doubts["instance-area"] = f"area {area:g}, its mask has {pixels:g} pixels"
    return doubts


def rle_counts(counts: list[Any] | str) -> NDArray[np.int64]:
    """The run lengths of an RLE, column by column, of zeros first; text is COCO's compressed form.

    Raises:
        ValueError: no such text, or a list of something else than whole numbers.
    """
    if not isinstance(counts, str):
        if not all(type(count) is int and abs(count) < LIMIT for count in counts):
            counts = [whole_number(count) for count in counts]  # 5.0 becomes 5
            if None in counts:
                raise ValueError("expected whole numbers")
        return np.asarray(counts, np.int64)
    # Six bits a character, from 48 on: five of the number, lowest first, and one that says whether it goes on. From
    # the fourth number on each is what it differs by from the one before the last.
    codes = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    if ((codes < 0) | (codes > 63)).any() or (len(codes) and codes[-1] & 32):
        raise ValueError("not COCO's compressed form")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if len(places) and places.max() > 6:
        raise ValueError("a run longer than any image")
    numbers = np.zeros(len(ends), np.int64)
    np.add.at(numbers, np.repeat(np.arange(len(ends)), ends - starts + 1), (codes & 31) << (5 * places))
    negative = (codes[ends] & 16) != 0
    numbers[negative] -= 1 << (5 * (places[ends[negative]] + 1))
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _polygons_fault(polygons: list[Any], side_px: int) -> str | None:
    for index, polygon in enumerate(polygons):
        where = f"'segmentation'[{index}]"
        if not isinstance(polygon, list):
            return f"{where}: expected a list of numbers, found {kind_of(polygon)}"
        if len(polygon) < 6 or len(polygon) % 2:
            return f"{where}: {len(polygon)} numbers; a polygon has three points or more, two numbers each"
        if not _are_numbers(polygon):
            odd = next((value for value in polygon if not _is_finite(value)), polygon[0])
            return f"{where}: expected a list of numbers, found {kind_of(odd)} in it"
        # COCO has points a little outside. Drawing walks along every edge, so one far away is not drawn at all.
        if min(polygon) < -side_px or max(polygon) > 2 * side_px:
            far = max(polygon, key=abs)
            return f"{where}: a coordinate of {far:g}, and the image's longer side has {side_px} pixels"
    return None


def _rle_fault(rle: Mapping[str, Any], image: ImageEntry) -> str | None:
    where, counts = "'segmentation'", rle.get("counts")
    if rle.get("size") != [image.height_px, image.width_px]:
        return f"{where}: RLE of size {rle.get('size')}, the image has [{image.height_px}, {image.width_px}]"
    if not isinstance(counts, (list, str)):
        return f"{where}: 'counts': expected a list or text, found {_found(rle, 'counts')}"
    try:
        runs = rle_counts(counts)
    except ValueError as error:
        return f"{where}: 'counts': {error}"
    pixels = image.height_px * image.width_px
    if (runs < 0).any() or (runs > pixels).any():
        return f"{where}: 'counts': a run of {int(runs[(runs < 0) | (runs > pixels)][0])} pixels"
    if runs.sum() != pixels:
        return f"{where}: the runs have {int(runs.sum())} pixels, the image {pixels}"
    return None


def _polygon_area(polygon: list[float]) -> float:
    xs, ys = polygon[::2], polygon[1::2]
    before_x, before_y = xs[-1:] + xs[:-1], ys[-1:] + ys[:-1]
    return 0.5 * abs(math.fsum(map(mul, xs, before_y)) - math.fsum(map(mul, ys, before_x)))


def _are_numbers(values: list[Any]) -> bool:
    """True if all are finite numbers, found at the speed of adding them."""
    try:
        return math.isfinite(math.fsum(values))
    except (TypeError, OverflowError, ValueError):  # not numbers, too large for one, infinities of both signs
        return False


def _is_finite(value: Any) -> bool:
    return is_number(value) and (math.isfinite(value) if isinstance(value, float) else abs(value) < LIMIT)


def _found(document: Mapping[str, Any], key: str) -> str:
    return kind_of(document[key]) if key in document else "nothing"
