"""Pictures of predictions beside the truth: pixels where they belong, and nothing outside."""

from __future__ import annotations

import numpy as np
import pytest

from proscale_bench.render.overlay import BAR_PX, GAP_PX, PANEL_PX, WRONG, DrawnSegment, color_of, side_by_side

IMAGE = np.full((40, 60, 3), 128, np.uint8)


def ids(rows: slice, columns: slice, value: int = 1) -> np.ndarray:
    found = np.zeros((40, 60), np.int32)
    found[rows, columns] = value
    return found


def draw(matched: bool | None, caption: str = "a caption", name: str = "circle") -> np.ndarray:
    segments = [DrawnSegment(1, 2, name, matched)]
    box = ids(slice(10, 30), slice(20, 40))
    return np.asarray(side_by_side(IMAGE, box, segments, box, segments, caption))


def test_three_panels_of_whole_pixels() -> None:
    scale = PANEL_PX // 60
    picture = draw(True)
    assert picture.shape == (40 * scale + 2 * BAR_PX + GAP_PX, 3 * 60 * scale + 4 * GAP_PX, 3)
    first = picture[BAR_PX : BAR_PX + 40 * scale, GAP_PX : GAP_PX + 60 * scale]
    assert (first == 128).all()


@pytest.mark.parametrize("matched", [True, None])
def test_what_is_right_or_not_judged_is_not_red(matched: bool | None) -> None:
    assert not (draw(matched) == WRONG).all(axis=2).any()


def test_what_is_wrong_is_outlined_in_both_panels() -> None:
    red = (draw(False) == WRONG).all(axis=2)
    width = red.shape[1] // 3
    assert not red[:, :width].any()
    assert red[:, width : 2 * width].any()
    assert red[:, 2 * width :].any()


def test_classes_have_colours_of_their_own() -> None:
    assert len({color_of(category) for category in range(133)}) == 133


@pytest.mark.parametrize("words", ["", "x" * 500, "très long … 図"])
def test_no_caption_is_too_long(words: str) -> None:
    assert draw(True, caption=words).shape == draw(True).shape


def test_a_name_without_room_is_left_out() -> None:
    tiny = ids(slice(5, 7), slice(5, 7))
    segments = ([DrawnSegment(1, 0, name, True)] for name in ("elephant", ""))
    named, unnamed = (np.asarray(side_by_side(IMAGE, tiny, one, tiny, [], "")) for one in segments)
    assert np.array_equal(named, unnamed)


def test_large_images_are_not_enlarged() -> None:
    large = np.zeros((500, 700, 3), np.uint8)
    nothing = np.zeros((500, 700), np.int32)
    assert side_by_side(large, nothing, [], nothing, [], "").width == 3 * 700 + 4 * GAP_PX
