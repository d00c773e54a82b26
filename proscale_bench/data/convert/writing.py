"""A converted data set, written as COCO lies on disk: whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.coco import open_dataset
from proscale_bench.data.convert.source import SourceImage, SourceSplit, TrueSegment
from proscale_bench.data.dataset import Annotation, Id
from proscale_bench.data.pictures import IdMap, id_colors, opened, read_image
from proscale_bench.data.truth import VOID_16_BITS
from proscale_bench.errors import BenchError

SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
OnImage = Callable[[int, int], None]  # images done, and of how many


@dataclass(frozen=True)
class ConvertedSplit:
    """The contents of a split that was written; `hidden`: instances that lie wholly below others."""

    name: str
    images: int
    categories: int
    segments: int
    instances: int
    crowds: int
    hidden: int


def write_splits(
    folder: Path, splits: Sequence[SourceSplit], description: str, *, copy: bool = False, progress: OnImage
) -> list[ConvertedSplit]:
    """Fill a new folder: `SPLIT/`, `panoptic_SPLIT/`, `annotations/panoptic_SPLIT.json` and `instances_SPLIT.json`.

    Args:
        description: what the annotation files say of themselves.
        copy: images are copied; otherwise they are hard links where the file system can.

    Raises:
        BenchError: an image or a map cannot be read, or they do not fit each other.
        OSError: the disk is full.
    """
    total = sum(split.size for split in splits)
    written: list[ConvertedSplit] = []
    (folder / "annotations").mkdir()
    for split in splits:
        before = sum(one.images for one in written)
        written.append(
            _write_split(folder, split, description, copy, lambda done, before=before: progress(before + done, total))  # type: ignore[misc]
        )
        _require_readable(folder, split.name)
    return written


def _require_readable(folder: Path, split: str) -> None:
    """Open the written folder as any data set: names and ids that no evaluation takes come from the source."""
    try:
        open_dataset(folder, split, images_needed=False)
    except BenchError as error:
        place = f"{folder}{os.sep}"
        raise BenchError(f"converted as {error.message.replace(place, '')}", error.hint) from error


def _write_split(
    folder: Path, split: SourceSplit, description: str, copy: bool, progress: Callable[[int], None]
) -> ConvertedSplit:
    from PIL import Image

    if not SPLIT.fullmatch(split.name) or split.name == "annotations":
        raise BenchError(f"split '{split.name}'", "a split is named by letters, digits, dots, - and _")
    if not split.size:
        raise BenchError(f"the split {split.name} has no image", "leave it out: name the others with --split")
    if len(split.categories) > VOID_16_BITS:
        raise BenchError(f"{len(split.categories):,} categories", f"at most {VOID_16_BITS:,} can be evaluated")
    (folder / split.name).mkdir()
    images: list[Annotation] = []
    panoptic: list[Annotation] = []
    instances: list[Annotation] = []
    hidden, taken = 0, dict[str, str]()
    for place, sample in enumerate(split.samples(), start=1):
        image_id = place if sample.image_id is None else sample.image_id
        png = Path(sample.file_name).with_suffix(".png").as_posix()
        if taken.setdefault(png, sample.file_name) != sample.file_name or len(taken) < place:
            raise BenchError(f"{sample.where}: {taken[png]} and {sample.file_name} would be one file", "rename one")
        _put_image(sample, folder / split.name / sample.file_name, copy)
        target = folder / f"panoptic_{split.name}" / png
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(id_colors(sample.ids)).save(target, compress_level=3)
        height, width = sample.ids.shape
        images.append({"id": image_id, "file_name": sample.file_name, "height": height, "width": width})
        described = described_segments(sample.ids, sample.segments)
        panoptic.append({"image_id": image_id, "file_name": png, "segments_info": described})
        found = sample.instances
        if found is None:
            found = things_of(sample.ids, sample.segments, split.things)
        first = len(instances) + 1
        instances += [{**one, "id": first + index, "image_id": image_id} for index, one in enumerate(found)]
        hidden += sample.hidden
        progress(place)
    common = {"info": {"description": description}, "images": images}
    documents = {"panoptic": {**common, "annotations": panoptic, "categories": _categories(split)}}
    if split.things:
        documents["instances"] = {
            **common,
            "annotations": instances,
            "categories": _categories(split, things_only=True),
        }
    for kind, document in documents.items():
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        (folder / "annotations" / f"{kind}_{split.name}.json").write_text(text, encoding="utf-8")
    return ConvertedSplit(
        split.name,
        images=len(images),
        categories=len(split.categories),
        segments=sum(len(one["segments_info"]) for one in panoptic),
        instances=len(instances),
        crowds=sum(one["iscrowd"] for one in instances),
        hidden=hidden,
    )


def described_segments(ids: IdMap, segments: Sequence[TrueSegment]) -> list[Annotation]:
    """COCO's `segments_info`, areas and boxes taken from the map."""
    return [described for described, _ in _regions(ids, segments)]


def things_of(ids: IdMap, segments: Sequence[TrueSegment], things: frozenset[Id]) -> list[Annotation]:
    """The things of a map as COCO's annotations, without `id` and `image_id`."""
    from hotcoco import mask

    height, width = ids.shape
    found, sideways = [], np.zeros((width, height), np.uint8)  # COCO goes column by column
    for described, inside in _regions(ids, segments):
        if described["category_id"] in things:
            left, top, across, down = described["bbox"]
            sideways[left : left + across, top : top + down] = inside.T
            counts = mask.encode(sideways.T)["counts"].decode("ascii")
            sideways[left : left + across, top : top + down] = 0
            found.append({**described, "segmentation": {"size": [height, width], "counts": counts}})
    return found


def _regions(ids: IdMap, segments: Sequence[TrueSegment]) -> Iterator[tuple[Annotation, NDArray[np.bool_]]]:
    """Each segment as `segments_info` has it, and its pixels inside its box."""
    from scipy.ndimage import find_objects

    known = np.array(sorted({0} | {segment.id for segment in segments}), np.uint32)
    places = np.searchsorted(known, ids).astype(np.int32)
    boxes = find_objects(places)
    for segment in segments:
        place = int(np.searchsorted(known, segment.id))
        rows, columns = boxes[place - 1]
        inside = places[rows, columns] == place
        described = {
            "id": segment.id,
            "category_id": segment.category_id,
            "iscrowd": int(segment.is_crowd),
            "area": int(np.count_nonzero(inside)),
            "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
        }
        yield described, inside


def _categories(split: SourceSplit, things_only: bool = False) -> list[Annotation]:
    return [
        {"id": one.id, "name": one.name}
        | ({} if things_only else {"isthing": int(one.is_thing)} | ({"color": list(one.color)} if one.color else {}))
        for one in split.categories
        if one.is_thing or not things_only
    ]


def _put_image(sample: SourceImage, target: Path, copy: bool) -> None:
    """Link or copy an image, once it is decoded and of its map's size."""
    if sample.image is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(sample.image, bytes):
        opened(Path(sample.where), sample.image)
        target.write_bytes(sample.image)
    else:
        source = sample.image.resolve()
        try:
            if copy:
                raise OSError
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
    try:
        pixels = read_image(target)
    except BenchError as error:
        shown = sample.where if isinstance(sample.image, bytes) else str(sample.image)
        raise BenchError(error.message.replace(str(target), shown), error.hint) from error
    if pixels.shape[:2] != sample.ids.shape:
        name = sample.file_name if isinstance(sample.image, bytes) else sample.image
        raise BenchError(
            f"{sample.where}: {sample.ids.shape[0]} x {sample.ids.shape[1]} pixels, and its image {name} has "
            f"{pixels.shape[0]} x {pixels.shape[1]} (height x width)",
            "they are not of one image, or one of them was resized",
        )
