"""`models export` in process: what it refuses before it loads anything, and a file from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proscale_bench.config.weights import shipped_weights
from tests.cli import run

WEIGHTS = str(next(iter(shipped_weights().values())))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("out.onnx",), "of which model"),
        ((WEIGHTS, "between", "out.onnx"), "3 paths"),
        ((WEIGHTS, "out.tflite"), "no format to export to"),
        ((WEIGHTS, "out.onnx", "--sampling", "bilinear"), "sampling"),
        ((WEIGHTS, "out.onnx", "--input-type", "int4"), "input type"),
        ((WEIGHTS, "out.onnx", "--size", "coco-val"), "a set of sizes"),
        (("out.onnx", "-s", "3,3"), "three numbers"),
        (("none.pth", "out.onnx"), "none.pth"),
        ((WEIGHTS, "out.onnx", "--dynamic", "--size", "100x100"), "multiples of 32"),
        ((WEIGHTS, "out.onnx", "--dynamic"), "a Swin's windows"),
        (("out.onnx", "-s", "early-exit", "-b", "tiny"), "its gate decides"),
        ((WEIGHTS, "out.onnx", "--quantize", "int4"), "int4"),
        ((WEIGHTS, "out.pt2", "--quantize", "int8"), "not quantised"),
        ((WEIGHTS, "out.onnx", "--model", "torchvision:resnet18"), "WEIGHTS"),
        (("out.onnx", "--model", "torchvision:resnet18", "--dynamic"), "--dynamic"),
        (("out.onnx", "--model", "torchvision:none_such"), "none_such"),
        (("out.onnx", "-s", "3,3,3", "--inputs", "a.py:make"), "--model names"),
        (("out.onnx", "-s", "1,1,1+keep:0.5", "--dynamic"), "number of tokens that it keeps"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    result = run("models", "export", *arguments)
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert said in result.stderr


def test_an_existing_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out.xml").write_text("mine")
    assert run("models", "export", WEIGHTS, str(tmp_path / "out.xml")).exit_code == 2
    (tmp_path / "other.bin").write_text("mine")
    assert run("models", "export", WEIGHTS, str(tmp_path / "other.xml")).exit_code == 2
    assert (tmp_path / "out.xml").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    [
        *("baseline:1", "1,1,1+trc:conv+spatial+residual", "1,1,1,1", "1,1,1+keep:0.5", "1,1,1+dw"),
        *("lite", "lite+kda", "hybrid", "early-exit:2", "pem"),
    ],
)
def test_every_encoder_is_exported(schedule: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    out = tmp_path / "model.onnx"
    arguments = ("--backbone", "tiny", "--size", "64x96", "--images", "2", "--export-json", "-")
    result = run("models", "export", str(out), "--schedule", schedule, *arguments)
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    assert row["proof"]["holds"]
    gate = {"linear": -5 * 64}  # of a fixed exit, where nothing takes its choice
    assert row["graph_difference"] == (gate if "exit" in schedule else {})
    counted = run("flops", "--graph", str(out), "--rules", "complete", "--export-json", "-")
    (graph,) = json.loads(counted.stdout)["results"]
    assert graph["gflops"]["total"] == row["graph_gflops"]


NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, width, 3, padding=1)

    def forward(self, images):
        features = self.stem(images).relu()
        return {"features": features, "mean": features.mean((2, 3))}

class Drawn(Net):
    def forward(self, images):
        return super().forward(images + torch.rand_like(images))
"""


def test_a_model_of_the_users_own_is_exported_and_proved(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    (tmp_path / "net.py").write_text(NET)
    out = tmp_path / "net.onnx"
    flags = ("--size", "32x64", "--batch-size", "2", "--model-args", "width=8", "--export-json", "-")
    result = run("models", "export", str(out), "--model", f"{tmp_path}/net.py:Net", *flags)
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    assert (row["inputs"], row["outputs"]) == (
        {"images": [2, 3, 32, 64]},
        {"output_0": [2, 8, 32, 64], "output_1": [2, 8]},
    )
    assert row["proof"]["largest_difference"] <= 1e-5
    assert row["graph_gflops"] == pytest.approx(2 * 8 * 3 * 9 * 32 * 64 / 1e9, rel=0.2)
    drawn = run("models", "export", str(tmp_path / "d.onnx"), "--model", f"{tmp_path}/net.py:Drawn", "--size", "32x32")
    assert drawn.exit_code == 3
    assert "differs from torch" in drawn.stderr
