"""YAML that knows where each value stands, so that an error can point at `file:line:column`.

Strict where YAML 1.1 surprises: duplicate keys, anchors, `3_3_3` (which YAML reads as 333), `0x96` (150) and `1e-4`
(which it reads as text) are refused with a hint. Loading never executes anything: scalars, lists and mappings alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.files import read_regular_file
from proscale_bench.units import printable

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where PyYAML was built with it
# Not 3_3_3 (333), 1:30 (90), 0x96 (150) or 010 (8).
PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d*)?([eE][-+]?\d+)?|[-+]?\.(\d+|inf|nan)", re.IGNORECASE)
MAX_BYTES = 1 << 20
MAX_DEPTH = 20
SHOWN_PROBLEMS = 10
SHOWN_CHARACTERS = 60


def _is_one(value: Any) -> Any:
    if type(value) is not int:  # YAML's true and 1.0 equal 1 as well
        raise ValueError("the whole number 1 is the only version")
    return value


def as_list(value: Any) -> Any:
    """Let a single word or number stand for a list of one."""
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def as_tuple(value: Any) -> Any:
    """Let a word or number stand for a tuple of one; a tuple, since it is hashable."""
    value = as_list(value)
    return tuple(value) if isinstance(value, list) else value


def seen_from(folder: Path, word: str) -> str:
    """A word of a file in this folder: a path where it names a YAML file, else as it is."""
    return str(folder / word) if word.endswith((".yaml", ".yml")) else word


SchemaVersion = Annotated[Literal[1], BeforeValidator(_is_one)]


class StrictModel(BaseModel):
    """A file of the user's: no unknown keys, no coercion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, serialize_by_alias=True)


Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Document(Generic[Model]):
    """A validated document and the place of everything in it."""

    value: Model
    path: str
    places: dict[Loc, tuple[int, int]]  # location -> (line, column), from 1

    def where(self, *loc: str | int) -> str:
        """`file:line:column` of the value at a location such as ("stages", 1, "layers")."""
        return _where(self.path, self.places, loc)

    def place(self, *loc: str | int) -> tuple[int, int]:
        """(line, column) of the same."""
        return _nearest(self.places, loc)

    def error(self, loc: Loc, message: str, hint: str | None = None) -> BenchError:
        """An error of the value at a location."""
        return BenchError(f"{self.where(*loc)}: {message}", hint)

    @contextmanager
    def at(self, *loc: str | int) -> Iterator[None]:
        """Errors that arise inside are of the value at this location, and say so."""
        try:
            yield
        except BenchError as error:
            raise error.within(self.where(*loc)) from error


def read_text(path: Path) -> str:
    """A small UTF-8 text file.

    Raises:
        BenchError: missing, no regular file, unreadable, over 1 MiB, or not text.
    """
    raw = read_regular_file(path, MAX_BYTES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: not UTF-8 text (byte {error.start})", "is this the right file?") from error
    if "\0" in text:
        raise BenchError(f"{path}: binary, not text", "is this the right file?")
    return text


def load_yaml(path: Path, model: type[Model]) -> Document[Model]:
    """Read, parse and validate a YAML file.

    Raises:
        BenchError: each problem as `file:line:column: what`, with a hint.
    """
    return parse_yaml(read_text(path), str(path), model)


def parse_yaml(text: str, path: str, model: type[Model]) -> Document[Model]:
    """Parse and validate YAML text; `path` is what errors call it."""
    places: dict[Loc, tuple[int, int]] = {}
    try:
        _refuse_bombs(text, path)
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise BenchError(f"{path}: empty", f"expected the keys {', '.join(model.model_fields)}")
        data = _build(loader, node, (), path, places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _at(path, mark)
        if "nesting depth" in (error.problem or ""):  # libyaml's own limit, which it may reach before we see ours
            raise _too_deep(place) from error
        raise BenchError(f"{place}: not valid YAML: {error.problem}", "check indentation and quotes") from error
    except yaml.YAMLError as error:
        raise BenchError(f"{path}: not valid YAML: {str(error).splitlines()[0]}", "is this the right file?") from error
    try:
        return Document(model.model_validate(data), path, places)
    except ValidationError as error:
        raise _error_at_its_place(error, path, places, model) from error


def _refuse_bombs(text: str, path: str) -> None:
    """Anchors could make a small file large, and depth exhaust the stack; nothing here needs either."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.AliasEvent):
            raise BenchError(f"{_at(path, event.start_mark)}: aliases are not supported", "write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _too_deep(_at(path, event.start_mark))


def _too_deep(place: str) -> BenchError:
    return BenchError(f"{place}: nested deeper than {MAX_DEPTH} levels", "is this the right file?")


def _build(loader: Any, node: yaml.Node, loc: Loc, path: str, places: dict[Loc, tuple[int, int]]) -> Any:
    """Plain Python data of a node; fills `places`."""
    here = (node.start_mark.line + 1, node.start_mark.column + 1)
    places.setdefault(loc, here)
    place = f"{path}:{here[0]}:{here[1]}"
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if isinstance(node, yaml.CollectionNode) and kind not in ("seq", "map"):
        raise BenchError(f"{place}: not valid YAML: the tag {_short(node.tag)} is not supported", "leave the tag out")
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, child, (*loc, i), path, places) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            key = key_node.value
            if not isinstance(key, str) or key_node.tag != "tag:yaml.org,2002:str":
                raise BenchError(f"{path}:{line}:{column}: a key must be plain text", "put it in quotes")
            if key in data:
                raise BenchError(f"{path}:{line}:{column}: {_short(key)}: this key is given twice", "keep one of them")
            child = (*loc, key)
            places[child] = (line, column)
            data[key] = _build(loader, value_node, child, path, places)
        return data
    try:
        value = loader.construct_object(node)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:  # month 13, `!!int abc`
        raise BenchError(f"{place}: {_short(node.value)} is no {kind}", "write it plainly, without a tag") from error
    if kind in ("int", "float") and isinstance(node, yaml.ScalarNode) and node.style in ("'", '"', "|", ">"):
        raise BenchError(f"{place}: {_short(node.value)} is text with the tag of a number", "leave quotes and tag out")
    if kind in ("int", "float") and not PLAIN_NUMBER.fullmatch(node.value):
        hint = "put a schedule or size in quotes, as '3,3,3' or '800x1333'; write a number in plain digits"
        raise BenchError(f"{place}: YAML reads {_short(node.value)} as the number {_short(value)}", hint)
    return value


def _short(value: object) -> str:
    """A value as an error shows it: in one line, not a screenful."""
    try:
        shown = value if isinstance(value, str) else repr(value)
    except ValueError:  # an integer of too many digits to print
        shown = "of very many digits"
    shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."
    return printable(shown)


def _at(path: str, mark: Any) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path


def _where(path: str, places: dict[Loc, tuple[int, int]], loc: Loc) -> str:
    line, column = _nearest(places, loc)
    return f"{path}:{line}:{column}"


def _nearest(places: dict[Loc, tuple[int, int]], loc: Loc) -> tuple[int, int]:
    """The nearest enclosing place that is known: a missing key is shown at its parent.

    The tag of a union, which pydantic has in its locations and the document has not, is stepped over.
    """
    known: Loc = ()
    for part in loc:
        if (*known, part) in places:
            known = (*known, part)
    return places.get(known, (1, 1))


def _error_at_its_place(
    error: ValidationError, path: str, places: dict[Loc, tuple[int, int]], model: type[BaseModel]
) -> BenchError:
    lines, hints = [], []
    problems = sorted(error.errors(include_url=False), key=lambda problem: _nearest(places, problem["loc"]))
    for problem in problems[:SHOWN_PROBLEMS]:
        loc = problem["loc"]
        kind = problem["type"]
        value = problem["input"]
        message = problem["msg"]
        hint: str | None = None
        if kind in ("union_tag_invalid", "union_tag_not_found"):  # the key that says which of several sections it is
            key = problem["ctx"]["discriminator"].strip("'")
            loc, value = (*loc, key), value.get(key)
        name = _name(loc)
        match kind:
            case "extra_forbidden":
                message = "unknown key"
                known = sorted(set(_all_keys(model)))
                hint = did_you_mean(str(loc[-1]), known, f"known keys: {', '.join(known)}")
            case "value_error":
                message = f"{_short(repr(value))}: {problem['ctx']['error']}"
            case "missing" | "union_tag_not_found":
                message = "required key is missing"
            case "literal_error" | "union_tag_invalid":
                expected = problem["ctx"].get("expected") or problem["ctx"]["expected_tags"].replace(", ", " or ")
                message = f"{_short(repr(value))} is not {expected}"
                hint = did_you_mean(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
            case "string_type" if isinstance(value, (int, float)) and not isinstance(value, bool):
                message = f"{_short(value)} is a number, not text"
                hint = "put it in quotes: a schedule is '3,3,3', a size '800x1333'"
            case "float_type" | "int_type" | "float_parsing" | "int_parsing" if _reads_as_number(value):
                message = f"{_short(repr(value))} is text, not a number"
                hint = "YAML reads 1e-4 as text: write it with a dot and no quotes, 1.0e-4"
            case _:
                message = f"{_short(repr(value))}: {message}"
        lines.append(f"{_where(path, places, loc)}: {name}: {message}")
        if hint:
            hints.append(hint)
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"{path}: and {len(problems) - SHOWN_PROBLEMS} more problems")
    return BenchError(lines, hints[0] if hints else None)


def _name(loc: Loc) -> str:
    """The key, with the index where the problem is an item of its list: `levels[0]`."""
    if loc and isinstance(loc[-1], int):
        return f"{_name(loc[:-1])}[{loc[-1]}]"
    return _short(loc[-1]) if loc else "document"


def _reads_as_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _all_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key that a document of this model may hold, at any depth."""
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", {})
