"""`report` on the command line, in process."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from proscale_bench.cli import app
from proscale_bench.commands.report import FILES
from proscale_bench.results.store import write_record
from tests.results.records import paper, record

COMMITTED = Path(__file__).parents[2] / "reports" / "paper"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for schedule in ("baseline", "3,3,3"):
        write_record(tmp_path / "run", record(schedule))
    return tmp_path / "run"


def call(*args: str) -> Result:
    return CliRunner().invoke(app, ["report", *args])


def test_it_renders_into_the_run_again_and_again(run: Path) -> None:
    result = call("run")
    assert result.exit_code == 0, result.output
    assert result.stdout == "report: run/index.html\n"
    first = {name: (run / name).read_bytes() for name in FILES}
    assert call("run").exit_code == 0
    assert {name: (run / name).read_bytes() for name in FILES} == first


def test_another_folder_is_not_overwritten_without_force(run: Path, tmp_path: Path) -> None:
    assert call("run", "--out", "other").exit_code == 0
    result = call("run", "--out", "other")
    assert result.exit_code == 2
    assert "other/index.html exists" in result.stderr
    assert call("run", "--out", "other", "--force").exit_code == 0


def test_axes_can_be_chosen(run: Path) -> None:
    assert call("run", "--x", "params_m", "--y", "encoder_gflops").exit_code == 0
    svg = (run / "pareto.svg").read_text()
    assert "parameters, millions" in svg
    assert "encoder GFLOPs" in svg


def test_a_part_of_a_run_is_shown(run: Path) -> None:
    for size, backbone in (("160x160", "resnet50"), ("160x160", "swin_t")):
        write_record(run, record("3,3,3", backbone, size=size))
    assert call("run", "--out", "part", "--size", "160x160", "--backbone", "swin_t", "--format", "pdf").exit_code == 0
    (row,) = csv.DictReader(Path("part/report.csv").read_text().splitlines())
    assert (row["schedule"], row["backbone"], row["size"]) == ("3,3,3", "swin_t", "160x160")
    pdf = Path("part/costs.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert call("run", "--out", "part", "--size", "160x160", "-b", "swin_t", "--format", "pdf").exit_code == 2
    flags = ("--size", "160x160", "-b", "swin_t", "--format", "pdf", "--force")
    assert call("run", "--out", "part", *flags).exit_code == 0
    assert Path("part/costs.pdf").read_bytes() == pdf
    assert call("run", "--out", "other", "--schedule", "proscale-3-3-3").exit_code == 0
    assert {row["schedule"] for row in csv.DictReader(Path("other/report.csv").read_text().splitlines())} == {"3,3,3"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--size", "32x32"), "no record of the size '32x32'"),
        (("--backbone", "tiny"), "no record of the backbone 'tiny'"),
        (("--schedule", "9,9,9"), "no record of the schedule '9,9,9'"),
        (("--format", "gif"), "unknown format 'gif'"),
    ],
)
def test_what_is_not_there_is_named(run: Path, flags: tuple[str, str], said: str) -> None:
    result = call("run", "--out", "part", *flags)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("part").exists()


def test_the_csv_has_a_line_a_configuration(run: Path) -> None:
    call("run")
    rows = list(csv.DictReader((run / "report.csv").read_text().splitlines()))
    assert [row["schedule"] for row in rows] == ["baseline", "3,3,3"]
    expected = record("3,3,3").cost
    assert expected is not None
    assert float(rows[1]["encoder_gflops"]) == expected.gflops["encoder"]


def test_a_parquet_file_has_the_same_rows(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    assert call("run", "--export-parquet", str(path)).exit_code == 0
    table = pd.read_parquet(path)
    rows = list(csv.DictReader((run / "report.csv").read_text().splitlines()))
    assert list(table.columns) == list(rows[0])
    assert list(table["schedule"]) == [row["schedule"] for row in rows]
    again = call("run", "--export-parquet", str(path))
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert call("run", "--export-parquet", str(path), "--force").exit_code == 0


def test_a_corrupt_record_is_named_and_left_out(run: Path) -> None:
    (run / "records" / "x.json").write_text("{")
    result = call("run")
    assert result.exit_code == 0
    assert "x.json" in result.stderr
    assert "| 3,3,3 |" in (run / "report.md").read_text()


@pytest.mark.parametrize(
    ("args", "what", "hint"),
    [
        (["nowhere"], "nowhere: no such folder", "a RUN is a folder"),
        (["."], "no records", "a RUN is a folder"),
        (["run/records"], "no records", "a RUN is a folder"),
        (["run", "--x", "flops"], "unknown metric 'flops'", "known: encoder_gflops"),
        (["run", "--y", "Pq"], "unknown metric 'Pq'", "'pq'"),
        (["run", "--out", "run/records/x.json/y"], "cannot write", "check the path"),
    ],
)
def test_bad_input_is_an_error_with_a_hint(run: Path, args: list[str], what: str, hint: str) -> None:
    (run / "records" / "x.json").write_text("{")
    result = call(*args)
    assert result.exit_code == 2
    assert what in result.stderr
    assert hint in result.stderr
    assert "Traceback" not in result.output


def test_the_committed_report_is_what_its_records_say(tmp_path: Path) -> None:
    """Text only: another version of matplotlib may draw other bytes."""
    assert call(str(COMMITTED), "--out", str(tmp_path)).exit_code == 0
    for name in ("index.html", "report.md", "report.tex", "report.csv"):
        assert (tmp_path / name).read_text() == (COMMITTED / name).read_text()


def test_the_committed_records_are_what_the_sweep_finds() -> None:
    for one in paper():
        stored = type(one).model_validate_json((COMMITTED / "records" / f"{one.digest}.json").read_bytes())
        kept = {"provenance": stored.provenance, "environment": stored.environment}
        assert stored == one.model_copy(update=kept)
    assert len(list((COMMITTED / "records").iterdir())) == len(paper())


@pytest.fixture
def at_papers_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for schedule in ("baseline", "3,3,3"):
        write_record(tmp_path / "run", record(schedule, size="coco-first100"))
    return tmp_path / "run"


def test_published_numbers_are_drawn_where_they_can_be_compared(at_papers_size: Path) -> None:
    assert call("run", "--out", "plain").exit_code == 0
    result = call("run", "--out", "beside", "--published", "Mask2Former", "--published", "EoMT")
    assert result.exit_code == 0, result.output
    notes = " ".join(result.stderr.split())
    assert "it is counted at 640x640, the run at coco-first100" in notes
    assert "it is of Cityscapes val, and the axes of a run are of COCO val2017" in notes
    assert "its accuracy stands at the run's own count of the very model: mask2former-r50" in notes
    for name in ("pareto.svg", "index.html"):
        assert "Mask2Former 21k, published" in Path("beside", name).read_text()
        assert "published, published" not in Path("beside", name).read_text()
    page = Path("beside", "index.html").read_text()
    assert "466 GFLOPs of the network with its post-processing" in page
    assert "as others print it: see its source" in page
    for name in ("costs.svg", "report.csv", "report.tex", "report.md"):  # the run's own numbers are as they were
        assert Path("beside", name).read_bytes() == Path("plain", name).read_bytes()


def test_published_numbers_of_another_convention_size_or_accuracy_are_refused(at_papers_size: Path) -> None:
    result = call("run", "--published", "RT-DETR", "--y", "ap_bbox")
    assert result.exit_code == 2
    assert "rt-detr-r18: it is counted at 640x640, the run at coco-first100" in result.stderr
    result = call("run", "--published", "RT-DETR")
    assert result.exit_code == 2
    assert "none prints both GFLOPs and pq" in result.stderr
    assert call("run", "--published", "Emot").exit_code == 2
    for schedule in ("baseline", "3,3,3"):
        one = record(schedule, size="coco-first100")
        write_record(Path("flop"), one.model_copy(update={"convention": "flop"}))
    result = call("flop", "--published", "Mask2Former")
    assert result.exit_code == 2
    assert "none can be drawn beside this run" in result.stderr
    write_record(Path("both"), record("3,3,3", "swin_t", "640x640").model_copy(update={"convention": "flop"}))
    result = call("both", "--published", "EoMT")
    assert "eomt-vit-l-step-1: it counts 1 MAC = 1 FLOP, the run 1 MAC = 2 FLOPs" in result.stderr
