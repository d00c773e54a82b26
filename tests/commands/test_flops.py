"""`flops`: the table, the exports, the checks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.errors import BenchError, ExitCode
from tests.cli import run


def exported(*arguments: str) -> dict:  # type: ignore[type-arg]
    result = run("flops", *arguments, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_the_table_shows_the_headline_and_its_conditions() -> None:
    result = run("flops", "--schedule", "3,3,3", "--backbone", "swin_t")
    assert result.exit_code == 0
    for expected in ("122.52", "59.13", "-51.74%", "-36.36%", "231.74", "168.35", "-27.35%", "coco-first100"):
        assert expected in result.stdout
    for condition in ("1 MAC = 1 FLOP", "rules fvcore", "100 images", "engine closed_form", "not counted:"):
        assert condition in result.stdout
    assert "\x1b" not in result.stdout  # not a terminal


def test_the_default_is_the_released_schedule() -> None:
    assert run("flops").stdout == run("flops", "-s", "proscale-3-3-3", "-b", "resnet50").stdout


def test_the_envelope() -> None:
    document = exported("-s", "3,3,3", "-s", "baseline", "-b", "swin_t", "--size", "800x1333")
    assert list(document) == ["schema_version", "tool_version", "created", "environment", "results"]
    assert document["schema_version"] == 1
    assert set(document["environment"]) >= {"python", "platform"}
    assert [row["schedule"] for row in document["results"]] == ["3,3,3", "baseline"]
    assert document["results"][0] == json.loads(json.dumps(count_flops("3,3,3", "swin_t", "800x1333").row()))
    assert document["results"][1]["reduction_pct"]["encoder"] == 0


def test_a_document_has_stdout_to_itself_and_the_table_goes_to_stderr() -> None:
    result = run("flops", "--export-csv", "-")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert float(row["gflops.encoder"]) == count_flops("3,3,3").gflops["encoder"]
    assert "pixel decoder" in result.stderr


def test_markdown() -> None:
    result = run("flops", "-s", "3,3,3", "--export-markdown", "-")
    assert "| **encoder (pixel decoder)** | **126.86** | **63.47** | **-49.97%** |" in result.stdout
    assert "3,3,3 saves 49.97% of the encoder" in result.stdout


def test_what_inference_executes_is_shown_beside_the_count() -> None:
    result = run("flops", "-s", "3,3,3", "--as-executed", "--export-json", "-")
    (row,) = json.loads(result.stdout)["results"]
    executed = count_flops("3,3,3").executed
    assert row["gflops"]["total"] == count_flops("3,3,3").gflops["total"]
    assert row["executed"]["gflops"]["total"] == executed.gflops["total"]
    assert row["executed"]["reduction_pct"]["total"] == executed.reduction_pct["total"]
    assert result.stderr.count("as executed") == 4  # backbone, decoder, total, footer
    assert "213.69     150.30  -29.67%" in result.stderr
    assert "executed" in run("flops", "--as-executed", "--by", "operator").stdout
    assert "as executed" in run("flops", "--as-executed", "--export-markdown", "-").stdout
    assert "as executed" not in run("flops").stdout
    hybrid = run("flops", "-s", "hybrid", "--as-executed", "--export-json", "-").stderr.splitlines()
    (shown,) = (index for index, line in enumerate(hybrid) if line.startswith("encoder (pixel decoder)"))
    assert hybrid[shown + 1].split()[:2] == ["as", "executed"]  # folded blocks are of the encoder


def test_what_inference_executes_is_verified_too() -> None:
    result = run("flops", "-b", "tiny", "--size", "97x131", "--as-executed", "--verify")
    assert result.exit_code == 0
    assert "verified 3,3,3 as executed: closed form = trace" in result.stderr


@pytest.mark.parametrize("by", ["stage", "layer", "operator"])
def test_every_view_shows_its_total(by: str) -> None:
    result = run("flops", "-s", "3,3,3", "--size", "800x1333", "--by", by, "--export-markdown", "-")
    expected = {"stage": "207.82", "layer": "62.64", "operator": "207.82"}[by]
    assert expected in result.stdout


def test_by_operator_itemises_the_rule_sets() -> None:
    text = run("flops", "--by", "operator", "--rules", "complete").stdout
    assert "complete *" in text
    for operator in ("masked attention, Q·Kᵀ", "weighted sum of samples", "semantic map", "grid sampler"):
        assert operator in text


def test_conventions_and_rules_reach_the_count() -> None:
    mac, flop = (exported("--convention", name)["results"][0]["gflops"] for name in ("mac", "flop"))
    assert mac["encoder"] < flop["encoder"] < 2 * mac["encoder"]
    complete = exported("--rules", "complete")["results"][0]
    assert complete["rules"] == "complete"
    assert complete["uncounted_ops"] == {}


def test_output_size_changes_post_processing_alone() -> None:
    big, small = (
        exported("--size", "640x640", "--output-size", size)["results"][0]["gflops"] for size in ("640x640", "64x64")
    )
    assert small["postprocessing"] < big["postprocessing"]
    assert small["total"] == big["total"]


def test_verify_says_what_agreed(capsys: pytest.CaptureFixture[str]) -> None:
    result = run("flops", "-s", "1,1,1", "-b", "tiny", "--size", "64x96", "--verify", "--export-json", "-")
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)["results"]
    assert row["verified"]["traced_sizes"] == 1
    assert row["verified"]["fvcore_sizes"] == ["64x96"]
    assert "to the last FLOP" in result.stderr


def test_verify_all_counts_every_size_by_fvcore(monkeypatch: pytest.MonkeyPatch) -> None:
    from proscale_bench.measure import verify

    asked: list[bool] = []
    real = verify.verify

    def spy(count, all_sizes=False, progress=None):  # type: ignore[no-untyped-def]
        asked.append(all_sizes)
        return real(count)

    monkeypatch.setattr(verify, "verify", spy)
    assert run("flops", "-s", "0,0,1", "-b", "tiny", "--size", "64x96", "--verify=all").exit_code == 0
    assert asked == [True]
    assert run("flops", "--verify=some").exit_code == ExitCode.USAGE


def test_engines_that_disagree_exit_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    from proscale_bench.measure import verify

    def disagree(*arguments, **named):  # type: ignore[no-untyped-def]
        raise BenchError("the trace and the closed form disagree", "report it", ExitCode.UNTRUSTED)

    monkeypatch.setattr(verify, "verify", disagree)
    result = run("flops", "--verify")
    assert result.exit_code == 3
    assert "disagree" in result.stderr
    assert result.stdout == ""


def test_a_schedule_that_costs_more_says_so() -> None:
    said = run("flops", "-s", "12,12,12", "--size", "800x1333").stdout
    assert "12,12,12 against the baseline: encoder +74.55%, token layers +154.57%, model +41.95%." in said


def test_exports_are_written_and_not_overwritten_without_force(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cost.json"
    assert run("flops", "--export-json", str(path)).exit_code == 0
    before = path.read_text()
    again = run("flops", "-s", "1,1,1", "--export-json", str(path))
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert path.read_text() == before
    assert run("flops", "-s", "1,1,1", "--export-json", str(path), "--force").exit_code == 0
    assert json.loads(path.read_text())["results"][0]["schedule"] == "1,1,1"
    assert [entry.name for entry in path.parent.iterdir()] == ["cost.json"]


def test_tables_fit_the_terminal_and_wide_ones_show_more_schedules_side_by_side() -> None:
    from rich.console import Console

    from proscale_bench.render.flops import tables
    from proscale_bench.render.table import rich_table

    counts = [count_flops(compact) for compact in ("1,1,1", "2,2,2", "3,3,3", "6,3,3")]
    assert [len(tables(counts, "stage", columns)) for columns in (80, 140, 10_000)] == [2, 1, 1]
    long = count_flops("4:2,54:10,543:10+conv+trc:conv+spatial+residual+temp:0.12345678", "swin_l", "32768x32768")
    for columns in (80, 140):
        for table in tables([long, *counts], "stage", columns):
            assert Console(width=columns).measure(rich_table(table)).maximum <= columns
