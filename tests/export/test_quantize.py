"""Eight bits: products by weights are quantised, products of activations are not, and the answer stays close."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from proscale_bench.export.engines import OnnxRuntime  # noqa: E402
from proscale_bench.export.quantize import CALIBRATION_IMAGES, calibration_images, quantized  # noqa: E402
from tests.cli import run  # noqa: E402


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


def test_pictures_of_a_folder_are_spread_and_stretched(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:03}.png" for number in range(2 * CALIBRATION_IMAGES + 1)]
    for number, path in enumerate(paths):
        Image.new("RGB", (20, 10), (number, 0, 7)).save(path)
    batches = calibration_images(paths, (16, 12), 3, floating=False)
    assert [batch.shape for batch in batches] == [(3, 3, 16, 12)] * 11
    assert {batch.dtype for batch in batches} == {np.dtype(np.uint8)}
    reds = [int(image[0, 0, 0]) for batch in batches for image in batch]
    assert reds[:3] == [0, 2, 4]
    assert reds[31:] == [62, 0]  # 32 images, and the first again
    assert calibration_images(paths[:2], (16, 12), 1, floating=True)[1][0, :, 0, 0].tolist() == [1.0, 0.0, 7.0]


def test_calibration_is_of_what_is_quantised_and_of_pictures(tmp_path: Path) -> None:
    out = str(tmp_path / "a.onnx")
    flags = ("models", "export", out, "-s", "1,1,1", "-b", "tiny", "--size", "64x64")
    for more, said in (
        (("--calibrate", str(tmp_path)), "add --quantize int8"),
        (("--calibrate", str(tmp_path), "--quantize", "int8"), "pictures"),
        (("--calibrate", str(tmp_path / "none"), "--quantize", "int8"), "none"),
    ):
        found = run(*flags, *more)
        assert (found.exit_code, said in found.stderr) == (2, True), found.stderr
