"""Counts a model of somebody else's: from what a user names to a count with its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.loader import DEFAULT_SIDES, LoadedModel, faults_of, load, talking_to_stderr
from proscale_bench.cost.count import FlopCount, Traced, count_traced
from proscale_bench.cost.geometry import COCO_SIZES, Batch, batch_of, parse_size
from proscale_bench.cost.rules import Convention, Rules
from proscale_bench.errors import BenchError
from proscale_bench.specs.custom import CustomSpec, ModelRequest, is_rest, parts_of
from proscale_bench.specs.model import Part

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class AnyModelCount:
    """A count, and what to know of it."""

    count: FlopCount
    notes: tuple[str, ...]


def count_any(
    request: ModelRequest,
    size: str | None,
    batch_size: int,
    rules: Rules,
    convention: Convention,
    against: FlopCount | None = None,
) -> AnyModelCount:
    """Load a model, run it once, and count what it ran. Executes the code that it is of.

    Args:
        size: of the images, height x width; None: what the model was made for, else 640x640.
        against: the count of the model that it is held against.

    Raises:
        BenchError: there is no such model, it could not be built or run, or an operator has no rule (exit code 3).
    """
    from proscale_bench.measure.any_model import trace_any

    loaded = load(request)
    given = input_of(loaded, size, batch_size)
    sides = given.height_px or 0, given.width_px or 0

    def tree(model: nn.Module) -> tuple[Part, ...]:
        return parts_of(children_of(model, request))

    with talking_to_stderr(), faults_of(f"{request} at {given}"):
        found = trace_any(loaded.build, lambda model: loaded.inputs(model, sides, batch_size), tree, request.allowed)
    tables = found.tables()
    empty = {part.name for part in found.parts if is_rest(part) and not tables.get(part.name)}
    parts = tuple(part for part in found.parts if part.name not in empty)
    base = against.spec if against else None
    assert base is None or isinstance(base, CustomSpec)
    spec = CustomSpec(request, loaded.digest, parts, tuple(found.parameters.items()), found.engine, base)
    own = {name: table for name, table in tables.items() if name not in empty}
    traced = Traced(own, dict(found.trace.left_out.most_common()), against)
    return AnyModelCount(count_traced(spec, given, rules, convention, found.engine, traced), loaded.notes)


def input_of(loaded: LoadedModel, size: str | None, batch_size: int) -> Batch:
    """The batch that one pass takes.

    Raises:
        BenchError: a size that is a set of many.
    """
    if size in COCO_SIZES:
        raise BenchError(f"--size {size}: a trace is of one size, and this is many", "give a size as in --size 640x640")
    return batch_of(parse_size(size or loaded.sides or DEFAULT_SIDES), batch_size)


def children_of(model: nn.Module, request: ModelRequest) -> dict[str, str]:
    """The modules that are a part each, with their titles: named children down to a depth, or those that an attribute
    of the model names. Children that are numbered, as layers are, belong to what contains them.

    Raises:
        BenchError: the attribute is no list of names of modules.
    """
    if isinstance(request.depth, int):
        return dict(_named_children(model, request.depth))
    known = dict(model.named_modules())
    named: Any = getattr(model, request.depth, None)
    if not isinstance(named, (list, tuple, dict)) or not named:
        raise BenchError(f"--depth {request.depth}: {type(model).__name__} has no such list of names of its modules")
    if unknown := [name for name in named if name not in known or not name]:
        raise BenchError(f"--depth {request.depth}: {type(model).__name__} has no module '{unknown[0]}'")
    order = [name for name in known if name in named]
    return {name: str(named[name]) if isinstance(named, dict) else name for name in order}


def _named_children(model: nn.Module, depth: int, above: str = "") -> Iterator[tuple[str, str]]:
    for name, child in model.named_children():
        if above and name.isdecimal():
            continue
        path = f"{above}.{name}" if above else name
        yield path, name
        if depth > 1:
            yield from _named_children(child, depth - 1, path)
