"""Opening data sets in COCO's formats, and the truth they hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proscale_bench.data.coco import open_dataset
from proscale_bench.data.dataset import Dataset, PanopticEntry, Segment
from proscale_bench.data.instances_json import rle_counts
from proscale_bench.data.truth import (
    instance_truths,
    labels_of,
    panoptic_truth,
    png_name,
    semantic_truth,
    void_label,
)
from proscale_bench.errors import BenchError
from tests.data.broken import BROKEN_FILES, ERRORS, IMAGES, WARNED, Break
from tests.data.made import CATEGORIES, SIZES, layout, make_dataset
from tests.models.golden import shared


def test_a_whole_data_set_opens(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.name == "val2017"
    assert [image.id for image in dataset.images] == [10, 11, 12]
    assert [(image.height_px, image.width_px) for image in dataset.images] == list(SIZES)
    assert [category.name for category in dataset.categories] == ["person", "dog", "grass", "sky"]
    assert dataset.thing_classes == {0, 1}
    assert dataset.categories[0].color == (220, 20, 60)
    assert dataset.class_of == {1: 0, 18: 1, 119: 2, 187: 3}
    assert dataset.panoptic is not None
    assert dataset.panoptic[11].segments[1] == Segment(2 * 65536 + 2 * 256 + 7, 18, True, 96)
    assert (dataset.image_dir, dataset.panoptic_dir) == (made.images, made.maps)
    assert dataset.instances_json == made.instances_json
    assert dataset.semantic_dir is None
    assert dataset.resizes


def test_the_truth_is_what_was_drawn(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    dataset = open_dataset(tmp_path)
    for image, size in zip(dataset.images, SIZES, strict=True):
        classes = layout(*size)
        ids, entry = panoptic_truth(dataset, image)
        for position, segment in enumerate(entry.segments):
            assert np.array_equal(ids == segment.id, classes == position)
        labels = semantic_truth(dataset, image)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, classes)  # the crowd counts as its class, the border is void
        annotations = instance_truths(dataset, image.id)
        assert [annotation["category_id"] for annotation in annotations] == [1, 18]
        counts = rle_counts(annotations[1]["segmentation"]["counts"])
        mask = np.repeat(np.arange(len(counts)) % 2, counts).reshape(size, order="F")
        assert np.array_equal(mask, classes == 1)


def test_semantic_pngs_are_used_where_there_are_any(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, semantic=True)
    dataset = open_dataset(tmp_path)
    assert dataset.semantic_dir == made.labels
    changed = layout(*SIZES[0])
    changed[0, 0] = 1
    Image.fromarray(changed).save(made.labels / "000000000010.png")
    assert np.array_equal(semantic_truth(dataset, dataset.images[0]), changed)


def test_16_bit_semantic_pngs_are_read_as_labels(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, semantic=True)
    classes = layout(*SIZES[0])
    Image.fromarray(classes.astype(np.uint16)).save(made.labels / "000000000010.png")
    dataset = open_dataset(tmp_path)
    assert np.array_equal(semantic_truth(dataset, dataset.images[0]), classes)


@pytest.mark.parametrize(("classes", "void"), [(255, 255), (256, 65535)])
def test_void_is_never_a_class(tmp_path: Path, classes: int, void: int) -> None:
    made = make_dataset(tmp_path, instances=False)
    more = [{"id": 1000 + index, "name": f"s{index}", "isthing": 0} for index in range(classes - len(CATEGORIES))]
    made.edit_panoptic(lambda document: document["categories"].extend(more))
    dataset = open_dataset(tmp_path)
    assert void_label(dataset) == void
    labels = semantic_truth(dataset, dataset.images[0])
    assert labels.dtype == (np.uint8 if void == 255 else np.uint16)
    assert np.unique(labels).tolist() == [0, 1, 2, 3, void]


def test_labels_of_any_map_are_those_pixel_by_pixel() -> None:
    random = np.random.default_rng(3)
    ids = random.choice(np.array([0, 1, 7, 300, 2**24 - 1, 55], np.uint32), (37, 23))
    segments = (
        Segment(2**24 - 1, 4, False, 0),
        Segment(7, 2, True, 0),
        Segment(300, 4, True, 0),
        Segment(8, 2, False, 0),
    )
    class_of = {4: 9, 2: 3}
    labels = labels_of(ids, PanopticEntry(1, "", segments), class_of, 255)
    expected = {segment.id: class_of[segment.category_id] for segment in segments}
    assert labels.tolist() == [[expected.get(int(value), 255) for value in row] for row in ids]
    assert (labels_of(ids, PanopticEntry(1, "", ()), class_of, 255) == 255).all()


def test_either_file_is_enough(tmp_path: Path) -> None:
    make_dataset(tmp_path / "p", instances=False)
    dataset = open_dataset(tmp_path / "p")
    assert (dataset.instances, dataset.instances_json) == (None, None)
    with pytest.raises(BenchError, match="no instances"):
        instance_truths(dataset, 10)
    make_dataset(tmp_path / "i", panoptic=False)
    dataset = open_dataset(tmp_path / "i")
    assert [category.is_thing for category in dataset.categories] == [True, True]
    assert [image.id for image in dataset.images] == [10, 11, 12]
    with pytest.raises(BenchError, match="no panoptic annotations"):
        panoptic_truth(dataset, dataset.images[0])


def test_an_image_without_instances_has_none(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    made.edit_instances(lambda document: document.update(annotations=document["annotations"][:2]))
    assert instance_truths(open_dataset(tmp_path), 12) == ()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("val2017", "images/val2017"),
        ("val2017", "images"),
        ("panoptic_val2017", "annotations/panoptic_val2017"),
        ("panoptic_semseg_val2017", "annotations/panoptic_semseg_val2017"),
        ("panoptic_semseg_val2017", "semantic_val2017"),
    ],
)
def test_folders_lie_where_people_have_them(tmp_path: Path, was: str, now: str) -> None:
    make_dataset(tmp_path, semantic=True)
    moved = tmp_path / "elsewhere"
    (tmp_path / was).rename(moved)
    (tmp_path / now).parent.mkdir(exist_ok=True)
    moved.rename(tmp_path / now)
    dataset = open_dataset(tmp_path)
    assert tmp_path / now in (dataset.image_dir, dataset.panoptic_dir, dataset.semantic_dir)
    assert (dataset.image_dir / dataset.images[0].file_name).exists()


def with_splits(root: Path, *names: str) -> None:
    make_dataset(root)
    for path in sorted((root / "annotations").iterdir()):
        for name in names:
            shutil.copy(path, path.with_name(path.name.replace("val2017", name)))
    for kind in ("", "panoptic_"):
        for name in names:
            shutil.copytree(root / f"{kind}val2017", root / f"{kind}{name}", dirs_exist_ok=True)


def without_val2017(root: Path) -> None:
    for kind in ("panoptic", "instances"):
        (root / "annotations" / f"{kind}_val2017.json").unlink()


def test_the_split_is_val2017_then_val_then_the_only_one(tmp_path: Path) -> None:
    with_splits(tmp_path, "train2017", "val", "mine")
    assert open_dataset(tmp_path).name == "val2017"
    assert open_dataset(tmp_path, "mine").image_dir == tmp_path / "mine"
    without_val2017(tmp_path)
    assert open_dataset(tmp_path).name == "val"
    for kind in ("panoptic", "instances"):
        (tmp_path / "annotations" / f"{kind}_val.json").unlink()
    with pytest.raises(BenchError, match="several splits: mine, train2017") as problem:
        open_dataset(tmp_path)
    assert "--split" in str(problem.value)
    for kind in ("panoptic", "instances"):
        (tmp_path / "annotations" / f"{kind}_train2017.json").unlink()
    assert open_dataset(tmp_path).name == "mine"


def test_an_unknown_split_has_a_near_miss(tmp_path: Path) -> None:
    with_splits(tmp_path, "train2017")
    with pytest.raises(BenchError, match="did you mean 'val2017'"):
        open_dataset(tmp_path, "val2071")
    with pytest.raises(BenchError, match="annotations has: train2017, val2017"):
        open_dataset(tmp_path, "x")


def test_other_files_in_annotations_are_no_splits(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    for name in ("captions_val2017.json", "person_keypoints_val2017.json", "._panoptic_val2017.json", "panoptic_.json"):
        (made.panoptic_json.parent / name).write_text("{}")
    assert open_dataset(tmp_path).name == "val2017"


@pytest.mark.parametrize("where", ["none", "file", "empty", "annotations", "no splits", "a\0b", "x" * 300])
def test_a_folder_that_is_no_data_set_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "no splits" / "annotations").mkdir(parents=True)
    with pytest.raises(BenchError, match=re.escape(str(tmp_path))) as problem:
        open_dataset(tmp_path / where)
    assert problem.value.hint


def test_shapes_are_given_to_the_model_as_they_are(tmp_path: Path) -> None:
    make_dataset(tmp_path / "shapes", description="Shapes")
    assert not open_dataset(tmp_path / "shapes").resizes
    make_dataset(tmp_path / "panoptic", description="Shapes", instances=False)
    assert not open_dataset(tmp_path / "panoptic").resizes
    made = make_dataset(tmp_path / "named")
    made.edit_panoptic(lambda document: document["categories"][3].update(name="Shapes"))
    assert open_dataset(tmp_path / "named").resizes


def test_the_digest_is_of_the_annotations(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "b", seed=1)  # other images
    first = open_dataset(tmp_path / "a").digest
    assert open_dataset(tmp_path / "b").digest == first
    made.edit_instances(lambda document: document.update(info={}))
    assert open_dataset(tmp_path / "a").digest != first


def test_ids_written_as_floats_are_ids(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    made.edit_instances(lambda document: document["annotations"][0].update(id=1000.0, image_id=10.0, iscrowd=False))
    first = instance_truths(open_dataset(tmp_path), 10)[0]
    assert [type(first[key]) for key in ("id", "image_id", "category_id", "iscrowd")] == [int] * 4


@pytest.mark.parametrize("case", [case for case in ERRORS if case.opening], ids=lambda case: case.name)
def test_what_is_wrong_with_annotations_is_named(tmp_path: Path, case: Break) -> None:
    made = make_dataset(tmp_path, IMAGES)
    case.how(made)
    with pytest.raises(BenchError) as problem:
        open_dataset(tmp_path)
    assert str(tmp_path) in problem.value.message


@pytest.mark.parametrize("case", [*BROKEN_FILES, *WARNED], ids=lambda case: case.name)
def test_opening_opens_no_image_and_takes_what_scores(tmp_path: Path, case: Break) -> None:
    made = make_dataset(tmp_path, IMAGES, semantic=True)
    case.how(made)
    assert len(open_dataset(tmp_path).images) == IMAGES


@pytest.mark.parametrize(
    "case", [case for case in BROKEN_FILES if "image" not in case.kind], ids=lambda case: case.name
)
def test_a_broken_file_is_named_when_its_truth_is_asked_for(tmp_path: Path, case: Break) -> None:
    made = make_dataset(tmp_path, IMAGES, semantic=True)
    case.how(made)
    dataset = open_dataset(tmp_path)
    with pytest.raises(BenchError, match=r"000000000010\.png"):
        truths(dataset)


def truths(dataset: Dataset) -> list[Any]:
    return [(panoptic_truth(dataset, image), semantic_truth(dataset, image)) for image in dataset.images]


def test_the_semantic_png_is_called_as_the_image(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    made.edit_both(lambda document: document["images"][0].update(file_name="sub/a.b.jpeg"))
    assert png_name(open_dataset(tmp_path).images[0]) == "sub/a.b.png"


def test_compressed_rle_is_read_as_pycocotools_reads_it() -> None:
    from pycocotools import mask as coco

    random = np.random.default_rng(5)
    for density in (0.0, 0.001, 0.1, 0.5, 1.0):
        for height, width in ((1, 1), (3, 50), (480, 640)):
            mask = (random.random((height, width)) < density).astype(np.uint8, order="F")
            text = coco.encode(mask)["counts"].decode()
            counts = rle_counts(text)
            back = np.repeat(np.arange(len(counts)) % 2, counts).reshape((height, width), order="F")
            assert np.array_equal(back, mask)


def test_real_panoptic_ground_truth_opens(tmp_path: Path) -> None:
    source = shared("real/panoptic3")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    shutil.copy(source / "gt.json", tmp_path / "annotations" / "panoptic_val2017.json")
    shutil.copytree(source / "gt", tmp_path / "panoptic_val2017")
    dataset = open_dataset(tmp_path)
    assert (len(dataset.images), len(dataset.categories), len(dataset.thing_classes)) == (3, 133, 80)
    for image in dataset.images:
        (ids, entry), labels = panoptic_truth(dataset, image), semantic_truth(dataset, image)
        classes = {segment.id: dataset.class_of[segment.category_id] for segment in entry.segments} | {0: 255}
        assert np.array_equal(labels, np.vectorize(classes.__getitem__)(ids))


def test_real_instances_open(tmp_path: Path) -> None:
    source = shared("real/val2014_100/instances_val2014_100.json")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2014_100").mkdir()
    shutil.copy(source, tmp_path / "annotations" / "instances_val2014_100.json")
    dataset = open_dataset(tmp_path)
    annotations = json.loads(source.read_text())["annotations"]
    assert dataset.instances is not None
    assert sum(map(len, dataset.instances.values())) == len(annotations) == 839
    assert sum(each["iscrowd"] for group in dataset.instances.values() for each in group) == 9
