"""`proscale-bench check`: the least change that counts, and the comment of a pull request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import run

from .test_check import BUDGETS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "budgets.yaml").write_text(BUDGETS)
    return tmp_path


def test_an_excess_below_the_least_change_does_not_count(folder: Path) -> None:
    """3,3,3 has 45.3688 million parameters, and a published PQ of 51.44."""
    text = "schema_version: 1\ndefaults: {size: 64x64, min_change: 0.1}\nbudgets:\n  - schedule: '3,3,3'\n"
    limits = "    params_m: {max: 45.35MORE}\n    pq: {min: 51.5, published: true}\n"
    (folder / "budgets.yaml").write_text(text + limits.replace("MORE", ""))
    result = run("check")
    assert result.exit_code == 0
    assert (
        "ok        params_m                  45.37  at most 45.35 millions; 0.042 % more, below min_cha"
        in result.stdout
    )
    assert "at least 51.5 %; 0.06 points less, below min_change 0.1\n" in result.stdout
    rows = json.loads(run("check", "--format", "json").stdout)["results"]
    assert [(row["status"], row["min_change"], row["excess"]) for row in rows] == [("kept", 0.1, None)] * 2
    assert run("check", "--format", "github").stdout == ""
    for nearer in (", min_change: 0", ", min_change: 0.04"):
        (folder / "budgets.yaml").write_text(text + limits.replace("MORE", nearer))
        assert run("check").exit_code == 1
    for wrong in ("-1", ".nan", "101", "much"):
        (folder / "budgets.yaml").write_text(text + limits.replace("MORE", f", min_change: {wrong}"))
        result = run("check")
        assert result.exit_code == 2
        assert "budgets.yaml:5:28: min_change: " in result.stderr


def test_the_comment_of_a_pull_request(folder: Path) -> None:
    """It is there whatever the exit code, in place of the last one; no other file is ever touched."""
    (folder / "base.json").write_text(run("check", "--format", "json").stdout)
    (folder / "budgets.yaml").write_text(BUDGETS.replace("60.5", "0.25"))
    result = run("check", "--format", "github", "--comment", "new/c.md", "--base", "base.json", "--explain")
    assert result.exit_code == 1
    text = (folder / "new/c.md").read_text()
    assert text.startswith("<!-- proscale-bench check budgets.yaml -->\n")
    assert "**Against the base: 0 of 2 numbers changed**" in text
    assert "```text\nencoder_gflops of 3,3,3 on resnet50, 64x64\n  since " in text
    assert "❌" in text
    (folder / "budgets.yaml").write_text(BUDGETS)
    assert run("check", "--comment", "new/c.md").exit_code == 0
    assert "❌" not in (folder / "new/c.md").read_text()
    (folder / "budgets.yaml").write_text("budgets: 1")
    assert run("check", "--comment", "new/c.md").exit_code == 2
    assert not (folder / "new/c.md").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--comment", "budgets.yaml"], "no comment of a check"),
        (["--comment", "-"], "not a file to write to"),
        (["--comment", "."], "a folder"),
        (["--comment", "c.md", "--base", "none.json"], "none.json: No such file"),
        (["--comment", "c.md", "--base", "budgets.yaml"], "not what this version's"),
        (["--base", "budgets.yaml"], "no comment shows it"),
    ],
)
def test_a_comment_that_cannot_be(flags: list[str], message: str, folder: Path) -> None:
    result = run("check", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert (folder / "budgets.yaml").read_text() == BUDGETS
