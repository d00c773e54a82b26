"""Random COCO instances and results, with everything that the format allows, and pycocotools' word on them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
from numpy.random import Generator
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

AREAS = (0, 1, 1023.5, 1024, 1024.5, 9215, 9216, 9217.5)


def pycocotools_stats(
    gt: Path, results: Path, iou_type: str, max_detections: tuple[int, ...] = (1, 10, 100)
) -> list[float]:
    """The 12 numbers, of the files and nothing else."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(gt))
        if json.loads(results.read_text()):
            found = truth.loadRes(str(results))
        else:
            found = COCO()
            found.dataset = {**truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats: list[float] = evaluation.stats.tolist()
    return stats


def random_set(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A small set; every seed has its own mixture of oddities."""
    rng = np.random.default_rng(seed)
    odd = rng.random(12) < 0.25
    images = [
        {"id": int(id_), "height": int(rng.integers(4, 140)), "width": int(rng.integers(4, 140))}
        for id_ in rng.permutation(rng.choice(1000, rng.integers(1, 7), replace=False))
    ]
    categories = [{"id": int(id_)} for id_ in rng.choice(90, rng.integers(1, 5), replace=False)]
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    digits = int(rng.integers(1, 4))
    for image in images:
        size = (image["height"], image["width"])
        truths = [_mask(rng, size) for _ in range(rng.integers(0, 6))]
        for mask in truths:
            crowd = int(rng.random() < 0.2)
            annotations.append(
                {
                    "id": len(annotations) + (0 if odd[0] else 1),
                    "image_id": image["id"],
                    "category_id": _one_of(rng, categories, odd[1]),
                    "iscrowd": crowd,
                    "area": float(rng.choice(AREAS)) if rng.random() < 0.3 else int(mask.sum()),
                    "bbox": _box(rng, mask),
                    "segmentation": _segmentation(rng, mask),
                    **({"ignore": int(rng.integers(2))} if odd[2] else {}),
                }
            )
        count = int(rng.integers(90, 130)) if odd[3] and rng.random() < 0.3 else int(rng.integers(0, 12))
        for _ in range(count):
            near = truths and rng.random() < 0.8
            mask = _moved(rng, truths[rng.integers(len(truths))]) if near else _mask(rng, size)
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": _one_of(rng, categories, odd[4]),
                    "segmentation": _text(mask),
                    "score": float("nan") if odd[5] and rng.random() < 0.1 else round(rng.random(), digits),
                    **({"bbox": _box(rng, mask)} if odd[6] or (odd[7] and results and rng.random() < 0.5) else {}),
                }
            )
    if odd[8]:
        annotations = [annotations[place] for place in rng.permutation(len(annotations))]
    if odd[9] and annotations:
        annotations[-1]["image_id"] = 5000
    for result in results if odd[6] and (odd[10] or odd[11]) else ():
        if odd[10] or rng.random() < 0.5:
            del result["segmentation"]
    results = [results[place] for place in rng.permutation(len(results))] if not odd[7] else results
    return {"images": images, "annotations": annotations, "categories": categories}, results


def write_set(folder: Path, truth: dict[str, Any], results: Any) -> tuple[Path, Path]:
    paths = folder / "gt.json", folder / "results.json"
    for path, document in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(document))
    return paths


def _one_of(rng: Generator, categories: list[dict[str, Any]], odd: bool) -> int:
    return 99 if odd and rng.random() < 0.1 else int(categories[rng.integers(len(categories))]["id"])


def _mask(rng: Generator, size: tuple[int, int]) -> Any:
    """A rectangle, so that IoUs are round numbers, a disc, noise, or nothing."""
    mask = np.zeros(size, np.uint8)
    kind = rng.random()
    y, x = int(rng.integers(size[0])), int(rng.integers(size[1]))
    if kind < 0.6:
        mask[y : y + int(rng.integers(1, 100)), x : x + int(rng.integers(1, 100))] = 1
    elif kind < 0.85:
        rows, columns = np.mgrid[: size[0], : size[1]]
        mask[(rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(1, 3000)] = 1
    elif kind < 0.95:
        mask[rng.random(size) < rng.random()] = 1
    return mask


def _moved(rng: Generator, mask: Any) -> Any:
    moved = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
    if rng.random() < 0.3:  # half of it, or another round part
        rows = np.flatnonzero(moved.any(axis=1))
        moved[rows[len(rows) // int(rng.integers(2, 5)) :]] = 0
    return moved


def _box(rng: Generator, mask: Any) -> list[float]:
    box = pycocotools.mask.toBbox(_text(mask)).tolist()
    if rng.random() < 0.3:
        box = [float(side) for side in np.abs(np.asarray(box) + rng.uniform(-3, 3, 4))]
    elif rng.random() < 0.2:
        box = [int(side) for side in box]
    return [0.0, 0.0, 0.0, 0.0] if rng.random() < 0.05 else box


def _text(mask: Any) -> dict[str, Any]:
    runs = pycocotools.mask.encode(np.asfortranarray(mask))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def _segmentation(rng: Generator, mask: Any) -> Any:
    kind = rng.random()
    if kind < 0.3:
        y, x = rng.uniform(0, mask.shape[0]), rng.uniform(0, mask.shape[1])
        corners = [(y + rng.normal(0, 20), x + rng.normal(0, 20)) for _ in range(rng.integers(3, 9))]
        digits = int(rng.integers(0, 3))
        polygon = [round(float(side), digits) for corner in corners for side in corner[::-1]]
        return [polygon, [value + 5 for value in polygon]] if rng.random() < 0.3 else [polygon]
    if kind < 0.5:
        flat = mask.flatten(order="F")
        edges = np.flatnonzero(np.diff(flat, prepend=0))
        return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0, append=len(flat)).tolist()}
    return _text(mask)
