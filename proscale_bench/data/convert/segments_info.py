"""Hugging Face's panoptic data sets: rows of an image, a map of segment ids, and its `segments_info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.data.convert.class_list import ListedClass, find_class_list, read_class_list
from proscale_bench.data.convert.panoptic import require_same_ids, segments_from
from proscale_bench.data.convert.source import ConvertRequest, SourceImage, SourceSplit, chosen_splits, require_file
from proscale_bench.data.dataset import Category, Id
from proscale_bench.data.documents import Reader
from proscale_bench.data.pictures import IdMap, opened, read_id_map, read_label_map
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file

MAX_BYTES = 2 << 30
METADATA = "metadata.jsonl"
IMAGE_KEYS = ("image", "file_name")
MAP_KEYS = ("label", "annotation", "mask", "panoptic", "panoptic_map", "segmentation", "label_file_name")
CATEGORY_KEYS = ("category_id", "label_id")  # of COCO's list, and of transformers' post-processing
ONE_SPLIT = "val"

Row = Mapping[str, Any]


def segments_info(request: ConvertRequest) -> list[SourceSplit]:
    """The splits of a data set of `datasets`, saved to disk, as Parquet, or as an image folder with `metadata.jsonl`.

    A row has `image` (or `file_name`), a map (`label`, `annotation`, `mask`, ...) and `segments_info` with `id`,
    `category_id` (or `label_id`) and `iscrowd`. Ids of segments are a map's colours, R + 256 G + 65536 B, or its grey
    values. The classes are those of `classes.json`, `categories.json` or `id2label.json`; where it does not say which
    are things, the rows' `isthing` does.

    Raises:
        BenchError: no rows, no list of classes, or nobody says which are things.
    """
    files = _files(request.source)
    names = chosen_splits(request.source, sorted(files), request.splits, f"{METADATA}, *.parquet or *.arrow")
    classes = read_class_list(find_class_list(request.source, request.classes))
    return [_split(request, name, files[name], classes) for name in names]


def _files(source: Path) -> dict[str, list[Path]]:
    """The files of rows by split: folders are splits, and names before the first dash."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in source.rglob("*") if path.name == METADATA):
        found.setdefault(path.parent.name if path.parent != source else ONE_SPLIT, []).append(path)
    for path in sorted(source.rglob("*.parquet")) if not found else ():
        found.setdefault(path.stem.split("-")[0], []).append(path)
    for path in sorted(source.rglob("*.arrow")) if not found else ():
        found.setdefault(path.parent.name if path.parent != source else ONE_SPLIT, []).append(path)
    renamed = {"validation": "val", "training": "train", "data": ONE_SPLIT}
    return {renamed.get(name, name): paths for name, paths in found.items()}


def _split(request: ConvertRequest, name: str, files: Sequence[Path], classes: Sequence[ListedClass]) -> SourceSplit:
    places = [(path, place) for path in files for place in range(_count(path))]
    categories = _categories(files, classes)
    known = frozenset(category.id for category in categories)

    def samples() -> Iterator[SourceImage]:
        number = 0
        for path in files:
            for place, row in _rows(path):
                number += 1
                yield _sample(request, Reader(path, f"row {place}", row), number, known)

    return SourceSplit(name, categories, len(places), samples)


def _sample(request: ConvertRequest, row: Reader, number: int, known: frozenset[Id]) -> SourceImage:
    where = f"{row.path}: {row.where}"
    image, image_name = _file(row, IMAGE_KEYS)
    map_, map_name = _file(row, MAP_KEYS)
    ids = _ids(map_, map_name or where)
    readers = row.objects("segments_info")
    keys = {key for reader in readers for key in CATEGORY_KEYS if key in reader.document} or {CATEGORY_KEYS[0]}
    segments = segments_from(readers, known, min(keys))
    require_same_ids(ids, segments, map_name or where)
    file_name = _new_name(image, image_name, number)
    return SourceImage(file_name, where, image if request.images_needed else None, ids, segments)


def _new_name(image: Path | bytes, said: str, number: int) -> str:
    """The name of the image's file, or its number and its format where it has none."""
    if said:
        return Path(said).name
    assert isinstance(image, bytes)
    ending = {"JPEG": ".jpg", "PNG": ".png"}.get(opened(Path("image"), image).format or "", ".png")
    return f"{number:012}{ending}"


def _file(row: Reader, keys: Sequence[str]) -> tuple[Path | bytes, str]:
    """A picture of a row, as a path beside the rows or as bytes, and its name."""
    key = next((key for key in keys if row.document.get(key) is not None), None)
    if key is None:
        raise row.error(f"'{keys[0]}' is missing", f"a picture is called {', '.join(keys)}")
    value = row.document[key]
    if isinstance(value, Mapping):
        said = str(value.get("path") or "")
        if isinstance(value.get("bytes"), bytes):
            return value["bytes"], Path(said).name
        value = said
    if not isinstance(value, str) or not value:
        raise row.error(f"'{key}': neither a path nor the bytes of a picture")
    path = row.path.parent / value
    return require_file(path, f"which {row.where} of {row.path.name} names"), Path(value).name


def _ids(map_: Path | bytes, where: str) -> IdMap:
    """The segment ids of a map in colour or in grey.

    Raises:
        BenchError: unreadable, no PNG, or of another mode.
    """
    import tempfile

    if isinstance(map_, bytes):
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            file.write(map_)
            file.flush()
            try:
                return _ids(Path(file.name), where)
            except BenchError as error:
                raise BenchError(error.message.replace(file.name, where), error.hint) from error
    if opened(map_).mode in ("RGB", "RGBA"):
        return read_id_map(map_)
    return read_label_map(map_).astype(np.uint32)


def _categories(files: Sequence[Path], classes: Sequence[ListedClass]) -> tuple[Category, ...]:
    """The classes with what the list or the rows say of things.

    Raises:
        BenchError: nobody says of a class whether it is one.
    """
    told = {one.id: one.is_thing for one in classes}
    if None in told.values():
        rows = (Reader(path, f"row {place}", row) for path in files for place, row in _rows(path, ("segments_info",)))
        for segment in (segment for row in rows for segment in row.objects("segments_info", required=False)):
            key = next((key for key in CATEGORY_KEYS if key in segment.document), CATEGORY_KEYS[0])
            if segment.document.get("isthing") is not None and told.get(segment.integer(key), True) is None:
                told[segment.integer(key)] = segment.flag("isthing")
    unknown = [one.name for one in classes if told[one.id] is None]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise BenchError(
            f"nothing says whether '{unknown[0]}'{more} is a thing or stuff",
            'give --classes FILE, a JSON of [{"id": 0, "name": "road", "isthing": 0}, ...]',
        )
    return tuple(one.category(bool(told[one.id])) for one in classes)


def _count(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(_pyarrow("parquet").read_metadata(path).num_rows)
    return sum(1 for _ in _rows(path, ("segments_info",)))


def _rows(path: Path, columns: tuple[str, ...] | None = None) -> Iterator[tuple[int, Row]]:
    """The rows of a file, numbered from 1 in JSON lines and from 0 elsewhere.

    Raises:
        BenchError: unreadable, or pyarrow is not installed.
    """
    if path.name == METADATA:
        for number, line in enumerate(read_regular_file(path, MAX_BYTES).splitlines(), start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BenchError(f"{path}:{number}: no JSON: {error}", "each line is an object") from error
                if not isinstance(row, dict):
                    raise BenchError(f"{path}:{number}: no object", "each line is an object")
                yield number, row
        return
    try:
        if path.suffix == ".parquet":
            file = _pyarrow("parquet").ParquetFile(path)
            batches = file.iter_batches(batch_size=16, columns=columns and list(columns))
        else:
            batches = _pyarrow("ipc").open_stream(path.open("rb"))
        place = 0
        for batch in batches:
            for start in range(0, batch.num_rows, 16):
                for row in batch.slice(start, 16).to_pylist():
                    yield place, row
                    place += 1
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise BenchError(
            f"{path}: {' '.join(str(error).split())[:200]}", "the file is damaged: copy it again"
        ) from error


def _pyarrow(part: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"pyarrow.{part}")
    except ModuleNotFoundError:
        raise BenchError("Parquet and Arrow files need pyarrow", "pip install 'proscale-bench[parquet]'") from None
