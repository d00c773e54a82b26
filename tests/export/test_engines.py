"""Exported files take images padded as the model pads them, and say what they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from proscale_bench.bench import exported
from proscale_bench.bench.engines import file_name
from proscale_bench.bench.execution import ExecutionSettings
from proscale_bench.bench.exported import as_batch, of_file
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.description import spec_of
from proscale_bench.export.engines import ExportedModel, OnnxRuntime, TensorRt, told_of
from proscale_bench.export.settings import ExportSettings
from proscale_bench.measure.engines import Runtime
from proscale_bench.results.profile import Execution
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.spelling import parse_encoder
from tests.cli import run


def model(size: tuple[int, int] | None, *, floating: bool = False, batch_size: int = 1) -> ExportedModel:
    """A file without an engine."""
    given = {"size": size or (128, 160), "dynamic": size is None, "batch_size": batch_size, "floating": floating}
    engine: Any = None
    return ExportedModel(Path("model.onnx"), engine, {"input": given})


def picture(height: int, width: int) -> Any:
    return np.full((height, width, 3), 7, np.uint8)


def test_images_are_padded_with_what_normalisation_makes_zero() -> None:
    batch = as_batch(model(None, floating=True), [picture(60, 90), picture(64, 70)])
    assert (batch.shape, batch.dtype) == ((2, 3, 64, 96), np.float32)
    assert (batch[0, :, :60, :90] == 7).all()
    for channel, mean in enumerate((123.675, 116.28, 103.53)):
        assert (batch[0, channel, 60:] == np.float32(mean)).all()
        assert (batch[1, channel, :, 70:] == np.float32(mean)).all()
    bytes_ = as_batch(model(None), [picture(60, 90)])
    assert bytes_.dtype == np.uint8
    assert bytes_[0, :, -1, -1].tolist() == [124, 116, 104]


def test_an_image_of_the_files_own_size_is_given_as_it_is() -> None:
    assert as_batch(model((60, 90)), [picture(60, 90)]).shape == (1, 3, 60, 90)


def test_a_batch_is_filled_up() -> None:
    batch = as_batch(model((64, 64), batch_size=3), [picture(64, 64)])
    assert batch.shape == (3, 3, 64, 64)
    assert (batch == 7).all()


def test_sizes_that_a_file_does_not_take_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="64x96, and the data have one of 100x96"):
        of_file(model((64, 96)), [(60, 90), (100, 96)])


def test_a_file_says_its_model_and_nothing_else_is_believed() -> None:
    spec = mask2former(parse_encoder("2,1,1"), "tiny", classes=5, queries=7)
    told: dict[str, Any] = {
        "schedule": "2,1,1",
        "backbone_dimensions": {
            "kind": "swin",
            "width": 16,
            "depths": [1, 1, 2, 1],
            "heads": [1, 2, 4, 8],
            "window": 7,
        },
        "head": vars(spec.head),
    }
    assert spec_of(told, Path("a.onnx")) == spec
    for key, wrong in [
        ("schedule", "9"),
        ("head", {**vars(spec.head), "queries": 10**9}),
        ("head", {**vars(spec.head), "width": "64"}),
        ("head", {}),
        ("backbone_dimensions", {"kind": "vit"}),
        ("backbone_dimensions", None),
    ]:
        with pytest.raises(BenchError, match="which model it is"):
            spec_of({**told, key: wrong}, Path("a.onnx"))


def test_what_torch_ran_has_no_key_of_an_engine() -> None:
    how = {"device": "cpu", "device_name": "a CPU", "dtype": "fp32", "batch_size": 1, "mode": "eager"}
    torch = Execution.model_validate({**how, "sampling": "grid_sample", "optimizations": True, "threads": 1})
    assert "inference_engine" not in torch.model_dump(mode="json")
    told = {"mode": "exported", "inference_engine": "openvino", "inference_engine_version": "2026.4"}
    ran = torch.model_copy(update=told)
    assert ran.words == "a CPU, fp32, batch 1, exported in openvino 2026.4, grid_sample sampling, 1 thread"
    assert Execution.model_validate_json(ran.model_dump_json()) == ran
    assert (torch.engine, ran.engine) == ("torch", "openvino")


@pytest.mark.parametrize("trust", [False, True])
def test_code_that_lay_in_the_folder_is_run_where_it_is_trusted(
    trust: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def load(path: Path, *, trust: bool, threads: int, engine: str) -> ExportedModel:
        assert engine == "aot"
        asked.append(trust)
        return ExportedModel(path, None, {"weights": "0" * 64})  # type: ignore[arg-type]

    monkeypatch.setattr(exported, "load_exported", load)
    spec = mask2former(parse_encoder("1,1,1"), "tiny")
    how = ExportSettings((64, 64), floating=True)
    settings = ExecutionSettings("cpu", engine="aot", trust=trust)
    name = file_name(spec, {"weights": "0" * 64, "input": how.__dict__})
    (tmp_path / f"{name}.pt2").write_bytes(b"")
    weights: Any = SimpleNamespace(spec=spec, digest="0" * 64, source="a.pth")
    found = exported._made(weights, tmp_path, settings, how, lambda what, done, total: None)
    assert (found.path.name, asked) == (f"{name}.pt2", [trust])


class Provided:
    """onnxruntime as far as `TensorRt` uses it, on a machine with these providers."""

    GraphOptimizationLevel = SessionOptions = MagicMock
    __version__ = "1.0"

    def __init__(self, there: list[str], start: list[str]) -> None:
        self.there, self.start, self.asked = there, start, []

    def get_available_providers(self) -> list[str]:
        return self.there

    def InferenceSession(self, path: str, options: object, providers: list[str]) -> MagicMock:  # noqa: N802
        self.asked.append(providers)
        return MagicMock(get_providers=lambda: self.start)


def test_tensorrt_is_asked_for_before_all_else_and_named_where_it_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    for there, start, said in (
        (order[2:], order[2:], "onnxruntime has no TensorrtExecutionProvider here, but CPUExecutionProvider"),
        (order, order[1:], "TensorRT did not start, and CUDAExecutionProvider would run it"),
        (order, order, None),
    ):
        fake = Provided(there, start)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)  # type: ignore[arg-type]
        if said is None:
            assert TensorRt(tmp_path / "a.onnx").name == "tensorrt"
        else:
            with pytest.raises(BenchError, match=said):
                TensorRt(tmp_path / "a.onnx")
        assert fake.asked == ([order] if there == order else [])


def test_tensorrt_is_refused_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    found = run("profile", "-b", "tiny", "--engine", "tensorrt")
    assert (found.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "onnxruntime-gpu" in found.stderr


def test_a_record_of_tensorrt_is_of_a_gpu() -> None:
    how = {"device": "cpu", "device_name": "a CPU", "dtype": "fp32", "batch_size": 1, "mode": "eager"}
    torch = Execution.model_validate({**how, "sampling": "grid_sample", "optimizations": True, "threads": 1})
    ran = Runtime("tensorrt", version="1.0").execution(torch, "auto")
    assert (ran.device, ran.engine, ran.mode) == ("cuda", "tensorrt", "exported")
    assert Runtime("openvino").execution(torch, "auto").device == "cpu"


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "64x64"},
        {"size": [64]},
        {"size": [64, -1]},
        {"size": [64, 64.0]},
        {"batch_size": None},
        {"batch_size": 0},
        {"dynamic": 1},
        {"floating": "no"},
        {"precision": "int4"},
    ],
)
def test_a_description_of_an_input_that_cannot_be_is_of_no_export(wrong: dict[str, Any]) -> None:
    given = {"size": [64, 64], "batch_size": 1, "dynamic": False, "floating": True, "precision": "fp32"}
    assert told_of(Path("a.onnx"), json.dumps({"input": given, "head": {}}))
    with pytest.raises(BenchError, match="does not say"):
        told_of(Path("a.onnx"), json.dumps({"input": {**given, **wrong}, "head": {}}))


def test_what_an_engine_says_of_a_run_is_an_error_of_ours(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 2)) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "graph", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "a.onnx")
    with pytest.raises(BenchError, match="onnxruntime cannot run it"):
        OnnxRuntime(tmp_path / "a.onnx").run_all([np.zeros((3, 3), np.float32)])


def test_a_file_that_is_not_proved_does_not_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from proscale_bench.bench import export as exporting
    from proscale_bench.bench.engines import export_into

    codes = [ExitCode.UNTRUSTED, ExitCode.USAGE]

    def write(weights: object, path: Path, settings: object, **how: object) -> None:
        for one in (path, path.with_suffix(".bin")):
            one.write_bytes(b"")
        raise BenchError("differs from torch", None, codes.pop(0))

    monkeypatch.setattr(exporting, "export_weights", write)
    path, given = tmp_path / "kept" / "a.xml", ExportSettings((64, 64))
    for left in (0, 2):
        with pytest.raises(BenchError, match="differs"):
            export_into(SimpleNamespace(), path, given, 1, lambda what, done, total: None)  # type: ignore[arg-type]
        assert len(list(path.parent.iterdir())) == left
