"""`models inspect|convert|warm-start`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.load import open_checkpoint
from tests.cli import run
from tests.models.checkpoints.samples import RESNET, official, same, small_model, write


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write(tmp_path / "weights.pth", official(small_model("2,1,1")), iteration=5)


def test_inspect_shows_the_model_and_every_tensor(weights: Path) -> None:
    result = run("models", "inspect", str(weights))
    assert result.exit_code == 0, result.stderr
    facts = result.stdout.partition("\n\n")[0]
    lines = {line[:22].strip(): line[23:] for line in facts.splitlines()}
    assert lines["schedule"] == "2,1,1 (read off the tensors)"
    assert lines["backbone"] == "custom Swin, depths 1-2-1-1, heads 1-2-4-8"
    assert lines["token layer"] == "4 heads, 4 points a level, FFN 16"
    assert lines["queries, classes"] == "5, 7"
    assert lines["beside them"] == "iteration"
    assert lines["digest of the weights"] == open_checkpoint(weights).digest
    for key in official(small_model("2,1,1")):
        assert f"  {key}  [" in result.stdout
    assert "unused      criterion.empty_weight  [8] float32" in result.stdout
    assert "sem_seg_head.predictor.decoder_norm.bias  [32] float32  -> decoder.norm.bias" in result.stdout


def test_inspect_can_be_brief(weights: Path) -> None:
    result = run("models", "inspect", "--brief", str(weights))
    assert "decoder_norm" not in result.stdout
    assert "converted" in result.stdout


def test_inspect_names_backbones_that_have_a_name(tmp_path: Path) -> None:
    from tests.built import build_model

    torch.manual_seed(0)
    path = write(tmp_path / "tiny.safetensors", official(build_model(small_model("1,1,1").encoder.schedule, "tiny")))
    assert "tiny: Swin, depths 1-1-2-1" in run("models", "inspect", str(path)).stdout


def test_inspect_exports_the_account(weights: Path, tmp_path: Path) -> None:
    result = run("models", "inspect", str(weights), "--export-json", "-", "--schedule", "2,1,1+residual")
    (row,) = json.loads(result.stdout)["results"]
    assert (row["schedule"], row["schedule_from"], row["layout"]) == ("2,1,1+residual", "given", "official")
    assert row["backbone"] is None
    assert row["backbone_dimensions"]["window"] == 4
    assert (row["width"], row["queries"], row["classes"], row["head_dimensions"]["encoder_heads"]) == (32, 5, 7, 4)
    assert row["account"]["missing"] == row["account"]["unexpected"] == 0
    assert {entry["key"] for entry in row["tensors"]} == set(official(small_model("2,1,1")))
    assert "2,1,1+residual (as given)" in result.stderr
    assert run("models", "inspect", str(weights), "--export-json", str(weights)).exit_code == 2


def test_inspect_lists_what_is_missing_and_fails(tmp_path: Path) -> None:
    state = official(small_model())
    del state["backbone.norm1.weight"]
    result = run("models", "inspect", str(write(tmp_path / "weights.pth", state | {"stranger": torch.zeros(2)})))
    assert result.exit_code == 2
    assert "missing     backbone.norm1.weight  [16] float32  -> backbone.norms.1.weight" in result.stdout
    assert "unexpected  stranger  [2] float32" in result.stdout
    assert "backbone.norm1.weight is missing" in result.stderr


def test_names_cannot_drive_the_terminal(tmp_path: Path) -> None:
    state = official(small_model()) | {"\x1b[31mred": torch.zeros(2)}
    path = write(tmp_path / "weights.pth", state, **{"\x1b[2J": 1})
    result = run("models", "inspect", str(path))
    assert "\x1b" not in result.stdout
    assert "\\x1b[31mred" in result.stdout


def test_inspect_says_that_a_head_is_alone(tmp_path: Path) -> None:
    state = {key: value for key, value in official(small_model()).items() if key.startswith("sem_seg_head.")}
    result = run("models", "inspect", str(write(tmp_path / "head.pth", state)))
    assert result.exit_code == 0
    assert "missing: the file holds a head alone" in result.stdout
    assert "8-16-32-64" in result.stdout


def test_a_schedule_that_contradicts_the_file_is_an_error(weights: Path) -> None:
    result = run("models", "inspect", str(weights), "--schedule", "3,3,3")
    assert result.exit_code == 2
    assert "layers.2.self_attn.sampling_offsets.weight is [64, 32], where it needs [32, 32]" in result.stderr


@pytest.mark.parametrize("columns", [80, 140])
def test_the_account_is_readable_on_a_terminal(weights: Path, columns: int) -> None:
    from proscale_bench.render.models import entry_lines, facts

    inspection = open_checkpoint(weights).inspect()
    for entry in inspection.entries:
        lines = entry_lines(entry, columns)
        assert len(lines) <= 2
        assert entry.key in lines[0]
        assert entry.model_key is None or entry.model_key in lines[-1]
        if len(lines) == 1:
            assert len(lines[0]) <= columns or entry.model_key is None
    assert all(len(what) <= 22 for what, _ in facts(inspection))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
def test_convert_writes_the_official_layout(weights: Path, tmp_path: Path, suffix: str) -> None:
    ours, back = tmp_path / f"ours{suffix}", tmp_path / f"back{suffix}"
    first = run("models", "convert", str(weights), str(ours), "--layout", "ours")
    assert f"{ours}: ours layout, {len(official(small_model('2,1,1')))} tensors, schedule 2,1,1" in first.stdout
    assert "left out: iteration" in first.stderr
    assert run("models", "convert", str(ours), str(back)).exit_code == 0
    assert same(read_stored(back).tensors, official(small_model("2,1,1")))


def test_convert_overwrites_nothing_without_force(weights: Path, tmp_path: Path) -> None:
    before = weights.read_bytes()
    refused = run("models", "convert", str(weights), str(weights))
    assert (refused.exit_code, weights.read_bytes()) == (2, before)
    assert "--force" in refused.stderr
    assert run("models", "convert", str(weights), str(weights), "--force").exit_code == 0
    assert same(read_stored(weights).tensors, official(small_model("2,1,1")))


def test_convert_to_a_folder(tmp_path: Path) -> None:
    weights = write(tmp_path / "weights.pth", official(small_model("baseline:2")))
    folder = tmp_path / "folder"
    assert run("models", "convert", str(weights), str(folder), "--layout", "huggingface").exit_code == 0
    assert open_checkpoint(folder).digest == open_checkpoint(weights).digest
    again = run("models", "convert", str(weights), str(folder), "--layout", "huggingface")
    assert (again.exit_code, "--force" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("OUT.onnx",), "no container"),
        (("OUT.pth", "--layout", "offical"), "did you mean 'official'"),
        (("OUT", "--layout", "huggingface"), "no model of schedule 2,1,1"),
        (("OUT.pth", "--schedule", "3,3"), "three numbers"),
        (("OUT.pth", "--schedule", "3,3,3"), "contradicts"),
    ],
)
def test_convert_refuses(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("models", "convert", str(weights), *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


def test_convert_refuses_what_is_incomplete(tmp_path: Path) -> None:
    state = official(small_model())
    del state["backbone.norm1.weight"]
    result = run("models", "convert", str(write(tmp_path / "in.pth", state)), str(tmp_path / "out.pth"))
    assert result.exit_code == 2
    assert not (tmp_path / "out.pth").exists()


def test_convert_writes_nothing_that_would_contradict_itself(tmp_path: Path) -> None:
    stray = "sem_seg_head.pixel_decoder.transformer.encoder.layers.1.norm2.weight.0"
    path = write(tmp_path / "in.pth", official(small_model()) | {stray: torch.zeros(2)})
    assert run("models", "inspect", "--brief", str(path)).exit_code == 2
    result = run("models", "convert", str(path), str(tmp_path / "out.pth"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}: {stray} has no place in schedule 2,1,1" in result.stderr
    assert not (tmp_path / "out.pth").exists()


def test_warm_start_writes_a_start_and_says_what_it_took(tmp_path: Path) -> None:
    weights = write(tmp_path / "baseline.pth", official(small_model("baseline", RESNET)))
    out = tmp_path / "start.safetensors"
    result = run("models", "warm-start", str(weights), str(out), "--schedule", "3,3,3")
    assert result.exit_code == 0, result.stderr
    assert "sliced   24 tensors" in result.stdout
    assert "0 from 0, 1 from 1, 2 from 1" in result.stdout
    assert "left     encoder.recalibration.score.weight: no counterpart in the baseline" in result.stdout
    assert open_checkpoint(out).inferred.schedule.compact == "3,3,3"
    assert run("models", "warm-start", str(weights), str(out)).exit_code == 2
    assert run("models", "warm-start", str(out), str(tmp_path / "x.safetensors")).exit_code == 2
    assert run("models", "warm-start", str(weights), str(tmp_path / "x.pth")).exit_code == 2
