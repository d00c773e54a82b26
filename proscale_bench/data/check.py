"""Looking through a data set before an hour is spent on it: what is there, what is missing, what is broken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from proscale_bench.data.batches import load_ahead
from proscale_bench.data.coco import assemble
from proscale_bench.data.consistency import inconsistencies, seen_from
from proscale_bench.data.dataset import Dataset, ImageEntry, PanopticEntry
from proscale_bench.data.instances_json import (
    InstancesTruth,
    instance_doubts,
    instance_fault,
    mask_fault,
    read_instances_truth,
)
from proscale_bench.data.layout import SplitLayout, find_layout
from proscale_bench.data.panoptic_json import PanopticTruth, read_panoptic_truth
from proscale_bench.data.pictures import IdMap, opened, read_id_map, read_image, read_label_map, read_size
from proscale_bench.data.truth import png_name, runs_of, unknown_labels, void_label
from proscale_bench.errors import BenchError
from proscale_bench.results.data_check import DataCheck, DataFinding

Read = TypeVar("Read")
Looked = tuple[tuple[int, ...], Iterable[tuple[str, str]]]  # a file's size; what else is wrong: kinds of finding, words

NAMED_IDS = 3


def check_dataset(
    root: Path,
    split: str | None = None,
    *,
    quick: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataCheck:
    """Find everything that is wrong with a split of a data set.

    Args:
        split: name as in `open_dataset`.
        quick: headers are read and no pixel is decoded.
        workers: threads; None: as many as there are processors.
        progress: called with how many images are done, and of how many.

    Raises:
        BenchError: there is nothing to check: no folder, no annotations, or a choice of splits.
    """
    layout = find_layout(root, split)
    findings: list[DataFinding] = []
    panoptic = _read(layout, layout.panoptic_json, read_panoptic_truth, findings)
    instances = _read(layout, layout.instances_json, read_instances_truth, findings)
    findings += inconsistencies(layout, panoptic, instances)
    if panoptic is None and instances is None:
        return _described(layout, None, None, None, quick, findings)
    dataset = assemble(layout, panoptic, instances)
    if instances is not None:
        findings += _doubts(seen_from(root, layout.instances_json or root), instances)
    threads = workers or os.cpu_count() or 1
    all_classes = panoptic is not None or layout.panoptic_json is None
    look = _Look(layout, dataset, quick, len(dataset.categories) if all_classes else None)
    with closing(load_ahead(dataset.images, look, threads, 8 * threads)) as looked:
        for done, found in enumerate(looked, 1):
            findings += found
            progress(done, len(dataset.images))
    findings += _unlisted(layout, dataset)
    return _described(layout, dataset, panoptic, instances, quick, findings)


@dataclass(frozen=True)
class _Look:
    """Looks at the files of one image; called by threads. `classes` is None where the file that lists all is broken."""

    layout: SplitLayout
    dataset: Dataset
    quick: bool
    classes: int | None

    def __call__(self, image: ImageEntry) -> list[DataFinding]:
        layout, entry = self.layout, (self.dataset.panoptic or {}).get(image.id)
        found: list[DataFinding] = []
        if layout.image_dir is not None:
            found += self._file("image", image, layout.image_dir / image.file_name, self._image)
        if layout.panoptic_dir is not None and entry is not None:
            found += self._file("map", image, layout.panoptic_dir / entry.file_name, partial(self._map, entry))
        if layout.semantic_dir is not None:
            found += self._file("labels", image, layout.semantic_dir / png_name(image), self._labels)
        return found

    def _file(self, what: str, image: ImageEntry, path: Path, look: Callable[[Path], Looked]) -> Iterator[DataFinding]:
        place = seen_from(self.layout.root, path)
        try:
            size, doubts = look(path)
        except BenchError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            said = "not there" if missing else error.message.removeprefix(f"{path}: ")
            yield DataFinding(f"{'missing' if missing else 'unreadable'}-{what}", place, said, image.id)
            return
        if size != (image.height_px, image.width_px):
            said = f"{size[0]} x {size[1]} pixels, listed as {image.height_px} x {image.width_px} (height x width)"
            yield DataFinding(f"{what}-size", place, said, image.id)
            if what == "map":  # of another image: its ids say nothing of this one
                return
        for kind, said in doubts:
            yield DataFinding(kind, place, said, image.id)

    def _image(self, path: Path) -> Looked:
        return read_size(path) if self.quick else read_image(path).shape[:2], ()

    def _map(self, entry: PanopticEntry, path: Path) -> Looked:
        if not self.quick:
            ids = read_id_map(path)
            return ids.shape, map_doubts(ids, entry)
        with opened(path) as header:
            if header.format != "PNG" or header.mode not in ("RGB", "RGBA"):
                raise BenchError(f"{path}: {header.format} of mode {header.mode}")
            return (header.height, header.width), ()

    def _labels(self, path: Path) -> Looked:
        if self.quick:
            with opened(path) as header:
                return (header.height, header.width), ()
        labels = read_label_map(path)
        unknown = () if self.classes is None else unknown_labels(labels, self.classes, void_label(self.dataset))
        said = f"label{'s' * (len(unknown) > 1)} {_some(unknown)}, and there are {self.classes} classes"
        return labels.shape, [("unknown-label", said)] if unknown else ()


def map_doubts(ids: IdMap, entry: PanopticEntry) -> Iterator[tuple[str, str]]:
    """Differences between a panoptic map and its segments, as kinds of finding and words."""
    values, lengths = runs_of(ids)
    found, places = np.unique(values, return_inverse=True)
    areas = dict(zip(found.tolist(), np.bincount(places, lengths).astype(int).tolist(), strict=True))
    segments = {segment.id: segment for segment in entry.segments}
    if unlisted := [segment_id for segment_id in areas if segment_id != 0 and segment_id not in segments]:
        pixels = sum(areas[segment_id] for segment_id in unlisted)
        yield "unlisted-id", f"id{'s' * (len(unlisted) > 1)} {_some(unlisted)}, {pixels} pixels"
    for segment in entry.segments:
        if segment.id not in areas:
            yield "segment-without-pixels", f"segment {segment.id}: area {segment.area_px:g}, and no pixel"
        elif areas[segment.id] != segment.area_px:
            yield "segment-area", f"segment {segment.id}: area {segment.area_px:.15g}, has {areas[segment.id]} pixels"


def _read(
    layout: SplitLayout, path: Path | None, read: Callable[[Path], Read], findings: list[DataFinding]
) -> Read | None:
    if path is None:
        return None
    try:
        return read(path)
    except BenchError as error:
        said = error.message.removeprefix(str(path)).removeprefix(": ").removeprefix(":")
        findings.append(DataFinding("unreadable-annotations", seen_from(layout.root, path), said))
        return None


def _doubts(file: str, instances: InstancesTruth) -> Iterator[DataFinding]:
    images = {image.id: image for image in instances.images}
    for annotation in instances.annotations:
        image = images.get(annotation["image_id"])
        if image is not None and not (instance_fault(annotation, image) or mask_fault(annotation, image)):
            for kind, said in instance_doubts(annotation).items():
                yield DataFinding(kind, file, f"instance {annotation['id']}: {said}", image.id)


def _unlisted(layout: SplitLayout, dataset: Dataset) -> Iterator[DataFinding]:
    """Files of the split's own folders that no annotation names."""
    maps = [entry.file_name for entry in (dataset.panoptic or {}).values()]
    folders = {
        layout.image_dir if layout.owns_images else None: [image.file_name for image in dataset.images],
        None if dataset.panoptic is None else layout.panoptic_dir: maps,
        layout.semantic_dir: [png_name(image) for image in dataset.images],
    }
    for folder, names in folders.items():
        if folder is None:
            continue
        listed = {(folder / name).as_posix() for name in names}
        try:
            there = sorted(path.as_posix() for path in _files(folder))
        except OSError as error:
            yield DataFinding("unreadable-folder", seen_from(layout.root, folder), str(error.strerror or error))
            continue
        for path in there:
            if path not in listed:
                yield DataFinding("unlisted-file", seen_from(layout.root, Path(path)), "no annotation names it")


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones apart; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield Path(entry.path)


def _described(
    layout: SplitLayout,
    dataset: Dataset | None,
    panoptic: PanopticTruth | None,
    instances: InstancesTruth | None,
    quick: bool,
    findings: list[DataFinding],
) -> DataCheck:
    has_maps = panoptic is not None and layout.panoptic_dir is not None
    things = 0 if dataset is None else len(dataset.thing_classes)
    tasks = {
        "panoptic": has_maps,
        "instance": dataset is not None and instances is not None and dataset.has_masks,
        "semantic": has_maps or (dataset is not None and layout.semantic_dir is not None),
        "boxes": dataset is not None and instances is not None and not dataset.has_masks,
    }

    def name(folder: Path | None) -> str | None:
        return None if folder is None else seen_from(layout.root, folder)

    return DataCheck(
        folder=str(layout.root),
        split=layout.split,
        quick=quick,
        images=0 if dataset is None else len(dataset.images),
        image_dir=name(layout.image_dir),
        things=things,
        stuff=0 if dataset is None else len(dataset.categories) - things,
        maps=None if panoptic is None else len(panoptic.entries),
        map_dir=name(layout.panoptic_dir),
        segments=None if panoptic is None else sum(len(entry.segments) for entry in panoptic.entries),
        instances=None if instances is None else len(instances.annotations),
        crowds=None if instances is None else sum(annotation["iscrowd"] != 0 for annotation in instances.annotations),
        images_with_instances=None if dataset is None or dataset.instances is None else len(dataset.instances),
        semantic_dir=name(layout.semantic_dir),
        tasks=tuple(task for task, possible in tasks.items() if possible),
        findings=tuple(findings),
    )


def _some(values: Sequence[int]) -> str:
    more = len(values) - NAMED_IDS
    return ", ".join(map(str, values[:NAMED_IDS])) + (f" and {more} more" if more > 0 else "")
