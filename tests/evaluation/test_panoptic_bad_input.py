"""Bad files of panoptic evaluation: each ends in one error that names the file and the place, never in a traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proscale_bench.errors import BenchError
from proscale_bench.evaluation.map_files import score_panoptic_files
from tests.data.test_pictures import bomb
from tests.evaluation.golden import unpack

Document = Any


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A case that is right, to be spoilt."""
    unpack("panoptic_edge", tmp_path / "all")
    shutil.copytree(tmp_path / "all" / "ok", tmp_path / "case")
    return tmp_path / "case"


def refused(folder: Path, message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        score_panoptic_files(folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred")
    str(caught.value).encode()  # it can be printed


def annotation(document: Document) -> Document:
    return document["annotations"][0]


def segment(document: Document) -> Document:
    return annotation(document)["segments_info"][1]


def put(target: Callable[[Document], Document], key: str, value: Any) -> Callable[[Document], None]:
    return lambda document: target(document).__setitem__(key, value)


def drop(target: Callable[[Document], Document], key: str) -> Callable[[Document], None]:
    return lambda document: target(document).__delitem__(key)


def whole(document: Document) -> Document:
    return document


BOTH = (
    (drop(whole, "annotations"), r"'annotations' is missing"),
    (put(whole, "annotations", {}), r"'annotations': expected a list, found an object"),
    (put(whole, "annotations", [3]), r"annotations\[0\]: expected an object, found 3"),
    (put(whole, "annotations", [None]), r"annotations\[0\]: expected an object, found null"),
    (drop(annotation, "image_id"), r"annotations\[0\]: 'image_id' is missing"),
    (put(annotation, "image_id", "one"), r"no prediction for 1 of 1 images, the first image (one|1)"),
    (
        put(annotation, "image_id", "1"),
        r"no prediction for 1 of 1 images, the first image 1\nhint: its id is text in one",
    ),
    (put(annotation, "image_id", 1.5), r"annotations\[0\]: 'image_id': expected a whole number or text, found 1.5"),
    (drop(annotation, "file_name"), r"annotations\[0\]: 'file_name' is missing"),
    (put(annotation, "file_name", 7), r"annotations\[0\]: 'file_name': expected text, found 7"),
    (put(annotation, "file_name", "../gt/a.png"), r"annotations\[0\]: 'file_name': '../gt/a.png' leads out of its"),
    (put(annotation, "file_name", "sub/../../a.png"), r"'file_name': 'sub/../../a.png' leads out of its folder"),
    (put(annotation, "file_name", "..\\a.png"), r"'file_name': .* leads out of its folder"),
    (put(annotation, "file_name", "/etc/passwd"), r"'file_name': '/etc/passwd' leads out of its folder"),
    (put(annotation, "file_name", "C:\\a.png"), r"'file_name': .* leads out of its folder"),
    (put(annotation, "file_name", ""), r"'file_name': '' is no name of a file"),
    (put(annotation, "file_name", "a\0.png"), r"'file_name': 'a\\x00.png' is no name of a file"),
    (put(annotation, "file_name", "a\ud800.png"), r"'file_name': 'a\\ud800.png' is no name of a file"),
    (put(annotation, "file_name", "a" * 5000), r"image 1: .*: File name too long"),
    (put(annotation, "file_name", "."), r"'file_name': '.' is no name of a file"),
    (drop(annotation, "segments_info"), r"annotations\[0\]: 'segments_info' is missing"),
    (put(annotation, "segments_info", None), r"annotations\[0\]: 'segments_info': expected a list, found null"),
    (put(annotation, "segments_info", {"id": 1}), r"'segments_info': expected a list, found an object"),
    (put(annotation, "segments_info", ["x"]), r"annotations\[0\]\.segments_info\[0\]: expected an object, found 'x'"),
    (
        put(annotation, "segments_info", [[1]]),
        r"annotations\[0\]\.segments_info\[0\]: expected an object, found a list",
    ),
    (drop(segment, "id"), r"segments_info\[1\]: 'id' is missing"),
    (put(segment, "id", "300"), r"segments_info\[1\]: 'id': expected a whole number, found '300'"),
    (put(segment, "id", True), r"segments_info\[1\]: 'id': expected a whole number, found true"),
    (put(segment, "id", 10**30), r"segments_info\[1\]: 'id': expected a whole number"),
    (drop(segment, "category_id"), r"segments_info\[1\]: 'category_id' is missing"),
    (
        put(segment, "category_id", None),
        r"segments_info\[1\]: 'category_id': expected a whole number or text, found null",
    ),
    (put(segment, "category_id", float("nan")), r"'category_id': expected a whole number or text, found nan"),
)
TRUTH = (
    (drop(whole, "categories"), r"'categories' is missing"),
    (put(whole, "categories", "all"), r"'categories': expected a list, found 'all'"),
    (
        put(lambda d: d["categories"][1], "id", []),
        r"categories\[1\]: 'id': expected a whole number or text, found a list",
    ),
    (put(lambda d: d["categories"][1], "name", 4), r"categories\[1\]: 'name': expected text, found 4"),
    (drop(lambda d: d["categories"][1], "isthing"), r"categories\[1\]: 'isthing' is missing"),
    (put(lambda d: d["categories"][1], "isthing", "yes"), r"categories\[1\]: 'isthing': expected true, false, 1 or 0"),
    (put(segment, "area", "100"), r"segments_info\[1\]: 'area': expected a number, found '100'"),
    (put(segment, "area", None), r"segments_info\[1\]: 'area': expected a number, found null"),
    (put(segment, "area", 10**400), r"segments_info\[1\]: 'area': expected a number of pixels, found 1000"),
    (put(segment, "iscrowd", "no"), r"segments_info\[1\]: 'iscrowd': expected true, false, 1 or 0, found 'no'"),
)
PREDICTIONS = (
    (put(whole, "annotations", []), r"pred\.json: no prediction for 1 of 1 images, the first image 1"),
    (put(segment, "category_id", 44), r"pred\.json: image 1: segment 300: unknown category 44"),
    (put(segment, "id", -5), r"pred/a\.png: id 300 is in the map and not among the segments"),
    (put(annotation, "segments_info", []), r"pred/a\.png: id 5 is in the map and not among the segments"),
)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [("gt", *case) for case in (*BOTH, *TRUTH)] + [("pred", *case) for case in (*BOTH, *PREDICTIONS)],
)
def test_a_wrong_field_is_named(folder: Path, name: str, spoil: Callable[[Document], None], message: str) -> None:
    path = folder / f"{name}.json"
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    refused(folder, message)


@pytest.mark.parametrize("name", ["gt", "pred"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_a_json_that_is_cut_off_is_named(folder: Path, name: str, share: float) -> None:
    path = folder / f"{name}.json"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    refused(folder, rf"{name}\.json:1:\d+: ")


@pytest.mark.parametrize("name", ["gt", "pred"])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[]", r"the document: expected an object, found a list"),
        (b"null", r"the document: expected an object, found null"),
        (b"\x80\x04\x95", r"not UTF-8|expecting value"),
        (b"[" * 100_000, r"nested too deeply|expecting value"),
        (b'{"annotations": ' + b"9" * 5000 + b"}", r"gt\.json|pred\.json"),
    ],
)
def test_what_is_no_panoptic_json_is_refused(folder: Path, name: str, raw: bytes, message: str) -> None:
    (folder / f"{name}.json").write_bytes(raw)
    refused(folder, rf"{name}\.json.*({message})|{message}")


@pytest.mark.parametrize("name", ["gt.json", "pred.json", "gt", "pred"])
def test_a_missing_path_is_named(folder: Path, name: str) -> None:
    (folder / name).rename(folder / "gone")
    refused(folder, rf"{name}: (No such file|not a folder)")


@pytest.mark.parametrize("name", ["gt.json", "pred.json"])
def test_a_folder_or_a_pipe_is_no_json(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, rf"{name}: a folder")
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    refused(folder, rf"{name}: not a regular file")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[45] ^= 0xFF  # inside the compressed pixels
    path.write_bytes(bytes(raw))


def other_format(path: Path) -> None:
    Image.open(path).save(path, "JPEG")


def palette(path: Path) -> None:
    Image.open(path).convert("P").save(path)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.zeros((20, 30), np.uint16)).save(path)


def taller(path: Path) -> None:
    Image.open(path).resize((30, 21), Image.Resampling.NEAREST).save(path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["gt", "pred"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.write_text("<html>404</html>"), "not an image"),
        (cut, ""),
        (flip, ""),
        (bomb, "60,000 x 60,000 pixels|exceeds limit"),
        (other_format, "JPEG of mode RGB"),
        (palette, "PNG of mode P"),
        (sixteen_bits, "PNG of mode I;16"),
        (pipe, "not a regular file"),
    ],
)
def test_a_damaged_png_is_named_with_its_image(
    folder: Path, name: str, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder / name / "a.png")
    refused(folder, rf"image 1: .*{name}/a\.png: .*({message})")


@pytest.mark.parametrize("name", ["gt", "pred"])
def test_a_png_of_another_size_is_named_with_both_sizes(folder: Path, name: str) -> None:
    taller(folder / name / "a.png")
    refused(folder, r"image 1: .*pred/a\.png: 30 x 2[01] pixels where the truth has 30 x 2[01]")


def test_a_link_that_leads_to_itself_is_named(folder: Path) -> None:
    (folder / "pred" / "a.png").unlink()
    (folder / "pred" / "a.png").symlink_to(folder / "pred" / "a.png")
    refused(folder, r"image 1: .*pred/a\.png: Too many levels")
