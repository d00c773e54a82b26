"""Graphs that somebody else exported are counted by their nodes' types and shapes alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.graph import count_graph
from tests.cli import run

onnx = pytest.importorskip("onnx")


def made(path: Path, nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int | str, ...]]) -> Path:
    """A graph from `x` to `y` with random weights of these shapes."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in shapes.items()
        if name not in ("x", "y")
    ]
    ends = [helper.make_tensor_value_info(name, float32, shapes.get(name)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def test_a_foreign_graph_is_counted_by_its_shapes(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),  # 8 x 4 x 3 x 3 at 6 x 10, twice
        node("Relu", ["c"], ["r"]),
        node("ConvTranspose", ["r", "u"], ["t"], strides=[2, 2]),  # 8 x 2 x 2 x 2 at 6 x 10, twice
        node("GlobalAveragePool", ["t"], ["g"]),
        node("Mul", ["t", "g"], ["m"]),
        node("Flatten", ["m"], ["f"]),
        node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    path = made(
        tmp_path / "g.onnx",
        nodes,
        {"x": (2, 4, 6, 10), "y": (2, 5), "w": (8, 4, 3, 3), "u": (8, 2, 2, 2), "v": (5, 480)},
    )
    count = count_graph(path)
    conv, linear, product = 2 * 60 * (8 * 36 + 8 * 8), 2 * 5 * 480, 2 * 2 * 240
    assert count.flops(RULES["complete"]) == conv + linear + product
    assert count.flops(RULES["fvcore"]) == conv + linear
    assert count.flops(RULES["fvcore"], "flop") == 2 * (conv + linear)
    assert dict(count.uncounted) == {"Relu": 1, "GlobalAveragePool": 1}
    result = run("flops", "--graph", str(path), "--rules", "complete", "--export-json", "-")
    (row,) = json.loads(result.stdout)["results"]
    assert row["gflops"]["total"] * 1e9 == conv + linear + product
    assert row["by_operator"]["conv"] * 1e9 == conv


def test_what_has_no_rule_or_no_shape_stops_the_count(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    lstm = made(tmp_path / "l.onnx", [node("Hardmax", ["x"], ["y"], name="odd")], {"x": (2, 3), "y": (2, 3)})
    with pytest.raises(BenchError, match="odd: type Hardmax has no counting rule") as no_rule:
        count_graph(lstm)
    assert no_rule.value.exit_code == ExitCode.UNTRUSTED
    symbolic = made(
        tmp_path / "s.onnx", [node("MatMul", ["x", "w"], ["y"])], {"x": ("n", 3), "y": ("n", 5), "w": (3, 5)}
    )
    with pytest.raises(BenchError, match="nothing tells"):
        count_graph(symbolic)
    assert count_graph(symbolic, {"n": 7}).flops(RULES["complete"]) == 7 * 15


def test_what_is_no_graph_or_asks_for_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    for arguments in (
        ("--graph", str(tmp_path / "text.onnx")),
        ("--graph", str(tmp_path / "none.onnx")),
        ("--graph", str(tmp_path)),
        ("--graph", "x.onnx", "--schedule", "3,3,3"),
    ):
        assert run("flops", *arguments).exit_code == 2
