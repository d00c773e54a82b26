"""Inputs of an ONNX file of anybody's: their shapes at a size and a batch, arrays of them, and its graph then.

Needs `onnx`, and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.cost.geometry import BatchInput, batch_of, parse_size
from proscale_bench.errors import BenchError
from proscale_bench.units import Size

if TYPE_CHECKING:
    import onnx

COLOURS = (1, 3, 4)  # channels of an image
HINT = "export it with fixed sizes"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphInput:
    """The inputs of a graph, all sizes told.

    Args:
        shapes: by name, in the file's order.
        types: the number types of the same, as numpy calls them.
        size: (height, width) of its images; of a graph without images the last two sides of its first input.
        batch_size: number of images in a run.
        told: the sizes that the file leaves open, by the names that it has for them.
    """

    shapes: dict[str, Shape]
    types: tuple[np.dtype[Any], ...]
    size: Size
    batch_size: int
    told: dict[str, int]

    @property
    def given(self) -> BatchInput:
        """The input that a record has."""
        return batch_of(parse_size(self.size), self.batch_size)

    def arrays(self, seed: int = 0) -> list[NDArray[Any]]:
        """Noise: fractions of one, bytes, and zeros where numbers may be places in a table."""
        generator, found = np.random.default_rng(seed), []
        for shape, dtype in zip(self.shapes.values(), self.types, strict=True):
            if dtype.kind == "f":
                found.append(generator.random(shape, dtype=np.float32).astype(dtype))
            else:
                found.append(generator.integers(0, 256, shape, dtype) if dtype == np.uint8 else np.zeros(shape, dtype))
        return found


def input_of_graph(
    model: onnx.ModelProto, where: str, size: Size | None = None, batch_size: int | None = None
) -> GraphInput:
    """The inputs of a graph at a size and a batch.

    Args:
        where: names it in errors.
        size: (height, width) of its images; None: the file's own.
        batch_size: None: the file's own, or one.

    Raises:
        BenchError: it takes another size or batch, or nothing says one of its sizes.
    """
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if not inputs:
        raise BenchError(f"{where}: takes no input", "is this the right file?")
    types = tuple(_type(one, where) for one in inputs)
    dims = {one.name: _dimensions(one) for one in inputs}
    image = next((name for name, found in dims.items() if len(found) == 4), None)
    told: dict[str, int] = {}
    if image is not None:
        rows, columns = axes = _axes(dims[image])
        height, width = size or (None, None)
        for axis, asked in {0: batch_size, rows: height, columns: width}.items():
            own = dims[image][axis]
            value = asked if asked is not None or axis else 1
            if value is None and isinstance(own, str):
                raise BenchError(f"{where}: takes images of any size", "say one, as in --size 640x640")
            if asked not in (None, told.setdefault(own, value or 0) if isinstance(own, str) else own):
                what = "batch" if axis == 0 else "side"
                raise BenchError(f"{where}: a {what} of {asked}, and it takes {told.get(str(own), own)}", HINT)
    for name, found in dims.items():
        for axis, side in enumerate(found):
            if isinstance(side, str) and side not in told:
                if axis:
                    raise BenchError(f"{where}: input {name}: nothing says how long its side {axis + 1} is", HINT)
                told[side] = batch_size or 1
    shapes = {
        name: tuple(told[side] if isinstance(side, str) else side for side in found) for name, found in dims.items()
    }
    if image is None:
        first = (1, 1, *next(iter(shapes.values())))
        return GraphInput(shapes, types, (first[-2], first[-1]), 1, told)
    sides = (shapes[image][axes[0]], shapes[image][axes[1]])
    return GraphInput(shapes, types, sides, shapes[image][0], told)


def at_sizes(model: onnx.ModelProto, told: Mapping[str, int]) -> onnx.ModelProto:
    """A graph with sizes in place of names, and without the shapes that follow from them."""
    import onnx

    if not told:
        return model
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for one in fixed.graph.input:
        for side, name in zip(_sides(one), _dimensions(one), strict=True):
            if name in told:
                side.dim_value = told[str(name)]
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    return fixed


def _type(one: onnx.ValueInfoProto, where: str) -> np.dtype[Any]:
    import onnx

    if not one.type.HasField("tensor_type") or not one.type.tensor_type.HasField("shape"):
        raise BenchError(f"{where}: input {one.name} is no tensor of a known rank", HINT)
    try:
        found = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type))
    except (KeyError, TypeError):
        found = np.dtype(object)
    if found.kind not in "fiub":
        raise BenchError(f"{where}: input {one.name} is of no number that noise could stand for", HINT)
    return found


def _dimensions(one: onnx.ValueInfoProto) -> list[int | str]:
    """The sides of an input; a name where they are open."""
    return [side.dim_value or side.dim_param or f"{one.name} {axis}" for axis, side in enumerate(_sides(one))]


def _axes(image: list[int | str]) -> tuple[int, int]:
    """The places of height and width: behind the colours, unless these come last."""
    return (1, 2) if image[1] not in COLOURS and image[3] in COLOURS else (2, 3)


def _sides(one: onnx.ValueInfoProto) -> Any:
    return one.type.tensor_type.shape.dim
