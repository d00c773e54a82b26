"""`data check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from proscale_bench.cli import BenchGroup, global_options
from proscale_bench.commands.data import check
from tests.cli import Result
from tests.data.broken import ERRORS, IMAGES, WARNED, Break
from tests.data.made import make_dataset


def run(*arguments: str) -> Result:
    """The command inside the one catch that every command has."""
    app = typer.Typer(cls=BenchGroup)
    app.callback()(global_options)
    app.command("check")(check)
    result = CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)
    return Result(result.exit_code, result.stdout, result.stderr)


def test_a_whole_data_set_is_usable(tmp_path: Path) -> None:
    make_dataset(tmp_path, semantic=True)
    result = run(str(tmp_path))
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        str(tmp_path),
        "split             val2017",
        "images            3 in val2017, every file read",
        "categories        4: 2 things, 2 stuff",
        "panoptic          3 maps in panoptic_val2017, 12 segments",
        "instances         6 in 3 images, 3 of them crowds",
        "semantic          class indices in panoptic_semseg_val2017",
        "can be evaluated  panoptic, instance, semantic",
        "",
        "nothing is wrong",
    ]


def test_quick_says_that_no_pixel_was_looked_at(tmp_path: Path) -> None:
    make_dataset(tmp_path, panoptic=False)
    result = run(str(tmp_path), "--quick")
    assert result.exit_code == 0
    for line in ("headers read", "panoptic          none", "semantic          none", "no pixel was looked at"):
        assert line in result.stdout


def test_kinds_come_with_examples_and_what_to_do(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, 8)
    for index in range(6):
        (made.images / f"{10 + index:012}.jpg").unlink()
    (made.maps / "stray.png").write_bytes(b"")
    result = run(str(tmp_path))
    assert result.exit_code == 2
    assert result.stdout.splitlines()[8:] == [
        "",
        "error: image file is missing (6)",
        "  val2017/000000000010.jpg (image 10): not there",
        "  val2017/000000000011.jpg (image 11): not there",
        "  val2017/000000000012.jpg (image 12): not there",
        "  and 3 more",
        "  eval stops there: copy or unpack the file again",
        "",
        "warning: file that nobody lists (1)",
        "  panoptic_val2017/stray.png: no annotation names it",
        "  eval leaves it out",
        "",
        "6 errors, 1 warning",
    ]
    assert "6 problems would stop an evaluation" in result.stderr
    assert "--all" in result.stderr
    everything = run(str(tmp_path), "--all").stdout
    assert all(f"(image {10 + index})" in everything for index in range(6))


def test_json_has_the_whole_account(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "data")
    (made.images / "000000000011.jpg").unlink()
    result = run(str(tmp_path / "data"), "--export-json", str(tmp_path / "check.json"))
    assert result.exit_code == 2
    document = json.loads((tmp_path / "check.json").read_text())
    (row,) = document["results"]
    assert (row["split"], row["usable"], row["errors"]) == ("val2017", False, 1)
    assert row["findings"][0]["kind"] == "missing-image"
    again = run(str(tmp_path / "data"), "--export-json", str(tmp_path / "check.json"))
    assert "exists" in again.stderr
    assert run(str(tmp_path / "data"), "--export-json", "-").stdout.startswith("{")


def test_a_split_is_chosen(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    assert run(str(tmp_path), "--split", "val2017").exit_code == 0
    result = run(str(tmp_path), "--split", "val2018")
    assert result.exit_code == 2
    assert "did you mean 'val2017'?" in result.stderr


def test_no_folder_is_named(tmp_path: Path) -> None:
    result = run(str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "no such folder" in result.stderr


@pytest.mark.parametrize("case", [*ERRORS, *WARNED], ids=lambda case: case.name)
def test_nothing_ends_in_a_traceback(tmp_path: Path, case: Break) -> None:
    made = make_dataset(tmp_path, IMAGES, semantic=True)
    case.how(made)
    result = run(str(tmp_path))
    assert result.exit_code == (0 if case in WARNED else 2)
    assert "Traceback" not in result.stdout + result.stderr


def test_a_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    made.edit_both(lambda document: document["images"][0].update(file_name="\x1b[31m[bold]x.jpg"))
    result = run(str(tmp_path))
    assert "\x1b" not in result.stdout
    assert "\\x1b[31m[bold]x.jpg" in result.stdout
