"""A gate's free choice goes through every command: each exit is shown, and a mean over exits is never one image's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import run

EXITS = [f"early-exit:{layers}" for layers in range(2, 7)]
STATED, CANONICAL = "early-exit+exits:10/20/30/20/20", "early-exit+exits:1/2/3/2/2"
SMALL = ("-b", "tiny", "--size", "64x96")
SWEEP = """
schema_version: 1
name: exits
backbones: tiny
sizes: 64x96
schedules: {schedules}
{steps}
"""
BUDGET = """
schema_version: 1
budgets:
  - schedule: {schedule}
    backbone: tiny
    size: 64x96
    {limit}
"""


def rows(*arguments: str) -> list[dict[str, Any]]:
    """The results of a command that exports JSON."""
    done = run(*arguments, "--export-json", "-")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    return found


def refused(*arguments: str) -> str:
    """The error of a command that refuses its input."""
    done = run(*arguments)
    assert done.exit_code == 2, done.stdout + done.stderr
    assert "hint: " in done.stderr
    return done.stderr


def test_flops_shows_every_exit_and_says_why() -> None:
    done = run("flops", "-s", "early-exit", *SMALL)
    assert done.exit_code == 0
    assert all(one in done.stdout for one in EXITS)
    assert "early-exit: its gate chooses an exit for each image, so it has no one cost" in done.stdout
    assert [row["schedule"] for row in rows("flops", "-s", "early-exit", *SMALL)] == EXITS
    assert "no one cost" in run("flops", "-s", "early-exit", *SMALL, "--export-markdown", "-").stdout


def test_a_stated_distribution_has_an_expected_cost_beside_its_exits() -> None:
    (row,) = rows("flops", "-s", STATED, *SMALL)
    assert row["schedule"] == CANONICAL
    assert [(one["schedule"], one["share"]) for one in row["exits"]] == list(
        zip(EXITS, (0.1, 0.2, 0.3, 0.2, 0.2), strict=True)
    )
    for part in ("encoder", "total"):
        mean = sum(one["share"] * one["gflops"][part] for one in row["exits"])
        assert row["gflops"][part] == pytest.approx(mean, rel=1e-12)
    done = run("flops", "-s", STATED, *SMALL, "--verify", "--as-executed")
    assert "no image costs this" in done.stdout
    assert "4.2 × " in done.stdout  # layers on average
    assert all(done.stderr.count(f"verified {one}: closed form = trace") == 1 for one in EXITS)
    assert all("exits" not in row for row in rows("flops", "-s", "early-exit:3", "-s", "3,3,3", *SMALL))


def test_drawings_end_a_stage_where_an_image_may_leave() -> None:
    shown = run("schedules", "show", "early-exit", "-b", "tiny").stdout
    assert "stage 5" in shown
    assert "no one cost" in shown
    assert "stage 3" not in run("schedules", "show", "early-exit:3", "-b", "tiny").stdout


def test_a_latency_is_of_a_fixed_exit(tmp_path: Path) -> None:
    done = run("profile", "-s", "early-exit", *SMALL, "--repeats", "3", "--device", "cpu", "--out", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert "every exit is timed by itself" in done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("records/*.json")]
    layers = {
        record["identity"]["schedule"]: sum("encoder_token_layer_" in stage for stage in record["profile"]["stages"])
        for record in records
    }
    assert layers == {"baseline": 6, **{exit_: int(exit_[-1]) for exit_ in EXITS}}
    assert "an expectation over many" in refused("profile", "-s", STATED, *SMALL, "--device", "cpu")


def test_a_sweep_counts_every_exit_and_marks_what_is_expected(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP.format(schedules=json.dumps(["baseline", "early-exit", STATED]), steps="count:"))
    done = run("sweep", str(sweep), "--out", str(tmp_path / "run"))
    assert done.exit_code == 0, done.stderr
    table = list(csv.DictReader((tmp_path / "run/report.csv").open()))
    expected = {row["schedule"]: row["gflops_expected_over"] for row in table}
    assert set(expected) == {"baseline", *EXITS, CANONICAL}
    assert [name for name, over in expected.items() if over] == [CANONICAL]
    assert expected[CANONICAL].startswith("0.1 early-exit:2 + 0.2 early-exit:3")
    for name in ("report.md", "index.html"):
        assert "no image costs this" in (tmp_path / "run" / name).read_text()
    done = run("compare", str(tmp_path / "run"), str(tmp_path / "run"), "--old", "early-exit:6", "--new", STATED)
    assert "no image costs this" in done.stdout
    sweep.write_text(SWEEP.format(schedules=json.dumps(["baseline", STATED]), steps="profile: {repeats: 3}"))
    assert f"{sweep.name}:7:1: " in refused("sweep", str(sweep), "--out", str(tmp_path / "other"))


def test_a_limit_is_on_an_exit_or_on_an_expectation(tmp_path: Path) -> None:
    budgets = tmp_path / "budgets.yaml"
    for schedule in ("early-exit:3", STATED):
        budgets.write_text(BUDGET.format(schedule=json.dumps(schedule), limit="encoder_gflops: {max: 1}"))
        assert run("check", str(budgets)).exit_code == 0
    budgets.write_text(BUDGET.format(schedule="early-exit", limit="encoder_gflops: {max: 1}"))
    said = refused("check", str(budgets))
    assert "no one cost" in said
    assert f"{budgets.name}:7:" in said


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a parent, trained for two iterations."""
    folder = tmp_path_factory.mktemp("early-exit")
    few = ("--recipe", "shapes", "--iterations", "2", "--batch-size", "2", "--threads", "1", "--device", "cpu")
    done = run("train", "-s", "early-exit", *few, "--out", str(folder))
    assert done.exit_code == 0, done.stderr
    return str(folder / "model.safetensors")


def test_an_evaluation_records_which_exits_were_taken(weights: str, tmp_path: Path) -> None:
    few = ("--weights", weights, "--limit", "6", "--bootstrap", "0", "--tasks", "panoptic", "--out", str(tmp_path))
    (row,) = rows("eval", *few)
    assert row["schedule"] == "early-exit"
    assert [one["schedule"] for one in row["exits"]] == EXITS
    assert sum(one["share"] for one in row["exits"]) == pytest.approx(1)
    assert all((6 * one["share"]) == pytest.approx(round(6 * one["share"])) for one in row["exits"])
    mean = sum(one["share"] * one["gflops"]["total"] for one in row["exits"])
    assert row["gflops"]["total"] == pytest.approx(mean, rel=1e-12)
    (batched,) = rows("eval", *few, "--batch-size", "3", "--no-resume")
    assert batched["exits"] == row["exits"]
    (fixed,) = rows("eval", *few, "--schedule", "early-exit:3")
    assert fixed["schedule"] == "early-exit:3"
    assert "exits" not in fixed
    assert fixed["gflops"]["total"] == row["exits"][1]["gflops"]["total"]
    assert len(list(tmp_path.glob("records/*.json"))) == 3  # an exit, a batch size: none replaces another
    assert "measured on 6 images" in run("eval", *few).stdout


def test_a_choice_is_not_compiled_and_an_expectation_not_run(weights: str, tmp_path: Path) -> None:
    few = ("--weights", weights, "--limit", "2", "--out", str(tmp_path))
    assert "cannot be compiled" in refused("eval", *few, "--compile")
    assert "is an expectation, and no model" in refused("eval", *few, "--schedule", STATED)
    assert "is an expectation, and no model" in refused("train", "-s", STATED, "--out", str(tmp_path / "trained"))


def test_a_file_of_the_official_layout_tells_its_gate(weights: str, tmp_path: Path) -> None:
    official = str(tmp_path / "official.pth")
    assert run("models", "convert", weights, official).exit_code == 0
    (ours,) = rows("models", "inspect", weights)
    (theirs,) = rows("models", "inspect", official)
    assert theirs["schedule"] == "early-exit"
    assert theirs["digest"] == ours["digest"]
    assert "sem_seg_head.pixel_decoder.transformer.encoder.gt.head.weight" in json.dumps(theirs)


@pytest.mark.parametrize("target", ["early-exit", "early-exit:2"])
def test_a_baseline_gives_each_layer_its_own(target: str, tmp_path: Path) -> None:
    from proscale_bench.config.weights import FOLDER
    from proscale_bench.models.checkpoints.load import load_checkpoint

    baseline, out = FOLDER / "tiny-baseline.safetensors", tmp_path / "start.safetensors"
    done = run("models", "warm-start", str(baseline), str(out), "--schedule", target)
    assert done.exit_code == 0, done.stderr
    old, new = (load_checkpoint(path).encoder.state_dict() for path in (baseline, out))
    assert {key for key in new if key not in old} == {"gate.weight", "gate.bias"}
    assert all((new[key] == tensor).all() for key, tensor in old.items())


def test_an_expectation_has_a_row_for_each_operator_and_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spelling = "early-exit+exits:1/2/3/2/2"
    small = ("-b", "tiny", "--size", "64x96")
    for more in (("--by", "operator"), ("--by", "operator", "--as-executed", "--export-markdown", "-")):
        assert run("flops", *small, "-s", spelling, *more).exit_code == 0
    for command in (
        ("eval", "--random-weights", "0", "-s", spelling),
        ("train", "-s", spelling),
        ("models", "export", "model.onnx", "-s", spelling),
        ("models", "warm-start", "baseline.pth", "start.safetensors", "-s", spelling),
    ):
        refused = run(*command)
        assert (refused.exit_code, list(tmp_path.iterdir())) == (2, [])
        assert "is an expectation, and no model" in refused.stderr
