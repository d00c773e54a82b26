"""Eight bits: products by weights are quantised, products of activations are not, and the answer stays close."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from proscale_bench.export.engines import OnnxRuntime  # noqa: E402
from proscale_bench.export.quantize import quantized  # noqa: E402


def graph() -> onnx.ModelProto:
    """A product of images by weights, and one of its result by itself."""
    helper, random = onnx.helper, np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(random.normal(size=(8, 8)).astype(np.float32), "weights")
    nodes = [
        helper.make_node("MatMul", ["images", "weights"], ["features"], "by_weights"),
        helper.make_node("MatMul", ["features", "features"], ["out"], "by_itself"),
    ]
    shape = [1, 3, 8, 8]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("images", "out")]
    made = helper.make_graph(nodes, "graph", ends[:1], ends[1:], [weights])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="ours", value="kept")
    return model


def test_products_by_weights_are_quantised_and_others_are_not() -> None:
    images = [np.random.default_rng(seed).random((1, 3, 8, 8)).astype(np.float32) for seed in range(8)]
    found = quantized(graph(), "images", images)
    assert [one.value for one in found.metadata_props] == ["kept"]
    makers = {output: node for node in found.graph.node for output in node.output}
    inputs = {node.name: [makers[name].op_type for name in node.input if name in makers] for node in found.graph.node}
    assert inputs["by_weights"] == ["DequantizeLinear", "DequantizeLinear"]
    exact, eight = (OnnxRuntime(one.SerializeToString(), 1).run(images[0])[0] for one in (graph(), found))
    assert 0 < np.abs(exact - eight).max() < 0.05 * np.abs(exact).max()
