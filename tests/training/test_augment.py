"""Augmentation: an image and its truth stay together, sizes are exact, and all follows from the generator."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from proscale_bench.config.recipe import Augmentation
from proscale_bench.training.augment import GREY, Colors, Variation, draw_variation

SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))
SCALES = st.tuples(st.floats(0.1, 2.0), st.floats(0.1, 2.0)).map(lambda pair: (min(pair), max(pair)))
AUGMENTATIONS = st.builds(
    Augmentation,
    resize=SCALES,
    crop=st.tuples(st.integers(32, 160), st.integers(32, 160)),
    flip=st.booleans(),
    vertical_flip=st.booleans(),
)
SEEDS = st.integers(0, 2**32)
JITTER = Augmentation(resize=(0.1, 2.0), crop=(64, 96), vertical_flip=True)


def placed(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """An image whose red is a pixel's column, whose green is its row; and an id for every pixel, from 1 on."""
    rows, columns = np.indices((height, width))
    image = np.stack([columns, rows, np.full_like(rows, 7)], -1).astype(np.uint8)
    return image, (1 + rows * width + columns).astype(np.uint32)


@settings(deadline=None)
def augment(
    image: NDArray[Any], ids: NDArray[Any], augmentation: Augmentation, random: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """An image [H, W, 3] and its ids [H, W], varied alike."""
    variation = draw_variation(augmentation, (ids.shape[0], ids.shape[1]), random)
    return variation.of_image(image), variation.of_map(ids)


@given(SIZES, AUGMENTATIONS, SEEDS)
def test_each_pixel_has_the_id_of_where_it_is_from(
    size: tuple[int, int], augmentation: Augmentation, seed: int
) -> None:
    height, width = size
    image, ids = augment(*placed(height, width), augmentation, np.random.default_rng(seed))
    variation = draw_variation(augmentation, size, np.random.default_rng(seed))
    assert image.shape == (*augmentation.crop, 3)
    assert image.dtype == np.uint8
    assert ids.shape == augmentation.crop
    assert ids.dtype == np.uint32
    there = ids > 0
    assert there.sum() == np.prod(variation.seen)
    assert (image[~there] == GREY).all()
    assert (image[there][:, 2] == 7).all()
    rows, columns = np.divmod(ids[there].astype(int) - 1, width)
    for found, expected, length, resized in (
        (image[there][:, 0], columns, width, variation.resized[1]),
        (image[there][:, 1], rows, height, variation.resized[0]),
    ):
        # Half a pixel to the nearest one, half by rounding, and at borders the filter sees one side alone.
        assert np.abs(found.astype(int) - expected).max() <= 1 + 0.5 * max(length / resized, 1)


@settings(deadline=None)
@given(SIZES, AUGMENTATIONS, SEEDS, st.integers(1, 6))
def test_no_id_comes_from_nowhere(size: tuple[int, int], augmentation: Augmentation, seed: int, cell: int) -> None:
    rows, columns = np.indices(size) // cell
    before = (rows * 1_000 + columns + 5).astype(np.uint32)
    image, _ = placed(*size)
    _, after = augment(image, before, augmentation, np.random.default_rng(seed))
    assert set(np.unique(after)) <= {0, *np.unique(before)}


@settings(deadline=None)
@given(st.tuples(st.integers(1, 80), st.integers(1, 80)), AUGMENTATIONS, SEEDS)
def test_a_crop_is_a_part_of_the_whole_image_resized(
    size: tuple[int, int], augmentation: Augmentation, seed: int
) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (*size, 3), np.uint8)
    ids = random.integers(0, 2**24, size, np.uint32)
    variation = draw_variation(augmentation, size, random)
    height, width = variation.resized
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    places = [
        [floor(Fraction(2 * at + 1, 2 * new) * old) for at in range(new)]
        for old, new in zip(size, variation.resized, strict=True)
    ]
    nearest = ids[np.ix_(*places)]
    window = tuple(
        slice(at, at + seen) for at, seen in zip((variation.top, variation.left), variation.seen, strict=True)
    )
    turn = (slice(None, None, -1 if variation.vertical_flip else 1), slice(None, None, -1 if variation.flip else 1))
    part = tuple(slice(seen) for seen in variation.seen)
    ours = variation.of_image(image)[part].astype(int)
    # Pillow keeps a box's corners as float32, and rounds to bytes after each of two passes.
    assert np.abs(ours - resized[window][turn]).max() <= 2
    assert (variation.of_map(ids)[part] == nearest[window][turn]).all()


def test_nearest_is_exact() -> None:
    """The middle of pixel i of n lies in pixel floor((2 i + 1) length / 2 n)."""
    values = np.arange(7, dtype=np.uint32)[None]
    variation = Variation((1, 7), (1, 5), 0, 0, (1, 5))
    assert variation.of_map(values).tolist() == [[0, 2, 3, 4, 6]]
    assert Variation((1, 7), (1, 5), 0, 1, (1, 3), flip=True).of_map(values).tolist() == [[4, 3, 2]]


@given(SIZES, st.booleans(), st.booleans())
def test_turned_twice_is_as_it_was(size: tuple[int, int], flip: bool, vertical_flip: bool) -> None:
    image, ids = placed(*size)
    variation = Variation(size, size, 0, 0, size, flip, vertical_flip)
    once, twice = variation.of_map(ids), variation.of_map(variation.of_map(ids))
    assert (twice == ids).all()
    assert (variation.of_image(variation.of_image(image)) == image).all()
    assert (once == ids[:: -1 if vertical_flip else 1, :: -1 if flip else 1]).all()


@settings(deadline=None)
@given(SIZES, AUGMENTATIONS, SEEDS)
def test_the_image_fits_the_scaled_crop_and_keeps_its_aspect(
    size: tuple[int, int], augmentation: Augmentation, seed: int
) -> None:
    variation = draw_variation(augmentation, size, np.random.default_rng(seed))
    low, high = augmentation.resize
    ratios = [resized / crop for resized, crop in zip(variation.resized, augmentation.crop, strict=True)]
    assert max(ratios) <= high + 0.5 / min(augmentation.crop)
    assert max(ratios) >= low - 0.5 / min(augmentation.crop)
    # One factor gives both sides, rounded; a side of 1 pixel may be less than one.
    least = max((resized - 0.5) / side * (resized > 1) for resized, side in zip(variation.resized, size, strict=True))
    most = min((resized + 0.5) / side for resized, side in zip(variation.resized, size, strict=True))
    assert least <= most + 1e-9
    for at, resized, crop in zip((variation.top, variation.left), variation.resized, augmentation.crop, strict=True):
        assert 0 <= at <= max(resized - crop, 0)


def test_all_crops_of_a_large_image_are_drawn() -> None:
    augmentation = Augmentation(resize=(2.0, 2.0), crop=(32, 32))
    variations = [draw_variation(augmentation, (32, 32), np.random.default_rng(seed)) for seed in range(2000)]
    assert {variation.top for variation in variations} == set(range(33))
    assert {variation.left for variation in variations} == set(range(33))
    assert 900 < sum(variation.flip for variation in variations) < 1100
    assert not any(variation.vertical_flip for variation in variations)


@settings(deadline=None)
@given(AUGMENTATIONS, SEEDS)
def test_a_seed_decides(augmentation: Augmentation, seed: int) -> None:
    image, ids = placed(50, 70)
    first = augment(image, ids, augmentation, np.random.default_rng(seed))
    again = augment(image.copy(), ids.copy(), augmentation, np.random.default_rng(seed))
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("change", [{"flip": False, "vertical_flip": False}, {"color": True}])
@pytest.mark.parametrize("seed", range(20))
def test_a_switch_changes_nothing_else(change: dict[str, bool], seed: int) -> None:
    def drawn(augmentation: Augmentation) -> tuple[Any, ...]:
        variation = draw_variation(augmentation, (100, 80), np.random.default_rng(seed))
        return variation.resized, variation.top, variation.left

    assert drawn(JITTER) == drawn(JITTER.model_copy(update=change))


def test_a_stack_of_masks_is_varied_as_each() -> None:
    masks = np.random.default_rng(0).random((3, 40, 50)) < 0.5
    variation = draw_variation(JITTER, (40, 50), np.random.default_rng(1))
    stack = variation.of_map(masks)
    assert stack.dtype == np.bool_
    assert stack.shape == (3, 64, 96)
    assert all((one == variation.of_map(mask)).all() for one, mask in zip(stack, masks, strict=True))


# --- Colours ---


def test_no_change_of_colours_is_none() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert (Colors(0.0, 1.0, 1.0, 0).of_image(image) == image).all()


def test_colours_change_as_they_say() -> None:
    red = np.full((1, 1, 3), (200, 40, 40), np.uint8)
    assert Colors(10, 1.0, 1.0, 0).of_image(red).tolist() == [[[210, 50, 50]]]
    assert Colors(0.0, 1.5, 1.0, 0).of_image(red).tolist() == [[[255, 60, 60]]]
    assert Colors(-32, 0.5, 1.0, 0).of_image(red).tolist() == [[[68, 0, 0]]]
    assert Colors(0.0, 1.0, 0.0, 0).of_image(red).tolist() == [[[200, 200, 200]]]
    red_, green, blue = Colors(0.0, 1.0, 1.0, 128).of_image(red)[0, 0].tolist()  # half a turn: cyan
    assert red_ < 50
    assert min(green, blue) > 190


def test_colours_leave_the_padding_grey_and_the_ids_alone() -> None:
    image, ids = placed(40, 90)
    plain = Augmentation(crop=(96, 96), flip=False)
    changed = 0
    for seed in range(10):
        varied, varied_ids = augment(image, ids, plain.model_copy(update={"color": True}), np.random.default_rng(seed))
        same, same_ids = augment(image, ids, plain, np.random.default_rng(seed))
        assert (varied_ids == same_ids).all()
        assert (varied[varied_ids == 0] == GREY).all()
        changed += not (varied == same).all()
    assert changed >= 7  # one in sixteen stays as it is
