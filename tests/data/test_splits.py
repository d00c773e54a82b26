"""The splits to learn from and to validate on, where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.data.layout import training_split, validation_split
from proscale_bench.errors import BenchError


def folder(root: Path, *splits: str) -> Path:
    (root / "annotations").mkdir()
    for split in splits:
        (root / "annotations" / f"instances_{split}.json").touch()
    return root


@pytest.mark.parametrize(
    ("splits", "training", "validation"),
    [
        (("train2017", "val2017"), "train2017", "val2017"),
        (("test", "train", "valid"), "train", "valid"),
        (("test", "training", "validation"), "training", "validation"),
        (("mine",), "mine", None),
        (("holdout", "train"), "train", "holdout"),
    ],
)
def test_the_usual_names_are_found(
    tmp_path: Path, splits: tuple[str, ...], training: str, validation: str | None
) -> None:
    root = folder(tmp_path, *splits)
    assert training_split(root) == training
    assert validation_split(root, training) == validation


def test_a_choice_is_asked_for(tmp_path: Path) -> None:
    root = folder(tmp_path, "train", "one", "two")
    with pytest.raises(BenchError, match="several splits to validate on: one, two"):
        validation_split(root, "train")
    assert validation_split(root, "train", "two") == "two"
    with pytest.raises(BenchError, match="no split 'three'"):
        validation_split(root, "train", "three")
