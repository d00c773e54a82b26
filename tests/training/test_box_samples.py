"""Boxes follow their image through every variation, and are around the things that a detector is to find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from proscale_bench.config.recipe import Augmentation, DetrAugmentation
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.shapes.categories import THINGS
from proscale_bench.errors import BenchError
from proscale_bench.training.augment import Variation, draw_variation
from proscale_bench.training.box_samples import CocoBoxes, ShapesBoxes
from tests.data.made import make_dataset

JITTER = Augmentation(resize=(0.5, 1.5), crop=(96, 128), vertical_flip=True)
DETR = DetrAugmentation(short_sides=(64, 80, 96), longest_side=128, crop_short_sides=(60, 72), crop_sides=(48, 64))


def image_of(box: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A white box on black."""
    image = np.zeros((*size, 3), np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = 255
    return image


@pytest.mark.parametrize("augmentation", [JITTER, DETR], ids=["jitter", "detr"])
@pytest.mark.parametrize("seed", range(12))
def test_a_box_is_where_its_pixels_are(augmentation: Augmentation | DetrAugmentation, seed: int) -> None:
    size, box = (90, 120), (30, 20, 84, 61)
    variation = draw_variation(augmentation, size, np.random.default_rng(seed))
    height, width = variation.seen
    seen = variation.of_image(image_of(box, size))[:height, :width, 0] > 127
    ((x0, y0, x1, y1),) = variation.of_boxes(np.array([box], float))
    if not seen.any():
        assert (x1 - x0) * (y1 - y0) <= 4
        return
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    np.testing.assert_allclose((x0, y0, x1, y1), (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), atol=1.01)


def test_detrs_scales_are_those_that_are_listed() -> None:
    """Half of the images are cut, and all end at a listed short side, or at the longest side where that is less."""
    size, seen, whole = (90, 120), set(), 0
    for seed in range(60):
        variation = draw_variation(DETR, size, np.random.default_rng(seed))
        assert variation.seen == variation.crop
        short, longest = sorted(variation.crop)
        assert short in DETR.short_sides or longest == DETR.longest_side
        seen.add(short)
        whole += variation.resized == variation.crop
    assert seen >= set(DETR.short_sides)
    assert 15 < whole < 45


def test_padding_is_no_part_of_an_image() -> None:
    variation = Variation((50, 60), (50, 60), 0, 0, (96, 128))
    assert variation.seen == (50, 60)
    sample_boxes = variation.of_boxes(np.array([[0, 0, 60, 50]], float))
    np.testing.assert_array_equal(sample_boxes, [[0, 0, 60, 50]])


def test_shapes_have_their_things_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path))
    images = ShapesBoxes(3, 5, Augmentation(crop=(128, 128)))
    assert [one.name for one in images.classes] == [thing.category.name for thing in THINGS]
    for index in range(3):
        sample = images.sample(index, np.random.default_rng(index))
        assert sample.image.ndim == 3
        assert len(sample.labels) == len(sample.boxes)
        assert (sample.labels < len(THINGS)).all()
        centres, sides = sample.boxes[:, :2], sample.boxes[:, 2:]
        assert (sides > 0).all()
        assert (centres - sides / 2 > -1e-6).all()
        assert (centres + sides / 2 < 1 + 1e-6).all()


def test_coco_has_the_boxes_of_its_annotations(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path, 3).root)
    images = CocoBoxes(dataset, Augmentation(crop=(64, 64), flip=False))
    assert all(one.is_thing for one in images.classes)
    assert dataset.instances is not None
    for index, entry in enumerate(dataset.images):
        sample = images.sample(index, np.random.default_rng(0))
        told = [one for one in dataset.instances.get(entry.id, ()) if not one["iscrowd"]]
        assert [images.classes[label].id for label in sample.labels] == [one["category_id"] for one in told]
        boxes = np.array([one["bbox"] for one in told], float).reshape(-1, 4)
        boxes[:, :2] += boxes[:, 2:] / 2
        sides = (entry.width_px, entry.height_px) * 2
        np.testing.assert_allclose(sample.boxes, boxes / sides, atol=1e-6)
    with pytest.raises(BenchError, match="no boxes to learn"):
        CocoBoxes(replace(dataset, instances=None), Augmentation(crop=(64, 64)))
