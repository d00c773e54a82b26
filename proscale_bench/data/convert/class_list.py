"""Lists of classes, as people keep them beside their maps: text, CSV or JSON, with colours where maps have colours."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proscale_bench.data.dataset import Category
from proscale_bench.data.documents import Reader, read_json
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file

MAX_BYTES = 16 << 20
NAMES = ("classes.json", "classes.csv", "class_dict.csv", "classes.txt", "categories.json", "id2label.json")

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ListedClass:
    """A class of a list; `is_thing` is None where the list does not say."""

    id: int
    name: str
    color: Color | None = None
    is_thing: bool | None = None

    def category(self, is_thing: bool) -> Category:
        """The class as a category."""
        return Category(self.id, self.name, is_thing, self.color)


def find_class_list(folder: Path, told: Path | None) -> Path:
    """The file of the classes: the one that was told, else one of the usual names.

    Raises:
        BenchError: there is none.
    """
    found = [told] if told else [folder / name for name in NAMES if (folder / name).is_file()]
    if not found:
        raise BenchError(f"{folder}: no list of classes: {', '.join(NAMES)}", "give it with --classes FILE")
    return found[0]


def read_class_list(path: Path) -> tuple[ListedClass, ...]:
    """The classes of a file.

    Text: a line a class, its place being its id, with `R G B` behind the name where maps are coloured. CSV: a header
    with `name`, and `id`, `r`, `g`, `b`, `isthing` where there are such columns. JSON: a list of names or of objects
    with those keys (`color` for the colour), or an object of names, or of such objects, by id.

    Raises:
        BenchError: unreadable, no class, or the first of what is wrong, with its place.
    """
    read = {".json": _from_json, ".csv": _from_csv}.get(path.suffix.lower(), _from_text)
    classes = read(path)
    if not classes:
        raise BenchError(f"{path}: no class", "a line a class")
    for what, values in _distinct(classes):
        for place, value in enumerate(values):
            if value is not None and value in values[:place]:
                first = classes[values.index(value)].name
                raise BenchError(
                    f"{path}: '{classes[place].name}' and '{first}' have one {what}, {value}",
                    f"each has its own {what}",
                )
    return classes


def _distinct(classes: tuple[ListedClass, ...]) -> tuple[tuple[str, list[Any]], ...]:
    return ("id", [one.id for one in classes]), ("colour", [one.color for one in classes])


def _from_json(path: Path) -> tuple[ListedClass, ...]:
    document = read_json(path)
    if isinstance(document, dict) and "categories" in document:
        document = document["categories"]
    if isinstance(document, dict):
        for key in document:
            if not str(key).isdecimal():
                raise BenchError(f"{path}: '{str(key)[:40]}': expected the number of a class", 'as in {"0": "road"}')
        items = [(int(key), item) for key, item in document.items()]
    else:
        items = list(enumerate(document if isinstance(document, list) else []))
    return tuple(_from_item(path, place, item) for place, item in items)


def _from_item(path: Path, place: int, item: Any) -> ListedClass:
    if isinstance(item, str):
        return ListedClass(place, item)
    reader = Reader(path, f"[{place}]", item)
    color = reader.document.get("color")
    is_thing = None if "isthing" not in reader.document else reader.flag("isthing")
    found = None if color is None else _color(color, lambda problem: reader.error(problem, "three numbers, 0 to 255"))
    return ListedClass(_id(reader.integer("id", place), path), reader.text("name"), found, is_thing)


def _from_csv(path: Path) -> tuple[ListedClass, ...]:
    rows = csv.DictReader(io.StringIO(_text(path)))
    columns = {str(name).strip().lower(): name for name in rows.fieldnames or ()}
    if "name" not in columns:
        raise BenchError(f"{path}:1: no column 'name'", "the first line names the columns, as in name,r,g,b")
    found = []
    for place, row in enumerate(rows):
        cells = {key: str(row[name] or "").strip() for key, name in columns.items()}
        where = f"{path}:{place + 2}"
        colored = {"r", "g", "b"} <= set(columns)
        color = _color([cells[key] for key in "rgb"], _refusing(where)) if colored else None
        told = cells.get("id") or cells.get("index") or str(place)
        is_thing = {"1": True, "true": True, "0": False, "false": False}.get(cells.get("isthing", "").lower())
        if not told.isdecimal():
            raise BenchError(f"{where}: id '{told[:40]}': expected a whole number", "as in 7")
        found.append(ListedClass(_id(int(told), path), cells["name"], color, is_thing))
    return tuple(found)


def _from_text(path: Path) -> tuple[ListedClass, ...]:
    found = []
    lines = _text(path).rstrip().splitlines()
    for place, line in enumerate(lines):
        words = line.replace(",", " ").split()
        if not words:
            raise BenchError(f"{path}:{place + 1}: an empty line", "a line a class: its place is its id")
        colored = len(words) > 3 and all(word.isdecimal() for word in words[-3:])
        name = line.strip() if not colored else " ".join(words[:-3])
        color = _color(words[-3:], _refusing(f"{path}:{place + 1}")) if colored else None
        found.append(ListedClass(place, name, color))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return read_regular_file(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: byte {error.start}: not UTF-8", "is this a list of classes?") from error


def _refusing(where: str) -> Callable[[str], BenchError]:
    return lambda problem: BenchError(f"{where}: {problem}", "a colour is three numbers, 0 to 255")


def _color(values: Any, error: Callable[[str], BenchError]) -> Color:
    try:
        red, green, blue = (int(value) for value in values)
    except (TypeError, ValueError):
        raise error(f"a colour of {str(values)[:60]}") from None
    if not all(0 <= one <= 255 for one in (red, green, blue)):
        raise error(f"a colour of {red}, {green}, {blue}")
    return red, green, blue


def _id(value: int, path: Path) -> int:
    if not 0 <= value < 65535:
        raise BenchError(f"{path}: the id {value}", "ids of classes are 0 to 65,534")
    return value
