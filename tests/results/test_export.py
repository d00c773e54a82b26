"""The documents behind --export-*: strict, complete, never half written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from proscale_bench.commands.exporting import Exports
from proscale_bench.errors import BenchError
from proscale_bench.files import write_atomic
from proscale_bench.results.export import count_not_finite, flatten, to_csv, to_json

ROW = {"name": "a,b", "gflops": {"total": 1 / 3, "lost": float("nan")}, "layers": [1, 2], "inf": [float("-inf")]}


def test_json_is_strict_and_at_full_precision() -> None:
    read = json.loads(to_json({"results": [ROW]}), parse_constant=pytest.fail)
    assert read["results"][0]["gflops"] == {"total": 1 / 3, "lost": None}
    assert read["results"][0]["inf"] == [None]
    assert count_not_finite([ROW, ROW]) == 4


def test_a_number_that_is_not_finite_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Exports(json=tmp_path / "x.json").write([ROW], str)
    assert "2 numbers are not finite" in capsys.readouterr().err


def test_csv_flattens_and_quotes() -> None:
    assert to_csv([ROW, {"extra": 1}]).splitlines()[1].startswith('"a,b",0.333')
    assert list(flatten({"a": {"b": {"c": 1}}})) == ["a.b.c"]


@pytest.mark.parametrize("name", ["=1+1", "+a", "-x.pth", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_a_name_is_no_formula_in_csv(name: str) -> None:
    (row,) = csv.DictReader(to_csv([{"name": name, "saved": -5.5, "more": 1e-7, "low": float("-inf")}]).splitlines())
    assert row == {"name": f"'{name}", "saved": "-5.5", "more": "1e-07", "low": "-inf"}


def test_a_name_is_in_one_line_of_csv() -> None:
    assert to_csv([{"name": "a\n::error::\u202e\t=x"}]) == "name\na\\n::error::\\u202e\\t=x\n"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match="No space left"):
        write_atomic(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]
    assert path.read_text() == "old"
