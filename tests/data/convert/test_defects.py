"""Seeded defects of every kind: each is refused with its place and value, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli import run
from tests.data.convert.sources import MAKERS, SIZE, index_pngs, photo
from tests.data.made import edit_json

Defect = Callable[[Path], object]
CITY = "val/aachen/aachen_000000_000019"
INSTANCE_IDS, IMAGE = f"gtFine/{CITY}_gtFine_instanceIds.png", f"leftImg8bit/{CITY}_leftImg8bit.png"
ADE, ADE_MAP, ADE_IMAGE = (
    "ade20k_panoptic_val.json",
    "ade20k_panoptic_val/ADE_val_00000001.png",
    "images/validation/ADE_val_00000001.jpg",
)
INSTANCES, LABEL = "annotations/instances_val2017.json", "labels/val/0.txt"


def gone(name: str) -> Defect:
    return lambda root: (root / name).unlink()


def cut(name: str) -> Defect:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-200])


def text(name: str, written: str) -> Defect:
    return lambda root: (root / name).write_text(written)


def added(name: str, line: str) -> Defect:
    return lambda root: (root / name).write_text((root / name).read_text() + line + "\n")


def pixel(name: str, value: Any) -> Defect:
    """Change one pixel of a map."""

    def change(root: Path) -> None:
        with Image.open(root / name) as image:
            pixels = np.array(image)
        pixels[0, 0] = value
        Image.fromarray(pixels).save(root / name)

    return change


def resized(name: str) -> Defect:
    return lambda root: photo(root / name, (SIZE[0] // 2, SIZE[1] // 2))


def edited(name: str, change: Callable[[Any], object]) -> Defect:
    return lambda root: edit_json(root / name, change)


def rows(change: Callable[[list[dict[str, Any]]], object]) -> Defect:
    def edit(root: Path) -> None:
        path = root / "metadata.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        change(found)
        path.write_text("\n".join(map(json.dumps, found)))

    return edit


def colored(root: Path) -> None:
    for path in (root / "labels").iterdir():
        path.unlink()
    index_pngs(root, colored=True)
    pixel("labels/street1.png", (1, 2, 3))(root)


DEFECTS: dict[str, list[tuple[str, Defect, tuple[str, ...]]]] = {
    "cityscapes": [
        ("no image", gone(IMAGE), (f"{IMAGE}: no such file",)),
        ("no truth", gone(INSTANCE_IDS), (IMAGE, "an image without its truth", INSTANCE_IDS)),
        ("image of another size", resized(IMAGE), (INSTANCE_IDS, "24 x 40 pixels", "12 x 20")),
        ("image cut off", cut(IMAGE), (IMAGE,)),
        ("map cut off", cut(INSTANCE_IDS), (INSTANCE_IDS,)),
        ("unknown label", pixel(INSTANCE_IDS, 34), (INSTANCE_IDS, "1 pixels of the id 34")),
        ("numbered road", pixel(INSTANCE_IDS, 7001), (INSTANCE_IDS, "the id 7001")),
        ("instance of no label", pixel(INSTANCE_IDS, 40000), (INSTANCE_IDS, "the id 40000")),
        ("map in colour", resized(INSTANCE_IDS), (INSTANCE_IDS, "mode RGB")),
        ("no such folder", lambda root: (root / "gtFine").rename(root / "gtfine"), ("nothing of this kind", "gtFine")),
    ],
    "ade20k": [
        ("no map", gone(ADE_MAP), (f"{ADE_MAP}: no such file",)),
        ("no image", gone(ADE_IMAGE), (f"{ADE_IMAGE}: no such file",)),
        ("image of another size", resized(ADE_IMAGE), (ADE_MAP, "12 x 20")),
        ("id that no segment has", pixel(ADE_MAP, (9, 0, 0)), (ADE_MAP, "1 pixels of the id 9")),
        (
            "segment without a pixel",
            edited(
                ADE, lambda d: d["annotations"][0]["segments_info"].append({"id": 8, "category_id": 0, "iscrowd": 0})
            ),
            (ADE_MAP, "segment 8 is listed"),
        ),
        (
            "unknown category",
            edited(ADE, lambda d: d["annotations"][1]["segments_info"][0].update(category_id=99)),
            (ADE, "annotations[1].segments_info[0]", "'category_id': 99 is no category"),
        ),
        (
            "segment listed twice",
            edited(ADE, lambda d: d["annotations"][0]["segments_info"].append(d["annotations"][0]["segments_info"][0])),
            (ADE, "annotations[0].segments_info[4]", "'id': 1 is there twice"),
        ),
        (
            "image without an annotation",
            edited(ADE, lambda d: d["annotations"].pop()),
            ("ADE_val_00000002", "no annot"),
        ),
        (
            "annotation of no image",
            edited(ADE, lambda d: d["annotations"][0].update(image_id="other")),
            (ADE, "annotations[0]", "other is not among the images"),
        ),
        ("climbing file name", edited(ADE, lambda d: d["images"][0].update(file_name="../x.jpg")), (ADE, "../x.jpg")),
        ("broken JSON", cut(ADE), (f"{ADE}:1:",)),
        ("category twice", edited(ADE, lambda d: d["categories"][1].update(id=0)), (ADE, "an id is there twice")),
    ],
    "coco-instances": [
        ("no image", gone("val2017/000000000010.jpg"), ("val2017/000000000010.jpg: no such file",)),
        (
            "unknown category",
            edited(INSTANCES, lambda d: d["annotations"][0].update(category_id=5)),
            (INSTANCES, "category 5 is not listed"),
        ),
        (
            "two points",
            edited(INSTANCES, lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4]])),
            (INSTANCES, "instance 1000", "4 numbers"),
        ),
        (
            "run lengths of another size",
            edited(INSTANCES, lambda d: d["annotations"][1]["segmentation"].update(size=[5, 5])),
            (INSTANCES, "instance 1001", "RLE of size [5, 5]"),
        ),
        (
            "size that is not the image's",
            edited(
                INSTANCES,
                lambda d: (
                    d["images"][2].update(height=21),
                    d["annotations"][5]["segmentation"].update(size=[21, 48], counts=[21 * 48]),
                ),
            ),
            ("image 12", "21 x 48 pixels", "20 x 48"),
        ),
    ],
    "index-pngs": [
        ("no map", gone("labels/street1.png"), ("images/street1.jpg", "no label of this name")),
        ("no image", gone("images/street1.jpg"), ("labels/street1.png", "no image of this name")),
        ("image of another size", resized("images/street1.jpg"), ("labels/street1.png", "12 x 20")),
        ("unknown label", pixel("labels/street1.png", 7), ("labels/street1.png", "1 pixels of the label 7")),
        ("colour outside the list", colored, ("labels/street1.png", "1 pixels of the colour 1, 2, 3")),
        ("colours without a list of them", resized("labels/street1.png"), ("labels/street1.png", "has no colours")),
        ("no list", gone("classes.txt"), ("no list of classes",)),
        ("empty line in the list", text("classes.txt", "road\n\nsky\n"), ("classes.txt:2: an empty line",)),
        ("colour too large", text("classes.txt", "road 1 2 300\n"), ("classes.txt:1", "1, 2, 300")),
        ("colour twice", text("classes.txt", "a 1 2 3\nb 1 2 3\n"), ("'b' and 'a' have one colour",)),
    ],
    "yolo": [
        ("not normalised", text(LABEL, "0 12 10 300 10 300 200\n"), (f"{LABEL}:1", "coordinate 12 is not normalised")),
        ("negative", added(LABEL, "0 -0.2 0.1 0.3 0.1 0.3 0.2"), (f"{LABEL}:3", "-0.2")),
        ("odd number", added(LABEL, "0 0.1 0.1 0.3 0.1 0.3 0.2 0.5"), (f"{LABEL}:3: 7 coordinates",)),
        ("two points", added(LABEL, "0 0.1 0.1"), (f"{LABEL}:3: 2 coordinates",)),
        ("box", added(LABEL, "0 0.5 0.5 0.2 0.2"), (f"{LABEL}:3: a box",)),
        ("unknown class", added(LABEL, "2 0.1 0.1 0.3 0.1 0.3 0.2"), (f"{LABEL}:3: class 2", "0 to 1")),
        ("class of a fraction", added(LABEL, "0.5 0.1 0.1 0.3 0.1 0.3 0.2"), (f"{LABEL}:3: class 0.5",)),
        ("word", added(LABEL, "0 0.1 x 0.3 0.1 0.3 0.2"), (f"{LABEL}:3: 'x' is no number",)),
        ("not a number", added(LABEL, "0 0.1 nan 0.3 0.1 0.3 0.2"), (f"{LABEL}:3: 'nan' is no number",)),
        ("line twice", added(LABEL, "0 0.1 0.1 0.6 0.1 0.6 0.7 0.1 0.7"), (f"{LABEL}:3: the same as line 1",)),
        ("no labels", gone(LABEL), ("images/val/0.jpg: no file of labels",)),
        ("labels of no image", gone("images/val/0.jpg"), (f"{LABEL}: there is no image",)),
        ("image cut off", cut("images/val/0.jpg"), ("images/val/0.jpg",)),
        ("no names", text("data.yaml", "val: images/val\n"), ("data.yaml: names",)),
        ("wrong count", added("data.yaml", "nc: 3"), ("data.yaml: nc: 3, and 2 names",)),
        ("no such folder", text("data.yaml", "val: images/no\nnames: [a, b]\n"), ("data.yaml: images/no: no such",)),
    ],
    "segments-info": [
        ("no map", gone("maps/1.png"), ("maps/1.png: no such file", "row 2")),
        ("no image", gone("1.jpg"), ("1.jpg: no such file",)),
        ("image of another size", resized("1.jpg"), ("1.jpg has 12 x 20", "row 2")),
        ("id that no segment has", pixel("maps/1.png", (8, 0, 0)), ("1.png: 1 pixels of the id 8",)),
        (
            "no segments",
            rows(lambda found: found[1].pop("segments_info")),
            ("row 2", "'segments_info' is missing"),
        ),
        (
            "unknown category",
            rows(lambda found: found[1]["segments_info"][0].update(category_id=7)),
            ("row 2.segments_info[0]", "'category_id': 7 is no category"),
        ),
        ("id beyond three bytes", rows(lambda found: found[0]["segments_info"][0].update(id=1 << 24)), ("16777216",)),
        ("broken line", added("metadata.jsonl", "{"), ("metadata.jsonl:3: no JSON",)),
        (
            "nobody says what is a thing",
            rows(lambda found: [one.pop("isthing") for row in found for one in row["segments_info"]]),
            ("whether 'wall' and 2 more is a thing",),
        ),
    ],
}
CASES = [
    pytest.param(kind, defect, words, id=f"{kind}: {name}")
    for kind, defects in DEFECTS.items()
    for name, defect, words in defects
]


def test_there_are_many() -> None:
    assert len(CASES) > 60


@pytest.mark.parametrize(("kind", "defect", "words"), CASES)
def test_it_is_named(kind: str, defect: Defect, words: tuple[str, ...], tmp_path: Path) -> None:
    source = MAKERS[kind](tmp_path / "source")
    defect(source)
    result = run("data", "convert", kind, str(source), str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stdout == ""
    said = " ".join(result.stderr.split())
    for word in words:
        assert word in said
    assert "hint:" in said or "is missing" in said
    assert "/.out." not in said, "a name that the user never gave"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cityscape", "source", "out"), "did you mean 'cityscapes'?"),
        (("yolo", "missing", "out"), "missing: no such folder"),
        (("yolo", "source", "out", "--split", "dev"), "no split 'dev'"),
        (("index-pngs", "maps", "out", "--void", "lake"), "--void lake: neither a label nor the name of a class"),
        (("index-pngs", "maps", "out", "--classes", "no.txt"), "no.txt"),
    ],
)
def test_a_wrong_word_is_named(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    MAKERS["yolo"](Path("source"))
    MAKERS["index-pngs"](Path("maps"))
    result = run("data", "convert", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not Path("out").exists()
