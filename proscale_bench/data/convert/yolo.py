"""YOLO's segmentation text, as Ultralytics reads it: data.yaml, images/, and labels/ with a polygon a line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.data.convert.instances import annotation_of, runs_of
from proscale_bench.data.convert.source import ConvertRequest, SourceImage, SourceSplit, chosen_splits, painted
from proscale_bench.data.dataset import Annotation, Category
from proscale_bench.data.image_files import ENDINGS
from proscale_bench.data.pictures import read_size
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file
from proscale_bench.units import Size

MAX_BYTES = 64 << 20
SPLITS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}  # the keys of each
MAX_UNNAMED = 10_000
ROUNDING = 1e-4  # by which a coordinate may leave the image


def yolo(request: ConvertRequest) -> list[SourceSplit]:
    """The splits of a data.yaml, or of the folder that it lies in.

    Each line of a label file is `class x1 y1 x2 y2 ...`, coordinates as shares of width and height. Classes are things,
    with the ids of the file. Overlaps: see `painted`.

    Raises:
        BenchError: no such file, a split without a folder, or names that are none.
    """
    path = _document(request.source)
    document = _read(path)
    categories = _categories(path, document)
    base = path.parent / str(document.get("path") or "")
    root = base if base.is_dir() else path.parent  # `path` is seen from where Ultralytics keeps its data sets
    told = {name: document[key] for name, keys in SPLITS.items() for key in keys if document.get(key)}
    names = chosen_splits(path, list(told), request.splits, "train:, val: or test:")
    return [_split(request, name, _images(path, root, told[name]), categories) for name in names]


def polygons_in(path: Path, classes: int, size: Size) -> list[tuple[int, list[float]]]:
    """The class and the polygon in pixels of each line.

    Raises:
        BenchError: unreadable, or a line that is none, with its number.
    """
    height, width = size
    try:
        text = read_regular_file(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: byte {error.start}: not UTF-8", "is this a file of labels?") from error
    found: list[tuple[int, list[float]]] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = tuple(line.split())
        if not words:
            continue
        where = f"{path}:{number}"
        if words in seen:
            raise BenchError(f"{where}: the same as line {seen[words]}", "an object is there once: remove the line")
        seen[words] = number
        values = [_number(word, where) for word in words]
        if len(words) == 5:
            raise BenchError(
                f"{where}: a box of a detector, and no polygon", "segmentation needs class x1 y1 x2 y2 ..."
            )
        if len(words) < 7 or len(words) % 2 == 0:
            raise BenchError(
                f"{where}: {len(words) - 1} coordinates", "a polygon has three points or more, two numbers each"
            )
        category = values[0]
        if category != int(category) or not 0 <= category < classes:
            raise BenchError(f"{where}: class {words[0]}", f"classes are 0 to {classes - 1}, as data.yaml names them")
        for word, value in zip(words[1:], values[1:], strict=True):
            if not -ROUNDING <= value <= 1 + ROUNDING:
                raise BenchError(
                    f"{where}: the coordinate {word} is not normalised",
                    "coordinates are shares of the image's width and height, 0 to 1",
                )
        points = np.clip(values[1:], 0, 1).reshape(-1, 2) * (width, height)
        found.append((int(category), points.reshape(-1).tolist()))
    return found


def _split(
    request: ConvertRequest, name: str, images: list[tuple[Path, str]], categories: list[Category]
) -> SourceSplit:
    labels = {path: _label_of(path) for path, _ in images}
    missing = [path for path, label in labels.items() if not label.is_file()]
    if missing and not request.allow_unlabelled:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise BenchError(
            f"{missing[0]}: no file of labels, {labels[missing[0]]}{more}",
            "copy it, or take images without labels as images without objects with --allow-unlabelled",
        )
    _refuse_strays(set(labels.values()))

    def samples() -> Iterator[SourceImage]:
        for path, file_name in images:
            size = read_size(path)
            label = labels[path]
            found = polygons_in(label, len(categories), size) if label.is_file() else []
            masks = [runs_of([polygon], size) for _, polygon in found]
            classes = [categories[place].id for place, _ in found]
            ids, segments, hidden = painted(masks, classes, [False] * len(masks), size)
            annotations: list[Annotation] = [
                annotation_of([polygon], category_id, runs)
                for (_, polygon), category_id, runs in zip(found, classes, masks, strict=True)
            ]
            image = path if request.images_needed else None
            yield SourceImage(file_name, str(label), image, ids, segments, annotations, hidden)

    return SourceSplit(name, tuple(categories), len(images), samples)


def _document(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(path for pattern in ("*.yaml", "*.yml") for path in source.glob(pattern))
    named = [path for path in found if path.stem == "data"] or found
    if len(named) != 1:
        what = "no data.yaml" if not named else f"several YAML files: {', '.join(path.name for path in named)}"
        raise BenchError(f"{source}: {what}", "give the path of the YAML file that names classes and splits")
    return named[0]


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(read_regular_file(path, MAX_BYTES))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BenchError(f"{path}: {' '.join(str(error).split())[:200]}", "is this a YAML file?") from error
    if not isinstance(document, dict):
        raise BenchError(f"{path}: no keys", "it has names: and train: or val:")
    return document


def _categories(path: Path, document: dict[str, Any]) -> list[Category]:
    names = document.get("names")
    count = document.get("nc")
    if names is None and type(count) is int and 0 < count <= MAX_UNNAMED:
        names = [f"class_{place}" for place in range(count)]  # as Ultralytics calls them
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise BenchError(f"{path}: names: the keys are not 0 to {len(names) - 1}", "each class has a number")
        names = [{str(key): name for key, name in names.items()}[str(place)] for place in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int, float)) for name in names):
        raise BenchError(f"{path}: names: expected the classes' names", "as in names: [person, dog]")
    if document.get("nc") not in (None, len(names)):
        raise BenchError(f"{path}: nc: {document['nc']}, and {len(names)} names", "they are equally many")
    return [Category(place, str(name), is_thing=True) for place, name in enumerate(names)]


def _images(document: Path, root: Path, told: Any) -> list[tuple[Path, str]]:
    """The images of a split's folders, or of its list in a text file, with their names below the split's folder."""
    found = []
    for one in told if isinstance(told, list) else [told]:
        given = Path(str(one))
        candidates = [root / given, document.parent / given, document.parent / str(one).removeprefix("../")]
        place = next((path for path in candidates if path.exists()), None)
        if place is None:
            raise BenchError(f"{document}: {one}: no such file or folder below {root}", "check path: and the split's")
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in ENDINGS)
            found += [(path, path.relative_to(place).as_posix()) for path in inside]
        else:
            for line in read_regular_file(place, MAX_BYTES).decode("utf-8", "replace").split("\n"):
                if line.strip():
                    below = [folder / line.strip() for folder in (root, place.parent)]
                    path = next((path for path in below if path.is_file()), below[0])
                    if not path.is_file():
                        raise BenchError(f"{place}: {line.strip()}: no such file below {root}", "check the list")
                    found.append((path, path.name))
    return found


def _label_of(image: Path) -> Path:
    """Ultralytics' rule: the last folder `images` of a path becomes `labels`, the ending .txt."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _refuse_strays(labels: set[Path]) -> None:
    for folder in sorted({label.parent for label in labels}):
        for path in sorted(folder.glob("*.txt")) if folder.name != "images" else ():
            if path not in labels and path.name != "classes.txt":
                raise BenchError(f"{path}: there is no image of this name", "copy the image, or remove this file")


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError(f"{where}: '{word[:40]}' is no number", "a line is class x1 y1 x2 y2 ...")
    return value
