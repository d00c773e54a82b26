"""docs/cli.md is what the commands declare."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cli.md"
SCRIPT = ROOT / "docs" / "make_cli.py"
# Handed on to processes that the tool starts, or told to libraries: nothing that a user sets.
OF_OUR_OWN = {"PYDANTIC_DISABLE_PLUGINS", "OMP_NUM_THREADS", "RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_AUTO_CONNECT"}


def test_the_page_is_as_the_commands_are() -> None:
    assert runpy.run_path(str(SCRIPT))["page"]() == PAGE.read_text("utf-8"), "run `make docs`"


def test_it_is_written_when_something_changed_and_then_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, page = tmp_path / "make_cli.py", tmp_path / "cli.md"
    script.write_text(SCRIPT.read_text("utf-8"), "utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == "cli.md is written\n"
    assert page.read_bytes() == PAGE.read_bytes()
    first = page.stat().st_ino, page.stat().st_mtime_ns
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == "cli.md is as the commands are\n"
    assert (page.stat().st_ino, page.stat().st_mtime_ns) == first
    assert {path.name for path in tmp_path.iterdir()} == {"make_cli.py", "cli.md"}


def test_the_page_holds_no_place_and_no_hidden_flag() -> None:
    page = PAGE.read_text("utf-8")
    assert "--verify-all" not in page
    for place in (str(ROOT), str(Path.home())):
        assert f"{place}/" not in page


def test_every_variable_that_the_code_reads_is_named() -> None:
    page = PAGE.read_text("utf-8")
    read: set[str] = set()
    for path in (ROOT / "proscale_bench").rglob("*.py"):
        text = path.read_text("utf-8")
        if "os.environ" in text:
            read |= set(re.findall(r"\"([A-Z][A-Z_]*_[A-Z_]+|CXX|PYTHONPATH|RANK)\"", text))
    assert {"PROSCALE_BENCH_CACHE", "XDG_CACHE_HOME", "GITHUB_STEP_SUMMARY", "CXX", "RANK"} <= read
    assert {name for name in read - OF_OUR_OWN if f"`{name}`" not in page} == set()
