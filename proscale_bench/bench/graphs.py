"""ONNX files of anybody's as models: counted off their nodes, and timed in engines on inputs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from proscale_bench.bench.loader import LoadedModel
from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.cost.count import Traced
from proscale_bench.cost.geometry import BatchInput
from proscale_bench.errors import BenchError
from proscale_bench.export.engines import ENGINES, Engine
from proscale_bench.export.graph import EINSUMS, GraphCount, count_graph
from proscale_bench.export.graph_input import input_of_graph
from proscale_bench.export.onnx_file import read_graph
from proscale_bench.specs.custom import REST, CustomSpec, ModelRequest, parts_of
from proscale_bench.specs.model import leaves
from proscale_bench.specs.terms import Einsum, One, Terms
from proscale_bench.units import Size

GRAPH = "graph"  # the engine that counts them
WEIGHTS = (1, 2, 3, 10, 11, 16)  # of ONNX: float32, uint8, int8, float16, float64, bfloat16
QUANTIZED = "QuantizeLinear"


@dataclass(frozen=True)
class GraphModel:
    """A file in an engine, with what it is run on; see `measure.engines.EngineModel`."""

    engine: Engine
    arrays: Sequence[NDArray[Any]]
    bytes: int
    precision: ExportPrecision

    @property
    def engine_version(self) -> str:
        return self.engine.version

    def run(self, images: NDArray[np.uint8]) -> object:
        """Run it on its own inputs, whatever the images are."""
        return self.engine.run_all(self.arrays)


def find_graphs(paths: Sequence[Path], size: Size | None, batch_size: int | None) -> tuple[CustomSpec, ...]:
    """The models that files are, at one size and batch; see `given_to`.

    Raises:
        BenchError: a file is unreadable, or a node has no rule (exit code 3).
    """
    return tuple(_found(path, given_to([path], size, batch_size)) for path in dict.fromkeys(paths))


def given_to(paths: Sequence[Path], size: Size | None, batch_size: int | None) -> BatchInput:
    """The input that files take.

    Args:
        size: None: their own.
        batch_size: None: their own, or one.

    Raises:
        BenchError: a file is unreadable or takes another input, or they take several.
    """
    found = {input_of_graph(read_graph(path), str(path), size, batch_size).given: path for path in paths}
    if len(found) > 1:
        said = "; ".join(f"{path}: {given}, batch {given.batch_size}" for given, path in found.items())
        raise BenchError(f"files of different inputs take no turns: {said}", "profile them one after the other")
    return next(iter(found))


def _found(path: Path, given: BatchInput) -> CustomSpec:
    parts = parts_of({part: part for part in sorted({part for part, _, _ in _counted(path, given).calls} - {""})})
    weights = sum(prod(one.dims) for one in read_graph(path).graph.initializer if one.data_type in WEIGHTS)
    digest = sha256(path.read_bytes()).hexdigest()
    return CustomSpec(
        ModelRequest(str(path)), digest, parts, ((REST, weights),), GRAPH, tracer=count_spec, opener=open_spec
    )


def count_spec(spec: CustomSpec, size: BatchInput) -> Traced:
    """The tracer of every model that `find_graphs` found, also in other processes."""
    count = _counted(Path(spec.request.source), size)
    tables = {part.name: Terms() for part in leaves(spec.parts)}
    for (part, operator, amount), calls in count.calls.items():
        table = tables[next(name for name in (part, f"{part}.{REST}", f"module {part}", REST) if name in tables)]
        if operator in EINSUMS:  # rules may round each
            table.add(operator, calls, Einsum(amount, One()))
        else:
            table.add(operator, calls * amount, One())
    return Traced(tables, {f"onnx.{kind}": number for kind, number in count.elements.items() if number}, GRAPH)


def open_spec(spec: CustomSpec) -> LoadedModel:
    """The opener of the same: it says what a pass contains, and builds nothing."""

    def build(*given: object) -> NoReturn:
        raise BenchError(f"{spec}: torch runs no ONNX file", "--engine onnxruntime or openvino")

    return LoadedModel(spec.digest, build, build)


def open_graph(spec: CustomSpec, engine: EngineName, size: Size, batch_size: int, threads: int) -> GraphModel:
    """Load a file into an engine.

    Raises:
        BenchError: unreadable, or the engine cannot load it.
    """
    path = Path(spec.request.source)
    model = read_graph(path)
    given = input_of_graph(model, str(path), size, batch_size)
    precision: ExportPrecision = "int8" if any(node.op_type == QUANTIZED for node in model.graph.node) else "fp32"
    return GraphModel(ENGINES[engine](path, threads), given.arrays(), path.stat().st_size, precision)


@lru_cache(maxsize=64)
def _counted(path: Path, given: BatchInput) -> GraphCount:
    told = input_of_graph(read_graph(path), str(path), given.sides, given.batch_size).told
    return count_graph(path, told)
