"""Runs of pixels, over the borders of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.evaluation import pixel_runs as module
from proscale_bench.evaluation.pixel_runs import runs


def plain_runs(first: list[int], second: list[int]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for pair in zip(first, second, strict=True):
        if found and found[-1][:2] == pair:
            found[-1] = (*pair, found[-1][2] + 1)
        else:
            found.append((*pair, 1))
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 12)), min_size=1), st.integers(1, 9))
def test_runs_are_found_whatever_the_block(pieces: list[tuple[int, int, int]], block: int) -> None:
    first = [value for value, _, length in pieces for _ in range(length)]
    second = [value for _, value, length in pieces for _ in range(length)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        values, others, lengths = runs(np.array([first]), np.array([second], np.uint8))
    expected = plain_runs(first, second)
    if lengths is None:
        assert 2 * len(expected) > len(first)
        assert (values.tolist(), others.tolist()) == (first, second)
    else:
        assert list(zip(values.tolist(), others.tolist(), lengths.tolist(), strict=True)) == expected


def test_a_large_map_is_one_run_over_many_blocks() -> None:
    ones = np.ones((600, 700), np.int32)
    values, others, lengths = runs(ones, 3 * ones)
    assert lengths is not None
    assert (values.tolist(), others.tolist(), lengths.tolist()) == ([1], [3], [600 * 700])


def test_maps_of_no_pixel_have_no_run() -> None:
    nothing = np.zeros((0, 4), int)
    values, others, lengths = runs(nothing, nothing)
    assert values.size == others.size == 0
    assert lengths is None
