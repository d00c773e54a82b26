"""The encoders that a search goes through: a function for each family, up to a number of token layers.

Options that change no cost (`+residual`, `+spatial`, a temperature) are left at their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, pairwise, product
from typing import get_args

from proscale_bench.specs.encoders.early_exit import EXITS, EarlyExit
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.encoders.staged import Recalibration, Schedule, Stage
from proscale_bench.specs.grid import Grid, single
from proscale_bench.specs.levels import LEVELS, Level


def staged_candidates(max_layers: int) -> Iterator[Grid]:
    """Every nested list of levels, with every pixel embedding and re-calibration: PRO-SCALE, and Mask2Former's own."""
    for embedding, gate in product(get_args(PixelEmbedding), get_args(Recalibration)):
        options = {"pixel_embedding": embedding, "recalibration": gate}
        yield single(_schedule((LEVELS,), options, 0))
        for levels in _nested():
            yield Grid(partial(_schedule, levels, options), len(levels), max_layers)


def _schedule(levels: tuple[tuple[Level, ...], ...], options: dict[str, str], *layers: int) -> Schedule:
    return Schedule(tuple(map(Stage, levels, layers)), **options)  # type: ignore[arg-type]


def _nested() -> Iterator[tuple[tuple[Level, ...], ...]]:
    """Every list of sets of levels each of which contains the one before, and more."""
    sets = [levels for count in range(1, len(LEVELS) + 1) for levels in combinations(LEVELS, count)]
    for count in range(1, len(LEVELS) + 1):
        for chain in combinations(sets, count):
            if all(set(one) < set(other) for one, other in pairwise(chain)):
                yield chain


def early_exit_candidates(max_layers: int) -> Iterator[Grid]:
    """The fixed exits: a gate's choice has no one cost."""
    yield from (single(EarlyExit(layers)) for layers in EXITS if layers <= max_layers)


FAMILIES: dict[str, Callable[[int], Iterator[Grid]]] = {
    "staged": staged_candidates,
    "early-exit": early_exit_candidates,
}
