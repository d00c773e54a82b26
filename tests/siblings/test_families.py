"""Every encoder family goes through every command as Mask2Former's own encoder does, in process."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.specs.spelling import parse_encoder
from tests.cli import run

FAMILIES = ("lite:(2+1)x1", "lite:(2+1)x1+kda+maxpool", "early-exit:3", "hybrid", "hybrid+folded+maxpool", "pem")
FAMILIES += ("1,1,1,1", "5:1,5432:1", "1,0,1+dw+keep:0.5")  # what is ours in the staged encoder
SWEEP = """
schema_version: 1
name: families
backbones: tiny
sizes: 64x96
schedules: {schedules}
count:
profile: {{repeats: 3, threads: 1}}
"""
BUDGETS = """
schema_version: 1
defaults: {{backbone: tiny, size: 64x96}}
budgets:
  - schedule: {schedule}
    total_gflops: {{max: 1, max_increase_pct: 0, against: baseline}}
"""


def rows(*arguments: str) -> list[dict[str, Any]]:
    """The results of a command that exports JSON."""
    done = run(*arguments, "--export-json", "-")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    return found


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all families: counted, and profiled in turns with the baseline."""
    folder = tmp_path_factory.mktemp("families")
    sweep = folder / "sweep.yaml"
    sweep.write_text(SWEEP.format(schedules=json.dumps(["baseline", *FAMILIES])))
    done = run("sweep", str(sweep), "--out", str(folder / "run"))
    assert done.exit_code == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_counted_verified_and_drawn(family: str) -> None:
    (row,) = rows("flops", "-s", family, "-b", "tiny", "--size", "97x131", "--verify", "--as-executed")
    assert row["schedule"] == family
    parts = [part.row() for part in parse_encoder(family).parts if not part.numbered]
    assert all(part in row.get("parts", parts) for part in parts)
    inside = [part["name"] for part in parts if part["of"] == "encoder"]
    assert sum(row["gflops"][part] for part in inside) == pytest.approx(row["gflops"]["encoder"], rel=1e-12)
    assert 0 < row["executed"]["gflops"]["encoder"] <= row["gflops"]["encoder"]
    for by in ("stage", "layer", "operator"):
        assert family in run("flops", "-s", family, "-b", "tiny", "--by", by).stdout.replace("\n", "")
    shown = run("schedules", "show", family, "-b", "tiny")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_trained_inspected_and_evaluated_from_its_file(family: str, tmp_path: Path) -> None:
    few = ("--recipe", "shapes", "--iterations", "2", "--batch-size", "2", "--threads", "1", "--device", "cpu")
    done = run("train", "-s", family, *few, "--out", str(tmp_path / "trained"))
    assert done.exit_code == 0, done.stderr
    weights = str(tmp_path / "trained" / "model.safetensors")
    (inspected,) = rows("models", "inspect", weights)
    assert (inspected["schedule"], inspected["schedule_from"]) == (family, "metadata")
    assert not inspected["account"]["missing"] + inspected["account"]["unexpected"]
    (counted,) = rows("flops", "--weights", weights)
    assert (counted["schedule"], counted["backbone"]) == (family, "tiny")
    few = ("--limit", "2", "--bootstrap", "0", "--out", str(tmp_path / "judged"))
    (row,) = rows("eval", "--weights", weights, *few)
    assert (row["schedule"], row["images"]) == (family, 2)
    assert row["pq"] is not None


def test_all_are_swept_and_reported(swept: Path, tmp_path: Path) -> None:
    done = run("report", str(swept), "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.stderr
    found = list(csv.DictReader((tmp_path / "out/report.csv").open()))
    assert {row["schedule"] for row in found} == {"baseline", *FAMILIES}
    for name in ("index.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert all(family in text for family in FAMILIES), name
        assert "1,0,1+dw+keep:0.5: the depth-wise convolution and token retention are ours" in text, name


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_profiled_in_turns_by_part(swept: Path, family: str) -> None:
    records = [json.loads(path.read_text()) for path in (swept / "records").glob("*.json")]
    (record,) = (one for one in records if one["identity"]["schedule"] == family and one.get("profile"))
    assert record["error"] is None
    stages = record["profile"]["stages"]
    assert {"encoder", "encoder_projection", "pixel_embedding"} <= set(stages)
    assert record["profile"]["realised_saving_pct"] is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_held_to_a_budget(swept: Path, tmp_path: Path, family: str) -> None:
    budgets = tmp_path / "budgets.yaml"
    budgets.write_text(BUDGETS.format(schedule=json.dumps(family)))
    done = run("check", str(budgets), "--records", str(swept), "--explain")
    assert done.exit_code == 0, done.stdout + done.stderr
    budgets.write_text(BUDGETS.format(schedule=json.dumps(family)).replace("max: 1,", "max: 0.001,"))
    assert run("check", str(budgets), "--records", str(swept), "--explain").exit_code == 1
