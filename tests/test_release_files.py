"""The files that a release carries beside the code: licence, notices, citation and changes, true to each other."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from proscale_bench.version import __version__

ROOT = Path(__file__).parents[1]


def test_the_citation_is_valid_and_of_this_version() -> None:
    path = ROOT / "CITATION.cff"
    result = CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.citation-file-format", str(path)])
    assert result.exit_code == 0, result.output
    cited = yaml.safe_load(path.read_text())
    assert (cited["version"], cited["license"]) == (__version__, "Apache-2.0")


def test_the_changes_begin_with_this_version() -> None:
    first = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert first.startswith(f"## {__version__}")


def test_the_licence_is_apaches_and_the_notice_names_data_of_others_by_files_that_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    assert "Creative Commons Attribution 4.0" in notice
    named = [word.rstrip(",") for line in notice.splitlines() for word in line.split() if "/" in word]
    paths = [word for word in named if word.startswith(("proscale_bench/", "tests/"))]
    assert len(paths) >= 5
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("path", sorted((ROOT / "proscale_bench").rglob("*.csv")))
def test_every_table_of_others_is_in_the_notice(path: Path) -> None:
    assert path.relative_to(ROOT).as_posix() in (ROOT / "NOTICE").read_text()
    assert len(list(csv.reader(path.read_text().splitlines()))) > 1
