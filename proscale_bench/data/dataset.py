"""A data set as the rest of the tool sees it: images in an order, categories, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Annotation = dict[str, Any]  # as COCO's own: libraries take them so
Id = int | str  # of an image or a category: Cityscapes and ADE20K have text


@dataclass(frozen=True)
class Category:
    """One class. A model's class index is its place in `Dataset.categories`; `id` is what files call it.

    `written_name`: what the file has in the name's place, where that could not be shown.
    """

    id: Id
    name: str
    is_thing: bool
    color: tuple[int, int, int] | None = None
    written_name: str | None = None


@dataclass(frozen=True)
class ImageEntry:
    """One image as the annotations list it; `file_name` is seen from the images' folder."""

    id: Id
    file_name: str
    height_px: int
    width_px: int


@dataclass(frozen=True)
class Segment:
    """A segment of a panoptic map of the truth, as its JSON has it, its area included."""

    id: int
    category_id: Id
    is_crowd: bool
    area_px: float


@dataclass(frozen=True)
class PanopticEntry:
    """The panoptic truth of one image: its PNG, seen from the maps' folder, and its segments."""

    image_id: Id
    file_name: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Dataset:
    """A split of a data set on disk.

    Args:
        name: name of the split, such as `val2017`.
        images: in the order of the annotations.
        image_dir: folder of their files.
        categories: in the order of the annotations.
        panoptic: by image id; None where there is no panoptic truth.
        panoptic_dir: folder of its PNGs.
        instances_json: None where there are no instances.
        semantic_dir: folder of PNGs of class indices, 255 for void; None: made from the panoptic maps.
        digest: SHA-256 of the annotation files.
        resizes: True if images are resized for the model as COCO's are.
        instances: COCO's annotation dictionaries by image id; None where there are no instances.
        has_masks: False where instances are known by boxes alone.
        notes: what an evaluation should say about the annotations.
    """

    name: str
    images: tuple[ImageEntry, ...]
    image_dir: Path
    categories: tuple[Category, ...]
    panoptic: dict[Id, PanopticEntry] | None
    panoptic_dir: Path | None
    instances_json: Path | None
    semantic_dir: Path | None
    digest: str
    resizes: bool = True
    instances: dict[Id, tuple[dict[str, Any], ...]] | None = None
    has_masks: bool = True
    notes: tuple[str, ...] = ()

    @cached_property
    def class_of(self) -> dict[Id, int]:
        """The class index of a category id."""
        return {category.id: index for index, category in enumerate(self.categories)}

    @property
    def thing_classes(self) -> frozenset[int]:
        """Class indices of things."""
        return frozenset(index for index, category in enumerate(self.categories) if category.is_thing)
