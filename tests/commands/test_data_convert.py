"""`data convert`: every kind against itself, its overlaps, and what is written where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proscale_bench as psb
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.pictures import read_id_map
from tests.cli import run
from tests.data.convert.sources import MAKERS, SIZE, index_pngs, segments_info

SPLITS = {"coco-instances": "val2017"}


def converted(kind: str, source: Path, out: Path, *flags: str) -> Path:
    result = run("data", "convert", kind, str(source), str(out), *flags)
    assert result.exit_code == 0, result.stderr
    assert f"check it: proscale-bench data check {out}" in result.stdout
    return out


@pytest.mark.parametrize("kind", MAKERS)
def test_the_truth_against_itself_is_perfect(kind: str, tmp_path: Path) -> None:
    out, split = converted(kind, MAKERS[kind](tmp_path / "source"), tmp_path / "out"), SPLITS.get(kind, "val")
    assert run("data", "check", str(out), "--split", split).exit_code == 0
    dataset = open_dataset(out, split)
    truth = (out / "annotations" / f"panoptic_{split}.json", out / f"panoptic_{split}")
    quality = psb.evaluate_panoptic(*truth, *truth)
    assert quality.all.pq == quality.all.sq == quality.all.rq == 1
    predictions = tmp_path / "predictions"
    (predictions / "panoptic").parent.mkdir()
    (predictions / "panoptic").symlink_to(truth[1])
    (predictions / "panoptic.json").symlink_to(truth[0])
    tasks = "panoptic"
    if dataset.instances_json is not None:
        tasks = "panoptic,instance"
        annotations = json.loads(dataset.instances_json.read_text())["annotations"]
        results = [{**one, "score": 1.0} for one in annotations if not one["iscrowd"]]
        sizes = {image.id: (image.height_px, image.width_px) for image in dataset.images}
        (predictions / "instances.json").write_text(
            json.dumps([_encoded(one, sizes[one["image_id"]]) for one in results])
        )
    arguments = ("--coco", str(out), "--split", split, "--tasks", tasks, "--bootstrap", "0", "--export-json", "-")
    result = run("eval", "--from-predictions", str(predictions), *arguments)
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    assert row["pq"] == 100
    assert row["ap"] in (None, 100)
    assert (row["ap"] is None) == (kind == "index-pngs"), "semantic maps know no instances"


def _encoded(one: dict[str, object], size: tuple[int, int]) -> dict[str, object]:
    from pycocotools import mask as rle

    segmentation = one["segmentation"]
    if isinstance(segmentation, list):
        merged = rle.merge(rle.frPyObjects(segmentation, *size))
        one["segmentation"] = {"size": list(size), "counts": merged["counts"].decode()}
    return {key: one[key] for key in ("image_id", "category_id", "segmentation", "score")}


@pytest.mark.parametrize("kind", MAKERS)
def test_images_are_links_or_copies_or_left_out(kind: str, tmp_path: Path) -> None:
    source, split = MAKERS[kind](tmp_path / "source"), SPLITS.get(kind, "val")
    images = {
        flag: {
            path.name: path for path in (converted(kind, source, tmp_path / f"out{flag}", *flags) / split).rglob("*.*")
        }
        for flag, flags in (("link", ()), ("copy", ("--copy",)), ("none", ("--no-images",)))
    }
    assert not images["none"]
    assert images["link"].keys() == images["copy"].keys()
    for name, path in images["link"].items():
        originals = [one for one in source.rglob(name) if "labels" not in one.parts and "maps" not in one.parts]
        assert path.stat().st_ino in {one.stat().st_ino for one in originals}
        assert images["copy"][name].stat().st_nlink == 1
        assert images["copy"][name].read_bytes() == path.read_bytes()


def test_overlaps_belong_to_the_smallest_and_crowds_lie_below(tmp_path: Path) -> None:
    out = converted("coco-instances", MAKERS["coco-instances"](tmp_path / "source"), tmp_path / "out")
    entry = json.loads((out / "annotations" / "panoptic_val2017.json").read_text())["annotations"][0]
    ids = read_id_map(out / "panoptic_val2017" / entry["file_name"])
    by_category = [(one["category_id"], one["iscrowd"], one["area"]) for one in entry["segments_info"]]
    # The person has 6 x 6 pixels, of which the dog in front of it takes 4 x 3.
    assert sorted(by_category) == [(1, 0, 24), (18, 0, 12), (18, 1, 64)]
    assert entry["image_id"] == 10, "ids of images stay"
    assert (ids > 0).sum() == 100


def test_an_instance_below_others_is_counted_and_stays_an_instance(tmp_path: Path) -> None:
    source = MAKERS["yolo"](tmp_path / "source")
    label = source / "labels" / "val" / "0.txt"
    label.write_text("0 0.2 0.2 0.6 0.2 0.6 0.6\n1 0.2 0.2 0.6 0.2 0.6 0.6\n")
    result = run("data", "convert", "yolo", str(source), str(tmp_path / "out"), "--split", "val")
    assert "val: 2 images, 4 segments, 5 instances (0 crowds), 2 categories; 1 instance wholly below" in result.stdout
    assert not (tmp_path / "out" / "train").exists()


def test_yolo_polygons_become_pixels(tmp_path: Path) -> None:
    out = converted("yolo", MAKERS["yolo"](tmp_path / "source"), tmp_path / "out")
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        *("annotations", "panoptic_train", "panoptic_val", "train", "val"),
    ]
    first = json.loads((out / "annotations" / "instances_val.json").read_text())["annotations"][0]
    height, width = SIZE
    corners = [(0.1, 0.1), (0.6, 0.1), (0.6, 0.7), (0.1, 0.7)]
    assert first["segmentation"] == [pytest.approx([value for x, y in corners for value in (x * width, y * height)])]


SPELLINGS = {
    "a list of names and folders": "path: .\nval: [images/val]\nnames: [person, dog]\nnc: 2\ntest:\n",
    "no path, as Roboflow has it": "val: ../images/val\nnames: ['person', 'dog']\n",
    "path of another machine": "path: ../datasets/mine\nvalidation: images/val\nnames: {0: person, 1: dog}\n",
    "classes by number": "path: .\nval: images/val\nnc: 2\n",
    "a list of files": "path: .\nval: images/list.txt\nnames: [person, dog]\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_spellings_of_a_data_yaml(tmp_path: Path, spelling: str) -> None:
    """A folder as Ultralytics, Roboflow and others write it, with an image's ending in capitals."""
    source = MAKERS["yolo"](tmp_path / "source")
    (source / "images" / "val" / "0.jpg").rename(source / "images" / "val" / "0.JPG")
    (source / "images" / "list.txt").write_text("./val/0.JPG\n./val/1.jpg\n")  # seen from the list itself
    (source / "data.yaml").write_text(SPELLINGS[spelling])
    out = converted("yolo", source, tmp_path / "out")
    assert sorted(path.name for path in (out / "val").iterdir()) == ["0.JPG", "1.jpg"]
    names = [one["name"] for one in json.loads((out / "annotations" / "instances_val.json").read_text())["categories"]]
    assert names == (["class_0", "class_1"] if spelling == "classes by number" else ["person", "dog"])


def test_images_without_labels_are_taken_where_that_is_asked(tmp_path: Path) -> None:
    for kind, left in (("yolo", 2), ("index-pngs", 1)):
        source = MAKERS[kind](tmp_path / kind)
        sorted((source / "labels").rglob("*0.*"))[-1].unlink()
        refused = run("data", "convert", kind, str(source), str(tmp_path / f"{kind}-out"))
        assert refused.exit_code == 2
        assert "--allow-unlabelled" in refused.stderr
        out = converted(kind, source, tmp_path / f"{kind}-out", "--allow-unlabelled")
        assert len(open_dataset(out, "val").images) == left


def test_colours_and_void_of_semantic_maps(tmp_path: Path) -> None:
    grey = converted("index-pngs", index_pngs(tmp_path / "grey"), tmp_path / "a")
    colored = converted("index-pngs", index_pngs(tmp_path / "colored", colored=True), tmp_path / "b", "--void", "sky")
    first = read_id_map(grey / "panoptic_val" / "street0.png")
    assert set(np.unique(first).tolist()) == {0, 1, 2, 3}
    second = read_id_map(colored / "panoptic_val" / "street0.png")
    assert ((second == 0) == (first == 3)).all(where=first != 0), "sky is void"
    assert [category.name for category in open_dataset(colored).categories] == ["road", "car"]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_rows_of_parquet_and_of_arrow_are_those_of_json_lines(form: str, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    source = segments_info(tmp_path / "source")
    rows = []
    for line in (source / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line)
        image, label = ({"bytes": (source / row[key]).read_bytes(), "path": None} for key in ("file_name", "label"))
        rows.append({"image": image, "label": label, "segments_info": row["segments_info"]})
    other = tmp_path / "other"
    other.mkdir()
    (other / "id2label.json").write_text((source / "id2label.json").read_text())
    table = pyarrow.Table.from_pylist(rows)
    if form == "parquet":
        (other / "data").mkdir()
        parquet.write_table(table, other / "data" / "validation-00000-of-00001.parquet")
    else:
        (other / "validation").mkdir()
        with pyarrow.ipc.new_stream(other / "validation" / "data-00000-of-00001.arrow", table.schema) as stream:
            stream.write_table(table)
    plain, packed = (converted("segments-info", one, tmp_path / f"{one.name}-out") for one in (source, other))
    documents = [json.loads((one / "annotations" / "panoptic_val.json").read_text()) for one in (plain, packed)]
    described = [[entry["segments_info"] for entry in document["annotations"]] for document in documents]
    assert described[0] == described[1]
    assert [image["file_name"] for image in documents[1]["images"]] == ["000000000001.jpg", "000000000002.jpg"]
    for number in range(2):
        kept = packed / "val" / f"{number + 1:012}.jpg"
        assert kept.read_bytes() == (source / f"{number}.jpg").read_bytes()


def test_only_its_own_folders_are_replaced(tmp_path: Path) -> None:
    source = MAKERS["yolo"](tmp_path / "source")
    out = converted("yolo", source, tmp_path / "out")
    again = ("data", "convert", "yolo", str(source))
    assert f"{out} exists" in run(*again, str(out)).stderr
    converted("yolo", source, out, "--force", "--split", "val")
    assert not (out / "train").exists()
    for target in (source, tmp_path):
        result = run(*again, str(target), "--force")
        assert result.exit_code == 2
    assert (source / "data.yaml").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"], "nothing is left beside them"


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proscale_bench.data.convert import writing

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "described_segments", interrupted)
    source = MAKERS["yolo"](tmp_path / "source")
    result = run("data", "convert", "yolo", str(source), str(tmp_path / "out"))
    assert result.exit_code == 130
    assert "interrupted: nothing is left in" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_was_converted_can_be_evaluated(tmp_path: Path) -> None:
    out = converted("cityscapes", MAKERS["cityscapes"](tmp_path / "source"), tmp_path / "out")
    flags = ("--coco", str(out), "--bootstrap", "0", "--resize", "none", "--out", str(tmp_path / "run"))
    assert run("eval", "--random-weights", "0", *flags, "--threads", "1").exit_code == 0


def test_a_picture_saved_as_a_link_keeps_its_source(tmp_path: Path) -> None:
    """An image that is a symbolic link is linked as the file that it leads to."""
    source = MAKERS["index-pngs"](tmp_path / "source")
    image = source / "images" / "street0.jpg"
    image.rename(tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    out = converted("index-pngs", source, tmp_path / "out")
    kept = out / "val" / "street0.jpg"
    assert not kept.is_symlink()
    with Image.open(kept) as picture:
        assert picture.size == SIZE[::-1]
