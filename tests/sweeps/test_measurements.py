"""A sweep's measurements are kept whole, never made twice, and replaced where they are asked for anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.results.store import load, record_path
from proscale_bench.sweeps.journal import FOLDER, keep, read_finished
from proscale_bench.sweeps.runner import SweepProgress, run_sweep
from tests.results.records import configuration
from tests.sweeps.toys import InProcess, Toy

PLAN = [configuration("baseline"), configuration("3,3,3")]
SESSION = Toy("session", ("baseline", "3,3,3"), group="a" * 64)
EVALUATION = Toy("evaluation", ("1,1,1",), group="b" * 64, step="evaluate")
REFUSED = Toy("refused", ("2,2,2",), what="refuse", group="c" * 64, step="evaluate")


def files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "records").iterdir()}


def test_paper_comes_first_and_records_in_the_order_of_the_plan(tmp_path: Path) -> None:
    seen, shown = list[SweepProgress](), list[object]()
    outcome = run_sweep(
        PLAN, tmp_path, [SESSION, EVALUATION], InProcess(), on_progress=seen.append, on_counted=shown.append
    )
    assert [(one.step, one.outcome, one.done, one.total) for one in seen] == [
        ("count", "found", 1, 2),
        ("count", "found", 2, 2),
        ("profile", "found", 1, 1),
        ("evaluate", "found", 1, 1),
    ]
    assert shown == [list(outcome.records[:2])]
    assert [(one.identity.schedule, one.execution is not None) for one in outcome.records] == [
        ("baseline", False),
        ("3,3,3", False),
        ("baseline", True),
        ("3,3,3", True),
        ("1,1,1", True),
    ]
    assert sorted(one.digest for one in outcome.records) == [one.digest for one in load(tmp_path)[0]]


def test_what_is_finished_is_not_measured_again(tmp_path: Path) -> None:
    first = run_sweep(PLAN, tmp_path, [SESSION, EVALUATION], InProcess())
    before, executor = files(tmp_path), InProcess()
    second = run_sweep(PLAN, tmp_path, [SESSION, EVALUATION], executor)
    assert executor.ran == []
    assert second == first
    assert files(tmp_path) == before


def test_a_failure_is_a_row_and_tried_again_and_then_gone(tmp_path: Path) -> None:
    outcome = run_sweep([], tmp_path, [REFUSED, EVALUATION], InProcess())
    assert [one.error and one.error.message for one in outcome.records] == ["no such toy", None]
    executor = InProcess()
    run_sweep([], tmp_path, [REFUSED, EVALUATION], executor)
    assert executor.ran == ["refused"]
    mended = Toy("mended", REFUSED.schedules, group=REFUSED.group, step="evaluate")
    assert run_sweep([], tmp_path, [mended, EVALUATION], InProcess()).failed == ()
    assert [one.error for one in load(tmp_path)[0]] == [None, None]


def test_a_session_of_other_schedules_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    run_sweep([], tmp_path, [SESSION], InProcess())
    wider, executor = Toy("session", ("baseline", "1,1,1"), group=SESSION.group), InProcess()
    outcome = run_sweep([], tmp_path, [wider], executor)
    assert executor.ran == ["session"]
    assert {one.digest for one in load(tmp_path)[0]} == {one.digest for one in outcome.records}
    assert {one.identity.schedule for one in outcome.records} == {"baseline", "1,1,1"}


def test_a_session_with_a_lost_record_is_measured_as_a_whole(tmp_path: Path) -> None:
    outcome = run_sweep([], tmp_path, [SESSION], InProcess())
    record_path(tmp_path, outcome.records[0].digest).unlink()
    executor = InProcess()
    run_sweep([], tmp_path, [SESSION], executor)
    assert executor.ran == ["session"]


@pytest.mark.parametrize("written", [0, 1])
def test_a_session_killed_while_its_records_are_written_is_finished_without_measuring(
    tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proscale_bench.sweeps import journal

    real, count = journal.write_record, 0

    def killed(run: Path, record: object) -> object:
        nonlocal count
        count += 1
        if count > written:
            raise KeyboardInterrupt
        return real(run, record)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        run_sweep([], tmp_path, [SESSION], InProcess())
    monkeypatch.setattr(journal, "write_record", real)
    executor = InProcess()
    outcome = run_sweep([], tmp_path, [SESSION], executor)
    assert executor.ran == []
    assert len(outcome.records) == len(load(tmp_path)[0]) == 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"key": 1}', "[" * 10**5])
def test_a_damaged_account_is_measured_again(tmp_path: Path, content: str) -> None:
    run_sweep([], tmp_path, [EVALUATION], InProcess())
    (tmp_path / FOLDER / f"{EVALUATION.group}.json").write_text(content)
    with pytest.raises(BenchError, match="another sweep"):  # whose records these are, nobody knows any more
        run_sweep([], tmp_path, [EVALUATION], InProcess())
    executor = InProcess()
    run_sweep([], tmp_path, [EVALUATION], executor, start_over=True)
    assert executor.ran == ["evaluation"]


def test_an_account_cannot_remove_what_is_no_record(tmp_path: Path) -> None:
    victim = tmp_path / "victim.json"
    victim.write_text("mine")
    keep(tmp_path, EVALUATION, EVALUATION.found())
    path = tmp_path / FOLDER / f"{EVALUATION.group}.json"
    document = json.loads(path.read_text())
    document["replaced"], document["pending"] = ["../victim"], [EVALUATION.found()[0].model_dump(mode="json")]
    path.write_text(json.dumps(document))
    assert read_finished(tmp_path) == {}
    run_sweep([], tmp_path, [EVALUATION], InProcess(), start_over=True)
    assert victim.read_text() == "mine"


def test_records_of_another_sweep_are_refused(tmp_path: Path) -> None:
    run_sweep([], tmp_path, [EVALUATION], InProcess())
    with pytest.raises(BenchError, match="1 of 1 records of another sweep"):
        run_sweep([], tmp_path, [SESSION], InProcess())


def test_an_evaluation_that_is_no_longer_asked_for_is_set_aside_and_the_others_are_kept(tmp_path: Path) -> None:
    before = run_sweep(PLAN, tmp_path, [SESSION, EVALUATION], InProcess())
    other, executor = Toy("other", ("2,2,2",), group="d" * 64, step="evaluate"), InProcess()
    after = run_sweep(PLAN, tmp_path, [SESSION, other], executor)
    assert executor.ran == ["other"]
    assert after.records[:4] == before.records[:4]
    assert [path.stem for path in after.superseded] == [before.records[4].digest]
    back = InProcess()
    assert len(run_sweep(PLAN, tmp_path, [SESSION, EVALUATION], back).superseded) == 1
    assert back.ran == ["evaluation"]


def test_what_it_kept_meanwhile_goes_when_the_record_is_kept(tmp_path: Path) -> None:
    scratch = tmp_path / "evaluation" / "one"
    scratch.mkdir(parents=True)
    (scratch / "journal").write_text("x")
    run_sweep([], tmp_path, [Toy("one", scratch=scratch)], InProcess())
    assert not scratch.parent.exists()


def test_a_full_disk_loses_one_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / f"{SESSION.group}.json").mkdir()
    outcome = run_sweep([], tmp_path, [SESSION, EVALUATION], InProcess())
    assert len(outcome.lost) == 1
    assert len(outcome.records) == 3
    assert [one.identity.schedule for one in load(tmp_path)[0]] == ["1,1,1"]
