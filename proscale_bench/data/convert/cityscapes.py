"""Cityscapes as its archives unpack: leftImg8bit/ and gtFine/, with or without the panoptic files of its scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.convert.panoptic import PanopticFile, panoptic_split, read_panoptic_file
from proscale_bench.data.convert.source import (
    ConvertRequest,
    SourceImage,
    SourceSplit,
    TrueSegment,
    chosen_splits,
    require_file,
)
from proscale_bench.data.convert.writing import things_of
from proscale_bench.data.dataset import Annotation, Category, Id
from proscale_bench.data.pictures import IdMap, read_label_map
from proscale_bench.errors import BenchError

GROUND_TRUTH, IMAGES = "gtFine", "leftImg8bit"
INSTANCE_IDS, IMAGE = f"_{GROUND_TRUTH}_instanceIds.png", f"_{IMAGES}.png"
LABELS = 34  # ids 0 to 33 of labels.py
PER_LABEL = 1000  # an instance is called label * 1000 + number; a smaller number is a label, of things a group

# The classes that count, by their label ids: in the order of their training ids.
CATEGORIES = (
    Category(7, "road", False, (128, 64, 128)),
    Category(8, "sidewalk", False, (244, 35, 232)),
    Category(11, "building", False, (70, 70, 70)),
    Category(12, "wall", False, (102, 102, 156)),
    Category(13, "fence", False, (190, 153, 153)),
    Category(17, "pole", False, (153, 153, 153)),
    Category(19, "traffic light", False, (250, 170, 30)),
    Category(20, "traffic sign", False, (220, 220, 0)),
    Category(21, "vegetation", False, (107, 142, 35)),
    Category(22, "terrain", False, (152, 251, 152)),
    Category(23, "sky", False, (70, 130, 180)),
    Category(24, "person", True, (220, 20, 60)),
    Category(25, "rider", True, (255, 0, 0)),
    Category(26, "car", True, (0, 0, 142)),
    Category(27, "truck", True, (0, 0, 70)),
    Category(28, "bus", True, (0, 60, 100)),
    Category(31, "train", True, (0, 80, 100)),
    Category(32, "motorcycle", True, (0, 0, 230)),
    Category(33, "bicycle", True, (119, 11, 32)),
)
BY_LABEL = {category.id: category for category in CATEGORIES}
NOT_COUNTED_THINGS = (29, 30)  # caravan, trailer


def cityscapes(request: ConvertRequest) -> list[SourceSplit]:
    """The splits of a Cityscapes folder.

    The panoptic truth is that of `gtFine/cityscapes_panoptic_SPLIT.json` and its PNGs, with label ids or training ids,
    else made of the `instanceIds` as `createPanopticImgs` makes it. Instances are those of the `instanceIds`, regions
    of a thing's label without a number being crowds; where there are none, the things of the panoptic maps.

    Raises:
        BenchError: no such folder, or something is missing or wrong in a JSON.
    """
    truth = request.source / GROUND_TRUTH
    folders = sorted(path.name for path in truth.iterdir() if path.is_dir()) if truth.is_dir() else []
    maps = {name: _maps(truth / name) for name in folders if not name.startswith("cityscapes_panoptic_")}
    listed = {path.stem.removeprefix("cityscapes_panoptic_"): path for path in truth.glob("cityscapes_panoptic_*.json")}
    documents = {name.removesuffix("_trainId"): path for name, path in sorted(listed.items(), reverse=True)}
    there = sorted({name for name, found in maps.items() if found} | set(documents))
    expected = f"{GROUND_TRUTH}/SPLIT/CITY/*{INSTANCE_IDS}, or {GROUND_TRUTH}/cityscapes_panoptic_SPLIT.json"
    return [
        _listed_split(request, name, documents[name], maps.get(name, {}))
        if name in documents
        else _split(request, name, maps[name])
        for name in chosen_splits(request.source, there, request.splits, expected)
    ]


def segments_of(raw: NDArray[np.integer], where: str) -> tuple[IdMap, list[TrueSegment]]:
    """The panoptic map of a picture of instance ids, and its segments, as `createPanopticImgs` makes them.

    Raises:
        BenchError: an id that is no label and no instance of one.
    """
    ids, segments = np.zeros(raw.shape, np.uint32), []
    for value in np.unique(raw).tolist():
        label = value if value < PER_LABEL else value // PER_LABEL
        category = BY_LABEL.get(label)
        numbered = value >= PER_LABEL
        may_be_numbered = label in NOT_COUNTED_THINGS or (category is not None and category.is_thing)
        if not 0 <= label < LABELS or (numbered and not may_be_numbered):
            raise BenchError(
                f"{where}: {int((raw == value).sum()):,} pixels of the id {value}, which is no label of Cityscapes",
                "ids are labels, 0 to 33, or label * 1000 + number for things",
            )
        if category is not None:
            ids[raw == value] = value
            segments.append(TrueSegment(value, label, category.is_thing and not numbered))
    return ids, segments


def _split(request: ConvertRequest, name: str, maps: dict[str, Path]) -> SourceSplit:
    images = _images(request, name, maps)

    def samples() -> Iterator[SourceImage]:
        for stem, path in maps.items():
            ids, segments = segments_of(read_label_map(path), str(path))
            image = require_file(images[stem], f"the image of {path.name}") if request.images_needed else None
            yield SourceImage(f"{path.parent.name}/{stem}{IMAGE}", str(path), image, ids, segments)

    return SourceSplit(name, CATEGORIES, len(maps), samples)


def _listed_split(request: ConvertRequest, name: str, document: Path, maps: dict[str, Path]) -> SourceSplit:
    found = read_panoptic_file(document)
    ids = _category_ids(found)
    for file_name, _, _ in found.entries:
        if maps and _stem(file_name) not in maps:
            raise BenchError(
                f"{document}: lists {file_name}, and there is no {_stem(file_name)}{INSTANCE_IDS}",
                "copy it again, or remove all of them: instances are then those of the panoptic maps",
            )

    def place(file_name: str) -> str:
        return f"{file_name.partition('_')[0]}/{_stem(file_name)}{IMAGE}"

    def instances(file_name: str) -> list[Annotation] | None:
        path = maps.get(_stem(file_name))
        if path is None:
            return None
        map_, segments = segments_of(read_label_map(path), str(path))
        renamed = [TrueSegment(one.id, ids[one.category_id], one.is_crowd) for one in segments]
        return things_of(map_, renamed, frozenset(ids[one.id] for one in CATEGORIES if one.is_thing))

    folder = request.source / IMAGES / name
    image_of = (lambda file_name: folder / place(file_name)) if request.images_needed else None
    return panoptic_split(name, found, document.with_suffix(""), image_of, instances, place)


def _category_ids(found: PanopticFile) -> dict[Id, Id]:
    """The id by which the JSON calls each label: its own, or that of training."""
    by_name = {category.name: category for category in found.categories}
    for category in CATEGORIES:
        other = by_name.get(category.name)
        if other is None or other.is_thing != category.is_thing:
            what = "is missing" if other is None else "is not a thing" if category.is_thing else "is a thing"
            raise BenchError(f"{found.path}: the category '{category.name}' {what}", "is it of Cityscapes?")
    return {category.id: by_name[category.name].id for category in CATEGORIES}


def _stem(file_name: str) -> str:
    """The words that all files of an image begin with; the scripts list it as `STEM_gtFine_leftImg8bit.png`."""
    return file_name.removesuffix(IMAGE).removesuffix(f"_{GROUND_TRUTH}")


def _maps(folder: Path) -> dict[str, Path]:
    """The pictures of instance ids of all cities, by stem."""
    return {path.name.removesuffix(INSTANCE_IDS): path for path in sorted(folder.glob(f"*/*{INSTANCE_IDS}"))}


def _images(request: ConvertRequest, name: str, maps: dict[str, Path]) -> dict[str, Path]:
    """The image of every map; an image without a map is an error too."""
    folder = request.source / IMAGES / name
    for path in sorted(folder.glob(f"*/*{IMAGE}")) if request.images_needed else ():
        if path.name.removesuffix(IMAGE) not in maps:
            missing = f"{GROUND_TRUTH}/{name}/{path.parent.name}/{path.name.removesuffix(IMAGE)}{INSTANCE_IDS}"
            raise BenchError(f"{path}: an image without its truth, {missing}", "copy it again, or remove the image")
    return {stem: folder / path.parent.name / f"{stem}{IMAGE}" for stem, path in maps.items()}
