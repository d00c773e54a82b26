"""`data make-shapes`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proscale_bench.data.shapes import writing
from tests.cli import run


def test_it_writes_a_split_and_says_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    result = run("data", "make-shapes", str(folder), "--images", "6", "--seed", "9", "--split", "train")
    assert result.exit_code == 0
    assert result.stderr == ""
    panoptic = json.loads((folder / "annotations" / "panoptic_train.json").read_text())
    instances = json.loads((folder / "annotations" / "instances_train.json").read_text())
    things = [found for found in instances["annotations"] if not found["iscrowd"]]
    stuff = sum(len(truth["segments_info"]) for truth in panoptic["annotations"]) - len(instances["annotations"])
    assert f"Shapes, seed 9: 6 images in {folder / 'train'}\n" in result.stdout
    assert f"{len(things)} things (" in result.stdout
    assert f"{stuff} regions of stuff" in result.stdout
    assert f"proscale-bench data check {folder}" in result.stdout
    assert len(list((folder / "train").glob("*.png"))) == 6


def test_one_image_is_an_image(tmp_path: Path) -> None:
    assert "1 image in" in run("data", "make-shapes", str(tmp_path), "-n", "1").stdout
    assert (tmp_path / "val" / "000000000001.png").is_file()


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    arguments = ("data", "make-shapes", str(tmp_path), "-n", "1")
    assert run(*arguments).exit_code == 0
    again = run(*arguments)
    assert again.exit_code == 2
    assert f"{tmp_path / 'val'} exists" in again.stderr
    assert "--force" in again.stderr
    assert run(*arguments, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-n", "0"), "0 images"),
        (("-n", "many"), "Invalid value for"),
        (("--seed", "-1"), "seed -1"),
        (("--split", "../x"), "split '../x'"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run("data", "make-shapes", str(tmp_path / "new"), *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run("data", "make-shapes", str(tmp_path / "file"))
    assert result.exit_code == 2
    assert "not a folder" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "make_scene", interrupted)
    result = run("data", "make-shapes", str(tmp_path / "new"))
    assert result.exit_code == 130
    assert "interrupted: nothing is left in" in result.stderr
    assert not (tmp_path / "new").exists()


def test_help_has_an_example() -> None:
    assert "Example: proscale-bench data make-shapes" in " ".join(run("data", "make-shapes", "--help").stdout.split())
