"""`sweep` on the command line, in process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from proscale_bench.bench.count import Configuration
from proscale_bench.cli import app
from proscale_bench.commands.report import FILES
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.record import Cost
from proscale_bench.results.store import load
from proscale_bench.sweeps import runner

SPEC = """\
schema_version: 1
name: small
backbones: [tiny]
schedules: [baseline, "3,3,3"]
sizes: [64x64]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SPEC)
    return tmp_path


def call(*args: str) -> Result:
    return CliRunner().invoke(app, ["sweep", *args])


def test_the_papers_sweep(folder: Path) -> None:
    result = call("paper")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (folder / "reports" / "paper").iterdir()} >= {*FILES, "records"}
    assert len(load(folder / "reports" / "paper")[0]) == 36
    lines = result.stdout.splitlines()
    row = next(line.split() for line in lines if line.startswith("3,3,3 ") and "swin_t" in line)
    assert row == ["3,3,3", "swin_t", "59.13", "-51.74%", "-36.36%", "168.35", "-27.35%", "52.88*"]
    assert lines[-1] == "report: reports/paper/index.html"


def test_a_second_call_goes_on_and_changes_no_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("small.yaml", "--out", "run").exit_code == 0
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    monkeypatch.setattr(runner, "closed_form_cost", lambda _: pytest.fail("counted again"))
    assert call("small.yaml", "--out", "run").exit_code == 0
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()} == before


def test_json_has_stdout_to_itself(folder: Path) -> None:
    result = call("small.yaml", "--export-json", "-")
    document = json.loads(result.stdout)
    assert [row["schedule"] for row in document["results"]] == ["baseline", "3,3,3"]
    assert document["results"][1]["reduction_pct"]["encoder"] > 0
    assert "report: reports/small/index.html" in result.stderr


def test_csv_and_markdown_are_written(folder: Path) -> None:
    assert call("small.yaml", "--export-csv", "a.csv", "--export-markdown", "a.md").exit_code == 0
    assert (folder / "a.csv").read_text() == (folder / "reports/small/report.csv").read_text()
    assert (folder / "a.md").read_text() == (folder / "reports/small/report.md").read_text()


def test_no_resume_refuses_a_run_that_is_there() -> None:
    assert call("small.yaml", "--no-resume").exit_code == 0
    result = call("small.yaml", "--no-resume")
    assert result.exit_code == 2
    assert "holds a run already" in result.stderr
    assert call("small.yaml", "--no-resume", "--force").exit_code == 0


def test_a_corrupt_record_is_a_warning(folder: Path) -> None:
    call("small.yaml", "--out", "run")
    path = next((folder / "run" / "records").glob("*.json"))
    path.write_text("{")
    result = call("small.yaml", "--out", "run")
    assert result.exit_code == 0
    assert path.name in result.stderr
    assert "warning" in result.stderr
    assert len(load(folder / "run")[0]) == 2


@pytest.mark.parametrize("schedules", ['baseline, "1,1,1"', '"2,2,2"'])
def test_exchanging_schedules_keeps_the_rest(folder: Path, schedules: str) -> None:
    call("small.yaml", "--out", "run")
    before = {path.name: path.read_bytes() for path in (folder / "run" / "records").iterdir()}
    (folder / "small.yaml").write_text(SPEC.replace('baseline, "3,3,3"', schedules))
    result = call("small.yaml", "--out", "run")
    assert result.exit_code == 0, result.output
    after = {path.name: path.read_bytes() for path in (folder / "run" / "records").iterdir()}
    aside = {path.name: path.read_bytes() for path in (folder / "run" / "superseded").iterdir()}
    assert f"{len(aside)} records that the sweep no longer asks for were moved to run/superseded" in result.stderr
    assert before == {name: content for name, content in (after | aside).items() if name in before}
    found = {one.identity.schedule for one in load(folder / "run")[0]}
    assert found == set(schedules.replace('"', "").split(", "))
    assert "superseded" not in call("small.yaml", "--out", "run").stderr


def test_another_sweeps_folder_is_refused_and_can_be_started_over(folder: Path) -> None:
    call("small.yaml", "--out", "run")
    (folder / "small.yaml").write_text(
        SPEC.replace('baseline, "3,3,3"', 'baseline, "1,1,1"').replace("[tiny]", "[swin_t]").replace("small", "other")
    )
    result = call("small.yaml", "--out", "run")
    assert result.exit_code == 2
    assert "another sweep" in result.stderr
    assert call("small.yaml", "--out", "run", "--no-resume", "--force").exit_code == 0
    assert {one.identity.schedule for one in load(folder / "run")[0]} == {"baseline", "1,1,1"}
    assert not (folder / "run" / "superseded").exists()


def test_a_folder_with_somebodys_report_is_not_overwritten(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "report.md").write_text("mine")
    result = call("small.yaml", "--out", "run")
    assert result.exit_code == 2
    assert (folder / "run" / "report.md").read_text() == "mine"
    assert not (folder / "run" / "records").exists()


def test_a_failed_configuration_is_reported_and_the_exit_code_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runner.closed_form_cost

    def count(one: Configuration) -> Cost:
        if one.spec.variant == "3,3,3":
            raise BenchError("no rule for aten::x", exit_code=ExitCode.UNTRUSTED)
        return real(one)

    monkeypatch.setattr(runner, "closed_form_cost", count)
    result = call("small.yaml")
    assert result.exit_code == 3
    assert "1 of 2 configurations failed, the first: no rule for aten::x" in result.stderr
    assert "no rule for aten::x" in (folder / "reports/small/report.md").read_text()


def test_force_for_an_export_keeps_the_records(folder: Path) -> None:
    assert call("small.yaml", "--out", "run").exit_code == 0
    (folder / "out.json").write_text("old")
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "run" / "records").iterdir()}
    assert call("small.yaml", "--out", "run", "--export-json", "out.json", "--force").exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "run" / "records").iterdir()} == before


def test_a_record_that_cannot_be_kept_is_named_and_the_others_are_kept(folder: Path) -> None:
    assert call("small.yaml", "--out", "run").exit_code == 0
    first, *others = sorted((folder / "run" / "records").iterdir())
    first.unlink()
    first.mkdir()
    result = call("small.yaml", "--out", "run")
    assert result.exit_code == 2
    assert f"{first.name}" in result.stderr
    assert "could not be kept" in result.stderr
    assert all(path.is_file() for path in others)


def test_ctrl_c_is_130_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> Cost:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "closed_form_cost", interrupt)
    result = call("small.yaml")
    assert result.exit_code == 130
    assert "run the same command to go on" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["papr"], "unknown sweep 'papr'"),
        (["nowhere.yaml"], "nowhere.yaml"),
        (["small.yaml", "--out", "small.yaml"], "cannot write small.yaml"),
        (["small.yaml", "--out", "small.yaml/x"], "cannot write small.yaml/x"),
        (["small.yaml", "--out", "/proc/none"], "cannot write /proc/none"),
        (["small.yaml", "--export-json", "small.yaml"], "small.yaml exists"),
        (["small.yaml", "--export-json", "-", "--export-csv", "-"], "same place"),
        (["small.yaml", "--export-csv", "nofile/../small.yaml/x.csv"], "x.csv"),
    ],
)
def test_bad_input_is_an_error_of_one_line_and_a_hint(args: list[str], what: str) -> None:
    result = call(*args)
    assert result.exit_code == 2
    assert what in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
