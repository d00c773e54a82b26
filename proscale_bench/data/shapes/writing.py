"""Shapes as files: a split in COCO's panoptic and instances formats, as COCO lies on disk. Whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Annotation
from proscale_bench.data.documents import read_json
from proscale_bench.data.layout import unfinished
from proscale_bench.data.pictures import id_colors
from proscale_bench.data.shapes.categories import CLASSES
from proscale_bench.data.shapes.scene import VERSION, Scene, make_scene
from proscale_bench.errors import BenchError
from proscale_bench.files import unwritable

DESCRIPTION = "Shapes"
MAX_IMAGES = 1_000_000
MAX_SEED = (1 << 63) - 1
LICENCE = {"id": 1, "name": "CC0 1.0: public domain", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
IS_THING = {shape_class.category.id: shape_class.category.is_thing for shape_class in CLASSES}

OnImageMade = Callable[[int, int], None]  # images done, and of how many


@dataclass(frozen=True)
class Written:
    """The contents of a split that was written.

    Args:
        things: instances that are no crowd.
        small, medium: instances below 32^2 and below 96^2 pixels; the others are large.
        stuff, crowds: numbers of segments.
        voids: images of which a part is void.
        digest: SHA-256 of decoded images, decoded maps and annotations, in the order of the images.
    """

    images: int
    things: int
    small: int
    medium: int
    stuff: int
    crowds: int
    voids: int
    digest: str


def write_shapes(
    folder: Path,
    images: int,
    seed: int,
    split: str = "val",
    *,
    force: bool = False,
    progress: OnImageMade | None = None,
) -> Written:
    """Make a split in a folder, beside other splits: `SPLIT/`, `panoptic_SPLIT/` and two files in `annotations/`.

    It is made in a hidden folder and moved into place at the end, one process at a time. A mark says so while it is
    moved, with which no reader takes it: a process that is killed there leaves no half split, and the next one ends it.

    Raises:
        BenchError: bad numbers or split; the split is there and `force` is off, or is not of Shapes; the folder cannot
            be written, or the disk is full.
    """
    if not 1 <= images <= MAX_IMAGES:
        raise BenchError(f"{images:,} images", f"make 1 to {MAX_IMAGES:,}")
    if not 0 <= seed <= MAX_SEED:
        raise BenchError(f"seed {seed}", f"a seed is 0 to {MAX_SEED}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", split) or split == "annotations":
        raise BenchError(f"split '{split}'", "a split is named by letters, digits, - and _, as in val or train")
    parts = (split, f"panoptic_{split}", f"annotations/panoptic_{split}.json", f"annotations/instances_{split}.json")
    _refuse_others(folder, parts, force)
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with _workshop(folder, split) as temporary:
                written = write_split(temporary / "new", images, seed, split, progress)
                with _held(folder):
                    _refuse_others(folder, parts, force)  # another process may have been faster
                    _move_into_place(folder, temporary, parts, folder / unfinished(split))
        except BaseException:
            if new:
                with suppress(OSError):
                    folder.rmdir()  # where it is empty
            raise
    except OSError as error:
        raise unwritable(folder, error) from error
    return written


def _move_into_place(folder: Path, temporary: Path, parts: tuple[str, ...], mark: Path) -> None:
    """Put the new parts in the places of the old ones, while the mark is there."""
    (temporary / "old").mkdir()
    (folder / "annotations").mkdir(exist_ok=True)
    mark.touch()
    for part in reversed(parts):
        if os.path.lexists(folder / part):
            (folder / part).rename(temporary / "old" / Path(part).name)
    for part in parts:
        (temporary / "new" / part).rename(folder / part)
    mark.unlink()


@contextmanager
def _workshop(folder: Path, split: str) -> Iterator[Path]:
    """A hidden folder to make a split in. Those of killed processes are removed."""
    prefix = f".shapes-{split}-"
    with ExitStack() as stack:
        with _held(folder):
            for left in folder.glob(f"{prefix}*"):
                with suppress(OSError), _held(left, wait=False):  # of a process that lives, it is held
                    shutil.rmtree(left)
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=folder)))
            stack.enter_context(_held(path))
        yield path


@contextmanager
def _held(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold a folder for this process, without a file: the system lets go of it when the process ends.

    Raises:
        OSError: another process holds it, and `wait` is off.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def write_split(folder: Path, images: int, seed: int, split: str, progress: OnImageMade | None = None) -> Written:
    """Write a split's files into a new folder.

    Raises:
        OSError: the folder is there, or the disk is full.
    """
    from PIL import Image

    picture_dir, map_dir = folder / split, folder / f"panoptic_{split}"
    for made in (folder, picture_dir, map_dir, folder / "annotations"):
        made.mkdir()
    digest = hashlib.sha256()
    entries: list[Annotation] = []
    panoptic: list[Annotation] = []
    instances: list[Annotation] = []
    for index in range(images):
        scene = make_scene(seed, index)
        height, width = scene.ids.shape
        name = f"{index + 1:012}.png"
        # Grain does not compress, so little is tried.
        Image.fromarray(scene.image).save(picture_dir / name, compress_level=1)
        Image.fromarray(id_colors(scene.ids)).save(map_dir / name, compress_level=6)
        digest.update(f"{height}x{width}:".encode() + scene.image.tobytes() + scene.ids.astype("<u4").tobytes())
        entries.append({"id": index + 1, "file_name": name, "height": height, "width": width, "license": 1})
        segments = segments_of(scene)
        panoptic.append({"image_id": index + 1, "file_name": name, "segments_info": segments})
        instances += instances_of(scene, segments, index + 1, len(instances) + 1)
        if progress:
            progress(index + 1, images)
    info = {
        "description": DESCRIPTION,
        "version": str(VERSION),
        "seed": seed,
        "images": images,
        "contributor": "made by proscale-bench data make-shapes",
    }
    common = {"info": info, "licenses": [LICENCE], "images": entries}
    documents = {
        "panoptic": {**common, "annotations": panoptic, "categories": categories()},
        "instances": {**common, "annotations": instances, "categories": categories(things_only=True)},
    }
    for kind, document in documents.items():
        text = json.dumps(document, separators=(",", ":"), sort_keys=True)
        digest.update(text.encode())
        (folder / "annotations" / f"{kind}_{split}.json").write_text(text, encoding="utf-8")
    areas = [annotation["area"] for annotation in instances if not annotation["iscrowd"]]
    return Written(
        images=images,
        things=len(areas),
        small=sum(area < 32**2 for area in areas),
        medium=sum(32**2 <= area < 96**2 for area in areas),
        stuff=sum(len(entry["segments_info"]) for entry in panoptic) - len(instances),
        crowds=len(instances) - len(areas),
        voids=sum(
            sum(segment["area"] for segment in annotation["segments_info"]) < entry["height"] * entry["width"]
            for annotation, entry in zip(panoptic, entries, strict=True)
        ),
        digest=digest.hexdigest(),
    )


def segments_of(scene: Scene) -> list[Annotation]:
    """A scene's `segments_info`: boxes are x, y, width and height of the pixels that are seen."""
    return [
        {
            "id": segment.id,
            "category_id": segment.category_id,
            "iscrowd": int(segment.is_crowd),
            "area": int(segment.area_px),
            "bbox": _box(scene.ids == np.uint32(segment.id)),
        }
        for segment in scene.segments
    ]


def instances_of(scene: Scene, segments: list[Annotation], image_id: int, first_id: int) -> list[Annotation]:
    """The things among a scene's segments as COCO's instances: RLE, compressed, and for crowds the plain counts."""
    from pycocotools import mask as rle

    things = [segment for segment in segments if IS_THING[segment["category_id"]]]
    found: list[Annotation] = []
    for id_, thing in enumerate(things, start=first_id):
        mask = scene.ids == np.uint32(thing["id"])
        if thing["iscrowd"]:
            counts: Any = run_lengths(mask)
        else:
            counts = rle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")
        segmentation = {"size": list(mask.shape), "counts": counts}
        found.append({**thing, "id": id_, "image_id": image_id, "segmentation": segmentation})
    return found


def categories(things_only: bool = False) -> list[Annotation]:
    """The classes as the panoptic JSON has them, or, without `isthing` and `color`, as the instances' has them."""
    return [
        {"id": shape_class.category.id, "name": shape_class.category.name, "supercategory": shape_class.group}
        | ({} if things_only else {"isthing": int(shape_class.category.is_thing), "color": shape_class.category.color})
        for shape_class in CLASSES
        if shape_class.category.is_thing or not things_only
    ]


def _box(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Numbers of pixels that are out, in, out ..., column by column; the first is 0 where the first pixel is in."""
    flat = mask.T.reshape(-1)
    ends = [*(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    if flat[0]:
        ends.insert(0, 0)
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _refuse_others(folder: Path, parts: tuple[str, ...], force: bool) -> None:
    """Refuse to overwrite anything without `force`, and anything but Shapes with it."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise BenchError(f"{folder} is not a folder", "give the path of a folder")
    there = [folder / part for part in parts if os.path.lexists(folder / part)]
    split = parts[0]
    if not there or (folder / unfinished(split)).exists():  # what is there of it was being replaced
        return
    if not force:
        raise BenchError(f"{there[0]} exists", "choose another folder or --split, or overwrite it with --force")
    try:
        ours = read_json(folder / parts[2])["info"]["description"] == DESCRIPTION
    except (BenchError, KeyError, TypeError, IndexError):
        ours = False
    if not ours:
        raise BenchError(f"{there[0]} is not of Shapes", "choose another folder or --split, or remove it yourself")
