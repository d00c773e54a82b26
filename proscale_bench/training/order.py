"""Which images each iteration sees, and loading them ahead of it.

Everything follows from (seed, iteration): a run that is resumed needs no state, and any number of processes and
accumulations sees the same images, varied in the same way.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.batches import load_ahead
from proscale_bench.data.shapes.randomness import Random
from proscale_bench.errors import BenchError
from proscale_bench.training.samples import Sample, TrainingSet

AHEAD = 2  # iterations that are loaded or being loaded; of COCO's, each takes about 300 MB
ORDER = 0x6F72646572  # "order": no stream of scenes begins so


@dataclass(frozen=True)
class Draw:
    """An image, and the how many-th time that all are gone through."""

    epoch: int
    index: int

    def generator(self, seed: int) -> np.random.Generator:
        """What its variation is drawn from."""
        return np.random.default_rng([seed, self.epoch, self.index])


def batch_draws(seed: int, iteration: int, batch_size: int, length: int) -> list[Draw]:
    """The images of an iteration, the first of which is 0: a part of one permutation of all after the other.

    Args:
        batch_size: over all processes.
        length: how many images there are.
    """
    first = iteration * batch_size
    places = (divmod(place, length) for place in range(first, first + batch_size))
    return [Draw(epoch, int(_permutation(seed, epoch, length)[place])) for epoch, place in places]


def batch_indices(seed: int, iteration: int, batch_size: int, length: int) -> list[int]:
    """The indices of those images."""
    return [draw.index for draw in batch_draws(seed, iteration, batch_size, length)]


def load_batches(
    training_set: TrainingSet,
    seed: int,
    first_iteration: int,
    last_iteration: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 2,
) -> Generator[list[Sample], None, None]:
    """The samples of each iteration, in order, made by threads while earlier ones are learnt from.

    Closing the generator ends the threads, after the images that they are at.

    Args:
        first_iteration, last_iteration: `last_iteration` itself is not loaded.
        batch_size: over all processes.
        rank, world: which process this is, of how many; it takes every `world`-th image.
        workers: threads.

    Raises:
        BenchError: a batch is not shared evenly; an image cannot be read, in its iteration's place.
    """
    if batch_size % world:
        raise BenchError(
            f"{batch_size} images an iteration for {world} processes", "batch_size is a multiple of the processes"
        )
    share = batch_size // world

    def draws() -> Iterator[Draw]:
        for iteration in range(first_iteration, last_iteration):
            yield from batch_draws(seed, iteration, batch_size, len(training_set))[rank::world]

    def load(draw: Draw) -> Sample:
        try:
            return training_set.sample(draw.index, draw.generator(seed))
        except (BenchError, MemoryError):
            raise
        except Exception as error:
            raise RuntimeError(f"{training_set.name(draw.index)}: {type(error).__name__}: {error}") from error

    with closing(load_ahead(draws(), load, workers, AHEAD * share)) as samples:
        while batch := list(islice(samples, share)):
            yield batch


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """All images in an epoch's order, which no version of numpy changes: sorted by a random word each."""
    return np.argsort(Random(ORDER, seed, epoch).words(length), kind="stable").astype(np.int64)
