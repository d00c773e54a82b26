"""Contradictions within and between annotation files: `open_dataset` stops at the first, `data check` lists all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from proscale_bench.data.dataset import Category, Id, ImageEntry, PanopticEntry
from proscale_bench.data.instances_json import InstancesTruth, instance_fault, lacks_mask, mask_fault
from proscale_bench.data.layout import SplitLayout
from proscale_bench.data.panoptic_json import PanopticTruth
from proscale_bench.results.data_check import DataFinding

Value = TypeVar("Value", bound=Hashable)

MAX_SEGMENT_ID = 2**24 - 1  # three bytes of a PNG


def inconsistencies(
    layout: SplitLayout,
    panoptic: PanopticTruth | None,
    instances: InstancesTruth | None,
    images_needed: bool = True,
    masks_needed: bool = True,
) -> Iterator[DataFinding]:
    """Everything that can be said without opening an image, folder by folder and file by file.

    Args:
        images_needed: False where nobody will look at them: their folder may be missing.
        masks_needed: False where boxes alone are scored.
    """
    if images_needed and layout.image_dir is None:
        yield DataFinding(
            "missing-folder", layout.split, f"no folder {layout.split}/ or images/{layout.split}/ of images"
        )
    if layout.panoptic_json is not None and layout.panoptic_dir is None:
        name = f"panoptic_{layout.split}"
        yield DataFinding("missing-folder", name, f"no folder {name}/ or annotations/{name}/ of panoptic PNGs")
    if panoptic is not None and layout.panoptic_json is not None:
        file = seen_from(layout.root, layout.panoptic_json)
        yield from _lists(file, panoptic.categories, panoptic.images)
        yield from _panoptic(file, panoptic)
    if instances is not None and layout.instances_json is not None:
        file = seen_from(layout.root, layout.instances_json)
        yield from _lists(file, instances.categories, instances.images)
        yield from _instances(file, instances, masks_needed)
        if panoptic is not None:
            yield from _against_panoptic(file, panoptic, instances)


def seen_from(root: Path, path: Path) -> str:
    """A path as a finding has it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _lists(file: str, categories: Sequence[Category], images: Sequence[ImageEntry]) -> Iterator[DataFinding]:
    if not images:
        yield DataFinding("no-images", file, "'images' is empty")
    if not categories:
        yield DataFinding("no-categories", file, "'categories' is empty")
    for category_id, times in repeated(category.id for category in categories):
        yield DataFinding("duplicate-category", file, f"category {category_id} is listed {times} times")
    for category in categories:
        if category.written_name is not None:
            yield DataFinding("category-name", file, f"category {category.id} is shown as '{category.name}'")
    for image_id, times in repeated(image.id for image in images):
        yield DataFinding("duplicate-image", file, f"listed {times} times", image_id)
    for name, times in repeated(image.file_name for image in images):
        yield DataFinding("shared-file", file, f"'{name}' is the file of {times} images")


def _panoptic(file: str, panoptic: PanopticTruth) -> Iterator[DataFinding]:
    images = {image.id: image for image in panoptic.images}
    categories = {category.id for category in panoptic.categories}
    for image_id, times in repeated(entry.image_id for entry in panoptic.entries):
        yield DataFinding("duplicate-annotation", file, f"{times} panoptic annotations", image_id)
    annotated = {entry.image_id for entry in panoptic.entries}
    for image in panoptic.images:
        if image.id not in annotated:
            yield DataFinding("no-annotation", file, "no panoptic annotation", image.id)
    for entry in panoptic.entries:
        if entry.image_id not in images:
            yield DataFinding("unknown-image", file, "annotated, and not among the images", entry.image_id)
        yield from _segments(file, entry, categories)


def _segments(file: str, entry: PanopticEntry, categories: set[Id]) -> Iterator[DataFinding]:
    if len({segment.id for segment in entry.segments}) < len(entry.segments):
        for segment_id, times in repeated(segment.id for segment in entry.segments):
            yield DataFinding(
                "duplicate-segment", file, f"segment {segment_id} is listed {times} times", entry.image_id
            )
    for segment in entry.segments:
        if segment.category_id not in categories:
            unknown = f"segment {segment.id}: category {segment.category_id} is not listed"
            yield DataFinding("unknown-category", file, unknown, entry.image_id)
        if not 0 < segment.id <= MAX_SEGMENT_ID:
            beyond = f"segment id {segment.id}: ids are 1 to {MAX_SEGMENT_ID}, 0 is void"
            yield DataFinding("bad-segment", file, beyond, entry.image_id)
        if not 0 <= segment.area_px < float("inf"):  # NaN is not either
            yield DataFinding("bad-segment", file, f"segment {segment.id}: area {segment.area_px}", entry.image_id)


def _instances(file: str, instances: InstancesTruth, masks_needed: bool) -> Iterator[DataFinding]:
    images = {image.id: image for image in instances.images}
    categories = {category.id for category in instances.categories}
    for instance_id, times in repeated(annotation["id"] for annotation in instances.annotations):
        yield DataFinding("duplicate-instance", file, f"instance {instance_id} is listed {times} times")
    for annotation in instances.annotations:
        instance, image_id = f"instance {annotation['id']}", annotation["image_id"]
        image = images.get(image_id)
        if annotation["category_id"] not in categories:
            unknown = f"{instance}: category {annotation['category_id']} is not listed"
            yield DataFinding("unknown-category", file, unknown, image_id)
        if image is None:
            yield DataFinding("unknown-image", file, f"{instance}: its image is not among the images", image_id)
        elif fault := instance_fault(annotation, image) or (mask_fault(annotation, image) if masks_needed else None):
            yield DataFinding("bad-instance", file, f"{instance}: {fault}", image_id)
    if masks_needed and (without := [one for one in instances.annotations if lacks_mask(one)]):
        counted = f"{len(without):,} of {len(instances.annotations):,} instances have no mask"
        said = f"{counted}, the first: instance {without[0]['id']}"
        yield DataFinding("no-mask", file, said, without[0]["image_id"])


def _against_panoptic(file: str, panoptic: PanopticTruth, instances: InstancesTruth) -> Iterator[DataFinding]:
    """The instances' categories are the panoptic things, and both list the same images."""
    known = {category.id: category for category in panoptic.categories}
    for category in instances.categories:
        other = known.get(category.id)
        said = f"category {category.id} is '{category.name}' here"
        if other is None:
            yield DataFinding("category-clash", file, f"{said}, and not in the panoptic file")
        elif other.name != category.name:
            yield DataFinding("category-clash", file, f"{said}, and '{other.name}' in the panoptic file")
        elif not other.is_thing:
            yield DataFinding("category-clash", file, f"{said}, and stuff in the panoptic file")
    listed = {category.id for category in instances.categories}
    for category in panoptic.categories:
        if category.is_thing and category.id not in listed:
            yield DataFinding("categories-differ", file, f"thing {category.id}, '{category.name}', has no instances")

    ours = {image.id: image for image in panoptic.images}
    theirs = {image.id: image for image in instances.images}
    for image in instances.images:
        if image.id not in ours:
            yield DataFinding("images-differ", file, "listed here, and not in the panoptic file", image.id)
        elif ours[image.id] != image:
            yield DataFinding("images-differ", file, _difference(image, ours[image.id]), image.id)
    for image in panoptic.images:
        if image.id not in theirs:
            yield DataFinding("images-differ", file, "listed in the panoptic file, and not here", image.id)


def _difference(image: ImageEntry, other: ImageEntry) -> str:
    if image.file_name != other.file_name:
        return f"'{image.file_name}' here, '{other.file_name}' in the panoptic file"
    return (
        f"{image.height_px} x {image.width_px} pixels here, "
        f"{other.height_px} x {other.width_px} in the panoptic file (height x width)"
    )


def repeated(values: Iterable[Value]) -> Iterator[tuple[Value, int]]:
    """The values that are there more than once, and how many times."""
    return ((value, times) for value, times in Counter(values).items() if times > 1)
