"""Small data sets of every kind that `data convert` reads, whole, to be broken by tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.data.made import make_dataset, save_ids

SIZE = (24, 40)
STEMS = ("aachen_000000_000019", "aachen_000001_000019", "bonn_000000_000019")


def photo(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> None:
    """Write a photograph of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def instance_ids(seed: int) -> NDArray[np.int32]:
    """Cityscapes' instance ids: road below sky, cars and a person, a group of bicycles, a caravan, an ego vehicle."""
    random = np.random.default_rng(seed)
    ids = np.full(SIZE, 7, np.int32)
    ids[:8] = 23
    for number in range(3):
        row, column = random.integers(4, 14), random.integers(0, 30)
        ids[row : row + 6, column : column + 7] = 26000 + number
    ids[10:16, 2:5] = 24000
    ids[16:19, 20:30] = 33
    ids[12:15, 34:39] = 29001
    ids[-2:] = 1
    return ids


def cityscapes(root: Path, stems: tuple[str, ...] = STEMS, split: str = "val") -> Path:
    """Write leftImg8bit and gtFine, with instance ids and label ids."""
    for seed, stem in enumerate(stems):
        city = stem.split("_", maxsplit=1)[0]
        photo(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", seed=seed)
        folder = root / "gtFine" / split / city
        folder.mkdir(parents=True, exist_ok=True)
        ids = instance_ids(seed)
        Image.fromarray(ids.astype(np.uint16)).save(folder / f"{stem}_gtFine_instanceIds.png")
        labels = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
        Image.fromarray(labels).save(folder / f"{stem}_gtFine_labelIds.png")
    return root


def ade20k(root: Path) -> Path:
    """Write ADE20K as Mask2Former's script leaves it: ids of images are text, ids of categories begin with 0."""
    maps = root / "ade20k_panoptic_val"
    maps.mkdir(parents=True)
    images, annotations = [], []
    for number in (1, 2):
        stem = f"ADE_val_{number:08}"
        photo(root / "images" / "validation" / f"{stem}.jpg", seed=number)
        ids = np.zeros(SIZE, np.uint32)
        ids[:10], ids[12:], ids[4:16, number : number + 6], ids[4:16, 20:26] = 1, 2, 3, 4 + 256 * 300
        save_ids(maps / f"{stem}.png", ids)
        segments = [
            {"id": id_, "category_id": category, "iscrowd": 0, "area": int((ids == id_).sum()), "bbox": [0, 0, 1, 1]}
            for id_, category in ((1, 2), (2, 0), (3, 12), (4 + 256 * 300, 12))
        ]
        images.append({"id": stem, "file_name": f"{stem}.jpg", "height": SIZE[0], "width": SIZE[1]})
        annotations.append({"image_id": stem, "file_name": f"{stem}.png", "segments_info": segments})
    names = ((0, "wall", 0), (2, "sky", 0), (12, "person", 1), (20, "car", 1))
    categories = [{"id": id_, "name": name, "isthing": thing, "color": [id_, 1, 2]} for id_, name, thing in names]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "ade20k_panoptic_val.json").write_text(json.dumps(document))
    return root


def coco_instances(root: Path) -> Path:
    """Write COCO's instances alone, with a crowd, and an instance before another."""
    made = make_dataset(root, panoptic=False)
    made.edit_instances(lambda document: document["annotations"].append(_in_front(document["annotations"][0])))
    return root


def _in_front(annotation: dict[str, Any]) -> dict[str, Any]:
    x, y, _, _ = annotation["bbox"]
    polygon = [x, y, x + 4, y, x + 4, y + 3, x, y + 3]
    return {**annotation, "id": 9, "category_id": 18, "bbox": [x, y, 4, 3], "area": 12, "segmentation": [polygon]}


def index_pngs(root: Path, *, colored: bool = False) -> Path:
    """Write class maps of road, car and sky, in grey or in colours, with a list of the classes."""
    colors = np.array([[128, 64, 128], [0, 0, 142], [70, 130, 180]], np.uint8)
    for number in range(2):
        labels = np.zeros(SIZE, np.uint8)
        labels[:9], labels[12:18, 5 : 15 + number] = 2, 1
        (root / "labels").mkdir(parents=True, exist_ok=True)
        photo(root / "images" / f"street{number}.jpg", seed=number)
        pixels = colors[labels]
        if not colored:
            labels[-3:] = 255
            pixels = labels
        Image.fromarray(pixels).save(root / "labels" / f"street{number}.png")
    lines = ["road 128 64 128", "car 0 0 142", "sky 70 130 180"] if colored else ["road", "car", "sky"]
    (root / "classes.txt").write_text("\n".join(lines) + "\n")
    return root


def yolo(root: Path) -> Path:
    """Write YOLO's segmentation text: two images of two splits; the later of two polygons hides a part of the other."""
    for split in ("train", "val"):
        for number in range(2):
            photo(root / "images" / split / f"{number}.jpg", seed=number)
            label = root / "labels" / split / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            lines = ["0 0.1 0.1 0.6 0.1 0.6 0.7 0.1 0.7", "1 0.3 0.3 0.5 0.3 0.45 0.6", "1 0.7 0.5 1 0.5 0.85 1.0"]
            label.write_text("\n".join(lines[: 2 + number]) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: person\n  1: dog\n")
    return root


def segments_info(root: Path) -> Path:
    """Write an image folder of `datasets` with `metadata.jsonl`, and `id2label.json` beside rows that tell things."""
    rows = []
    (root / "maps").mkdir(parents=True)
    for number in range(2):
        photo(root / f"{number}.jpg", seed=number)
        ids = np.zeros(SIZE, np.uint32)
        ids[:9], ids[9:20], ids[5:15, 3 : 9 + number] = 1, 70000, 3
        save_ids(root / "maps" / f"{number}.png", ids)
        segments = [
            {"id": 1, "category_id": 2, "isthing": False, "iscrowd": 0},
            {"id": 70000, "category_id": 0, "isthing": False, "iscrowd": 0},
            {"id": 3, "category_id": 1, "isthing": True, "iscrowd": 0},
        ]
        rows.append({"file_name": f"{number}.jpg", "label": f"maps/{number}.png", "segments_info": segments})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (root / "id2label.json").write_text(json.dumps({"0": "wall", "1": "person", "2": "sky"}))
    return root


MAKERS = {
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "coco-instances": coco_instances,
    "index-pngs": index_pngs,
    "yolo": yolo,
    "segments-info": segments_info,
}
