"""Folders that are there whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proscale_bench.data.whole_folder import MARK, refuse_folder, whole_folder
from proscale_bench.errors import BenchError

KILLED = """
import os, signal, sys
from pathlib import Path
from proscale_bench.data.whole_folder import whole_folder
with whole_folder(Path(sys.argv[1]), "test") as folder:
    (folder / "half").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_there_at_the_end_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    with whole_folder(out, "test") as folder:
        (folder / "file").write_text("new")
        assert not out.exists()
    assert sorted(path.name for path in out.iterdir()) == [MARK, "file"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert out.stat().st_mode & 0o777 == tmp_path.joinpath("a").stat().st_mode & 0o777


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out, "test") as folder:
        (folder / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_folder(out, "test", force=True) as folder:  # noqa: PT012
        (folder / "file").write_text("new")
        raise ZeroDivisionError
    assert (out / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "new" / "half").exists()
    with whole_folder(out, "test"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_of_two_at_once_one_is_refused_and_neither_is_harmed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(BenchError, match="exists"), whole_folder(out, "test") as first:  # noqa: PT012
        (first / "file").write_text("first")
        with whole_folder(out, "test") as second:
            assert (first / "file").exists(), "a folder that is being filled is no leftover"
            (second / "file").write_text("second")
    assert (out / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_somebody_elses_folder_is_refused_even_with_force(tmp_path: Path) -> None:
    for name, mark in (("none", None), ("other", "another command")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_text("mine")
        if mark:
            (folder / MARK).write_text(mark)
        with pytest.raises(BenchError, match="no folder that 'proscale-bench test' wrote"):
            refuse_folder(folder, "test", force=True)
    (tmp_path / "empty").mkdir()
    refuse_folder(tmp_path / "empty", "test", force=False)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BenchError, match="exists"):
        refuse_folder(tmp_path / "link", "test", force=False)


def test_a_file_in_the_way_of_a_parent_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot write"), whole_folder(tmp_path / "file" / "out", "test"):
        pass
