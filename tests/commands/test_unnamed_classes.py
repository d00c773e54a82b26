"""Weights that ship name no classes; they learnt those of Shapes, and are not taken for others by place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.config.weights import METADATA, shipped_weights
from proscale_bench.data.known_classes import names_of
from proscale_bench.data.shapes import CATEGORIES, THINGS
from tests.cli import run

BASELINE = str(shipped_weights()["tiny-baseline"])
TRAINED = ("-s", "1,1,1", "--threads", "1", "--device", "cpu", "--iterations", "1", "--batch-size", "1")
EVALUATED = ("--tasks", "panoptic", "--bootstrap", "0", "--threads", "1", "--resize", "none")
NAMES = tuple(category.name for category in CATEGORIES)


def of_shapes(**more: Any) -> dict[str, str]:
    return {METADATA: json.dumps({"provenance": {"data": "shapes"}, **more})}


@pytest.mark.parametrize(
    ("metadata", "classes", "names"),
    [
        (of_shapes(), 13, NAMES),
        (of_shapes(), 8, NAMES[: len(THINGS)]),
        (of_shapes(), 5, ()),
        (of_shapes(categories=[{"name": "cat"}]), 13, ("cat",)),
        ({METADATA: json.dumps({"provenance": {"data": "own"}})}, 13, ()),
        ({METADATA: json.dumps({"provenance": [1]})}, 13, ()),
        ({METADATA: "["}, 13, ()),
        ({}, 13, ()),
    ],
)
def test_names_are_the_files_else_those_of_the_embedded_data(
    metadata: dict[str, str], classes: int, names: tuple[str, ...]
) -> None:
    assert names_of(metadata, classes) == names


def made(folder: Path, new_name: str) -> Path:
    """Shapes with their categories in the other order, and each called otherwise."""
    result = run("data", "make-shapes", str(folder), "--images", "2", "--split", "train")
    assert result.exit_code == 0, result.stderr
    for path in (folder / "annotations").glob("*.json"):
        document = json.loads(path.read_text())
        document["categories"] = [{**one, "name": new_name.format(one["name"])} for one in document["categories"][::-1]]
        document.pop("info", None)
        path.write_text(json.dumps(document))
    return folder


def test_on_thirteen_other_classes_it_is_no_start_and_no_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = str(made(tmp_path / "own", "my {}"))
    trained = run("train", "--coco", own, "--start", BASELINE, *TRAINED)
    assert trained.exit_code == 0, trained.stderr
    assert "not taken from tiny-baseline.safetensors, classes of other names: decoder.class_head" in trained.stderr
    evaluated = run("eval", "--weights", BASELINE, "--coco", own, *EVALUATED, "--out", "out")
    assert evaluated.exit_code == 2
    assert "knows class 1 as 'disc', and no category of the data is called so" in evaluated.stderr
    by_order = run("eval", "--weights", BASELINE, "--coco", own, *EVALUATED, "--out", "out", "--classes-by", "order")
    assert by_order.exit_code == 0, by_order.stderr
    assert "classes are taken by their order, as was asked for" in by_order.stderr


def test_classes_in_another_order_are_matched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    turned = str(made(tmp_path / "turned", "{}"))
    trained = run("train", "--coco", turned, "--start", BASELINE, *TRAINED)
    assert trained.exit_code == 0, trained.stderr
    assert "in another order: the rows of the class head, each by its class's name" in trained.stderr
    evaluated = run("eval", "--weights", BASELINE, "--coco", turned, *EVALUATED, "--out", "out", "--export-json", "-")
    assert evaluated.exit_code == 0, evaluated.stderr
    assert "matched by name" in evaluated.stderr
    assert json.loads(evaluated.stdout)["results"][0]["accuracy"]["pq"] > 20
