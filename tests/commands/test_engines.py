"""Exported files in `profile` and `eval`: refused before anything is loaded, timed beside torch, and evaluated."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.config.weights import shipped_weights
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.results.store import load
from tests.cli import run
from tests.export.models import small_model, small_spec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SHIPPED = str(shipped_weights()["tiny-1-1-1"])
TINY = ("-b", "tiny", "--size", "64x64", "--threads", "1")
CLASSES = 13  # of the embedded data


@dataclass(frozen=True)
class Done:
    """A profile of a baseline in two engines, and the file that one of them ran."""

    folder: Path
    stdout: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.folder / "p.json").read_text())["results"]
        return rows

    @property
    def file(self) -> Path:
        (file,) = (self.folder / "exported").glob("*.onnx")
        return file


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("engines")
    small = small_spec("baseline")
    spec = replace(small, head=replace(small.head, num_classes=CLASSES))
    save_checkpoint(small_model(spec), folder / "small.safetensors")
    found = run(
        *("profile", "--weights", str(folder / "small.safetensors"), "--size", "64x64", "--threads", "1"),
        *("--engine", "torch", "--engine", "onnxruntime", "--repeats", "7"),
        *("--exported", str(folder / "exported"), "--out", str(folder / "run"), f"--export-json={folder}/p.json"),
    )
    assert found.exit_code == 0, found.stderr
    return Done(folder, found.stdout)


def test_engines_take_turns_in_one_session(done: Done) -> None:
    torch, exported = done.rows
    assert torch["session"] == exported["session"]
    assert len(torch["samples_ms"]) == len(exported["samples_ms"]) == 7
    assert "inference_engine" not in torch
    assert (exported["inference_engine"], exported["mode"], exported["dtype"]) == ("onnxruntime", "exported", "fp32")
    assert exported["inference_engine_version"]
    assert (exported["stages"], exported["stage_sum_pct"]) == ({}, None)
    assert "first pass" in exported["memory"]["method"]
    assert exported["memory"]["weights_mib"] > 1
    for words in ("64x64, batch 1, in onnxruntime", "exported in onnxruntime", "as fast as in torch"):
        assert words in " ".join(done.stdout.split())


def test_a_record_names_the_engine_and_is_another_than_torchs(done: Done) -> None:
    records, _ = load(done.folder / "run")
    assert len({record.digest for record in records}) == 2
    assert {record.execution.engine for record in records if record.execution} == {"torch", "onnxruntime"}


def test_a_report_and_a_budget_tell_engines_apart(done: Done, tmp_path: Path) -> None:
    reported = run("report", str(done.folder / "run"), "--out", str(tmp_path / "report"))
    assert reported.exit_code == 0, reported.stderr
    assert "onnxruntime" in (tmp_path / "report" / "report.md").read_text()
    device = done.rows[0]["device_name"]
    limit = {"max": 1e6, "device": device, "size": "64x64", "engine": "onnxruntime"}
    weights = str(done.folder / "small.safetensors")
    budget: dict[str, Any] = {"weights": weights, "latency_median_ms": limit}
    file = tmp_path / "budgets.yaml"
    for engine, code in (("onnxruntime", 0), ("torch", 0), ("openvino", 1)):
        limit["engine"] = engine
        file.write_text(json.dumps({"schema_version": 1, "budgets": [budget]}))
        checked = run("check", str(file), "--records", str(done.folder / "run"), "--format", "json")
        assert checked.exit_code == code, (engine, checked.stdout, checked.stderr)


def test_a_file_is_timed_as_it_is(done: Done, tmp_path: Path) -> None:
    options = ("--threads", "1", "--repeats", "2", "--out", str(tmp_path / "run"), "--export-json", "-")
    found = run("profile", "--weights", str(done.file), *options)
    assert found.exit_code == 0, found.stderr
    (row,) = json.loads(found.stdout)["results"]
    assert (row["schedule"], row["inference_engine"], row["input"]["size"]) == (
        done.rows[0]["schedule"],
        "onnxruntime",
        "64x64",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("profile", *TINY, "--engine", "onnx"), "onnxruntime"),
        (("profile", *TINY, "--engine", "onnxruntime", "--dtype", "bf16"), "--dtype bf16"),
        (("profile", *TINY, "--engine", "onnxruntime", "--device", "cuda"), "--device cuda"),
        (("profile", *TINY, "--engine", "onnxruntime", "--no-optimizations"), "--no-optimizations"),
        (("profile", *TINY, "--engine", "onnxruntime", "--compile"), "--engine torch"),
        (("profile", *TINY, "--engine", "aot", "--quantize", "int8"), "not quantised"),
        (("profile", *TINY, "--quantize", "int8"), "name an --engine"),
        (("profile", *TINY, "--exported", "kept"), "name an --engine"),
        (("profile", "--model", "torchvision:resnet18", "--engine", "onnxruntime"), "--model"),
        (("eval", "--engine", "onnx"), "onnxruntime"),
        (("eval", "--engine", "onnxruntime", "--from-predictions", "seen"), "has none"),
        (("eval", "--weights", "a.pt2"), "--trust"),
        (("eval", "--weights", "a.onnx", "--engine", "openvino"), "runs in onnxruntime"),
    ],
)
def test_what_no_engine_does_is_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*arguments)
    assert (found.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert said in found.stderr


@pytest.mark.parametrize("command", ["profile", "eval"])
def test_an_engine_that_is_not_installed_names_its_extra(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from proscale_bench.export import extras

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "openvino" else object())
    found = run(command, "--engine", "openvino")
    assert (found.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "proscale-bench[openvino]" in found.stderr


@pytest.mark.parametrize("command", ["profile", "eval"])
def test_files_that_are_no_exports_are_refused(done: Done, command: str, tmp_path: Path) -> None:
    whole = done.file.read_bytes()
    foreign = onnx.load(done.file)
    del foreign.metadata_props[:]
    for name, content, said in [
        ("cut.onnx", whole[: len(whole) // 2], "cannot load it"),
        ("foreign.onnx", foreign.SerializeToString(), "does not say that it is an export of ours"),
    ]:
        (tmp_path / name).write_bytes(content)
        found = run(command, "--weights", str(tmp_path / name), "--out", str(tmp_path / "run"))
        assert (found.exit_code, (tmp_path / "run").exists()) == (2, False), found.stdout
        assert said in found.stderr


def test_a_size_that_a_file_does_not_take_is_refused(done: Done, tmp_path: Path) -> None:
    for flags in (("--size", "64x96"), ("-n", "2")):
        found = run("profile", "--weights", str(done.file), *flags, "--out", str(tmp_path / "run"))
        assert found.exit_code == 2
        assert "it takes 64x64, batch 1" in found.stderr
        assert not (tmp_path / "run").exists()


def test_a_file_is_evaluated_as_it_is(done: Done, tmp_path: Path) -> None:
    how = ("--limit", "2", "--bootstrap", "0", "--threads", "1", "--out", str(tmp_path / "run"), "--export-json", "-")
    found = run("eval", "--weights", str(done.file), "--resize", "64,64", *how)
    assert found.exit_code == 0, found.stderr
    (row,) = json.loads(found.stdout)["results"]
    assert (row["mode"], row["inference_engine"], row["weights"]) == ("exported", "onnxruntime", done.file.name)
    assert "different_maps" not in row["accuracy"]["evaluated"]  # nobody has these weights
    other = run("eval", "--weights", str(done.file), *how)
    assert other.exit_code == 2
    assert "takes images of 64x64, and the data have one of" in other.stderr


@pytest.mark.slow
def test_an_exported_file_is_worth_what_torch_is(tmp_path: Path) -> None:
    found = run(
        *("eval", "--weights", SHIPPED, "--engine", "torch", "--engine", "onnxruntime", "--quantize", "int8"),
        *("--limit", "1", "--bootstrap", "0", "--threads", "1", "--exported", str(tmp_path / "exported")),
        *("--out", str(tmp_path / "run"), f"--export-json={tmp_path}/e.json"),
    )
    assert found.exit_code == 0, found.stderr
    torch, exported, quantised = json.loads((tmp_path / "e.json").read_text())["results"]
    assert "different_maps" not in torch["accuracy"]["evaluated"]
    assert exported["accuracy"]["evaluated"]["different_maps"] == 0
    for name in ("pq", "ap", "miou"):
        assert exported[name] == pytest.approx(torch[name], abs=0.05)
    assert (exported["dtype"], quantised["dtype"]) == ("fp32", "int8")
    assert quantised["accuracy"]["evaluated"]["different_maps"] >= 0
    assert torch["weights_digest"] == exported["weights_digest"] == quantised["weights_digest"]
    assert "in onnxruntime: 1 of 1 panoptic maps equal torch's" in found.stdout
    assert len(load(tmp_path / "run")[0]) == 3
    file = next(one for one in (tmp_path / "exported").glob("*.onnx"))
    again = run(
        "eval", "--weights", str(file), "--limit", "1", "--bootstrap", "0", "--threads", "1", "--export-json", "-"
    )
    (row,) = json.loads(again.stdout)["results"]  # the weights ship: it is held against them
    assert row["accuracy"]["evaluated"]["different_maps"] is not None
