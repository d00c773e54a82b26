"""Preprocessing against the official pipeline's."""

from __future__ import annotations

import csv
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.cost.geometry import resized_size
from proscale_bench.data.batches import padded_size, resize
from proscale_bench.data.pictures import read_image
from tests.models.golden import shared


def test_every_size_of_coco_is_resized_and_padded_as_counted() -> None:
    text = (resources.files("proscale_bench.cost") / "data" / "coco_val2017_sizes.csv").read_text()
    images = 0
    for row in csv.DictReader(text.splitlines()):
        size = int(row["original_height_px"]), int(row["original_width_px"])
        padded = int(row["padded_height_px"]), int(row["padded_width_px"])
        assert padded_size(resized_size(*size)) == padded, size
        images += int(row["images"])
    assert images == 5000


@pytest.mark.parametrize("name", ["000000142238", "000000439180"])
@pytest.mark.parametrize(("short", "longest"), [(200, 333), (320, 400)])
def test_pixels_are_the_official_ones(name: str, short: int, longest: int) -> None:
    with np.load(shared("golden/resize_golden.npz")) as golden:
        expected = golden[f"{name}.short{short}.max{longest}"]
    image = read_image(shared(f"real/panopticapi_sample/input_images/{name}.jpg"))
    assert np.array_equal(resize(image, resized_size(*image.shape[:2], short, longest)), expected)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),
        ((800, 1333), (800, 1333)),
        ((159, 640), (331, 1333)),
        ((1, 10_000), (1, 1333)),  # a side never vanishes
    ],
)
def test_sizes_by_hand(size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert resized_size(*size) == resized


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 2000), st.integers(1, 3000))
def test_no_side_is_beyond_its_bound(height: int, width: int, short: int, longest: int) -> None:
    resized = resized_size(height, width, short, longest)
    assert resized[::-1] == resized_size(width, height, short, longest)
    assert min(resized) <= max(short, 1)
    assert max(resized) <= longest
    assert min(resized) == short or max(resized) == longest


def test_an_image_of_the_right_size_is_itself() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert resize(image, (4, 5)) is image


@pytest.mark.parametrize(("side", "padded"), [(1, 32), (32, 32), (33, 64), (800, 800), (1333, 1344)])
def test_sides_are_padded_to_multiples_of_32(side: int, padded: int) -> None:
    assert padded_size((side, 32)) == (padded, 32)
