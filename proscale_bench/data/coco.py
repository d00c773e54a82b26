"""Opening a data set in COCO's formats: COCO itself, or anybody's with categories of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from proscale_bench.config.choices import Task
from proscale_bench.data.consistency import inconsistencies
from proscale_bench.data.dataset import Annotation, Category, Dataset, Id
from proscale_bench.data.documents import MAX_BYTES, read_json
from proscale_bench.data.instances_json import InstancesTruth, lacks_mask, read_instances_truth
from proscale_bench.data.layout import SplitLayout, find_layout
from proscale_bench.data.panoptic_json import PanopticTruth, read_panoptic_categories, read_panoptic_truth
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file
from proscale_bench.results.data_check import KINDS, first_error

NOTED = ("no-mask", "category-name")  # what an evaluation says beside `data check`
SHAPES = "Shapes"  # what the embedded data set calls itself: small images, given to the model as they are


def open_dataset(
    root: Path, split: str | None = None, images_needed: bool = True, tasks: Collection[Task] | None = None
) -> Dataset:
    """A split in a folder laid out as COCO's archives unpack, its annotations read and found consistent.

    Images come from the panoptic JSON, else from the instances JSON, in the file's order; so do categories. No image
    is opened: `data check` does that.

    Args:
        split: such as `val2017`; None takes `val2017`, `val`, or the only one.
        images_needed: False where predictions are scored that somebody else made: the annotations will do.
        tasks: to evaluate: of an annotation file that none of them asks for, nothing is asked; None: all.

    Raises:
        BenchError: nothing to open, a choice of splits, an annotation file that cannot be read, or the first of what
            is wrong in them.
    """
    whole = find_layout(root, split)
    layout = whole if tasks is None else whole.only(tasks)
    panoptic = read_panoptic_truth(layout.panoptic_json) if layout.panoptic_json else None
    instances = read_instances_truth(layout.instances_json) if layout.instances_json else None
    masks_needed = tasks is None or "instance" in tasks
    findings = list(inconsistencies(layout, panoptic, instances, images_needed, masks_needed))
    first, errors = first_error(findings)
    if first is not None:
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        raise BenchError(
            f"{layout.root / first.file}{str(first).removeprefix(first.file)}{more}",
            f"{KINDS[first.kind].meaning}; `data check` names all that is wrong",
        )
    dataset = assemble(layout, panoptic, instances)
    if images_needed and panoptic is None and whole.panoptic_json is not None:
        dataset = replace(dataset, categories=_classes_of_models(whole.panoptic_json, dataset.categories))
    digest, resizes = _identity(whole)
    notes = tuple(f"{one}; {KINDS[one.kind].meaning}" for one in findings if one.kind in NOTED)
    return replace(dataset, digest=digest, resizes=resizes, notes=notes)


def assemble(layout: SplitLayout, panoptic: PanopticTruth | None, instances: InstancesTruth | None) -> Dataset:
    """A split of what was read, which must be something. Where the same thing is listed twice, the last counts."""
    source = panoptic or instances
    if source is None:
        raise ValueError("neither panoptic nor instances")
    by_image: dict[Id, list[Annotation]] = {}
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
        digest="",
        has_masks=instances is not None and not any(map(lacks_mask, instances.annotations)),
        instances=None if instances is None else {id_: tuple(found) for id_, found in by_image.items()},
    )


def _classes_of_models(panoptic_json: Path, categories: tuple[Category, ...]) -> tuple[Category, ...]:
    """The classes of a model of the data set: all that the panoptic JSON lists, where the things are among them."""
    with suppress(BenchError):
        classes = read_panoptic_categories(panoptic_json)
        things = {(category.id, category.name) for category in classes if category.is_thing}
        if things >= {(category.id, category.name) for category in categories}:
            return classes
    return categories


def _identity(layout: SplitLayout) -> tuple[str, bool]:
    """The digest of the annotation files, those that no task asks for too, and whether images are resized."""
    digest, resizes = hashlib.sha256(), True
    for path in filter(None, (layout.panoptic_json, layout.instances_json)):
        with suppress(BenchError):  # of one that was read, it was raised before
            raw = read_regular_file(path, MAX_BYTES)
            digest.update(hashlib.sha256(raw).digest())
            # The name is looked for before the document is read once more: no other data set pays for it.
            resizes = resizes and not (f'"{SHAPES}"'.encode() in raw and _description(path) == SHAPES)
    return digest.hexdigest(), resizes


def _description(path: Path) -> object:
    info = read_json(path).get("info")
    return info.get("description") if isinstance(info, dict) else None
