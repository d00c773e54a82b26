"""COCO's instances alone: the panoptic truth is made from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.data.coco import open_dataset
from proscale_bench.data.convert.source import (
    ConvertRequest,
    RunLengths,
    SourceImage,
    SourceSplit,
    chosen_splits,
    painted,
    require_file,
)
from proscale_bench.data.dataset import Annotation, Dataset, Id
from proscale_bench.data.instances_json import read_instances_truth
from proscale_bench.data.layout import ANNOTATIONS
from proscale_bench.errors import BenchError
from proscale_bench.units import Size

PREFIX = "instances_"


def coco_instances(request: ConvertRequest) -> list[SourceSplit]:
    """The splits of a folder in COCO's layout, of which the instances alone are looked at.

    Overlaps: see `painted`. Pixels of no instance are void. Annotations are taken over as they are.

    Raises:
        BenchError: something is missing, or wrong in an annotation file.
    """
    folder = request.source / ANNOTATIONS
    there = [path.stem.removeprefix(PREFIX) for path in sorted(folder.glob(f"{PREFIX}*.json"))]
    names = chosen_splits(request.source, there, request.splits, f"{ANNOTATIONS}/{PREFIX}SPLIT.json")
    return [_split(request, open_dataset(request.source, name, request.images_needed)) for name in names]


def _split(request: ConvertRequest, dataset: Dataset) -> SourceSplit:
    assert dataset.instances_json is not None
    if not dataset.has_masks:
        raise BenchError(f"{dataset.instances_json}: {dataset.notes[-1]}", "maps are made of masks")
    truth = read_instances_truth(dataset.instances_json)  # its own categories and images, where a panoptic file is too
    found = dataset.instances or {}

    def samples() -> Iterator[SourceImage]:
        for image in truth.images:
            size = (image.height_px, image.width_px)
            annotations = found.get(image.id, ())
            ids, segments, hidden = painted(
                [runs_of(annotation["segmentation"], size) for annotation in annotations],
                [annotation["category_id"] for annotation in annotations],
                [bool(annotation["iscrowd"]) for annotation in annotations],
                size,
            )
            path = dataset.image_dir / image.file_name
            where = f"{dataset.instances_json}: image {image.id}"
            file = require_file(path, f"which {Path(str(dataset.instances_json)).name} lists")
            yield SourceImage(
                image.file_name,
                where,
                file if request.images_needed else None,
                ids,
                segments,
                annotations,
                hidden,
                image.id,
            )

    return SourceSplit(dataset.name, truth.categories, len(truth.images), samples)


def runs_of(segmentation: Any, size: Size) -> RunLengths:
    """Polygons or run lengths that are whole, as pycocotools draws them: compressed run lengths."""
    from hotcoco import mask

    if isinstance(segmentation, list):
        parts = [part for part in segmentation if part] or [[0.0] * 6]
        drawn: RunLengths = mask.merge(mask.frPyObjects(parts, *size))
        return drawn
    if isinstance(segmentation["counts"], list):
        plain: RunLengths = mask.frPyObjects(segmentation, *size)
        return plain
    return dict(segmentation)


def annotation_of(polygons: list[list[float]], category_id: Id, runs: RunLengths) -> Annotation:
    """A COCO annotation of polygons in pixels, whose area and box are those of its pixels."""
    from hotcoco import mask

    return {
        "category_id": category_id,
        "iscrowd": 0,
        "area": int(mask.area(runs)),
        "bbox": np.asarray(mask.to_bbox(runs), float).reshape(4).tolist(),
        "segmentation": polygons,
    }
