"""The layout of a data set's folder, as people have COCO on disk."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from proscale_bench.config.choices import Task
from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.units import printable

ANNOTATIONS = "annotations"
MAX_SPLIT = 150  # characters: names of records and folders hold it
PREFERRED_SPLITS = ("val2017", "val")
TRAINING_SPLITS = ("train2017", "train", "training")
VALIDATION_SPLITS = (*PREFERRED_SPLITS, "valid", "validation", "dev")
IMAGE_DIRS = ("{}", "images/{}")
SHARED_IMAGE_DIR = "images"  # of data sets that keep the images of all splits together
PANOPTIC_DIRS = ("panoptic_{}", "annotations/panoptic_{}")
SEMANTIC_DIRS = (*("panoptic_semseg_{}", "annotations/panoptic_semseg_{}"), *("semantic_{}", "annotations/semantic_{}"))


@dataclass(frozen=True)
class SplitLayout:
    """The files and folders of one split; None for what is not there. At least one JSON is.

    `owns_images`: the folder of images holds this split alone.
    """

    root: Path
    split: str
    panoptic_json: Path | None
    instances_json: Path | None
    image_dir: Path | None
    owns_images: bool
    panoptic_dir: Path | None
    semantic_dir: Path | None

    def only(self, tasks: Collection[Task]) -> SplitLayout:
        """The files that tasks ask for; where there is but one, it stands for the list of images and categories."""
        panoptic = self.panoptic_json if {"panoptic", "semantic"} & set(tasks) or not self.instances_json else None
        instances = self.instances_json if {"instance", "boxes"} & set(tasks) or not self.panoptic_json else None
        maps = None if panoptic is None else self.panoptic_dir
        return replace(self, panoptic_json=panoptic, instances_json=instances, panoptic_dir=maps)


def unfinished(split: str) -> str:
    """The name of a file that is beside a split's folders while these are put in place, and with which it is none."""
    return f".{split}.unfinished"


def find_layout(root: Path, split: str | None = None) -> SplitLayout:
    """Look where COCO's parts lie: `annotations/panoptic_SPLIT.json`, `SPLIT/` or `images/SPLIT/`, and so on.

    Args:
        split: such as `val2017`; None takes `val2017`, `val`, or the only one.

    Raises:
        BenchError: no folder, no annotations in it, an unknown split, several to choose from, a name that no record
            could hold, or a split that is not finished.
    """
    splits = _splits(root)
    if split is None:
        split = next((name for name in PREFERRED_SPLITS if name in splits), min(splits))
        if split not in PREFERRED_SPLITS and len(splits) > 1:
            raise BenchError(f"{root}: several splits: {', '.join(sorted(splits))}", f"choose one, as --split {split}")
    elif split not in splits:
        known = sorted(splits)
        hint = did_you_mean(split, known, f"annotations has: {', '.join(known)}")
        raise BenchError(f"{root}: no split '{split}'", hint)
    if not split.isprintable() or len(split) > MAX_SPLIT:
        said = f"over {MAX_SPLIT} characters" if split.isprintable() else "characters that cannot be shown"
        raise BenchError(
            f"{printable(str(root))}: split '{printable(split[:80])}': {said}",
            "rename its files and folders: results are kept and shown under this name",
        )
    if (root / unfinished(split)).exists():
        hint = "its writing was interrupted: make it again, as with data make-shapes"
        raise BenchError(f"{root}: split '{split}' is not finished", hint)
    image_dir = _first(root, IMAGE_DIRS, split)
    shared = None if image_dir else _first(root, (SHARED_IMAGE_DIR,), split)
    has = splits[split]
    return SplitLayout(
        root,
        split,
        panoptic_json=has.get("panoptic"),
        instances_json=has.get("instances"),
        image_dir=image_dir or shared,
        owns_images=image_dir is not None,
        panoptic_dir=_first(root, PANOPTIC_DIRS, split) if "panoptic" in has else None,
        semantic_dir=_first(root, SEMANTIC_DIRS, split),
    )


def training_split(root: Path, split: str | None = None) -> str:
    """The split to learn from: the first of `TRAINING_SPLITS`, or the only one, where none is named.

    Raises:
        BenchError: see `find_layout`.
    """
    splits = _splits(root)
    found = split or next((name for name in TRAINING_SPLITS if name in splits), None)
    if found is None and len(splits) > 1:
        hint = f"choose one, as --split {min(splits)}"
        raise BenchError(f"{root}: several splits to learn from: {', '.join(sorted(splits))}", hint)
    return find_layout(root, found or min(splits)).split


def count_images(root: Path, split: str) -> int:
    """The number of files in a split's folder of images: about how many it has, without reading its annotations."""
    image_dir = find_layout(root, split).image_dir
    if image_dir is None:
        return 0
    try:
        return sum(1 for _ in image_dir.iterdir())
    except OSError as error:
        raise BenchError(f"{image_dir}: {error.strerror}", "check the path") from error


def validation_split(root: Path, training: str, split: str | None = None) -> str | None:
    """The split to validate on: the first of `VALIDATION_SPLITS`, or the only one beside the training's, else None.

    Raises:
        BenchError: see `find_layout`; a choice of splits.
    """
    if split is not None:
        return find_layout(root, split).split
    others = [name for name in _splits(root) if name != training]
    preferred = next((name for name in VALIDATION_SPLITS if name in others), None)
    if preferred is None and len(others) > 1:
        hint = f"choose one, as --val-split {min(others)}, or leave validation out with --validate-every 0"
        raise BenchError(f"{root}: several splits to validate on: {', '.join(sorted(others))}", hint)
    return preferred or next(iter(others), None)


def _splits(root: Path) -> dict[str, dict[str, Path]]:
    """The JSON files by split and kind."""
    folder = root / ANNOTATIONS
    hint = f"DIR holds {ANNOTATIONS}/ with panoptic_SPLIT.json or instances_SPLIT.json, as COCO's archives unpack"
    try:
        if not root.is_dir():
            what = "not a folder" if root.exists() else "no such folder"
            raise BenchError(f"{root}: {what}", hint)
        if not folder.is_dir():
            if root.resolve().name == ANNOTATIONS:
                hint = f"give the folder that holds it: {root.resolve().parent}"
            raise BenchError(f"{root}: no folder {ANNOTATIONS}", hint)
        names = sorted(path.name for path in folder.iterdir())
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise BenchError(f"{root}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    splits: dict[str, dict[str, Path]] = {}
    for name in names:
        kind, _, rest = name.partition("_")
        if kind in ("panoptic", "instances") and rest.endswith(".json") and rest != ".json":
            splits.setdefault(rest.removesuffix(".json"), {})[kind] = folder / name
    if not splits:
        raise BenchError(f"{folder}: no panoptic_SPLIT.json and no instances_SPLIT.json", hint)
    return splits


def _first(root: Path, patterns: tuple[str, ...], split: str) -> Path | None:
    for path in (root / pattern.format(split) for pattern in patterns):
        with suppress(OSError):  # its parent may not be looked into
            if path.is_dir():
                return path
    return None
