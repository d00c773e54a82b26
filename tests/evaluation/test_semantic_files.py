"""Semantic quality of folders of PNGs: detectron2's numbers to the last digit, and bad files by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proscale_bench as psb
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.map_files import score_semantic_files
from proscale_bench.evaluation.semantic import class_pixels
from tests.data.test_pictures import bomb
from tests.evaluation.golden import shared, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpack("semantic", tmp_path / "semantic")


def assert_golden(folder: Path) -> None:
    golden = json.loads((folder / "golden_semseg.json").read_text())
    found = score_semantic_files(folder / "gt", folder / "pred", 15)
    quality = found.quality
    assert (quality.miou, quality.fwiou, quality.macc, quality.pacc) == tuple(
        golden[name] for name in ("mIoU", "fwIoU", "mACC", "pACC")
    )
    assert list(quality.iou) == golden["IoU"]
    assert list(quality.acc) == golden["ACC"]
    assert quality.iou[12] is quality.iou[13] is None
    assert quality.iou[14] == 0.0
    confusion = np.array(golden["conf_matrix"])[:15, :15]  # [predicted, true]; the last row and column are ignored
    pixels = class_pixels(found.counts, 15)
    assert pixels.intersection.sum(axis=0).tolist() == np.diag(confusion).tolist()
    assert pixels.truth.sum(axis=0).tolist() == confusion.sum(axis=0).tolist()
    assert pixels.predicted.sum(axis=0).tolist() == confusion.sum(axis=1).tolist()
    assert found.names == tuple(f"{index:03}.png" for index in range(20))


def test_twenty_images_are_scored_as_the_reference_scores_them(folder: Path) -> None:
    assert_golden(folder)


def test_the_shared_set_is_scored_as_the_reference_scores_it() -> None:
    assert_golden(shared("eval/semantic"))


def test_the_public_function_takes_text_and_warns(folder: Path) -> None:
    shutil.copy(folder / "pred" / "000.png", folder / "pred" / "extra.png")
    with pytest.warns(UserWarning, match=r"images that the truth lacks, left out: 1, the first extra\.png"):
        quality = psb.evaluate_semantic(os.fspath(folder / "gt"), os.fspath(folder / "pred"), num_classes=15)
    assert quality.miou == 35.57326651929206
    assert len(quality.warnings) == 1


def test_progress_counts_images(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    score_semantic_files(folder / "gt", folder / "pred", 15, progress=lambda done, images: seen.append((done, images)))
    assert seen == [(done, 20) for done in range(1, 21)]


def test_palettes_and_sixteen_bits_are_read_as_indices(folder: Path) -> None:
    expected = score_semantic_files(folder / "gt", folder / "pred", 15)
    for index, path in enumerate(sorted((folder / "pred").iterdir())):
        labels = np.asarray(Image.open(path))
        if index % 2:
            image = Image.fromarray(labels, "P")
            image.putpalette(list(range(256)) * 3)
            image.save(path)
        else:
            Image.fromarray(labels.astype(np.uint16)).save(path)
    assert score_semantic_files(folder / "gt", folder / "pred", 15) == expected


def test_scoring_never_imports_torch(folder: Path) -> None:
    code = (
        f"import sys, proscale_bench as psb; folder = {str(folder)!r}\n"
        "assert psb.evaluate_semantic(f'{folder}/gt', f'{folder}/pred', 15).miou == 35.57326651929206\n"
        "assert not set(sys.modules) & {'torch', 'torchvision', 'pandas', 'matplotlib'}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def labelled(value: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "pred" / "003.png"
        labels = np.array(Image.open(path))
        labels[0, 0] = value
        Image.fromarray(labels).save(path)

    return spoil


def coloured(folder: Path) -> None:
    Image.open(folder / "pred" / "003.png").convert("RGB").save(folder / "pred" / "003.png")


def narrower(folder: Path) -> None:
    image = Image.open(folder / "pred" / "003.png")
    image.crop((0, 0, image.width - 1, image.height)).save(folder / "pred" / "003.png")


def cut(folder: Path) -> None:
    path = folder / "gt" / "003.png"
    path.write_bytes(path.read_bytes()[:-60])


def empty(folder: Path) -> None:
    for path in (folder / "gt").iterdir():
        path.unlink()


def linked(folder: Path) -> None:
    (folder / "pred" / "003.png").unlink()
    (folder / "pred" / "003.png").symlink_to(folder / "nowhere.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "pred" / "003.png").unlink(),
            r"pred: 1 of 20 predictions are missing, the first 003",
        ),
        (lambda folder: shutil.rmtree(folder / "pred"), r"pred: not a folder"),
        (lambda folder: shutil.rmtree(folder / "gt"), r"gt: not a folder"),
        (empty, r"gt: no PNG"),
        (labelled(15), r"pred/003\.png: a predicted label is 15; classes are 0 to 14"),
        (labelled(255), r"pred/003\.png: a predicted label is 255"),
        (coloured, r"pred/003\.png: PNG of mode RGB"),
        (narrower, r"pred/003\.png: \d+ x \d+ pixels where the truth has"),
        (cut, r"gt/003\.png: "),
        (linked, r"pred/003\.png: No such file"),
        (lambda folder: (folder / "pred" / "003.png").write_bytes(b"PNG"), r"pred/003\.png: not an image"),
        (lambda folder: bomb(folder / "pred" / "003.png"), r"pred/003\.png: "),
    ],
)
def test_bad_files_are_named(folder: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder)
    with pytest.raises(BenchError, match=message) as caught:
        score_semantic_files(folder / "gt", folder / "pred", 15)
    assert caught.value.hint


@pytest.mark.parametrize("num_classes", [0, -3, 1 << 40])
def test_a_number_of_classes_that_cannot_be_is_refused(folder: Path, num_classes: int) -> None:
    with pytest.raises(BenchError, match="classes"):
        psb.evaluate_semantic(folder / "gt", folder / "pred", num_classes)


def test_too_few_classes_are_named(folder: Path) -> None:
    with pytest.raises(BenchError, match=r"a (predicted label|label of the truth) is 1[1-4]; classes are 0 to 10"):
        score_semantic_files(folder / "gt", folder / "pred", 11)
