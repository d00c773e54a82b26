"""Every way of breaking a data set that we thought of, with what is to be said of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from proscale_bench.data.pictures import read_id_map
from tests.data.made import Made, save_ids
from tests.data.test_pictures import bomb

FIRST, SECOND = "000000000010", "000000000011"


@dataclass(frozen=True)
class Break:
    """One way: what it does, the kind of finding, words of it, and whether opening the data set meets it already."""

    name: str
    how: Callable[[Made], object]
    kind: str
    words: str
    opening: bool = True


def panoptic(change: Callable[[Any], object]) -> Callable[[Made], object]:
    return lambda made: made.edit_panoptic(change)


def instances(change: Callable[[Any], object]) -> Callable[[Made], object]:
    return lambda made: made.edit_instances(change)


def both(change: Callable[[Any], object]) -> Callable[[Made], object]:
    return lambda made: made.edit_both(change)


def annotation(**fields: Any) -> Callable[[Made], object]:
    """Fields of the first instance, a polygon, set to something else."""
    return instances(lambda document: document["annotations"][0].update(fields))


def crowd(**fields: Any) -> Callable[[Made], object]:
    """Fields of the second instance's RLE, 24 x 32, set to something else."""
    return instances(lambda document: document["annotations"][1]["segmentation"].update(fields))


def segment(**fields: Any) -> Callable[[Made], object]:
    return panoptic(lambda document: document["annotations"][0]["segments_info"][0].update(fields))


def image(**fields: Any) -> Callable[[Made], object]:
    return both(lambda document: document["images"][1].update(fields))


def cut(path: str, share: float) -> Callable[[Made], object]:
    def how(made: Made) -> None:
        raw = (made.root / path).read_bytes()
        (made.root / path).write_bytes(raw[: int(len(raw) * share)])

    return how


def put(path: str, raw: bytes) -> Callable[[Made], object]:
    return lambda made: (made.root / path).write_bytes(raw)


def drawn(path: str, mode: str, size: tuple[int, int] = (32, 24)) -> Callable[[Made], object]:
    """A picture of another mode, or width and height."""
    return lambda made: Image.new(mode, size).save(made.root / path)


def named(name: str) -> Callable[[Made], object]:
    """The first category has another name, in both files."""
    return both(lambda document: document["categories"][0].update(name=name))


def deep(path: str) -> Callable[[Made], object]:
    """A picture of 16 bits a channel."""
    return lambda made: Image.fromarray(np.full((24, 32), 40_000, np.uint16)).save(made.root / path, "PNG")


def remove(path: str) -> Callable[[Made], object]:
    def how(made: Made) -> None:
        whole = made.root / path
        shutil.rmtree(whole) if whole.is_dir() else whole.unlink()

    return how


def pipe(path: str) -> Callable[[Made], object]:
    def how(made: Made) -> None:
        (made.root / path).unlink()
        os.mkfifo(made.root / path)

    return how


def folder(path: str) -> Callable[[Made], object]:
    def how(made: Made) -> None:
        (made.root / path).unlink()
        (made.root / path).mkdir()

    return how


def dangling(path: str) -> Callable[[Made], object]:
    def how(made: Made) -> None:
        (made.root / path).unlink()
        (made.root / path).symlink_to(made.root / "gone")

    return how


def repaint(made: Made) -> None:
    """A pixel of the first map has an id of its own."""
    path = made.maps / f"{FIRST}.png"
    ids = read_id_map(path)
    ids[0, 0] = 9
    save_ids(path, ids)


def relabel(made: Made) -> None:
    """A pixel of the first semantic map has a class that is none."""
    path = made.labels / f"{FIRST}.png"
    labels = np.array(Image.open(path))
    labels[0, 0] = 4
    Image.fromarray(labels).save(path)


def without_dogs(made: Made) -> None:
    def change(document: Any) -> None:
        document["categories"].pop()
        document["annotations"] = [each for each in document["annotations"] if each["category_id"] == 1]

    made.edit_instances(change)


PANOPTIC, INSTANCES = "annotations/panoptic_val2017.json", "annotations/instances_val2017.json"
JPEG, MAP, LABELS = f"val2017/{FIRST}.jpg", f"panoptic_val2017/{FIRST}.png", f"panoptic_semseg_val2017/{FIRST}.png"

UNREADABLE = [
    *(
        Break(f"panoptic cut at {share}", cut(PANOPTIC, share), "unreadable-annotations", r"json: 1:\d+: ")
        for share in (0.1, 0.5, 0.99)
    ),
    *(
        Break(f"instances cut at {share}", cut(INSTANCES, share), "unreadable-annotations", r"json: 1:\d+: ")
        for share in (0.01, 0.7)
    ),
    Break("an empty file", put(PANOPTIC, b""), "unreadable-annotations", "expecting value"),
    Break("a binary file", put(INSTANCES, b"\x89PNG\xff\xfe"), "unreadable-annotations", "not UTF-8"),
    Break("nested without end", put(PANOPTIC, b"[" * 200_000), "unreadable-annotations", "nested too deeply"),
    Break("a list", put(PANOPTIC, b"[]"), "unreadable-annotations", "expected an object, found a list"),
    Break("a number", put(INSTANCES, b"7"), "unreadable-annotations", "expected an object, found 7"),
    Break("null", put(INSTANCES, b"null"), "unreadable-annotations", "found null"),
    Break(
        "an endless number", put(INSTANCES, b'{"images": 1' + b"0" * 5000 + b"}"), "unreadable-annotations", "digits"
    ),
    Break("a pipe for annotations", pipe(PANOPTIC), "unreadable-annotations", "not a regular file"),
    Break("a folder for annotations", folder(INSTANCES), "unreadable-annotations", "a folder"),
    Break("a dangling link", dangling(INSTANCES), "unreadable-annotations", "No such file"),
    Break("no images key", instances(lambda d: d.pop("images")), "unreadable-annotations", "'images' is missing"),
    Break("no categories key", panoptic(lambda d: d.pop("categories")), "unreadable-annotations", "'categories'"),
    Break("no annotations key", instances(lambda d: d.pop("annotations")), "unreadable-annotations", "'annotations'"),
    Break("annotations null", instances(lambda d: d.update(annotations=None)), "unreadable-annotations", "found null"),
    Break("annotation of text", instances(lambda d: d["annotations"].append("x")), "unreadable-annotations", r"\[8\]"),
    Break("images an object", both(lambda d: d.update(images={})), "unreadable-annotations", "expected a list"),
    Break(
        "image id a list", image(id=["11"]), "unreadable-annotations", "expected a whole number or text, found a list"
    ),
    Break("iscrowd -1", annotation(iscrowd=-1), "unreadable-annotations", r"annotations\[0\]: 'iscrowd'.* found -1"),
    Break("iscrowd null", annotation(iscrowd=None), "unreadable-annotations", r"'iscrowd': .* found null"),
    Break("image without width", both(lambda d: d["images"][1].pop("width")), "unreadable-annotations", "'width'"),
    Break("image of no height", image(height=0), "unreadable-annotations", "'height': 0 pixels"),
    Break("image of NaN width", image(width=float("nan")), "unreadable-annotations", "found nan"),
    Break("image of negative height", image(height=-24), "unreadable-annotations", "-24 pixels"),
    Break("absolute image path", image(file_name="/etc/passwd"), "unreadable-annotations", "leads out of its folder"),
    Break("climbing image path", image(file_name="a/../../x.jpg"), "unreadable-annotations", "leads out"),
    Break("climbing Windows path", image(file_name="..\\x.jpg"), "unreadable-annotations", "leads out"),
    Break("image name with a zero", image(file_name="a\0.jpg"), "unreadable-annotations", "no name of a file"),
    Break("image name of a folder", image(file_name="."), "unreadable-annotations", "no name of a file"),
    Break(
        "image name of its folder's folder", image(file_name="a/../."), "unreadable-annotations", "no name|leads out"
    ),
    Break(
        "climbing map path",
        panoptic(lambda d: d["annotations"][0].update(file_name="../x.png")),
        "unreadable-annotations",
        r"annotations\[0\]: 'file_name'",
    ),
    Break(
        "no isthing",
        panoptic(lambda d: d["categories"][2].pop("isthing")),
        "unreadable-annotations",
        r"categories\[2\]: 'isthing' is missing",
    ),
    Break("segment id of text", segment(id="7"), "unreadable-annotations", r"segments_info\[0\]: 'id'"),
    Break("segment area null", segment(area=None), "unreadable-annotations", "'area': expected a number"),
    Break("instance without category", annotation(category_id=None), "unreadable-annotations", "'category_id'"),
    Break("instance with half an id", annotation(id=1.5), "unreadable-annotations", "found 1.5"),
]
INCONSISTENT = [
    Break("no images folder", remove("val2017"), "missing-folder", "of images"),
    Break("no maps folder", remove("panoptic_val2017"), "missing-folder", "of panoptic PNGs"),
    Break("no images", both(lambda d: d.update(images=[], annotations=[])), "no-images", "empty"),
    Break("no categories", both(lambda d: d.update(categories=[])), "no-categories", "empty"),
    Break("image twice", both(lambda d: d["images"].append(d["images"][0])), "duplicate-image", "2 times"),
    Break(
        "category twice", both(lambda d: d["categories"].append(d["categories"][0])), "duplicate-category", "2 times"
    ),
    Break(
        "annotated twice",
        panoptic(lambda d: d["annotations"].append(d["annotations"][0])),
        "duplicate-annotation",
        "image 10.*2 panoptic annotations",
    ),
    Break("instance id twice", annotation(id=1001), "duplicate-instance", "instance 1001 is listed 2 times"),
    Break(
        "segment id twice",
        panoptic(lambda d: d["annotations"][0]["segments_info"].append(d["annotations"][0]["segments_info"][0])),
        "duplicate-segment",
        "image 10.*listed 2 times",
    ),
    Break("segment of no category", segment(category_id=99), "unknown-category", "image 10.*category 99"),
    Break("instance of no category", annotation(category_id=99), "unknown-category", "instance 1000: category 99"),
    Break("instance of no image", annotation(image_id=77), "unknown-image", "image 77.*instance 1000"),
    Break("map of no image", panoptic(lambda d: d["annotations"][0].update(image_id=77)), "unknown-image", "image 77"),
    Break("not annotated", panoptic(lambda d: d["annotations"].pop()), "no-annotation", "image 13"),
    Break("segment id 0", segment(id=0), "bad-segment", "0 is void"),
    Break("segment id of four bytes", segment(id=2**24), "bad-segment", "segment id 16777216"),
    Break("segment area NaN", segment(area=float("nan")), "bad-segment", "area nan"),
    Break("segment area negative", segment(area=-5), "bad-segment", "area -5"),
    Break(
        "another name",
        instances(lambda d: d["categories"][0].update(name="cat")),
        "category-clash",
        "category 1 is 'cat' here, and 'person' in",
    ),
    Break(
        "a category too many",
        instances(lambda d: d["categories"].append({"id": 3, "name": "car"})),
        "category-clash",
        "'car' here, and not in the panoptic file",
    ),
    Break(
        "stuff with instances",
        instances(lambda d: d["categories"].append({"id": 187, "name": "sky"})),
        "category-clash",
        "stuff in the panoptic file",
    ),
    Break("image of instances alone", panoptic(lambda d: d["images"].pop()), "images-differ", "image 13"),
    Break("image without instances", instances(lambda d: d["images"].pop()), "images-differ", "and not here"),
    Break(
        "sizes that differ",
        instances(lambda d: d["images"][0].update(width=33)),
        "images-differ",
        "24 x 33 pixels here",
    ),
    Break(
        "names that differ", instances(lambda d: d["images"][0].update(file_name="x.jpg")), "images-differ", "'x.jpg'"
    ),
]
BAD_INSTANCES = [
    Break(name, how, "bad-instance", words)
    for name, how, words in (
        ("area NaN", annotation(area=float("nan")), "'area'.*nan"),
        ("area of text", annotation(area="36"), "'area'.*'36'"),
        ("area negative", annotation(area=-1), "'area'.*-1"),
        ("area infinite", annotation(area=float("inf")), "'area'.*inf"),
        ("no area", instances(lambda d: d["annotations"][0].pop("area")), "'area'.*nothing"),
        ("box of three", annotation(bbox=[1, 2, 3]), "'bbox'"),
        ("box with NaN", annotation(bbox=[1, 2, 3, float("nan")]), "'bbox'"),
        ("box of negative width", annotation(bbox=[1, 2, -3, 4]), "-3 x 4 pixels"),
        ("box null", annotation(bbox=None), "'bbox'.*null"),
        ("mask of text", annotation(segmentation="x"), "'segmentation'.*'x'"),
        ("flat polygon", annotation(segmentation=[1, 2, 3, 4, 5, 6]), "expected a list of numbers, found 1"),
        ("polygon of two points", annotation(segmentation=[[1, 2, 3, 4]]), "4 numbers"),
        ("half a point", annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "7 numbers"),
        ("polygon with text", annotation(segmentation=[[1, 2, 3, 4, 5, "6"]]), "'6' in it"),
        ("polygon with NaN", annotation(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "nan in it"),
        ("polygon far outside", annotation(segmentation=[[1, 2, 3, 4, 5, 1e9]]), r"coordinate of 1e\+09"),
        ("polygon far to the left", annotation(segmentation=[[-33, 2, 3, 4, 5, 6]]), "coordinate of -33"),
        ("endless polygon", annotation(segmentation=[[1e308] * 6]), "1e"),
        ("RLE of another size", crowd(size=[32, 24]), r"RLE of size \[32, 24\], the image has \[24, 32\]"),
        ("RLE without size", crowd(size=None), "RLE of size None"),
        ("RLE too short", crowd(counts=[700]), "700 pixels, the image 768"),
        ("RLE too long", crowd(counts=[700, 100]), "800 pixels, the image 768"),
        ("RLE with a negative run", crowd(counts=[769, -1]), "a run of 769 pixels"),
        ("RLE of halves", crowd(counts=[767.5, 0.5]), "whole numbers"),
        ("RLE without counts", crowd(counts=None), "'counts'.*null"),
        ("compressed RLE cut off", crowd(counts="PPYo"), "compressed form"),
        ("compressed RLE of other text", crowd(counts="käse!"), "compressed form"),
        ("compressed RLE of a giant", crowd(counts="ooooooooooo1"), "longer than any image"),
        ("compressed RLE empty", crowd(counts=""), "0 pixels, the image 768"),
    )
]
BROKEN_FILES = [
    Break(name, how, kind, words, opening=False)
    for name, how, kind, words in (
        ("image missing", remove(JPEG), "missing-image", "image 10.*not there"),
        ("image a dangling link", dangling(JPEG), "missing-image", "not there"),
        ("image empty", put(JPEG, b""), "unreadable-image", "not an image"),
        ("image a page of HTML", put(JPEG, b"<html>404</html>"), "unreadable-image", "not an image"),
        ("image cut", cut(JPEG, 0.7), "unreadable-image", "truncated"),
        ("image a pipe", pipe(JPEG), "unreadable-image", "not a regular file"),
        ("image of 16 bits", deep(JPEG), "unreadable-image", "16 bits a channel"),
        ("image a folder", folder(JPEG), "unreadable-image", "a folder"),
        ("image a bomb", lambda made: bomb(made.images / f"{FIRST}.jpg"), "unreadable-image", "60,?000"),
        ("image of another size", drawn(JPEG, "RGB", (30, 24)), "image-size", "24 x 30 pixels, listed as 24 x 32"),
        ("image name too long", image(file_name="x" * 300 + ".jpg"), "unreadable-image", "name too long"),
        ("map missing", remove(MAP), "missing-map", "not there"),
        ("map cut", cut(MAP, 0.6), "unreadable-map", "image 10"),
        ("map cut in its header", cut(MAP, 0.2), "unreadable-map", "image 10"),
        ("map grey", drawn(MAP, "L"), "unreadable-map", "mode L"),
        ("map with a palette", drawn(MAP, "P"), "unreadable-map", "mode P"),
        ("map a JPEG", lambda made: Image.new("RGB", (32, 24)).save(made.root / MAP, "JPEG"), "unreadable-map", "JPEG"),
        ("map a bomb", lambda made: bomb(made.root / MAP), "unreadable-map", "60,?000"),
        ("map a pipe", pipe(MAP), "unreadable-map", "not a regular file"),
        ("map of another size", drawn(MAP, "RGB", (24, 32)), "map-size", "32 x 24 pixels, listed as 24 x 32"),
        ("labels missing", remove(LABELS), "missing-labels", "not there"),
        ("labels in colour", drawn(LABELS, "RGB"), "unreadable-labels", "mode RGB"),
        ("labels of another size", drawn(LABELS, "L", (5, 4)), "labels-size", "4 x 5 pixels"),
        ("labels unknown", relabel, "unknown-label", "label 4, and there are 4 classes"),
    )
]
WARNED = [
    Break(name, how, kind, words, opening=False)
    for name, how, kind, words in (
        ("an id in a map alone", repaint, "unlisted-id", "id 9, 1 pixels"),
        ("a segment without pixels", segment(id=5), "segment-without-pixels", "segment 5"),
        ("a segment's area", segment(area=35), "segment-area", "area 35, has 36 pixels"),
        ("an instance with the id 0", annotation(id=0), "instance-zero", "instance 0"),
        ("an instance's box", annotation(bbox=[0, 0, 6, 6]), "instance-box", r"from \(4, 6\) to \(10, 12\)"),
        ("an instance's area", annotation(area=600), "instance-area", "area 600, its mask has 36 pixels"),
        ("no mask", instances(lambda d: d["annotations"][0].pop("segmentation")), "no-mask", "1 of 8 .* instance 1000"),
        ("no polygon", annotation(segmentation=[]), "no-mask", "image 10.*1 of 8 instances have no mask"),
        ("an empty polygon alone", annotation(segmentation=[[]]), "no-mask", "1 of 8"),
        ("a name that is empty", named(""), "category-name", "category 1 is shown as '1'"),
        ("a name of two lines", named("a\nb"), "category-name", r"shown as 'a\\nb'"),
        ("a name with a no-break space", named("a\xa0b"), "category-name", r"shown as 'a\\xa0b'"),
        ("a name with an escape", named("\x1b[31mred"), "category-name", r"shown as '\\x1b\[31mred'"),
        ("a name of half a character", named("\ud800"), "category-name", r"shown as '\\ud800'"),
        ("a name of 201 characters", named("x" * 201), "category-name", "shown as 'x{199}…'"),
        ("a stray image", put("val2017/stray.jpg", b""), "unlisted-file", "val2017/stray.jpg"),
        ("a stray map", put("panoptic_val2017/stray.png", b""), "unlisted-file", "panoptic_val2017/stray.png"),
        ("a thing without instances", without_dogs, "categories-differ", "thing 18, 'dog'"),
        (
            "two images of one file",
            both(lambda d: d["images"][3].update(file_name=d["images"][0]["file_name"])),
            "shared-file",
            "is the file of 2 images",
        ),
    )
]

IMAGES = 4  # that the broken data sets have
ERRORS = [*UNREADABLE, *INCONSISTENT, *BAD_INSTANCES, *BROKEN_FILES]
