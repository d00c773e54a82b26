"""A detector through the commands: counted, drawn, timed, swept and held to budgets, and what is wrong with asking."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.results.store import load
from proscale_bench.specs.deformable_detr import deformable_detr
from proscale_bench.specs.encoders.multiscale import parse_compact
from tests.cli import Result
from tests.cli import run as run_command

DETR = ("--model", "deformable-detr")


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = run_command(*arguments)
    assert result.exit_code == exit_code, result.stderr
    return result


def test_flops_tells_savings_of_encoder_layers_and_total_apart() -> None:
    result = run("flops", *DETR, "-s", "2,2,1,1", "--size", "850x1040", "--export-json", "-")
    (row,) = json.loads(result.stdout)["results"]
    assert (row["model"], row["encoder"], row["schedule"]) == ("Deformable DETR", "proscale", "2,2,1,1")
    assert set(row["reduction_pct"]) == {"encoder", "encoder_token_layers", "total"}
    assert [part["name"] for part in row["parts"]][-1] == "total"
    assert "2,2,1,1 saves 73.34% of the encoder, 77.06% of its token layers, 38.28% of the model." in result.stderr


def test_several_models_have_a_table_each() -> None:
    result = run("flops", *DETR, "--model", "deformable-detr+two-stage", "--size", "850x1040")
    titles = " ".join(result.stdout.split())
    assert "Deformable DETR, resnet50, 91 classes at 850x1040" in titles
    assert "Deformable DETR, resnet50, 91 classes, two-stage boxes at 850x1040" in titles
    assert "173" in result.stdout
    assert "177" in result.stdout
    assert "panoptic" not in result.stdout


def test_schedules_show_draws_it() -> None:
    result = run("schedules", "show", "0,0,1,1+keep:0.5", *DETR, "-b", "tiny", "--size", "256x320")
    assert "◧" in result.stdout
    assert "50 % of all tokens" in result.stdout
    assert "our mapping: no code of it is public" in result.stdout


def test_a_profile_has_the_stages_of_the_detector(tmp_path: Path) -> None:
    model = "deformable-detr+two-stage"
    arguments = ("-b", "tiny", "--size", "128x160", "--queries", "9", "--repeats", "2", "--threads", "1")
    run("profile", "--model", model, "-s", "1,0,0,1", *arguments, "--out", str(tmp_path))
    records = {record.identity.schedule: record for record in load(tmp_path)[0]}
    assert set(records) == {"baseline", "1,0,0,1"}
    profile = records["1,0,0,1"].profile
    assert profile is not None
    stages = {"prepare", "backbone", "encoder", "encoder_projection", "encoder_token_layers", "proposals"}
    assert stages | {"transformer_decoder"} <= set(profile.stages)
    assert "postprocessing" not in profile.stages
    assert profile.counted_saving_pct is not None
    assert profile.realised_saving_pct is not None
    assert records["baseline"].identity.model == "Deformable DETR"


def test_a_budget_on_a_detector(tmp_path: Path) -> None:
    file = tmp_path / "budgets.yaml"
    file.write_text(
        'schema_version: 1\nbudgets:\n  - {model: deformable-detr, schedule: "2,2,1,1", '
        "size: 850x1040, encoder_gflops: {max: 24.1}, total_gflops: {max: 106}}\n"
    )
    result = run("check", str(file), exit_code=1)
    assert "24.08" in result.stdout
    assert "106.83" in result.stdout
    file.write_text("schema_version: 1\nbudgets:\n  - {model: deformable-detr, encoder_gflops: {max: 1}}\n")
    assert "no schedule" in run("check", str(file), exit_code=2).stderr


def test_a_sweep_of_detectors(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    text = (
        "schema_version: 1\nname: d\nbackbones: [resnet50]\nmodels: [deformable-detr, deformable-detr+two-stage]\n"
        'schedules: [baseline, "2,2,1,1"]\nsizes: [coco-first100]\n'
    )
    file.write_text(text)
    run("sweep", str(file), "--out", str(tmp_path / "run"))
    totals = {
        (record.identity.schedule, (record.identity.dimensions or {}).get("boxes")): record.cost.gflops["total"]
        for record in load(tmp_path / "run")[0]
        if record.cost
    }
    assert len(totals) == 4
    assert totals["baseline", None] == pytest.approx(172.9, abs=0.05)
    assert totals["baseline", "two-stage"] == pytest.approx(177.3, abs=0.05)
    report = (tmp_path / "run" / "report.md").read_text()
    assert "two-stage boxes" in report
    assert "![box AP against total GFLOPs" in report, "detectors alone have no PQ"
    assert "post-processing" not in report, "nor masks to make"
    file.write_text(text.replace("[deformable-detr, deformable-detr+two-stage]", "[deformable-detr, mask2former]"))
    assert "no schedule in common" in run("sweep", str(file), exit_code=2).stderr
    file.write_text(text.replace("2,2,1,1", "3,3,3"))
    assert "is not four numbers of layers" in run("sweep", str(file), exit_code=2).stderr


def test_weights_of_a_detector_are_inspected_counted_and_refused_where_masks_are_asked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "detector.safetensors"
    save_checkpoint(build(deformable_detr(parse_compact("1,0,0,1"), "tiny", classes=3, queries=5)), path)
    said = run("models", "inspect", str(path), "--brief").stdout
    assert "1,0,0,1" in said
    assert "deformable-detr" in said
    assert "queries, classes" in run("models", "show", "--weights", str(path)).stdout
    (row,) = json.loads(run("flops", "--weights", str(path), "--size", "97x131", "--export-json", "-").stdout)[
        "results"
    ]
    assert (row["model"], row["classes"], row["dimensions"]) == ("Deformable DETR", 3, {"queries": 5})
    result = run("eval", "--weights", str(path), "--tasks", "panoptic", "--limit", "1", exit_code=2)
    assert "no panoptic" in result.stderr
    assert "--tasks boxes" in result.stderr
    result = run("models", "export", str(path), str(tmp_path / "x.onnx"), "--dynamic", exit_code=2)
    assert "a Swin's windows" in result.stderr
    result = run("models", "export", str(path), str(tmp_path / "x.onnx"), "--size", "32x32", exit_code=2)
    assert "use larger images" in result.stderr
    assert "of models with masks" in run("schedules", "search", "--weights", str(path), exit_code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "told", "advice"),
    [
        (("-s", "3,3,3"), "is not four numbers of layers", "2,2,1,1"),
        (("-s", "pem"), "pem: an encoder of Mask2Former's, and a detector has encoders of its own", "baseline"),
        (("-s", "pen"), "unknown schedule 'pen'", "baseline"),
        (("-s", "x.yaml"), "a detector has encoders of its own", "2,2,1,1"),
        (("--size", "32x32"), "sees no more of them than res5", "at least 33"),
        (("--model", "deformable-detr+twostage"), "unknown option '+twostage'", "did you mean 'two-stage'?"),
        (("--model", "hf:x.json"), "is of ours, and --model hf:x.json is not", "one after the other"),
        (("--depth", "3"), "--depth is of a model", "somebody else's"),
        (("--width", "100"), "width 100", "--width 128"),
    ],
)
def test_what_is_wrong_with_asking(arguments: tuple[str, ...], told: str, advice: str) -> None:
    result = run("flops", *DETR, *arguments, exit_code=2)
    assert told in result.stderr
    assert advice in result.stderr


def test_an_untrained_detector_tries_the_pipeline(tmp_path: Path) -> None:
    asked = ("--random-weights", "0", "--limit", "2", "--bootstrap", "0", "--out", str(tmp_path))
    assert "box AP" in run("eval", *DETR, "-s", "2,2,1,1", *asked).stdout
    (record,) = load(tmp_path)[0]
    assert (record.identity.model, record.identity.schedule) == ("Deformable DETR", "2,2,1,1")
    assert "is not four numbers of layers" in run("eval", *DETR, "-s", "3,3,3", *asked, exit_code=2).stderr
    refused = run("eval", *DETR, exit_code=2).stderr
    assert "a file of weights says itself which model of ours it holds" in refused
    assert "leave --model out" in refused


def test_a_name_that_is_nearly_one() -> None:
    assert "did you mean 'deformable-detr'?" in run("flops", "--model", "deformable-det", exit_code=2).stderr
    result = run("schedules", "show", "baseline", "--model", "detr", exit_code=2)
    assert "deformable-detr" in result.stderr


@pytest.mark.slow
def test_a_detector_is_exported_with_a_proof(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    path, out = tmp_path / "detector.safetensors", tmp_path / "detector.onnx"
    spec = deformable_detr(parse_compact("1,0,0,0"), "tiny", name="deformable-detr+two-stage", classes=3, queries=9)
    save_checkpoint(build(spec), path)
    result = run("models", "export", str(path), str(out), "--size", "70x101", "--export-json", "-")
    (row,) = json.loads(result.stdout)["results"]
    assert row["outputs"] == {"class_logits": [1, 9, 3], "boxes": [1, 9, 4]}
    assert row["proof"]["holds"]
    assert row["graph_gflops"] > 0
    assert out.is_file()


def test_the_page_shows_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    page = (Path(__file__).parents[2] / "docs" / "detection.md").read_text()
    blocks = re.findall(r"```console\n\$ proscale-bench (.+?)\n(.+?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for arguments, shown in blocks:
        printed = [line.rstrip() for line in run(*arguments.split()).stdout.splitlines()]
        assert printed[: len(shown.splitlines())] == shown.splitlines()
