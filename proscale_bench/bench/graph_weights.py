"""ONNX files of somebody else's that are evaluated: their outputs named, their images as they are told to be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from proscale_bench.bench.graphs import find_graphs
from proscale_bench.bench.other_weights import OtherWeights, OutputFamily, sizes_of
from proscale_bench.bench.weights import MAX_SOURCE
from proscale_bench.config.choices import EngineName
from proscale_bench.config.graph_meaning import GraphMeaning, Normalization
from proscale_bench.config.trained_on import ID2LABEL
from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.evaluation.any_predictor import Call, ImageInput
from proscale_bench.export.engines import ENGINES, Engine
from proscale_bench.export.graph_input import input_of_graph
from proscale_bench.export.onnx_file import read_graph
from proscale_bench.results.profile import NO_SAMPLING
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.units import Size, printable

if TYPE_CHECKING:
    import onnx

    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.execution import ExecutionSettings

NORMALIZATIONS: Mapping[Normalization, ImageInput] = {
    "imagenet": ImageInput(),
    "unit": ImageInput(mean=(0, 0, 0), std=(1, 1, 1)),
    "none": ImageInput(mean=(0, 0, 0), std=(1 / 255,) * 3),
}
TRIED_AT = (64, 64)  # of a file that takes any size


@dataclass(frozen=True)
class _Taken:
    """The images that a file takes: their number and sides, 0 where any."""

    batch_size: int
    size: Size
    dtype: np.dtype[Any]


class GraphModule(nn.Module):
    """A file in an engine as a module whose outputs have the names that readers know."""

    def __init__(self, engine: Engine, places: Sequence[int], taken: _Taken, is_boxes: bool) -> None:
        super().__init__()
        self.engine, self.places, self.taken, self.is_boxes = engine, tuple(places), taken, is_boxes
        self.on_cpu = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, pixels: Tensor, there: Tensor) -> SimpleNamespace:
        """Run images [B, 3, H, W]. Boxes become fractions of each without its padding, where `there` [B, H, W] is 0."""
        logits, regions = self.answer(pixels)
        if not self.is_boxes:
            return SimpleNamespace(class_queries_logits=logits, masks_queries_logits=regions)
        own = torch.stack((there[:, 0].sum(1), there[:, :, 0].sum(1)), dim=1)  # [B, 2], (w, h)
        scale = torch.tensor([pixels.shape[3], pixels.shape[2]]) / own
        return SimpleNamespace(logits=logits, pred_boxes=regions * scale.repeat(1, 2)[:, None])

    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and masks or boxes. The file gets as many images as it takes: the last again where that is more."""
        images, missing = pixels.numpy(), self.taken.batch_size - len(pixels)
        if self.taken.batch_size:
            images = np.concatenate((images, images[-1:].repeat(max(missing, 0), axis=0)))
        if self.taken.dtype == np.uint8:
            images = images.round().clip(0, 255)
        found = self.engine.run_all([images.astype(self.taken.dtype)])
        logits, regions = (
            torch.from_numpy(np.array(found[place][: len(pixels)], dtype=np.float32)) for place in self.places
        )
        return logits, regions


@dataclass(frozen=True)
class GraphWeights(OtherWeights):
    """A file in an engine, as weights of somebody else's model."""

    def prepare(self, device: torch.device, settings: ExecutionSettings) -> str:
        return NO_SAMPLING

    def _call(self, request: EvaluationRequest) -> Call:
        return lambda model, pixels, there: model(pixels, there)


def read_graph_weights(
    path: Path, meaning: GraphMeaning, engine: EngineName, request: EvaluationRequest, threads: int
) -> GraphWeights:
    """Load a file into an engine, and make sure that its outputs are what they are said to be.

    Raises:
        BenchError: unreadable; images that it does not take; an output that it does not have, or of a shape that does
            not fit; or a node without a rule (exit code 3).
    """
    graph = read_graph(path)
    names = [one.name for one in graph.graph.output]
    for what, name in meaning.outputs.items():
        if name not in names:
            hint = did_you_mean(name, names, printable(f"it has {', '.join(names)}"))
            raise BenchError(printable(f"{path}: no output '{name}' to take for {what}"), hint)
    taken = _taken(graph, path, meaning, request)
    ready = ENGINES[engine](path, threads)
    places = [names.index(one) for one in meaning.outputs.values()]
    module = GraphModule(ready, places, taken, meaning.regions == "boxes")
    fixed = taken.size if all(taken.size) else None
    multiple = 1 if meaning.regions == "boxes" else SIZE_DIVISOR
    given = replace(NORMALIZATIONS[meaning.normalization], fixed=fixed, stretched=meaning.stretched, multiple=multiple)
    classes = _classes(*module.answer(torch.zeros(1, 3, *(fixed or TRIED_AT))), meaning, path)
    (spec,) = find_graphs([path], None if fixed else max(sizes_of(replace(request, input=given))), None)
    labels = json.dumps({ID2LABEL: {str(place): name for place, name in enumerate(meaning.classes)}})
    return GraphWeights(
        module,  # type: ignore[arg-type] # any module
        spec,
        sha256(path.read_bytes()).hexdigest(),
        printable(path.name).replace("\n", " ")[:MAX_SOURCE],
        metadata={"config": labels} if meaning.classes else {},
        request=spec.request,
        family=OutputFamily(meaning.scores if meaning.regions == "boxes" else None, meaning.stretched),
        given=given,
        postprocessing="ours",
        folder=path.parent,
        config=SimpleNamespace(num_labels=classes, model_type="graph"),
        told={"mode": "exported", "inference_engine": engine, "inference_engine_version": ready.version},
    )


def _taken(graph: onnx.ModelProto, path: Path, meaning: GraphMeaning, request: EvaluationRequest) -> _Taken:
    """The images that a file takes.

    Raises:
        BenchError: it takes something else, or not so many.
    """
    weights = {one.name for one in graph.graph.initializer}
    inputs = [one for one in graph.graph.input if one.name not in weights]
    sides = [[side.dim_value for side in one.type.tensor_type.shape.dim] for one in inputs]
    if len(inputs) != 1 or len(sides[0]) != 4 or sides[0][1] not in (0, 3):
        shown = "; ".join(f"{one.name} {shape}" for one, shape in zip(inputs, sides, strict=True)) or "nothing"
        raise BenchError(printable(f"{path}: takes {shown}, and no images [B, 3, H, W] alone"), "export it for images")
    number = input_of_graph(graph, str(path), None if all(sides[0][2:]) else TRIED_AT).types[0]
    if number == np.uint8 and meaning.normalization != "none":
        raise BenchError(f"{path}: takes bytes, which are not normalised", "--normalize none")
    batch_size, _, height, width = sides[0]
    if batch_size and batch_size < request.batch_size:
        raise BenchError(f"{path}: takes {batch_size} images", f"--batch-size {batch_size}")
    if bool(height) != bool(width):
        raise BenchError(f"{path}: one side of its images is fixed", "export it with both, or none")
    if meaning.stretched and not height:
        raise BenchError(f"{path}: takes images of any size", "leave out --stretch")
    return _Taken(batch_size, (height, width), number)


def _classes(logits: Tensor, regions: Tensor, meaning: GraphMeaning, path: Path) -> int:
    """The number of classes that outputs of one image know.

    Raises:
        BenchError: shapes that are not those of queries with classes, and masks or boxes.
    """
    is_boxes = meaning.regions == "boxes"
    fit = logits.ndim == 3 and logits.shape[:2] == regions.shape[:2]
    if not fit or (regions.ndim != 3 or regions.shape[2] != 4 if is_boxes else regions.ndim != 4):
        shapes = f"logits {list(logits.shape)} and {meaning.regions} {list(regions.shape)}"
        wanted = "[B, queries, classes] and [B, queries, 4]"
        wanted = wanted if is_boxes else "[B, queries, classes + 1] and [B, queries, h, w]"
        raise BenchError(f"{path}: {shapes}, and {wanted} are evaluated", "name other outputs")
    classes = logits.shape[2] - (meaning.scores != "sigmoid")
    if meaning.classes and classes != len(meaning.classes):
        raise BenchError(
            f"{path}: knows {classes} classes, and {len(meaning.classes)} are named", "name each, in order"
        )
    return classes
