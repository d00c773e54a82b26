"""The order of images follows from (seed, iteration) alone; loading ahead keeps it, and ends."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.data.dataset import Category
from proscale_bench.errors import BenchError
from proscale_bench.training.samples import DrawnImage, Sample, batch_draws, batch_indices, load_batches


class Numbered:
    """Images that are their index and the first number of their generator."""

    classes = (Category(1, "one", True),)

    def __init__(self, length: int, fault: Exception | None = None, at: int = -1) -> None:
        self.length, self.fault, self.at = length, fault, at

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        return f"image number {index}"

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        if index == self.at and self.fault is not None:
            raise self.fault
        image = np.full((1, 1, 3), index, np.uint8)
        return Sample(image, random.integers(0, 2**62, 1), np.ones((1, 1, 1), np.bool_))


def told(batch: list[Sample]) -> list[tuple[int, int]]:
    return [(int(sample.image[0, 0, 0]), int(sample.labels[0])) for sample in batch]


def threads() -> int:
    return sum(thread.name.startswith("load") for thread in threading.enumerate())


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50), st.integers(1, 4))
def test_every_epoch_has_every_image_once(seed: int, length: int, batch_size: int, epochs: int) -> None:
    iterations = -(-epochs * length // batch_size)
    draws = [draw for step in range(iterations) for draw in batch_draws(seed, step, batch_size, length)]
    assert all(len(batch_draws(seed, step, batch_size, length)) == batch_size for step in range(iterations))
    for epoch in range(epochs):
        assert sorted(draw.index for draw in draws if draw.epoch == epoch) == list(range(length))
    assert [draw.epoch for draw in draws] == sorted(draw.epoch for draw in draws)


def test_the_order_is_always_the_same_and_never_twice() -> None:
    """Written down once: a run may be resumed anywhere."""
    assert batch_indices(1, 0, 8, 20) == WRITTEN[0]
    assert batch_indices(1, 1, 8, 20) == WRITTEN[1]
    orders = {tuple(batch_indices(seed, epoch, 20, 20)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


WRITTEN = ([12, 9, 13, 1, 5, 6, 10, 0], [15, 2, 17, 14, 7, 8, 3, 16])


def test_generators_are_all_different() -> None:
    first = {
        DrawnImage(epoch, index).generator(seed).random()
        for seed in range(5)
        for epoch in range(5)
        for index in range(9)
    }
    assert len(first) == 5 * 5 * 9


@given(st.sampled_from([(1, 1), (2, 1), (4, 2), (3, 3)]), st.integers(0, 9), st.integers(1, 4))
def test_processes_share_what_one_would_see(shape: tuple[int, int], first: int, workers: int) -> None:
    world, share = shape
    whole = [told(batch) for batch in load_batches(Numbered(17), 5, range(first, first + 4), world * share)]
    shares = [
        [
            told(batch)
            for batch in load_batches(
                Numbered(17), 5, range(first, first + 4), world * share, rank=rank, world=world, workers=workers
            )
        ]
        for rank in range(world)
    ]
    assert [len(batch) for one in shares for batch in one] == [share] * 4 * world
    for step in range(4):
        assert [shares[place % world][step][place // world] for place in range(world * share)] == whole[step]


def test_what_is_resumed_goes_on_as_it_would_have() -> None:
    whole = [told(batch) for batch in load_batches(Numbered(10), 1, range(12), 4)]
    assert [told(batch) for batch in load_batches(Numbered(10), 1, range(7, 12), 4)] == whole[7:]
    assert len(whole) == 12
    images = Counter(index for batch in whole[:5] for index, _ in batch)
    assert set(images.values()) == {2}
    assert len({variation for batch in whole for _, variation in batch}) == 48  # never varied alike


def test_a_batch_is_shared_evenly() -> None:
    with pytest.raises(BenchError, match="8 images an iteration for 3 processes"):
        next(load_batches(Numbered(10), 1, range(1), 8, rank=0, world=3))


def test_nothing_is_left_to_do() -> None:
    assert list(load_batches(Numbered(10), 1, range(5, 5), 4)) == []


@pytest.mark.parametrize("fault", [ValueError("what"), BenchError("x.png: damaged")])
def test_an_error_comes_in_its_place_and_names_the_image(fault: Exception) -> None:
    indices = [index for step in range(5) for index in batch_indices(1, step, 4, 20)]
    loader = load_batches(Numbered(20, fault, at=indices[9]), 1, range(5), 4)
    assert [len(next(loader)), len(next(loader))] == [4, 4]
    with pytest.raises((RuntimeError, BenchError)) as caught:
        next(loader)
    if isinstance(fault, BenchError):
        assert caught.value is fault
    else:
        assert str(caught.value) == f"image number {indices[9]}: ValueError: what"
    assert threads() == 0


def test_closing_ends_the_threads() -> None:
    loader = load_batches(Numbered(100), 1, range(1_000_000), 4)
    next(loader)
    assert threads() > 0
    loader.close()
    assert threads() == 0


def test_every_image_is_in_every_place_about_as_often() -> None:
    counts = np.zeros((6, 6), int)
    for epoch in range(6_000):
        counts[range(6), batch_indices(4, epoch, 6, 6)] += 1
    assert abs(counts - 1_000).max() < 150  # five standard deviations
