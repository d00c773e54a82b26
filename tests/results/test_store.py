"""The store: every readable record is read, every other file is named, nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.results.record import Record
from proscale_bench.results.store import (
    load,
    read_record,
    record_path,
    remove_leftovers,
    remove_records,
    scan,
    write_record,
)
from tests.results.records import record


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for schedule in ("baseline", "3,3,3"):
        write_record(tmp_path, record(schedule))
    return tmp_path


def test_what_is_written_is_read(run: Path) -> None:
    records, problems = load(run)
    assert {one.identity.schedule for one in records} == {"baseline", "3,3,3"}
    assert problems == []


def test_a_record_replaces_the_older_one(run: Path) -> None:
    newer = record("baseline").model_copy(update={"environment": {"python": "4"}})
    write_record(run, newer)
    records, _ = load(run)
    assert len(records) == 2
    assert newer in records


GOOD = record("1,1,1").to_json().encode()
BAD_FILES = {
    "empty": b"",
    "truncated": GOOD[: len(GOOD) // 2],
    "one byte short": GOOD.rstrip()[:-1],
    "not JSON": b"hello",
    "another document": b'{"results": []}',
    "a list": b"[]",
    "null": b"null",
    "binary": bytes(range(256)),
    "zeros": bytes(5000),
    "deep": b"[" * 100_000,
    "another version": GOOD.replace(b'"schema_version": 1', b'"schema_version": 99'),
    "an unknown key": GOOD.replace(b'"rules"', b'"rulez"'),
    "text for a number": GOOD.replace(b'"images": 1', b'"images": "1"'),
    "under another name": GOOD,
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_named_and_hides_no_other(run: Path, content: bytes) -> None:
    bad = record_path(run, "f" * 64)
    bad.write_bytes(content)
    records, problems = load(run)
    assert len(records) == 2
    assert len(problems) == 1
    assert str(bad) in problems[0].message
    assert "\n" not in problems[0].message


def test_a_folder_and_a_broken_link_in_the_store_are_named(run: Path) -> None:
    record_path(run, "a").mkdir()
    record_path(run, "b").symlink_to(run / "nowhere")
    records, problems = load(run)
    assert (len(records), len(problems)) == (2, 2)


def test_a_huge_file_is_not_read(run: Path) -> None:
    huge = record_path(run, "c")
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    assert "over 8192 KiB" in load(run)[1][0].message


def test_other_files_are_nobodys_business(run: Path) -> None:
    (run / "records" / "README.md").write_text("mine")
    (run / "records" / ".0.json.abc").write_text("{")
    assert load(run)[1] == []
    remove_leftovers(run)
    assert not (run / "records" / ".0.json.abc").exists()
    assert (run / "records" / "README.md").exists()


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder", "an empty store", "only a broken record"])
def test_a_run_without_records_is_an_error_with_a_hint(tmp_path: Path, make: str) -> None:
    run = tmp_path / "run"
    if make == "a file":
        run.write_text("")
    elif make != "nothing":
        run.mkdir()
    if make in ("an empty store", "only a broken record"):
        (run / "records").mkdir()
    if make == "only a broken record":
        (run / "records" / "x.json").write_text("{")
    with pytest.raises(BenchError) as caught:
        load(run)
    assert str(run) in caught.value.message
    assert "records/*.json" in (caught.value.hint or "")
    assert caught.value.exit_code == 2


def test_a_store_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("")
    with pytest.raises(BenchError, match="cannot read"):
        scan(tmp_path)


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("in the way")
    with pytest.raises(BenchError, match="cannot write"):
        write_record(tmp_path, record())
    assert (tmp_path / "records").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_record_is_named(run: Path) -> None:
    path = record_path(run, record("baseline").digest)
    path.chmod(0)
    records, problems = load(run)
    assert (len(records), len(problems)) == (1, 1)


def test_starting_over_removes_records_and_nothing_else(run: Path) -> None:
    mine = run / "records" / "mine.json"
    mine.write_text("{}")
    remove_records(run)
    assert list((run / "records").iterdir()) == [mine]


def test_a_failed_write_keeps_the_old_record(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record_path(run, record("baseline").digest)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchError, match="No space left"):
        write_record(run, record("baseline"))
    assert path.read_bytes() == before
    assert sorted((run / "records").iterdir()) == sorted(record_path(run, one.digest) for one in load(run)[0])


def test_a_record_knows_its_own_name(run: Path) -> None:
    for path in (run / "records").iterdir():
        assert read_record(path).digest == path.stem
        assert isinstance(read_record(path), Record)
