"""ONNX files that are no exports of ours: timed in engines, counted off their nodes, refused where not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from proscale_bench.export.graph import count_graph
from proscale_bench.export.graph_input import input_of_graph
from proscale_bench.export.onnx_file import read_graph
from tests.cli import run

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FILE = (1, 3, 32, 48)
ANY = ("n", 3, "rows", "columns")
GFLOPS = 8 * 27 * 32 * 48 / 1e9


def convolution(path: Path, images: tuple[int | str, ...] = FILE, **saved: object) -> Path:
    """A graph of one convolution."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "weights")
    node = helper.make_node("Conv", ["images", "weights"], ["out"], "conv", pads=[1, 1, 1, 1])
    ends = [
        helper.make_tensor_value_info("images", float32, images),
        helper.make_tensor_value_info("out", float32, (images[0], 8, *images[2:])),
    ]
    made = helper.make_graph([node], "graph", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path, **saved)
    return path


def test_foreign_files_take_turns_in_engines(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    one, other = convolution(tmp_path / "one.onnx"), convolution(tmp_path / "any.onnx", ANY)
    flags = ("--size", "32x48", "--threads", "1", "--repeats", "2", "--export-json", "-")
    engines = ("--engine", "onnxruntime", "--engine", "openvino", "--out", str(tmp_path / "run"))
    found = run("profile", "--graph", str(one), "--graph", str(other), *engines, *flags)
    assert found.exit_code == 0, found.stderr
    rows = json.loads(found.stdout)["results"]
    assert [(row["schedule"], row["inference_engine"]) for row in rows] == [
        (str(file), engine) for engine in ("onnxruntime", "openvino") for file in (one, other)
    ]
    for row in rows:
        assert (row["model"], row["engine"], row["input"]["size"], row["sampling"]) == (
            "custom",
            "graph",
            "32x48",
            "none",
        )
        assert row["gflops"]["total"] == pytest.approx(GFLOPS)
        assert row["params_m"]["total"] == pytest.approx(8 * 27 / 1e6)
        assert len(row["samples_ms"]) == 2
    assert "FLOPs." not in found.stderr


def test_a_file_of_any_size_is_counted_at_one(tmp_path: Path) -> None:
    file = convolution(tmp_path / "any.onnx", ANY)
    given = input_of_graph(read_graph(file), "any.onnx", (32, 48), 2)
    assert (given.told, given.batch_size, given.size) == ({"n": 2, "rows": 32, "columns": 48}, 2, (32, 48))
    assert [array.shape for array in given.arrays()] == [(2, 3, 32, 48)]
    assert set(count_graph(file, given.told).calls) == {("", "conv", 2 * 8 * 27 * 32 * 48)}
    counted = run("flops", "--graph", str(file), "--size", "32x48", "--export-json", "-")
    assert json.loads(counted.stdout)["results"][0]["gflops"]["total"] == pytest.approx(GFLOPS)
    assert run("flops", "--graph", str(file)).exit_code == 2


def test_channels_may_come_last_and_other_inputs_are_zeros() -> None:
    helper, kinds = onnx.helper, onnx.TensorProto
    inputs = [
        helper.make_tensor_value_info("tokens", kinds.INT64, ("batch", 7)),
        helper.make_tensor_value_info("images", kinds.UINT8, ("batch", "h", "w", 3)),
    ]
    graph = helper.make_model(helper.make_graph([], "graph", inputs, []))
    given = input_of_graph(graph, "x.onnx", (10, 20), 2)
    assert given.shapes == {"tokens": (2, 7), "images": (2, 10, 20, 3)}
    tokens, images = given.arrays()
    assert (tokens.any(), images.dtype, given.size) == (False, np.uint8, (10, 20))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--graph", "any.onnx"), "takes images of any size"),
        (("--graph", "fixed.onnx", "--size", "64x64"), "and it takes 32"),
        (("--graph", "fixed.onnx", "-n", "3"), "a batch of 3, and it takes 1"),
        (("--graph", "fixed.onnx", "--schedule", "3,3,3"), "--schedule is of models"),
        (("--graph", "fixed.onnx", "--quantize", "int8"), "--quantize is of models"),
        (("--graph", "fixed.onnx", "--engine", "torch"), "runs no ONNX file"),
        (("--graph", "fixed.onnx", "--engine", "aot"), "runs no ONNX file"),
        (("--graph", "fixed.onnx", "--graph", "small.onnx"), "files of different inputs"),
        (("--graph", "none.onnx"), "no such file"),
        (("--graph", "folder.onnx"), "a folder"),
        (("--graph", "empty.onnx"), "no ONNX file"),
        (("--graph", "cut.onnx"), "not a whole ONNX file"),
        (("--weights", "fixed.onnx"), "profile --graph FILE.onnx"),
        (("--weights", "apart.onnx"), "cannot load it"),
        (("--weights", "renamed.xml"), "cannot load it: it is no network"),
        (("--weights", "alone.xml"), "alone.bin: no such file"),
        (("--weights", "renamed.pt2", "--trust"), "no whole package"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    flags: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.chdir(tmp_path)
    whole = convolution(Path("fixed.onnx")).read_bytes()
    convolution(Path("any.onnx"), ANY)
    convolution(Path("small.onnx"), (1, 3, 16, 16))
    convolution(Path("apart.onnx"), save_as_external_data=True, location="apart.data", size_threshold=0)
    Path("apart.data").unlink()
    Path("folder.onnx").mkdir()
    for name, content in {
        "empty.onnx": b"",
        "cut.onnx": whole[: len(whole) // 2],
        "renamed.xml": whole,
        "renamed.pt2": whole,
        "alone.xml": b'<?xml version="1.0"?><net name="n" version="11"/>',
    }.items():
        Path(name).write_bytes(content)
    found = run("profile", *flags, "--out", "run")
    assert found.exit_code == 2, found.stdout
    assert said in " ".join(found.stderr.split())
    assert not list(Path("run").glob("*.json"))
