"""A sweep repeats nothing, loses nothing, and lets one failure be one failure."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proscale_bench.bench.count import Configuration, closed_form_cost
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import LOCK, locked
from proscale_bench.results.record import Cost, Record
from proscale_bench.results.store import load, read_record, record_path, write_record
from proscale_bench.sweeps.runner import SweepProgress, run_sweep
from proscale_bench.version import __version__
from tests.results.records import configuration, record

PLAN = [configuration(schedule, backbone) for backbone in ("resnet50", "tiny") for schedule in ("baseline", "1,1,1")]


class Counting:
    """The closed form, remembering what it was asked for."""

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        self.asked: list[str] = []
        self.failing = failing or {}

    def __call__(self, one: Configuration) -> Cost:
        self.asked.append(one.digest)
        if one.digest in self.failing:
            raise self.failing[one.digest]
        return closed_form_cost(one)


def facts(records: list[Record] | tuple[Record, ...]) -> list[tuple[object, ...]]:
    """Everything but when it was written."""
    return sorted((one.digest, one.cost, one.accuracy, one.references, one.error) for one in records)


def test_records_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    outcome = run_sweep(PLAN, tmp_path)
    assert [one.digest for one in outcome.records] == [one.digest for one in PLAN]
    assert facts(load(tmp_path)[0]) == facts(outcome.records)
    assert outcome.problems == outcome.failed == ()


def test_what_is_there_is_not_counted_again(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    before = run_sweep(PLAN, tmp_path, count=first)
    after = run_sweep(PLAN, tmp_path, count=second)
    assert (len(first.asked), len(second.asked)) == (4, 0)
    assert after == before


def test_only_what_is_missing_is_counted(tmp_path: Path) -> None:
    run_sweep(PLAN[:1], tmp_path)
    counting, seen = Counting(), list[SweepProgress]()
    run_sweep(PLAN, tmp_path, count=counting, on_progress=seen.append)
    assert counting.asked == [one.digest for one in PLAN[1:]]
    assert [step.outcome for step in seen] == ["kept", "found", "found", "found"]
    assert [(step.done, step.total) for step in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", record("2,2,2").to_json().encode()])
def test_a_corrupt_record_is_named_and_counted_again(tmp_path: Path, content: bytes) -> None:
    run_sweep(PLAN, tmp_path)
    record_path(tmp_path, PLAN[1].digest).write_bytes(content)
    counting = Counting()
    outcome = run_sweep(PLAN, tmp_path, count=counting)
    assert counting.asked == [PLAN[1].digest]
    assert PLAN[1].digest in outcome.problems[0].message
    assert load(tmp_path)[1] == []


def test_starting_over_counts_everything(tmp_path: Path) -> None:
    run_sweep([*PLAN, configuration("2,2,2")], tmp_path)
    counting = Counting()
    run_sweep(PLAN, tmp_path, start_over=True, count=counting)
    assert len(counting.asked) == len(PLAN) == len(load(tmp_path)[0])


def test_a_failure_is_a_record_and_the_others_go_on(tmp_path: Path) -> None:
    failing = {
        PLAN[0].digest: BenchError("no rule for aten::x", "add one", ExitCode.UNTRUSTED),
        PLAN[2].digest: ZeroDivisionError("oh"),
    }
    outcome = run_sweep(PLAN, tmp_path, count=Counting(failing))
    errors = [one.error and (one.error.message, one.error.exit_code) for one in outcome.records]
    assert errors == [("no rule for aten::x", 3), None, ("ZeroDivisionError: oh", 3), None]
    assert len(outcome.failed) == 2
    assert [one.cost is None for one in load(tmp_path)[0] if one.error] == [True, True]


def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    run_sweep(PLAN, tmp_path, count=Counting({PLAN[0].digest: BenchError("later")}))
    counting = Counting()
    assert run_sweep(PLAN, tmp_path, count=counting).failed == ()
    assert counting.asked == [PLAN[0].digest]


def test_a_record_without_a_cost_is_counted_again(tmp_path: Path) -> None:
    (first, *_) = run_sweep(PLAN, tmp_path).records
    write_record(tmp_path, first.model_copy(update={"cost": None}))
    counting = Counting()
    run_sweep(PLAN, tmp_path, count=counting)
    assert counting.asked == [PLAN[0].digest]


def test_what_a_killed_write_left_is_cleared(tmp_path: Path) -> None:
    run_sweep(PLAN, tmp_path)
    leftover = tmp_path / "records" / f".{PLAN[0].digest}.json.abc123"
    leftover.write_text("{")
    run_sweep(PLAN, tmp_path)
    assert not leftover.exists()


def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_sweep(PLAN, tmp_path, count=Counting({PLAN[2].digest: KeyboardInterrupt()}))  # type: ignore[dict-item]
    assert {one.digest for one in load(tmp_path)[0]} == {one.digest for one in PLAN[:2]}
    counting = Counting()
    run_sweep(PLAN, tmp_path, count=counting)
    assert counting.asked == [one.digest for one in PLAN[2:]]


def test_a_folder_of_another_sweep_is_left_alone(tmp_path: Path) -> None:
    write_record(tmp_path, record("2,2,2"))
    counting = Counting()
    with pytest.raises(BenchError, match="1 of 1 records of another sweep") as caught:
        run_sweep(PLAN, tmp_path, count=counting)
    assert "--force" in (caught.value.hint or "")
    assert counting.asked == []
    assert len(load(tmp_path)[0]) == 1


def test_what_is_no_longer_asked_for_is_set_aside(tmp_path: Path) -> None:
    before = run_sweep([*PLAN, configuration("2,2,2")], tmp_path)
    counting = Counting()
    after = run_sweep([configuration("3,3,3"), *PLAN[1:]], tmp_path, count=counting)
    assert counting.asked == [configuration("3,3,3").digest]
    aside = {PLAN[0].digest, configuration("2,2,2").digest}
    assert {path.stem for path in after.superseded} == aside
    kept = [one for one in before.records if one.digest not in aside]
    assert [one for one in after.records if one in kept] == kept
    assert {one.digest for one in load(tmp_path)[0]} == {one.digest for one in after.records}
    assert all(read_record(path) in before.records for path in after.superseded)
    assert run_sweep([configuration("3,3,3"), *PLAN[1:]], tmp_path).superseded == ()


def test_a_run_of_the_same_name_is_the_same_sweep(tmp_path: Path) -> None:
    run_sweep(PLAN[:1], tmp_path, name="mine")
    with pytest.raises(BenchError, match="1 of 1 records of another sweep"):
        run_sweep(PLAN[1:], tmp_path, name="other")
    assert [path.stem for path in run_sweep(PLAN[1:], tmp_path, name="mine").superseded] == [PLAN[0].digest]


def test_counts_of_another_version_are_made_anew(tmp_path: Path) -> None:
    first, *_ = run_sweep(PLAN, tmp_path).records
    old = first.model_copy(update={"provenance": first.provenance.model_copy(update={"tool_version": "0.0.1"})})
    write_record(tmp_path, old)
    counting = Counting()
    run_sweep(PLAN, tmp_path, count=counting)
    assert counting.asked == [PLAN[0].digest]
    assert {one.provenance.tool_version for one in load(tmp_path)[0]} == {__version__}


def test_a_second_sweep_in_the_folder_is_told(tmp_path: Path) -> None:
    script = "import sys, time; from pathlib import Path; from proscale_bench.files import locked\n"
    script += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BenchError, match="another sweep is running") as caught:
            run_sweep(PLAN, tmp_path)
        assert caught.value.exit_code == 2
        holder.kill()
        holder.wait()
    run_sweep(PLAN, tmp_path)  # a dead process holds nothing


@pytest.mark.parametrize("broken", ["a file", "below a file", "a store that is a file"])
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, broken: str) -> None:
    (tmp_path / "file").write_text("x")
    run = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "run"}.get(broken, tmp_path / "run")
    if broken.startswith("a store"):
        run.mkdir()
        (run / "records").write_text("x")
    with pytest.raises(BenchError, match="cannot"):
        run_sweep(PLAN, run)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BenchError, match="cannot write"):
        run_sweep(PLAN, tmp_path)


def test_the_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), locked(tmp_path):
        raise ValueError("x")
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), locked(tmp_path / "new"):
        raise ValueError("x")
    assert not (tmp_path / "new").exists()
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "record.json").touch()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {LOCK, "record.json"}
    with locked(tmp_path):
        pass
    assert tmp_path.exists()  # it was there


SLOW_SWEEP = """
import sys, time
from pathlib import Path
from proscale_bench.bench.count import closed_form_cost
from proscale_bench.sweeps.runner import run_sweep
from tests.sweeps.test_runner import LONG_PLAN

def slow(one):
    time.sleep(0.002)
    return closed_form_cost(one)

run_sweep(LONG_PLAN, Path(sys.argv[1]), count=slow)
"""
LONG_PLAN = [configuration(f"{a},{b},{c}") for a in range(4) for b in range(4) for c in range(4)]


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_sweep_resumes_to_the_same_records(tmp_path: Path, seed: int) -> None:
    """SIGKILL at a random moment; what is there is whole, and the rest is added."""
    enough = random.Random(seed).randint(1, 40)
    with subprocess.Popen([sys.executable, "-c", SLOW_SWEEP, str(tmp_path)], cwd=Path(__file__).parents[2]) as process:
        while len(list(tmp_path.glob("records/*.json"))) < enough and process.poll() is None:
            time.sleep(0.0003)
        process.send_signal(signal.SIGKILL)
    kept = {path.stem for path in tmp_path.glob("records/*.json")}
    assert len(kept) >= enough
    counting = Counting()
    outcome = run_sweep(LONG_PLAN, tmp_path, count=counting)
    assert counting.asked == [one.digest for one in LONG_PLAN if one.digest not in kept]
    assert outcome.problems == ()
    records, problems = load(tmp_path)
    assert problems == []
    assert facts(records) == facts([record(one.spec.encoder) for one in LONG_PLAN])
    assert len(list((tmp_path / "records").iterdir())) == len(LONG_PLAN)  # nothing half-written is left


def test_a_sweep_needs_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.sweeps.test_runner import PLAN\n"
        "from proscale_bench.sweeps.runner import run_sweep\n"
        "from proscale_bench.commands.report import write_report\n"
        "write_report(run_sweep(PLAN, Path(sys.argv[1])).records, Path(sys.argv[1]))\n"
        "print([name for name in ('torch', 'torchvision', 'fvcore') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n"
