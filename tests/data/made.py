"""A small data set on disk in COCO's formats, whole, to be broken by tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SPLIT = "val2017"
CATEGORIES: list[dict[str, Any]] = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 18, "name": "dog", "isthing": 1, "color": [110, 76, 0]},
    {"id": 119, "name": "grass", "isthing": 0, "color": [146, 112, 198]},
    {"id": 187, "name": "sky", "isthing": 0, "color": [96, 96, 96]},
]
SIZES = ((24, 32), (32, 24), (20, 48))  # height, width
VOID = 255


@dataclass(frozen=True)
class Made:
    """A data set on disk, whose annotations can be changed."""

    root: Path

    @property
    def panoptic_json(self) -> Path:
        return self.root / "annotations" / f"panoptic_{SPLIT}.json"

    @property
    def instances_json(self) -> Path:
        return self.root / "annotations" / f"instances_{SPLIT}.json"

    @property
    def images(self) -> Path:
        return self.root / SPLIT

    @property
    def maps(self) -> Path:
        return self.root / f"panoptic_{SPLIT}"

    @property
    def labels(self) -> Path:
        return self.root / f"panoptic_semseg_{SPLIT}"

    def edit_panoptic(self, change: Callable[[Any], object]) -> None:
        edit_json(self.panoptic_json, change)

    def edit_instances(self, change: Callable[[Any], object]) -> None:
        edit_json(self.instances_json, change)

    def edit_both(self, change: Callable[[Any], object]) -> None:
        self.edit_panoptic(change)
        self.edit_instances(change)


def make_dataset(
    root: Path,
    images: int = 3,
    *,
    panoptic: bool = True,
    instances: bool = True,
    semantic: bool = False,
    description: str = "made by a test",
    seed: int = 0,
) -> Made:
    """Write a data set: four categories, sky and grass behind a person and a crowd of dogs, a border of void.

    Image i (its id is 10 + i) has a person as a polygon, a crowd as an uncompressed RLE, and ids that need three bytes.
    """
    made = Made(root)
    random = np.random.default_rng(seed)
    for folder in (made.panoptic_json.parent, made.images, *([made.maps] if panoptic else [])):
        folder.mkdir(parents=True, exist_ok=True)
    if semantic:
        made.labels.mkdir()
    entries, listed, annotations = [], [], []
    for index in range(images):
        height, width = SIZES[index % len(SIZES)]
        image_id, name = 10 + index, f"{10 + index:012}"
        classes = layout(height, width)
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(made.images / f"{name}.jpg", quality=90)
        listed.append({"id": image_id, "file_name": f"{name}.jpg", "height": height, "width": width})
        ids = np.zeros((height, width), np.uint32)
        segments = []
        for position, category in enumerate(CATEGORIES):
            segment_id = 65536 * (position + 1) + 256 * (index + 1) + 7
            mask = classes == position
            ids[mask] = segment_id
            crowd = int(category["name"] == "dog")
            segments.append(
                {
                    "id": segment_id,
                    "category_id": category["id"],
                    "iscrowd": crowd,
                    "area": int(mask.sum()),
                    "bbox": box_of(mask),
                }
            )
            if category["isthing"]:
                annotations.append(
                    {
                        "id": 100 * image_id + position,
                        "image_id": image_id,
                        "category_id": category["id"],
                        "iscrowd": crowd,
                        "area": int(mask.sum()),
                        "bbox": box_of(mask),
                        "segmentation": rle_of(mask) if crowd else [polygon_of(box_of(mask))],
                    }
                )
        entries.append({"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments})
        if panoptic:
            save_ids(made.maps / f"{name}.png", ids)
        if semantic:
            Image.fromarray(classes).save(made.labels / f"{name}.png")
    info = {"description": description}
    if panoptic:
        document = {"info": info, "images": listed, "annotations": entries, "categories": CATEGORIES}
        made.panoptic_json.write_text(json.dumps(document))
    if instances:
        things = [{"id": c["id"], "name": c["name"]} for c in CATEGORIES if c["isthing"]]
        document = {"info": info, "images": listed, "annotations": annotations, "categories": things}
        made.instances_json.write_text(json.dumps(document))
    return made


def layout(height: int, width: int) -> NDArray[np.uint8]:
    """The class of every pixel."""
    classes = np.full((height, width), 2, np.uint8)
    classes[: height // 3] = 3
    classes[height // 4 : height // 2, 4:10] = 0
    classes[height // 2 : height - 4, 12:20] = 1
    classes[-2:] = VOID
    return classes


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change a document in place."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def save_ids(path: Path, ids: NDArray[np.uint32]) -> None:
    """Write a panoptic PNG."""
    Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)).save(path)


def box_of(mask: NDArray[np.bool_]) -> list[int]:
    """[x, y, width, height]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = int(rows[0]), int(columns[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def polygon_of(box: list[int]) -> list[int]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def rle_of(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """An uncompressed RLE."""
    flat = np.concatenate([[False], mask.ravel("F")])
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), mask.size)
    return {"size": list(mask.shape), "counts": [int(run) for run in np.diff(ends, prepend=0)]}
