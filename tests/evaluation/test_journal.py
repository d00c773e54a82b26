"""Results that an evaluation keeps survive whatever ends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.evaluation.journal import Journal, JournalWriter


def write(folder: Path, rank: int, *batches: list[dict[str, object]]) -> Path:
    with JournalWriter(folder, rank) as journal:
        for batch in batches:
            journal.write(batch)
        return journal.path


def line(image_id: int, value: float = 0.5) -> dict[str, object]:
    return {"image_id": image_id, "value": value}


def test_all_processes_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    write(tmp_path, 0, [line(3), line(1)], [line(7)])
    write(tmp_path, 1, [line(2)])
    journal = Journal(tmp_path)
    assert sorted(journal.image_ids) == [1, 2, 3, 7]
    assert [found["image_id"] for found in journal.read([7, 2, 1, 3])] == [7, 2, 1, 3]


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308]
    write(tmp_path, 0, [line(index, value) for index, value in enumerate(values)])
    assert [found["value"] for found in Journal(tmp_path).read(range(4))] == values


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_without_an_end_counts_as_not_written(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, 0, [line(1), line(2)])
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(Journal(tmp_path).image_ids) == [1]


def test_a_resumed_process_never_writes_behind_a_line_without_an_end(tmp_path: Path) -> None:
    path = write(tmp_path, 0, [line(1), line(2)])
    path.write_bytes(path.read_bytes()[:-3])
    write(tmp_path, 0, [line(2, 7.0)])
    assert [found["value"] for found in Journal(tmp_path).read([1, 2])] == [0.5, 7.0]


@pytest.mark.parametrize("junk", [b"\0\0\0\n", b"[]\n", b'{"image_id": [1]}\n', b"{}\n", b'{"image_id": 4\n', b"\n"])
def test_what_is_no_line_of_ours_is_evaluated_again(tmp_path: Path, junk: bytes) -> None:
    path = write(tmp_path, 0, [line(1)])
    path.write_bytes(junk + path.read_bytes() + junk)
    assert list(Journal(tmp_path).image_ids) == [1]


@pytest.mark.parametrize("old", [b"0.5", b"value", b'image_id":2', b'crc32":'])
def test_an_altered_line_is_evaluated_again(tmp_path: Path, old: bytes) -> None:
    path = write(tmp_path, 0, [line(1), line(2)])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.replace(old, old[:-1] + b"1"))
    assert list(Journal(tmp_path).image_ids) == [1]


def test_a_pipe_in_place_of_a_journal_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, 0, [line(1)])
    os.mkfifo(tmp_path / "process-1-2.jsonl")
    assert list(Journal(tmp_path).image_ids) == [1]


def test_a_finished_evaluation_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "key", 0, [line(1)])
    Journal(tmp_path / "key").remove()
    assert not (tmp_path / "key").exists()


def test_a_full_disk_says_what_is_kept(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, 0) as journal:
        journal._file.close()
        journal._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
        with pytest.raises(BenchError, match="No space left") as problem:
            journal.write([line(1)])
    assert "kept" in (problem.value.hint or "")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file"):
        JournalWriter(tmp_path / "file" / "key", 0)
