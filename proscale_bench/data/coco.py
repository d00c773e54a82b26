"""Opening a data set in COCO's formats: COCO itself, or anybody's with categories of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from proscale_bench.data.consistency import inconsistencies
from proscale_bench.data.dataset import Annotation, Dataset
from proscale_bench.data.documents import MAX_BYTES, read_json
from proscale_bench.data.instances_json import InstancesTruth, read_instances_truth
from proscale_bench.data.layout import SplitLayout, find_layout
from proscale_bench.data.panoptic_json import PanopticTruth, read_panoptic_truth
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file
from proscale_bench.results.data_check import KINDS, first_error

SHAPES = "Shapes"  # what the embedded data set calls itself: small images, given to the model as they are


def open_dataset(root: Path, split: str | None = None, images_needed: bool = True) -> Dataset:
    """A split in a folder laid out as COCO's archives unpack, its annotations read and found consistent.

    Images come from the panoptic JSON, else from the instances JSON, in the file's order; so do categories. No image
    is opened: `data check` does that.

    Args:
        split: such as `val2017`; None takes `val2017`, `val`, or the only one.
        images_needed: False where predictions are scored that somebody else made: the annotations will do.

    Raises:
        BenchError: nothing to open, a choice of splits, an annotation file that cannot be read, or the first of what
            is wrong in them.
    """
    layout = find_layout(root, split)
    panoptic = read_panoptic_truth(layout.panoptic_json) if layout.panoptic_json else None
    instances = read_instances_truth(layout.instances_json) if layout.instances_json else None
    first, errors = first_error(inconsistencies(layout, panoptic, instances, images_needed))
    if first is not None:
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        raise BenchError(
            f"{layout.root / first.file}{str(first).removeprefix(first.file)}{more}",
            f"{KINDS[first.kind].meaning}; `data check` names all that is wrong",
        )
    return assemble(layout, panoptic, instances)


def assemble(layout: SplitLayout, panoptic: PanopticTruth | None, instances: InstancesTruth | None) -> Dataset:
    """A split of what was read, which must be something. Where the same thing is listed twice, the last counts."""
    source = panoptic or instances
    if source is None:
        raise ValueError("neither panoptic nor instances")
    digest, resizes = hashlib.sha256(), True
    for path, read in ((layout.panoptic_json, panoptic), (layout.instances_json, instances)):
        if path is None or read is None:
            continue
        raw = read_regular_file(path, MAX_BYTES)
        digest.update(hashlib.sha256(raw).digest())
        # The name is looked for before the document is read once more: no other data set pays for it.
        resizes = resizes and not (f'"{SHAPES}"'.encode() in raw and _description(path) == SHAPES)
    by_image: dict[int, list[Annotation]] = {}
    for annotation in () if instances is None else instances.annotations:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    return Dataset(
        name=layout.split,
        images=source.images,
        image_dir=layout.image_dir or layout.root / layout.split,
        categories=source.categories,
        panoptic=None if panoptic is None else {entry.image_id: entry for entry in panoptic.entries},
        panoptic_dir=layout.panoptic_dir,
        instances_json=None if instances is None else layout.instances_json,
        semantic_dir=layout.semantic_dir,
        digest=digest.hexdigest(),
        resizes=resizes,
        instances=None if instances is None else {id_: tuple(found) for id_, found in by_image.items()},
    )


def _description(path: Path) -> object:
    info = read_json(path).get("info")
    return info.get("description") if isinstance(info, dict) else None
