"""Semantic maps: PNGs of class indices, or of the colours of classes, beside a list of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.convert.class_list import ListedClass, find_class_list, read_class_list
from proscale_bench.data.convert.source import (
    ConvertRequest,
    SourceImage,
    SourceSplit,
    TrueSegment,
    chosen_splits,
    pairs_of_stems,
)
from proscale_bench.data.image_files import ENDINGS
from proscale_bench.data.pictures import IdMap, opened, read_id_map, read_label_map
from proscale_bench.errors import BenchError

IMAGE_DIRS = ("images", "JPEGImages", "img")
LABEL_DIRS = ("labels", "masks", "annotations", "SegmentationClass")
ONE_SPLIT = "val"  # what a folder without splits becomes
VOID = 255


def index_pngs(request: ConvertRequest) -> list[SourceSplit]:
    """The splits of a folder with `images/`, `labels/` and a list of classes, each with a folder a split or with none.

    A class becomes one segment of stuff in each image, since a semantic map tells no instances. Void is 255 where that
    is no class, and what `request.void` names.

    Raises:
        BenchError: a folder or the list is missing, or images and maps are not one to one.
    """
    classes = read_class_list(find_class_list(request.source, request.classes))
    image_dir = _first(request.source, IMAGE_DIRS) if request.images_needed else None
    label_dir = _first(request.source, LABEL_DIRS)
    folders = sorted(path.name for path in label_dir.iterdir() if path.is_dir())
    loose = any(path.suffix == ".png" for path in label_dir.iterdir())
    if loose and folders:
        raise BenchError(f"{label_dir}: maps and folders side by side", "put the maps of each split into a folder")
    there = folders or ([ONE_SPLIT] if loose else [])
    names = chosen_splits(request.source, there, request.splits, f"{label_dir.name}/[SPLIT/]*.png")
    void = void_labels(request.void, classes)
    return [
        _split(
            request,
            name,
            *((image_dir, label_dir) if loose else (image_dir and image_dir / name, label_dir / name)),
            classes,
            void,
        )
        for name in names
    ]


def void_labels(told: Sequence[str], classes: Sequence[ListedClass]) -> frozenset[int]:
    """The labels without a class: 255 where it is none, and those that are told, by number or by a class's name.

    Raises:
        BenchError: a word is neither.
    """
    known = {one.id: one for one in classes}
    by_name = {one.name: one.id for one in classes}
    for word in told:
        if not word.isdecimal() and word not in by_name:
            raise BenchError(
                f"--void {word}: neither a label nor the name of a class", f"classes: {', '.join(by_name)}"
            )
    numbers = {int(word) if word.isdecimal() else by_name[word] for word in told}
    return frozenset(numbers | ({VOID} - known.keys()))


def segments_of(labels: NDArray[Any], classes: Mapping[int, int], void: frozenset[int], where: str) -> Any:
    """The panoptic map of class labels, and a segment a class.

    Args:
        classes: the segment id of each label.

    Raises:
        BenchError: a label that is no class and not void.
    """
    ids, segments = np.zeros(labels.shape, np.uint32), []
    for label in np.unique(labels).tolist():
        if label in void:
            continue
        if label not in classes:
            pixels = int((labels == label).sum())
            raise BenchError(
                f"{where}: {pixels:,} pixels of the label {label}, which is no class",
                "name it with --void if it is void",
            )
        ids[labels == label] = classes[label]
        segments.append(TrueSegment(classes[label], label))
    return ids, segments


def _split(
    request: ConvertRequest,
    name: str,
    image_dir: Path | None,
    label_dir: Path,
    classes: Sequence[ListedClass],
    void: frozenset[int],
) -> SourceSplit:
    labels = _by_stem(label_dir, (".png",))
    images = labels if image_dir is None else _by_stem(image_dir, ENDINGS)
    stems = pairs_of_stems(images, labels, label_dir, request.allow_unlabelled)
    counted = [one for one in classes if one.id not in void]
    segment_ids = {one.id: place for place, one in enumerate(counted, start=1)}
    table = {one.color: one.id for one in classes if one.color is not None}

    def samples() -> Iterator[SourceImage]:
        for stem in stems:
            path = labels[stem]
            found = _labels_in(path, table)
            ids, segments = segments_of(found, segment_ids, void, str(path))
            image = None if image_dir is None else images[stem]
            suffix = ".png" if image is None else image.suffix
            yield SourceImage(f"{stem}{suffix}", str(path), image, ids, segments)

    return SourceSplit(name, tuple(one.category(is_thing=False) for one in counted), len(stems), samples)


def _labels_in(path: Path, table: Mapping[tuple[int, int, int], int]) -> NDArray[Any]:
    """The labels of a map of indices, or of colours.

    Raises:
        BenchError: unreadable, or a colour that no class has.
    """
    if opened(path).mode not in ("RGB", "RGBA"):
        return read_label_map(path)
    if not table:
        raise BenchError(
            f"{path}: a map in colour, and the list of classes has no colours", "give each class its R G B"
        )
    colors: IdMap = read_id_map(path)  # R + 256 G + 65536 B: a number a colour
    labels = np.zeros(colors.shape, np.int64)
    numbers = {red + 256 * green + 65536 * blue: label for (red, green, blue), label in table.items()}
    for number in np.unique(colors).tolist():
        if number not in numbers:
            pixels = int((colors == number).sum())
            color = f"{number & 255}, {number >> 8 & 255}, {number >> 16}"
            raise BenchError(
                f"{path}: {pixels:,} pixels of the colour {color}, which no class has",
                "the list of classes lacks it, or the map was resized with blending or saved as JPEG",
            )
        labels[colors == number] = numbers[number]
    return labels


def _first(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise BenchError(f"{root}: no folder {', '.join(names[:-1])} or {names[-1]}", "see docs/own-data.md for the layout")


def _by_stem(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """The pictures of a folder, at any depth, by their names below it without the ending."""
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder", "images and labels have the same folders")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise BenchError(f"{found[stem]} and {path.name} differ in the ending alone", "leave one of them out")
        found[stem] = path
    return found
