"""Counts a model of somebody else's: from what a user names to a count with its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.loader import DEFAULT_SIDES, LoadedModel, faults_of, load, talking_to_stderr
from proscale_bench.cost.count import Traced
from proscale_bench.cost.geometry import COCO_SIZES, BatchInput, batch_of, parse_size
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.specs.custom import CustomSpec, ModelRequest, is_rest, parts_of
from proscale_bench.specs.model import ModelSpec, Part
from proscale_bench.units import Size

if TYPE_CHECKING:
    from torch import nn

    from proscale_bench.measure.any_model import ModelTrace


@dataclass(frozen=True)
class FoundModel:
    """A model that was loaded and traced once.

    Args:
        size: the pass that it was traced at.
        notes: what to know of its count.
        of_flags: those of flags that change nothing.
    """

    spec: CustomSpec
    size: BatchInput
    notes: tuple[str, ...]
    of_flags: tuple[str, ...] = ()


def find_model(
    request: ModelRequest, size: str | Size | None = None, batch_size: int = 1, against: ModelSpec | None = None
) -> FoundModel:
    """Load a model and run it once. Executes the code that it is of.

    Args:
        size: of the images, height x width; None: what the model was made for, else 640x640.
        against: the model that it is held against.

    Raises:
        BenchError: there is no such model, it could not be built or run, an allowed operator that there is not, or one
            without a rule (exit code 3).
    """
    from proscale_bench.measure.allowed import needless
    from proscale_bench.measure.general_operators import GENERAL

    loaded = _loaded(request)
    given = input_of(loaded, size, batch_size)
    found = _traced(request, (given.height_px or 0, given.width_px or 0), batch_size)
    tables = found.tables()
    parts = tuple(part for part in found.parts if not is_rest(part) or tables.get(part.name))
    parameters = tuple(found.parameters.items())
    spec = CustomSpec(
        request, loaded.digest, parts, parameters, found.engine, against, tracer=trace_spec, opener=open_spec
    )
    of_flags = needless(request.allowed, found.trace.left_out, GENERAL)
    return FoundModel(spec, given, (*loaded.notes, *of_flags), of_flags)


def trace_spec(spec: CustomSpec, size: BatchInput) -> Traced:
    """The tracer of every model that `find_model` found, also in other processes.

    Raises:
        BenchError: see `find_model`.
    """
    found = _traced(spec.request, (size.height_px or 0, size.width_px or 0), size.images)
    known = {part.name for part in spec.parts}
    tables = found.tables()
    if lost := [name for name, table in tables.items() if table and name not in known]:
        message = f"{spec} at {size}: '{lost[0]}' runs what it does not run at the size that it was read at"
        raise BenchError(message, "count it at this size alone", ExitCode.UNTRUSTED)
    own = {name: table for name, table in tables.items() if name in known}
    left_out = dict(found.trace.left_out.most_common())
    return Traced(own, left_out, found.engine, found.peak_bytes if spec.request.memory else None)


def open_spec(spec: CustomSpec) -> LoadedModel:
    """The opener of every model that `find_model` found, also in other processes.

    Raises:
        BenchError: see `find_model`.
    """
    loaded = _loaded(spec.request)

    def build() -> nn.Module:
        with talking_to_stderr(), faults_of(str(spec)):
            return loaded.build()

    return replace(loaded, build=build)


@lru_cache(maxsize=256)
def _loaded(request: ModelRequest) -> LoadedModel:
    return load(request)


@lru_cache(maxsize=256)
def _traced(request: ModelRequest, sides: Size, batch_size: int) -> ModelTrace:
    import torch

    from proscale_bench.measure.any_model import trace_any

    loaded = _loaded(request)

    def build() -> nn.Module:
        torch.manual_seed(0)  # what detectors find, and so what they run, depends on their random weights
        return loaded.build()

    def tree(model: nn.Module) -> tuple[Part, ...]:
        return parts_of(children_of(model, request), request.training)

    with talking_to_stderr(), faults_of(f"{request} at {sides[0]}x{sides[1]}"), torch.random.fork_rng(devices=()):
        return trace_any(
            build,
            lambda model: loaded.inputs(model, sides, batch_size),
            tree,
            request.allowed,
            request.training,
            request.memory,
        )


def input_of(loaded: LoadedModel, size: str | Size | None, batch_size: int) -> BatchInput:
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
