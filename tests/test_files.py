"""Files that are written are whole, where it was asked for, and nobody else's."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.files import LOCK, locked, replacing, write_atomic
from tests.cli import run

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --- Modes ---


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    path.chmod(mode)
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "one", "")
        write_atomic(tmp_path / "two", "", overwrite=False)
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("one", "two")} == {0o640}


# --- Leftovers ---

KILLED = """
import os, signal, sys
from pathlib import Path
from proscale_bench.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
WRITING = """
import sys
from pathlib import Path
from proscale_bench.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    print("begun", flush=True)
    sys.stdin.readline()
    temporary.write_text("slow")
"""


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert started(KILLED, path).wait(60) == -signal.SIGKILL
    assert [one.name.startswith(".report.json.") for one in tmp_path.iterdir()] == [True]
    write_atomic(path, "whole")
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    command = [sys.executable, "-c", WRITING, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        write_atomic(path, "fast")
        assert len(list(tmp_path.iterdir())) == 2
        process.communicate("\n", timeout=60)
    assert path.read_text() == "slow"
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "name", [".report.json.bak", ".report.json.12345678.gz", ".other.json.abcdefgh", ".report.json"]
)
def test_files_of_other_names_are_nobodys_leftovers(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    write_atomic(tmp_path / "report.json", "whole")
    assert (tmp_path / name).read_text() == "mine"


# --- Nothing is overwritten ---


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def write_while_another_does() -> None:
        with replacing(path, overwrite=False) as temporary:
            temporary.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(BenchError, match="out exists"):
        write_while_another_does()
    assert path.read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_neither_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    write_atomic(tmp_path / "out", "ours", overwrite=False)
    with pytest.raises(BenchError, match="out exists"):
        write_atomic(tmp_path / "out", "others", overwrite=False)
    assert (tmp_path / "out").read_text() == "ours"


AT_ONCE = """
import sys, time
from pathlib import Path
from proscale_bench.errors import BenchError
from proscale_bench.files import write_atomic
while time.time() < float(sys.argv[2]):
    pass
try:
    write_atomic(Path(sys.argv[1]), sys.argv[3], overwrite=False)
except BenchError as error:
    sys.exit(error.exit_code)
"""


def test_of_two_writers_at_once_one_is_refused(tmp_path: Path) -> None:
    for trial in range(5):
        path, at = tmp_path / str(trial), time.time() + 1.5
        both = [started(AT_ONCE, path, at, who) for who in ("one", "two")]
        codes = [process.wait(60) for process in both]
        assert sorted(codes) == [0, 2]
        assert path.read_text() == ("one" if codes[0] == 0 else "two")


@pytest.mark.parametrize("other", ["d/../o", "./o", "link", "missing/../o"])
def test_two_exports_to_one_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("o")
    result = run("flops", "-s", "3,3,3", "--export-json", "o", "--export-csv", other)
    assert result.exit_code == 2
    assert not (tmp_path / "o").exists()


# --- One holder ---

HOLDING = """
import os, sys, time
from pathlib import Path
from proscale_bench import files
files.DYING_S = 10.0
run, inside = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(30):
    with files.locked(run):
        descriptor = os.open(inside, os.O_CREAT | os.O_EXCL)  # another holder would be in the way
        time.sleep(0.002)
        os.close(descriptor)
        inside.unlink()
"""


def test_a_folder_never_has_two_holders(tmp_path: Path) -> None:
    """The folder is removed by each holder and made again by the next, which is where two could meet."""
    all_of_them = [started(HOLDING, tmp_path / "run", tmp_path / "inside") for _ in range(3)]
    said = [process.communicate(timeout=120)[1] for process in all_of_them]
    assert [process.returncode for process in all_of_them] == [0, 0, 0], said


def test_a_killed_holder_is_waited_for(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from proscale_bench.files import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    holder = started(code, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BenchError, match="another sweep is running"), locked(tmp_path):
        pass
    holder.kill()
    with locked(tmp_path):
        assert (tmp_path / LOCK).is_file()
    wait([holder.stdout], 10)
    holder.wait(10)


# --- Paths that lead nowhere, pipes ---


def test_links_that_lead_to_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    for arguments in (
        ("flops", "-s", "3,3,3", "--export-json", "loop", "--force"),
        ("flops", "-s", "3,3,3", "--export-json", "loop/x.json"),
        ("report", str(ROOT / "reports/cpu"), "--out", "loop"),
        ("report", str(ROOT / "reports/cpu"), "--out", "loop/x", "--force"),
        ("data", "make-shapes", "loop", "--images", "1"),
        ("check", str(ROOT / "budgets.yaml"), "--sarif", "loop"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.stderr)
        assert "Traceback" not in result.stderr
