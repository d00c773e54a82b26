"""Eight bits: convolutions and linear layers of a graph quantised after training, by onnxruntime's own tool.

Weights are int8 for each output channel, activations uint8 with ranges that are the least and greatest of calibration
images. What is no product with weights stays in float32: sampling, attention, norms, and the masks of queries.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proscale_bench.data.batches import resize
from proscale_bench.data.pictures import read_image
from proscale_bench.errors import BenchError
from proscale_bench.export.engines import Images
from proscale_bench.export.extras import first_line, needs
from proscale_bench.units import Size

if TYPE_CHECKING:
    import onnx

CALIBRATION_IMAGES = 32
QUANTISED = ("Conv", "Gemm", "MatMul")


def quantized(graph: onnx.ModelProto, name: str, batches: Sequence[Images]) -> onnx.ModelProto:
    """The graph with its products by weights in 8 bits.

    Args:
        name: of its input.
        batches: calibration images, as the graph takes them.

    Raises:
        BenchError: onnxruntime is not installed, or cannot quantise it.
    """
    with needs("onnxruntime"):
        from onnxruntime import quantization
    import onnx

    waiting: Iterator[Images] = iter(batches)

    class CalibrationImages(quantization.CalibrationDataReader):  # type: ignore[misc,no-any-unimported,unused-ignore]
        def get_next(self) -> dict[str, Images] | None:
            batch = next(waiting, None)
            return None if batch is None else {name: batch}

    with _quiet(), tempfile.TemporaryDirectory(prefix="proscale-bench-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(graph.SerializeToString())
        try:
            quantization.quantize_static(
                source,
                target,
                CalibrationImages(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=_without_weights(graph),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
            )
        except Exception as error:  # its own types derive from no common one
            raise BenchError(
                f"onnxruntime cannot quantise the graph: {first_line(error)}", "leave out --quantize"
            ) from error
        found: Any = onnx.load(target)
    del found.metadata_props[:]
    found.metadata_props.extend(graph.metadata_props)
    return found  # type: ignore[no-any-return]


def calibration_images(paths: Sequence[Path], size: Size, batch_size: int, floating: bool) -> list[Images]:
    """Batches of pictures to calibrate on, stretched to a file's size: at most `CALIBRATION_IMAGES`, spread evenly.

    Args:
        batch_size: the last batch begins again with the first pictures where it is not full.

    Raises:
        BenchError: a picture cannot be read.
    """
    step = max(1.0, len(paths) / CALIBRATION_IMAGES)
    chosen = [paths[int(place * step)] for place in range(min(len(paths), CALIBRATION_IMAGES))]
    pictures = [resize(read_image(path), size).transpose(2, 0, 1) for path in chosen]
    rows = [np.stack(list(islice(cycle(pictures), start, start + batch_size)))
            for start in range(0, len(pictures), batch_size)]  # fmt: skip
    return [row.astype(np.float32) if floating else row for row in rows]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tool's own advice off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _without_weights(graph: onnx.ModelProto) -> list[str]:
    """The nodes whose factors are both activations."""
    weights = {one.name for one in graph.graph.initializer}
    return [node.name for node in graph.graph.node if node.op_type in QUANTISED and not weights & set(node.input[:2])]
