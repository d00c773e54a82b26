"""An encoder that is not staged needs two files of one name, and a case in `spelling.py` and in `build.py`.

The package is copied, the two files are put in and the two cases written; every command then takes the new word.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
SWEEP = """
schema_version: 1
name: siblings
backbones: tiny
sizes: 64x96
schedules: [baseline, "3,3,3", pyramid]
count:
profile: {repeats: 3, threads: 1}
"""
BUDGETS = """
schema_version: 1
defaults: {backbone: tiny, size: 64x96}
budgets:
  - schedule: pyramid
    encoder_gflops: {max: 1}
    total_gflops: {max_increase_pct: 0, against: baseline}
    latency_median_ms: {max: 100000, device: DEVICE}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the sibling in it."""
    folder = tmp_path_factory.mktemp("sibling")
    package = folder / "proscale_bench"
    shutil.copytree(
        PROJECT / "proscale_bench", package, ignore=shutil.ignore_patterns("__pycache__", "weights", "*.safetensors")
    )
    shutil.copytree(PROJECT / "schedules", folder / "schedules")
    shutil.copy(HERE / "pyramid_spec.py", package / "specs/encoders/pyramid.py")
    shutil.copy(HERE / "pyramid_model.py", package / "models/encoders/pyramid.py")
    add_case(
        package / "specs/spelling.py",
        "from proscale_bench.specs.encoders.pyramid import Pyramid",
        'case "pyramid":\n            return Pyramid()\n        ',
        "case _:",
    )
    add_case(
        package / "models/build.py",
        "from proscale_bench.models.encoders.pyramid import PyramidEncoder\n"
        "from proscale_bench.specs.encoders.pyramid import Pyramid",
        "case Pyramid():\n            return PyramidEncoder(head, channels)\n        ",
        "case Schedule():",
    )
    return folder


def add_case(path: Path, imports: str, case: str, before: str) -> None:
    source = path.read_text()
    assert source.count(before) == 1
    head = "from __future__ import annotations\n"
    path.write_text(source.replace(head, f"{head}\n{imports}\n").replace(before, case + before))


def run(project: Path, *arguments: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "proscale_bench", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def swept(project: Path) -> Path:
    (project / "siblings.yaml").write_text(SWEEP)
    run(project, "sweep", "siblings.yaml", "--out", "run")
    return project / "run"


def test_it_is_counted_in_closed_form_by_a_trace_and_by_fvcore(project: Path) -> None:
    document = json.loads(
        run(project, "flops", "-s", "pyramid", "-b", "tiny", "--size", "97x131", "--verify", "--export-json", "-")
    )
    (row,) = document["results"]
    assert (row["schedule"], row["encoder"], row["layers"]) == ("pyramid", "pyramid", [])
    assert row["verified"]["traced_sizes"] == 1
    parts = [part["name"] for part in row["parts"] if part["of"] == "encoder"]
    assert parts == ["encoder_projection", "encoder_top_down", "encoder_smoothing", "pixel_embedding"]
    assert sum(row["gflops"][part] for part in parts) == pytest.approx(row["gflops"]["encoder"], rel=1e-12)
    assert row["reduction_pct"]["encoder_token_layers"] is None
    assert row["baseline"]["schedule"] == "baseline"


@pytest.mark.parametrize("by", ["stage", "layer", "operator"])
def test_its_tables_have_its_own_parts(project: Path, by: str) -> None:
    out = run(project, "flops", "-s", "pyramid", "-s", "3,3,3", "-b", "tiny", "--size", "64x64", "--by", by)
    assert ("top-down path" in out) == (by == "stage")
    assert "pyramid" in out


def test_as_executed_and_with_dimensions_of_its_own(project: Path) -> None:
    run(project, "flops", "-s", "pyramid", "--size", "64x64", "--as-executed", "--verify", "-b", "tiny")
    wide, named = (
        json.loads(run(project, "flops", "-s", "pyramid", "-b", "tiny", "--export-json", "-", *more))["results"][0]
        for more in (["--width", "128"], [])
    )
    assert wide["params_m"]["encoder"] > named["params_m"]["encoder"]


def test_it_is_drawn(project: Path) -> None:
    assert "pyramid" in run(project, "schedules", "show", "pyramid", "-b", "tiny")


def test_it_is_profiled_in_turns(project: Path) -> None:
    arguments = ("profile", "-s", "pyramid", "-b", "tiny", "--size", "64x64", "--repeats", "3", "--device", "cpu")
    document = json.loads(run(project, *arguments, "--out", "profiled", "--export-json", "-"))
    base, row = document["results"]
    assert (base["schedule"], row["schedule"]) == ("baseline", "pyramid")
    assert row["realised_saving_pct"] is not None
    assert {"encoder", "encoder_smoothing", "pixel_embedding"} <= set(row["stages"])
    assert row["stages"]["encoder_smoothing"]["gflops"]["counted"] > 0


def test_it_is_evaluated(project: Path, tmp_path: Path) -> None:
    arguments = ("eval", "--random-weights", "0", "--schedule", "pyramid", "--backbone", "tiny", "--limit", "4")
    document = json.loads(run(project, *arguments, "--bootstrap", "0", "--out", "judged", "--export-json", "-"))
    (row,) = document["results"]
    assert (row["schedule"], row["images"]) == ("pyramid", 4)
    assert row["pq"] is not None


def test_it_is_trained_inspected_and_evaluated_from_its_file(project: Path) -> None:
    shapes = (
        "--recipe",
        "shapes",
        "-s",
        "pyramid",
        "--iterations",
        "2",
        "--batch-size",
        "2",
        "--threads",
        "1",
        "--device",
        "cpu",
    )
    run(project, "train", *shapes, "--out", "trained")
    weights = project / "trained" / "model.safetensors"
    (inspected,) = json.loads(run(project, "models", "inspect", str(weights), "--export-json", "-"))["results"]
    assert (inspected["schedule"], inspected["schedule_from"]) == ("pyramid", "metadata")
    assert not inspected["account"]["missing"] + inspected["account"]["unexpected"]
    (count,) = json.loads(run(project, "flops", "--weights", str(weights), "--export-json", "-"))["results"]
    assert (count["schedule"], count["backbone"]) == ("pyramid", "tiny")
    arguments = ("eval", "--weights", str(weights), "--limit", "2", "--bootstrap", "0", "--out", "judged-file")
    (row,) = json.loads(run(project, *arguments, "--export-json", "-"))["results"]
    assert row["schedule"] == "pyramid"
    run(project, "flops", "--weights", str(weights), "-s", "3,3,3")  # another encoder in the same model
    run(project, "eval", "--weights", str(weights), "-s", "3,3,3", "--limit", "2", code=2)
    run(project, "models", "convert", str(weights), "other.pth", code=2)


def test_it_is_swept_reported_and_shown(project: Path, swept: Path) -> None:
    run(project, "report", "run", "--out", "out")
    page = (project / "out/index.html").read_text()
    assert "top-down path" in page
    assert "pyramid" in (project / "out/report.md").read_text()
    assert "pyramid" in (project / "out/report.tex").read_text()
    rows = list(csv.DictReader((project / "out/report.csv").open()))
    assert {row["schedule"] for row in rows} == {"baseline", "3,3,3", "pyramid"}
    assert (project / "out/costs.png").stat().st_size > 0


def test_it_is_held_to_a_budget_and_compared(project: Path, swept: Path) -> None:
    records = [json.loads(path.read_text()) for path in sorted((swept / "records").glob("*.json"))]
    device = next(one["execution"]["device_name"] for one in records if one.get("execution"))
    (project / "budgets.yaml").write_text(BUDGETS.replace("DEVICE", json.dumps(device)))
    out = run(project, "check", "budgets.yaml", "--records", "run", "--explain")
    assert "pyramid" in out
    (project / "budgets.yaml").write_text(BUDGETS.replace("DEVICE", json.dumps(device)).replace("{max: 1}", "{max: 0}"))
    run(project, "check", "budgets.yaml", "--records", "run", "--explain", code=1)
    run(project, "compare", "run", "run", "--old", "baseline", "--new", "pyramid")


def test_an_unknown_word_names_the_nearest(project: Path) -> None:
    run(project, "flops", "-s", "pyramit", code=2)
