"""Export of a model of somebody else's: its graph for one input, held against torch on that input and another."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.engines import ENGINES, FORMATS
from proscale_bench.export.export import OnStep, write_openvino, write_package
from proscale_bench.export.extras import first_line
from proscale_bench.export.graph import count_nodes
from proscale_bench.export.onnx_file import to_onnx, write_onnx
from proscale_bench.version import __version__

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4  # of the largest value of an output, or of 1


@dataclass(frozen=True)
class ExportedAny:
    """A file that was written.

    Args:
        inputs, outputs: names and shapes.
        graph_gflops: of its nodes, 1 MAC = 1, rules `complete`; None where they cannot be counted.
        largest_difference: of an output from torch's, of its largest value or of 1.
    """

    path: Path
    engine: str
    engine_version: str
    bytes: int
    seconds: float
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    graph_gflops: float | None
    largest_difference: float

    def row(self) -> dict[str, Any]:
        """The row of `models export --model --export-json`."""
        return {
            "path": str(self.path),
            "format": self.path.suffix[1:],
            "engine": self.engine,
            "engine_version": self.engine_version,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            "graph_gflops": self.graph_gflops,
            "proof": {"tolerance": TOLERANCE, "largest_difference": self.largest_difference, "holds": True},
        }


class Flat(nn.Module):
    """A model whose output is a tuple of all tensors in it, in order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return tuple(leaf for leaf in tree_leaves(self.model(*args, **kwargs)) if isinstance(leaf, Tensor))


def export_any(
    model: nn.Module,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    path: Path,
    *,
    named: Sequence[str] | None = None,
    told: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: OnStep = lambda what, done, total: None,
) -> ExportedAny:
    """Write a model to a file, and hold the file against the model.

    Args:
        model: in eval mode, on the CPU.
        name: what a user calls it.
        args, kwargs: what it is called with.
        named: names of its outputs; `output_0` and so on where None.
        told: what the file says of the model beside its name.

    Raises:
        BenchError: torch cannot capture or translate it, or the file is not the same model (exit code 3).
    """
    started = time.monotonic()
    module = Flat(model).eval()
    progress("capturing the graph", 0, 1)
    try:
        with torch.no_grad():
            expected = module(*args, **kwargs)
            program = torch.export.export(module, tuple(args), dict(kwargs), strict=False)
    except Exception as error:  # whatever somebody's code raises
        raise BenchError(
            f"{name}: torch cannot capture its graph: {first_line(error)}", "try another --size"
        ) from error
    if not expected:
        raise BenchError(f"{name}: gives no tensor", "export a model that does")
    given = [leaf for leaf in tree_leaves((tuple(args), dict(kwargs))) if isinstance(leaf, Tensor)]
    inputs = [f"input_{index}" for index in range(len(given))] if len(given) > 1 else ["images"]
    outputs = list(named or (f"output_{index}" for index in range(len(expected))))
    said = json.dumps({"version": __version__, "model": name, **(told or {})})
    graph: onnx.ModelProto | None = None
    if path.suffix == ".pt2":
        progress("compiling", 0, 1)
        write_package(program, path, said, overwrite)
    else:
        progress("translating to ONNX", 0, 1)
        graph = to_onnx(program, inputs, outputs, said)
        if path.suffix == ".onnx":
            write_onnx(graph, path, overwrite)
        else:
            write_openvino(graph, path, said, overwrite)
    seconds = time.monotonic() - started
    progress("proving", 0, 1)
    engine = ENGINES[FORMATS[path.suffix]](path, torch.get_num_threads())
    largest = 0.0
    for shift in (0.0, 0.25):
        moved = tree_map_only(Tensor, partial(_shifted, by=shift), (tuple(args), dict(kwargs)))
        with torch.inference_mode():
            ours = module(*moved[0], **moved[1])
        leaves = [leaf.numpy() for leaf in tree_leaves((tuple(moved[0]), dict(moved[1]))) if isinstance(leaf, Tensor)]
        theirs = [torch.from_numpy(np.array(one)) for one in engine.run_all(leaves)]
        for one, other in zip(ours, theirs, strict=True):
            apart = float((one.double() - other.double()).abs().max() / max(1.0, float(one.abs().max())))
            largest = max(largest, float("inf") if math.isnan(apart) else apart)
    if not largest <= TOLERANCE:
        what = f"{path}: differs from torch by {largest:.2g} of the largest value"
        raise BenchError(what, "the file is kept for a look, not for use", ExitCode.UNTRUSTED)
    beside = path.with_suffix(".bin")
    return ExportedAny(
        path,
        engine.name,
        engine.version,
        path.stat().st_size + (beside.stat().st_size if path.suffix == ".xml" else 0),
        seconds,
        {name_: tuple(leaf.shape) for name_, leaf in zip(inputs, given, strict=True)},
        {name_: tuple(leaf.shape) for name_, leaf in zip(outputs, expected, strict=True)},
        None if graph is None else _gflops(graph, path),
        largest,
    )


def _shifted(leaf: Tensor, by: float) -> Tensor:
    if leaf.dtype is torch.uint8:  # an image as bytes: mirrored
        return leaf.flip(-1) if by else leaf
    return leaf + by if leaf.is_floating_point() else leaf


def _gflops(graph: onnx.ModelProto, path: Path) -> float | None:
    try:
        return count_nodes(graph, str(path)).flops(RULES["complete"]) / 1e9
    except BenchError:  # a node without a rule
        return None
