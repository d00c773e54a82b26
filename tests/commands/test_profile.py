"""`profile` on the command line, in process: small, and no test asserts a time."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from proscale_bench.bench.specs import count_flops
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.results.store import load
from tests.cli import Result, run

FAST = ("-b", "tiny", "--size", "64x96", "--threads", "1", "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of our own, and ceilings that take no time."""
    from proscale_bench.measure import ceilings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(ceilings, "SIDES", {"cpu": (32,)})
        patch.setattr(ceilings, "COPY_BYTES", {"cpu": 1 << 16})
        yield


@dataclass(frozen=True)
class Done:
    result: Result
    folder: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.folder / "p.json").read_text())["results"]
        return rows


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("profile")
    exports = [f"--export-{kind}={folder}/p.{kind}" for kind in ("json", "csv", "markdown")]
    result = run(
        *("profile", *FAST, "-s", "2,1,1", "-n", "1", "-n", "2", "-n", "1", "--repeats", "7", "--ceilings"),
        *("--out", str(folder / "run"), *exports),
    )
    assert result.exit_code == 0, result.stderr
    return Done(result, folder)


def test_it_shows_tables_sentences_and_conditions(done: Done) -> None:
    for words in (
        *("tiny at 64x96, batch 1", "tiny at 64x96, batch 2", "2,1,1, batch 2, each stage by itself", "token layers"),
        *("2,1,1 at batch 1: -", "fp32, eager, embedding_bag sampling, 1 thread", "7 rounds in turns", "records: "),
    ):
        assert words in done.result.stdout
    assert "\x1b" not in done.result.stdout
    assert done.result.stdout.count("baseline ms") == 2


def test_the_rows_are_schedules_by_batch_size_with_raw_samples(done: Done) -> None:
    assert [(row["schedule"], row["batch_size"]) for row in done.rows] == [
        *(("baseline", 1), ("2,1,1", 1), ("baseline", 2), ("2,1,1", 2)),
    ]
    flops = count_flops("2,1,1", "tiny", (64, 96)).row()
    for row in done.rows:
        assert len(row["samples_ms"]) == 7
        assert row["latency_median_ms"] == pytest.approx(sorted(row["samples_ms"])[3])
        assert row["throughput_ips"] == pytest.approx(1000 * row["batch_size"] / row["latency_median_ms"])
        assert set(row) >= set(flops)
        assert (row["device"], row["dtype"], row["mode"], row["threads"]) == ("cpu", "fp32", "eager", 1)
        assert row["warnings"] == [] or set(row["warnings"][0]) == {"kind", "message", "advice", "unstable"}
        assert row["environment"]["torch"]
        assert row["error"] is None
    assert done.rows[1]["gflops"] == flops["gflops"]
    assert done.rows[1]["counted_saving_pct"]["counted"] == flops["reduction_pct"]["total"]
    assert done.rows[0]["realised_saving_pct"] is None
    assert set(done.rows[1]["realised_saving_pct"]) == {"value", "interval", "significant"}
    assert done.rows[0]["session"] == done.rows[1]["session"]


def test_every_export_says_the_same(done: Done) -> None:
    rows = list(csv.DictReader((done.folder / "p.csv").read_text().splitlines()))
    assert [float(row["latency_median_ms"]) for row in rows] == [row["latency_median_ms"] for row in done.rows]
    assert "### tiny at 64x96, batch 1" in (done.folder / "p.markdown").read_text()


def test_records_are_a_run_that_report_renders(done: Done) -> None:
    records, problems = load(done.folder / "run")
    assert (len(records), problems) == (4, [])
    result = run("report", str(done.folder / "run"), "--x", "latency_median_ms", "--y", "total_gflops")
    assert result.exit_code == 0, result.stderr
    assert {"latency.svg", "latency.png", "pareto.svg", "report.md"} <= {
        p.name for p in (done.folder / "run").iterdir()
    }
    assert "batch 2" in (done.folder / "run" / "report.md").read_text()
    assert "latency, median, ms" in (done.folder / "run" / "pareto.svg").read_text()
    again = {name: (done.folder / "run" / name).read_bytes() for name in ("latency.svg", "latency.png")}
    run("report", str(done.folder / "run"))
    assert {name: (done.folder / "run" / name).read_bytes() for name in again} == again


def test_ceilings_stay_known(done: Done, tmp_path: Path) -> None:
    assert done.rows[0]["ceilings"]["matmul_side"] == 32
    again = run("profile", *FAST, "-s", "baseline", "--repeats", "1", "--out", str(tmp_path), "--export-json", "-")
    (row,) = json.loads(again.stdout)["results"]
    assert row["ceilings"] == done.rows[0]["ceilings"]
    assert "against the device" in again.stderr  # the tables make room for the document


def test_few_rounds_are_told_and_fail_only_where_a_gate_asks(tmp_path: Path) -> None:
    arguments = ("profile", *FAST, "-s", "1,0,0", "--repeats", "1", "--out", str(tmp_path))
    loose = run(*arguments)
    assert loose.exit_code == 0
    assert "warning: 1 sample only" in loose.stderr
    assert "hint: " in loose.stderr
    strict = run(*arguments, "--fail-unstable")  # the same records, measured again: the run owns them
    assert strict.exit_code == 3
    assert "2 of 2 latencies cannot be trusted: few samples" in strict.stderr
    assert "batch 1" in strict.stdout
    quiet = run("--quiet", *arguments)
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert len(load(tmp_path)[0]) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_missed() -> None:
    result = run("profile", "-b", "tiny", "--device", "cuda")
    assert result.exit_code == 2
    assert "no GPU" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 0, "out of memory at batch size 2"),
        (RuntimeError("no kernel"), 3, "1 of 4 could not be measured, the first: RuntimeError: no kernel"),
    ],
)
def test_what_fails_at_a_batch_size_is_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, code: int, said: str
) -> None:
    forward = Mask2Former.forward

    def fail(self: Mask2Former, images: Any, **kwargs: Any) -> Any:
        if len(images) == 2 and self.encoder.recalibration is None:
            raise error
        return forward(self, images, **kwargs)

    monkeypatch.setattr(Mask2Former, "forward", fail)
    arguments = ("-s", "1,0,0", "-n", "1", "-n", "2", "--repeats", "1", "--out", str(tmp_path))
    result = run("profile", *FAST, *arguments, "--export-json", str(tmp_path / "p.json"))
    assert result.exit_code == code
    assert said in result.stderr
    rows = json.loads((tmp_path / "p.json").read_text())["results"]
    assert [row["error"] is not None for row in rows] == [False, False, True, False]
    assert rows[3]["realised_saving_pct"] is None
    assert run("report", str(tmp_path)).exit_code == 0


def test_nothing_at_all_is_exit_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Mask2Former, "forward", fail)
    result = run("profile", *FAST, "--repeats", "1", "--out", str(tmp_path))
    assert result.exit_code == 3
    assert "2 of 2 could not be measured" in result.stderr


def test_control_c_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forward = Mask2Former.forward

    def interrupted(self: Mask2Former, images: Any, **kwargs: Any) -> Any:
        if len(images) == 2:
            raise KeyboardInterrupt
        return forward(self, images, **kwargs)

    monkeypatch.setattr(Mask2Former, "forward", interrupted)
    result = run("profile", *FAST, "-n", "1", "-n", "2", "--repeats", "1", "--out", str(tmp_path))
    assert result.exit_code == 130
    assert f"interrupted: what is measured is kept in {tmp_path}" in result.stderr
    assert len(load(tmp_path)[0]) == 2


def test_the_folder_has_a_name_that_says_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("profile", *FAST, "-s", "baseline", "--repeats", "1").exit_code == 0
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["profile-tiny-cpu"]


def test_sessions_are_fresh_processes_and_every_sample_knows_its_own(tmp_path: Path) -> None:
    asked = ("-s", "2,1,1", "--repeats", "3", "--sessions", "2", "--out", str(tmp_path), "--export-json", "-")
    result = run("profile", *FAST, *asked)
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["results"]
    assert [row["schedule"] for row in rows] == ["baseline", "2,1,1"]
    for row in rows:
        assert [one["rounds"] for one in row["sessions"]] == [3, 3]
        assert len({one["started"] for one in row["sessions"]}) == 2
        assert len(row["samples_ms"]) == len(row["stages"]["encoder"]["samples_ms"]) == 6
    assert len(load(tmp_path)[0]) == 2
    assert rows[1]["realised_saving_pct"]["interval"][0] <= rows[1]["realised_saving_pct"]["value"]


def test_a_session_that_dies_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from proscale_bench import children

    start = children.start
    monkeypatch.setattr(children, "start", lambda module, **options: start("proscale_bench.version", **options))
    result = run("profile", *FAST, "-s", "2,1,1", "--repeats", "1", "--sessions", "2", "--out", str(tmp_path))
    assert result.exit_code == 3
    assert "a session's process ended with exit code" in result.stderr
