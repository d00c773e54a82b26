"""The tool's surroundings: variables, settings, packages and users that are missing or not what they should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proscale_bench.cache import cache_dir
from proscale_bench.errors import BenchError
from tests.cli import run

PAPER = Path(__file__).parents[1] / "reports/paper"


def start(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the tool in a process of its own, with these variables beside the ones that are set."""
    command = [sys.executable, "-m", "proscale_bench", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("backend", "date"),
    [("module://matplotlib_inline.backend_inline", "abc"), ("foo", " "), ("", "99999999999999"), ("svg", "1.5")],
)
def test_a_report_is_the_same_whatever_draws_elsewhere(backend: str, date: str, tmp_path: Path) -> None:
    assert run("report", str(PAPER), "--out", str(tmp_path / "plain")).exit_code == 0
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe not a setting")
    variables = {"MPLBACKEND": backend, "SOURCE_DATE_EPOCH": date, "PYTHONPATH": str(PAPER.parents[1])}
    done = start("report", str(PAPER), "--out", "out", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "plain" / path.name).read_bytes(), path.name


COLOURED = [{}, {"GITHUB_ACTIONS": "true"}, {"FORCE_COLOR": "1"}, {"PY_COLORS": "1"}]


@pytest.mark.parametrize("forced", COLOURED, ids=str)
@pytest.mark.parametrize("arguments", ["--help", "data check -h", "flop", "flops --nope"])
def test_no_colour_means_none(arguments: str, forced: dict[str, str]) -> None:
    for given, variables in (("--no-color", {}), ("", {"NO_COLOR": "1"})):
        done = start(*given.split(), *arguments.split(), **forced, **variables)
        assert done.returncode == (0 if "-h" in arguments else 2)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_job_is_no_terminal_unless_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "\x1b" not in run("check", "--help").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in run("check", "--help").stdout


@pytest.mark.parametrize("width", ["abc", "", "0", "-1", "1e3", "9" * 5000, "٣٣"])
def test_a_width_that_is_none_is_passed_over(width: str) -> None:
    done = start("check", "--help", TERMINAL_WIDTH=width)
    assert done.returncode == 0, done.stderr
    assert done.stdout == start("check", "--help").stdout


@pytest.mark.parametrize("package", ["torch", "matplotlib", "numpy", "PIL"])
def test_a_package_that_is_missing_is_named(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    commands = {
        "torch": ("flops", "-s", "1,1,1", "-b", "tiny", "--size", "32x32", "--verify"),
        "matplotlib": ("report", str(PAPER), "--out", str(tmp_path)),
        "numpy": ("data", "make-shapes", str(tmp_path / "shapes"), "--images", "1"),
        "PIL": ("data", "make-shapes", str(tmp_path / "shapes"), "--images", "1"),
    }
    if package in ("numpy", "PIL"):
        for name in [name for name in sys.modules if name.startswith("proscale_bench.data.shapes")]:
            monkeypatch.delitem(sys.modules, name)
    result = run(*commands[package])
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"error: {package} is not installed, and this needs it\nhint: python -m pip install"
    )


def test_what_ends_with_figures_is_not_begun_without_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "matplotlib is not installed" in run("sweep", "paper", "--out", str(tmp_path / "run")).stderr
    assert not (tmp_path / "run").exists()


def test_a_user_without_a_home_has_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROSCALE_BENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home")))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = cache_dir()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
    assert cache_dir() == folder
    folder.rmdir()
    folder.symlink_to("/")
    with pytest.raises(BenchError, match="of another user"):
        cache_dir()
