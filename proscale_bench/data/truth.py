"""The truth about one image: its panoptic map, its semantic map, its instances. Files are opened when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Annotation, Dataset, Id, ImageEntry, PanopticEntry
from proscale_bench.data.pictures import IdMap, LabelMap, read_id_map, read_label_map
from proscale_bench.errors import BenchError

VOID_8_BITS, VOID_16_BITS = 255, 65535


def panoptic_truth(dataset: Dataset, image: ImageEntry) -> tuple[IdMap, PanopticEntry]:
    """The segment ids of an image, [H, W], 0 for void, and its annotation.

    Raises:
        BenchError: there is no panoptic truth, or the PNG is missing, unreadable or of another size.
    """
    if dataset.panoptic is None or dataset.panoptic_dir is None:
        raise BenchError(f"{dataset.name}: no panoptic annotations", "panoptic_SPLIT.json and its PNGs are needed")
    if image.id not in dataset.panoptic:
        raise BenchError(f"{dataset.name}: image {image.id} has no panoptic annotation")
    entry = dataset.panoptic[image.id]
    path = dataset.panoptic_dir / entry.file_name
    ids = read_id_map(path)
    require_size(path, image, ids.shape)
    return ids, entry


def semantic_truth(dataset: Dataset, image: ImageEntry) -> LabelMap:
    """The class indices of an image, [H, W], void as `void_label` has it.

    From the semantic PNG where the data set has them, else made of the panoptic map: crowds count as their class,
    pixels of no segment are void, as in detectron2's preparation of COCO.

    Raises:
        BenchError: the PNG is missing, unreadable, of another size, or has labels that are no class.
    """
    void, classes = void_label(dataset), len(dataset.categories)
    if dataset.semantic_dir is not None:
        path = dataset.semantic_dir / png_name(image)
        labels = read_label_map(path)
        require_size(path, image, labels.shape)
        if unknown := unknown_labels(labels, classes, void):
            raise BenchError(
                f"{path} (image {image.id}): label {unknown[0]}, and there are {classes} classes",
                f"labels are class indices, {void} is void",
            )
        return _narrowed(labels, void)
    ids, entry = panoptic_truth(dataset, image)
    return labels_of(ids, entry, dataset.class_of, void)


def instance_truths(dataset: Dataset, image_id: Id) -> Sequence[Annotation]:
    """The instances of an image as COCO's dictionaries, in the file's order; empty where it has none.

    Raises:
        BenchError: the data set has no instances.
    """
    if dataset.instances is None:
        raise BenchError(f"{dataset.name}: no instances", "instances_SPLIT.json is needed")
    return dataset.instances.get(image_id, ())


def void_label(dataset: Dataset) -> int:
    """The label of pixels without a class: 255, or 65,535 where that is a class."""
    return VOID_8_BITS if len(dataset.categories) <= VOID_8_BITS else VOID_16_BITS


def png_name(image: ImageEntry) -> str:
    """A PNG of classes or predictions is called as its image is."""
    return Path(image.file_name).with_suffix(".png").as_posix()


def unknown_labels(labels: LabelMap, classes: int, void: int) -> list[int]:
    """The labels of a map that are no class and not void, in order."""
    found = np.flatnonzero(np.bincount(labels.reshape(-1)))
    return [int(label) for label in found if label >= classes and label != void]


def labels_of(ids: IdMap, entry: PanopticEntry, class_of: dict[Id, int], void: int) -> LabelMap:
    """The class index of every pixel of a panoptic map; ids that no segment has are void."""
    order = sorted(entry.segments, key=lambda segment: segment.id)
    known = np.array([segment.id for segment in order], np.uint32)
    classes = np.array([class_of[segment.category_id] for segment in order] + [void], np.uint16)
    values, lengths = runs_of(ids)
    places = np.searchsorted(known, values)
    places[np.append(known, 0)[places] != values] = len(known)
    return _narrowed(np.repeat(classes[places], lengths).reshape(ids.shape), void)


def runs_of(ids: IdMap) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The values and lengths of a map's runs, row by row: a hundredth of its pixels or so."""
    flat = ids.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    return flat[starts], np.diff(starts, append=len(flat))


def require_size(path: Path, image: ImageEntry, shape: tuple[int, ...]) -> None:
    """A picture has the height and width that the annotations list.

    Raises:
        BenchError: it has others.
    """
    if shape[:2] != (image.height_px, image.width_px):
        raise BenchError(
            f"{path} (image {image.id}): {shape[0]} x {shape[1]} pixels, "
            f"the annotations say {image.height_px} x {image.width_px} (height x width)",
            "the file is of another image, or was resized",
        )


def _narrowed(labels: NDArray[Any], void: int) -> LabelMap:
    """Labels in the fewest bytes that hold the void label."""
    return labels.astype(np.uint8, copy=False) if void == VOID_8_BITS else labels.astype(np.uint16, copy=False)
