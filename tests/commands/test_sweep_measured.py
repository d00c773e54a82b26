"""`sweep` with weights: counted, profiled and evaluated from the command line, in workers of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from proscale_bench.cli import app
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.files import locked
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.results.store import load
from tests.built import build_model
from tests.data.made import CATEGORIES, SPLIT, make_dataset

pytestmark = pytest.mark.xdist_group("measured")  # one sweep serves them all

ROOT = Path(__file__).parents[2]
SPEC = """\
schema_version: 1
name: measured
backbones: tiny
sizes: 32x32
weights: [baseline.safetensors, ones.safetensors, cut.safetensors]
count:
profile: {threads: 1, repeats: 2}
evaluate: {data: coco, resize: none, bootstrap: 20}
"""


def call(*args: str) -> Result:
    return CliRunner().invoke(app, ["sweep", *args], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A specification, data, and weights, one of them damaged."""
    folder = tmp_path_factory.mktemp("measured")
    make_dataset(folder / "coco", 3)
    for name, schedule in (("baseline", "baseline"), ("ones", "1,1,1"), ("cut", "3,3,3")):
        torch.manual_seed(0)
        model = build_model(parse_schedule(schedule), "tiny", len(CATEGORIES)).half()
        save_checkpoint(model, folder / f"{name}.safetensors", {"seed": 0})
    whole = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-1000])
    (folder / "measured.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def swept(folder: Path) -> Result:
    return call(str(folder / "measured.yaml"), "--out", str(folder / "run"), "--processes", "2")


def test_all_is_measured_but_what_cannot_be(folder: Path, swept: Result) -> None:
    assert swept.exit_code == 2, swept.output
    assert "1 of 9 configurations failed" in swept.stderr
    assert "cut.safetensors: not a whole safetensors file" in swept.stderr
    records, problems = load(folder / "run")
    assert problems == []
    assert len(records) == 9
    assert sum(one.execution is None for one in records) == 3
    profiled = [one for one in records if one.profile]
    assert {one.identity.schedule for one in profiled} == {"baseline", "1,1,1", "3,3,3"}
    assert len({one.profile.session for one in profiled if one.profile}) == 1
    assert {one.identity.classes for one in records if not one.input.dataset} == {len(CATEGORIES)}
    judged = [one.accuracy.evaluated for one in records if one.accuracy]
    assert [(how.images, how.training_seed, how.processes) for how in judged if how] == [(3, 0, 1)] * 2


def test_costs_are_shown_first_and_all_at_the_end(swept: Result) -> None:
    lines = swept.stdout.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("baseline ")]
    assert len(starts) == 2
    costs, everything = (lines[start : start + 3] for start in starts)
    assert (
        [line.split()[0] for line in costs]
        == [line.split()[0] for line in everything]
        == [
            "baseline",
            "1,1,1",
            "3,3,3",
        ]
    )
    assert "failed" in everything[2]
    assert "failed" not in everything[0] + everything[1]
    assert any("3,3,3 failed: " in line for line in lines)


def test_the_report_shows_what_was_found(folder: Path, swept: Result) -> None:
    names = {path.name for path in (folder / "run").iterdir()}
    figures = ("pareto", "costs", "latency", "savings")
    assert {f"{name}.{kind}" for name in figures for kind in ("svg", "png")} <= names
    report = (folder / "run" / "report.md").read_text()
    assert "## Side by side: tiny Swin: 32x32" in report
    assert f"## Accuracy on {SPLIT}" in report
    assert "## Failed" in report
    assert swept.stdout.splitlines()[-1] == f"report: {folder / 'run' / 'index.html'}"


def test_only_what_failed_is_tried_again(folder: Path, swept: Result) -> None:
    run = folder / "run"
    before = {path.name: path.read_bytes() for path in (run / "records").iterdir()}
    again = call(str(folder / "measured.yaml"), "--out", str(run), "--export-json", str(folder / "rows.json"))
    assert again.exit_code == 2
    after = {path.name: path.read_bytes() for path in (run / "records").iterdir()}
    changed = [name for name in before if before[name] != after.get(name)]
    assert before.keys() == after.keys()
    assert all(json.loads(after[name])["error"] for name in changed)
    rows = json.loads((folder / "rows.json").read_text())["results"]
    assert [row["error"] is None for row in rows] == [True] * 8 + [False]
    assert not (run / "evaluation").exists()


def test_two_sweeps_in_one_folder_are_told(folder: Path) -> None:
    with locked(folder / "other"):
        result = call(str(folder / "measured.yaml"), "--out", str(folder / "other"))
    assert result.exit_code == 2
    assert "another sweep is running" in result.stderr


FIRST = """
import sys
from proscale_bench.cli import main
from proscale_bench.sweeps.local import LocalExecutor

def run(self, tasks):
    print("measuring, torch is", "there" if "torch" in sys.modules else "not there", flush=True)
    raise KeyboardInterrupt

LocalExecutor.run = run
sys.argv = ["proscale-bench", "sweep", "measured.yaml", "--out", "first"]
main()
"""


def test_costs_are_shown_before_torch_is_loaded(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FIRST], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 130, done.stderr
    assert lines[-1] == "measuring, torch is not there"
    assert [line.split()[0] for line in lines if line.startswith(("baseline ", "1,1,1 "))] == ["baseline", "1,1,1"]
    assert "what is done is kept in first; run the same command to go on" in done.stderr
    assert len(load(folder / "first")[0]) == 3


def test_ray_that_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proscale_bench.sweeps.ray.executor.find_spec", lambda name: None)
    result = call(str(folder / "measured.yaml"), "--out", str(folder / "ray"), "--ray", "local")
    assert result.exit_code == 2
    assert "Ray is not installed" in result.stderr
    assert "proscale-bench[ray]" in result.stderr


def test_without_weights_the_default_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proscale_bench.config.weights.FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    result = call()
    assert result.exit_code == 2
    assert "no weights ship with this installation" in result.stderr
    assert "hint: " in result.stderr
