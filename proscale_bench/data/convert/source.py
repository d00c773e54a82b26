"""A data set of another layout, as its reader gives it: splits, whose images come one by one with their truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from proscale_bench.data.dataset import Annotation, Category, Id
from proscale_bench.data.pictures import IdMap
from proscale_bench.errors import BenchError
from proscale_bench.units import Size

RunLengths = dict[str, Any]  # COCO's compressed masks, as libraries take them
Kind = Literal["cityscapes", "ade20k", "coco-instances", "index-pngs", "yolo", "segments-info"]
MAX_SEGMENT_ID = 2**24 - 1  # three bytes of a PNG


@dataclass(frozen=True)
class ConvertRequest:
    """A data set to convert, and the way to.

    Args:
        splits: the source's names; empty: all that there are.
        classes: file of the classes, where the source does not say them.
        void: labels of pixels without a class, as numbers or names of classes.
        images_needed: False converts the annotations alone.
        allow_unlabelled: takes images without a file of labels too.
    """

    source: Path
    splits: tuple[str, ...] = ()
    classes: Path | None = None
    void: tuple[str, ...] = ()
    images_needed: bool = True
    allow_unlabelled: bool = False


@dataclass(frozen=True)
class TrueSegment:
    """A segment of a panoptic map of the truth."""

    id: int
    category_id: Id
    is_crowd: bool = False


@dataclass(frozen=True)
class SourceImage:
    """One image with its truth.

    Args:
        file_name: where the image goes below the split's folder.
        where: names the source in messages.
        image: the image's file or bytes; None where images are not converted.
        ids: panoptic map, [H, W]; 0 is void.
        segments: every id of the map but 0, and no other.
        instances: COCO annotations without `id` and `image_id`; None: the things of the map.
        hidden: instances of which the map shows nothing.
        image_id: COCO's id of the image; None: its place, from 1.
    """

    file_name: str
    where: str
    image: Path | bytes | None
    ids: IdMap
    segments: Sequence[TrueSegment]
    instances: Sequence[Annotation] | None = None
    hidden: int = 0
    image_id: Id | None = None


@dataclass(frozen=True)
class SourceSplit:
    """A split: its categories, the number of its images, and the images one by one."""

    name: str
    categories: tuple[Category, ...]
    size: int
    samples: Callable[[], Iterator[SourceImage]] = field(repr=False)

    @property
    def things(self) -> frozenset[Id]:
        """Category ids of things."""
        return frozenset(category.id for category in self.categories if category.is_thing)


def chosen_splits(source: Path, there: Sequence[str], asked: Sequence[str], expected: str) -> list[str]:
    """The splits that are asked for, else all.

    Raises:
        BenchError: there are none, or not the one that is asked for.
    """
    if not there:
        raise BenchError(f"{source}: nothing of this kind: {expected}", "see docs/own-data.md for the layouts")
    for name in asked:
        if name not in there:
            raise BenchError(f"{source}: no split '{name}'", f"it has {', '.join(there)}")
    return [name for name in there if not asked or name in asked]


def require_file(path: Path, what: str) -> Path:
    """A file that must be there.

    Raises:
        BenchError: it is not.
    """
    if not path.is_file():
        raise BenchError(f"{path}: no such file, {what}", "copy it again, or leave its image out of the source")
    return path


def painted(
    masks: Sequence[RunLengths], category_ids: Sequence[Id], crowds: Sequence[bool], size: Size
) -> tuple[IdMap, list[TrueSegment], int]:
    """A panoptic map of instances that may overlap.

    Each pixel belongs to the smallest instance on it, of equal ones to the last; crowds lie below all others. Segment
    ids are places in the list, from 1.

    Args:
        masks: run lengths of each instance; one at a time is drawn.

    Returns:
        The map, its segments, and how many instances it shows nothing of.
    """
    from hotcoco import mask

    ids = np.zeros(size, np.uint32)
    areas = [int(mask.area(one)) for one in masks]
    for index in sorted(range(len(masks)), key=lambda index: (not crowds[index], -areas[index], index)):
        if areas[index]:
            ids[np.asarray(mask.decode(masks[index])).astype(bool)] = index + 1
    seen = np.bincount(ids.reshape(-1), minlength=len(masks) + 1)[1:] > 0
    segments = [
        TrueSegment(index + 1, category_ids[index], bool(crowds[index])) for index in range(len(masks)) if seen[index]
    ]
    return ids, segments, int(len(masks) - seen.sum())


def pairs_of_stems(images: dict[str, Path], labels: dict[str, Path], where: Path, skip: bool) -> list[str]:
    """The stems that have an image and a label.

    Args:
        where: the folder of the labels, for messages.
        skip: images without a label are left out.

    Raises:
        BenchError: one lacks the other.
    """
    for stem, path in labels.items():
        if stem not in images:
            raise BenchError(f"{path}: there is no image of this name", "copy the image, or remove this file")
    missing = [stem for stem in images if stem not in labels]
    if missing and not skip:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise BenchError(
            f"{images[missing[0]]}: no label of this name in {where}{more}",
            "copy it, or take images without labels too with --allow-unlabelled",
        )
    return [stem for stem in images if stem in labels]
