"""The flags that say which model is meant, of every command that counts, times or shows one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.bench.count import identity_of
from proscale_bench.config.weights import shipped_weights
from proscale_bench.results.collect import read_export
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import mask2former
from tests.cli import run
from tests.models.checkpoints.samples import official, small_model, write

OWN = ("--queries", "20", "--width", "128", "--classes", "3")
SIZE = ("--size", "64x64")


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = run("flops", *SIZE, *arguments, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["results"]
    return found


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the official layout, whose header tells nothing."""
    return write(tmp_path_factory.mktemp("weights") / "foreign.pth", official(small_model("2,1,1")))


def test_dimensions_are_counted_and_named() -> None:
    (row,) = rows(*OWN)
    spec = mask2former(parse_compact("3,3,3"), classes=3, queries=20, width=128)
    assert row["params_m"]["total"] == sum(spec.parameters().values()) / 1e6
    assert (row["classes"], row["dimensions"]) == (3, {"queries": 20, "width": 128})
    assert "dimensions" not in rows()[0]
    assert "resnet50, 3 classes, width 128, 20 queries at 64x64" in run("flops", *SIZE, *OWN).stdout


def test_an_export_knows_the_model_that_was_counted(tmp_path: Path) -> None:
    assert run("flops", *SIZE, *OWN, "--export-json", str(tmp_path / "a.json")).exit_code == 0
    (record,) = read_export(tmp_path / "a.json")
    counted = identity_of(mask2former(parse_compact("3,3,3"), classes=3, queries=20, width=128))
    assert record.identity.model_copy(update={"label": counted.label}) == counted


def test_the_trace_has_the_same_dimensions() -> None:
    result = run("flops", *SIZE, "-b", "tiny", *OWN, "--verify")
    assert result.exit_code == 0, result.stderr
    assert "closed form = trace" in result.stderr


def test_weights_say_what_is_counted_without_torch(tmp_path: Path) -> None:
    path = shipped_weights()["tiny-3-3-3"]
    (row,) = rows("--weights", str(path))
    assert (row["backbone"], row["schedule"], row["classes"]) == ("tiny", "3,3,3", 13)
    assert row == rows("-b", "tiny", "--classes", "13")[0]
    assert rows("--weights", str(path), "-s", "baseline", "-s", "1,1,1") == rows(
        *("-b", "tiny", "--classes", "13", "-s", "baseline", "-s", "1,1,1")
    )


def test_weights_that_were_cut_short_are_not_counted(tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(shipped_weights()["tiny-3-3-3"].read_bytes()[:-1000])
    result = run("flops", "--weights", str(cut))
    assert result.exit_code == 2
    assert f"{cut}: not a whole safetensors file" in result.stderr


def test_any_layout_says_what_is_counted(foreign: Path) -> None:
    (row,) = rows("--weights", str(foreign))
    model = small_model("2,1,1")
    assert row["schedule"] == "2,1,1"
    assert row["params_m"]["total"] == sum(one.numel() for one in model.parameters()) / 1e6
    assert row["dimensions"]["width"] == 32


def test_a_profile_is_of_the_model_that_was_meant(foreign: Path, tmp_path: Path) -> None:
    flags = ("--repeats", "1", "--threads", "1", "--device", "cpu", "--out", str(tmp_path), "--export-json", "-")
    result = run("profile", "--weights", str(foreign), *SIZE, *flags)
    assert result.exit_code == 0, result.stderr
    base, row = json.loads(result.stdout)["results"]
    assert (base["schedule"], row["schedule"]) == ("baseline", "2,1,1")
    (counted,) = rows("--weights", str(foreign))
    for one in (base, row):
        assert (one["backbone"], one["dimensions"]) == (counted["backbone"], counted["dimensions"])
    assert row["gflops"]["total"] == counted["gflops"]["total"]


def test_schedules_and_models_are_shown_of_weights(foreign: Path) -> None:
    shown = run("schedules", "show", "--weights", str(foreign))
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("2,1,1\n")
    assert "width 32" in shown.stdout
    assert run("schedules", "show", "3,3,3", "--weights", str(foreign)).stdout.startswith("3,3,3\n")
    shown = run("models", "show", "--weights", str(foreign))
    assert shown.exit_code == 0, shown.stderr
    assert "no published results" in shown.stdout


def test_published_numbers_stand_beside_the_published_model_alone() -> None:
    assert "published, COCO" in run("models", "show", "resnet50").stdout
    assert "published, COCO" in run("models", "show", "resnet50", "--width", "256").stdout
    for flags in (("--width", "128"), ("--queries", "20"), ("--classes", "3")):
        assert "no published results" in run("models", "show", "resnet50", *flags).stdout


@pytest.mark.parametrize("command", ["flops", "profile", "schedules show", "models show"])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--queries", "0"], "--queries"),
        (["--width", "100"], "width 100 is no multiple"),
        (["--weights", "none.pth"], "none.pth"),
        (["--weights", "FILE", "--queries", "7"], "--queries 7, and FILE has"),
        (["--weights", "FILE", "--classes", "8"], "--classes 8, and FILE has"),
        (["--weights", "FILE", "--width", "64"], "--width 64, and FILE has 32"),
        (["--weights", "FILE", "BACKBONE"], "swin_t, and FILE has"),
    ],
)
def test_what_does_not_fit_is_said(
    command: str, flags: list[str], said: str, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(foreign.parent)
    backbone = ["swin_t"] if command == "models show" else ["--backbone", "swin_t"]
    words = [*command.split(), *(["resnet50"] if command == "models show" and "FILE" not in flags else [])]
    for flag in flags:
        words += backbone if flag == "BACKBONE" else [flag.replace("FILE", foreign.name)]
    words += ["3,3,3"] if command == "schedules show" else []
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, ""), result.stdout
    assert said.replace("FILE", foreign.name) in result.stderr
