"""A data set as COCO lies on disk: `annotations/`, a folder of images, folders of PNG maps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Category, Dataset, ImageEntry, PanopticEntry
from proscale_bench.data.documents import Reader, read_json
from proscale_bench.data.panoptic_json import read_category, read_image_entry, read_panoptic_truth
from proscale_bench.data.pictures import LabelMap, read_id_map, read_label_map
from proscale_bench.errors import BenchError, did_you_mean

ANNOTATIONS = "annotations"
FILE_NAME = re.compile(r"(panoptic|instances)_(.+)\.json")
PREFERRED_SPLITS = ("val2017", "val")
VOID_LABEL, WIDE_VOID_LABEL = 255, 65535  # of label maps; the second where there are more than 255 classes
SHAPES = "Shapes"  # the embedded data: small images that the model gets as they are


def open_dataset(root: Path, split: str | None = None) -> Dataset:
    """The split of a folder; its annotations are read and held against each other, no image is opened.

    Args:
        root: with `annotations/panoptic_SPLIT.json`, `annotations/instances_SPLIT.json` or both, images in `SPLIT/` or
            `images/SPLIT/`, panoptic PNGs in `panoptic_SPLIT/` (or in `annotations/`), and maybe semantic PNGs in
            `panoptic_semseg_SPLIT/` or `semantic_SPLIT/`.
        split: by default `val2017`, else `val`, else the only one.

    Raises:
        BenchError: a folder or file is missing, unreadable, or contradicts another.
    """
    root = Path(root)
    if not root.is_dir():
        raise BenchError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}", "give COCO's folder")
    name = _choose_split(root, split)
    panoptic_json, instances_json = (root / ANNOTATIONS / f"{kind}_{name}.json" for kind in ("panoptic", "instances"))
    digest = hashlib.sha256()
    images: tuple[ImageEntry, ...] = ()
    categories: tuple[Category, ...] = ()
    entries: dict[int, PanopticEntry] | None = None
    described = ""
    if panoptic_json.exists():
        truth = read_panoptic_truth(panoptic_json)
        images, categories = truth.images, truth.categories
        entries = _by_image(panoptic_json, truth.entries, images)
        digest.update(panoptic_json.read_bytes())
    if instances_json.exists():
        document = Reader(instances_json, "", read_json(instances_json))
        listed = tuple(map(read_image_entry, document.objects("images")))
        things = tuple(map(read_category, document.objects("categories")))
        if entries is None:
            images, categories = listed, tuple(Category(one.id, one.name, True, one.color) for one in things)
        else:
            _check_agreement(instances_json, images, categories, listed, things)
        digest.update(instances_json.read_bytes())
    source = panoptic_json if entries is not None else instances_json
    _check_lists(source, images, categories)
    info = read_json(source).get("info") if source.exists() else None
    described = info.get("description", "") if isinstance(info, dict) else ""
    return Dataset(
        name=name,
        images=images,
        image_dir=_folder(root, (name, f"images/{name}"), f"the images of {name}"),
        categories=categories,
        panoptic=entries,
        panoptic_dir=_folder(root, (f"panoptic_{name}", f"{ANNOTATIONS}/panoptic_{name}"), "the panoptic PNGs")
        if entries is not None
        else None,
        instances_json=instances_json if instances_json.exists() else None,
        semantic_dir=next((folder for folder in _semantic_folders(root, name) if folder.is_dir()), None),
        digest=digest.hexdigest(),
        resizes=described != SHAPES,
    )


class Truth:
    """The truth about the images of a data set, read when it is asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def panoptic_ids(self, image: ImageEntry) -> NDArray[np.uint32]:
        """The true panoptic map, [H, W].

        Raises:
            BenchError: unreadable, or of another size than the annotations say.
        """
        assert self.dataset.panoptic is not None
        assert self.dataset.panoptic_dir is not None
        path = self.dataset.panoptic_dir / self.dataset.panoptic[image.id].file_name
        return _sized(path, image, read_id_map(path))

    def semantic_labels(self, image: ImageEntry, panoptic_ids: NDArray[np.uint32] | None = None) -> LabelMap:
        """The true class of every pixel, [H, W]: from its own PNG, else from the panoptic map, crowds included.

        Void is 255 in 8 bits and 65,535 in 16.
        """
        dataset = self.dataset
        if dataset.semantic_dir is not None:
            path = dataset.semantic_dir / Path(image.file_name).with_suffix(".png")
            return _sized(path, image, read_label_map(path))
        assert dataset.panoptic is not None
        ids = self.panoptic_ids(image) if panoptic_ids is None else panoptic_ids
        segments = dataset.panoptic[image.id].segments
        wide = len(dataset.categories) > VOID_LABEL
        void = WIDE_VOID_LABEL if wide else VOID_LABEL
        known = sorted((segment.id, dataset.class_of.get(segment.category_id, void)) for segment in segments)
        table_ids = np.array([segment_id for segment_id, _ in known], np.uint32)
        table = np.array([label for _, label in known], np.uint16 if wide else np.uint8)
        if not len(table):
            return np.full(ids.shape, void, np.uint16 if wide else np.uint8)
        places = np.searchsorted(table_ids, ids).clip(max=len(table) - 1)
        labels: LabelMap = np.where(table_ids[places] == ids, table[places], table.dtype.type(void))
        return labels

    def instances(self, image_id: int) -> Sequence[dict[str, Any]]:
        """COCO's annotations of an image."""
        return self._instances.get(image_id, ())

    @cached_property
    def _instances(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        if self.dataset.instances_json is not None:
            for annotation in read_json(self.dataset.instances_json)["annotations"]:
                found.setdefault(annotation["image_id"], []).append(annotation)
        return found


def _sized(path: Path, image: ImageEntry, pixels: Any) -> Any:
    if pixels.shape[:2] != (image.height_px, image.width_px):
        raise BenchError(
            f"{path}: image {image.id} has {pixels.shape[0]} x {pixels.shape[1]} pixels, "
            f"the annotations say {image.height_px} x {image.width_px}",
            "'proscale-bench data check' finds all such files",
        )
    return pixels


def _choose_split(root: Path, split: str | None) -> str:
    folder = root / ANNOTATIONS
    found = sorted({match[2] for path in _listed(folder) if (match := FILE_NAME.fullmatch(path.name))})
    if not found:
        raise BenchError(
            f"{root}: no {ANNOTATIONS}/panoptic_SPLIT.json or {ANNOTATIONS}/instances_SPLIT.json",
            "COCO's folder has annotations/, val2017/ and panoptic_val2017/",
        )
    if split is not None:
        if split not in found:
            raise BenchError(
                f"{root}: no split '{split}'", did_you_mean(split, tuple(found), f"there are {', '.join(found)}")
            )
        return split
    for preferred in PREFERRED_SPLITS:
        if preferred in found:
            return preferred
    if len(found) > 1:
        raise BenchError(f"{root}: {len(found)} splits: {', '.join(found)}", "choose one with --split")
    return found[0]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise BenchError(f"{folder}: {error.strerror or error}", "check its permissions") from error


def _folder(root: Path, names: Sequence[str], what: str) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise BenchError(f"{root}: no {' or '.join(f'{name}/' for name in names)}: {what}", "unpack them there")


def _semantic_folders(root: Path, name: str) -> Iterable[Path]:
    for place in (root, root / ANNOTATIONS):
        yield from (place / f"panoptic_semseg_{name}", place / f"semantic_{name}")


def _by_image(path: Path, entries: Sequence[PanopticEntry], images: Sequence[ImageEntry]) -> dict[int, PanopticEntry]:
    found: dict[int, PanopticEntry] = {}
    for entry in entries:
        if entry.image_id in found:
            raise BenchError(f"{path}: image {entry.image_id} is annotated twice", "remove one of the two")
        found[entry.image_id] = entry
    missing = [image for image in images if image.id not in found]
    if missing:
        raise BenchError(
            f"{path}: {len(missing)} images have no annotation, the first: image {missing[0].id}",
            "take them out of the list of images",
        )
    return found


def _check_lists(path: Path, images: Sequence[ImageEntry], categories: Sequence[Category]) -> None:
    if not images:
        raise BenchError(f"{path}: no images", "is this the right file?")
    if not categories:
        raise BenchError(f"{path}: no categories", "is this the right file?")
    for what, ids in (("image", [image.id for image in images]), ("category", [one.id for one in categories])):
        seen: set[int] = set()
        for one in ids:
            if one in seen:
                raise BenchError(f"{path}: {what} {one} is there twice", "ids are each there once")
            seen.add(one)


def _check_agreement(
    path: Path,
    images: Sequence[ImageEntry],
    categories: Sequence[Category],
    listed: Sequence[ImageEntry],
    things: Sequence[Category],
) -> None:
    """The instances are of the panoptic images and of their things."""
    known = {category.id: category for category in categories if category.is_thing}
    for thing in things:
        if thing.id not in known or known[thing.id].name != thing.name:
            raise BenchError(
                f"{path}: category {thing.id} '{thing.name}' is no thing of the panoptic annotations",
                "both files must be of one data set",
            )
    missing = {image.id for image in images} - {image.id for image in listed}
    if missing:
        raise BenchError(
            f"{path}: {len(missing)} images of the panoptic annotations are not there, the first: image {min(missing)}",
            "both files must be of one split",
        )
