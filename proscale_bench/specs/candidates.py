"""The encoders that a search goes through: a function for each family, up to a number of token layers.

Options that change no cost (`+residual`, `+spatial`, a temperature) are left at their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations, product
from typing import get_args

from proscale_bench.specs.encoders.early_exit import EXITS, EarlyExit
from proscale_bench.specs.encoders.hybrid import BLOCKS, Hybrid
from proscale_bench.specs.encoders.interleaved import Interleaving, Lite
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.encoders.staged import Recalibration, Schedule, Stage
from proscale_bench.specs.grid import Grid, single
from proscale_bench.specs.levels import LEVELS, TOKEN_LEVELS, Level

KEPT = (0.75, 0.5, 0.25)  # shares of the tokens
PEM_WIDTHS = (64, 128, 192, 256)


def staged_candidates(max_layers: int) -> Iterator[Grid]:
    """Every nested list of res5, res4 and res3, with every pixel embedding and re-calibration: PRO-SCALE, and
    Mask2Former's own."""
    for options in _options():
        yield single(_schedule((LEVELS,), options, 0))
    yield from _staged(_nested(LEVELS), _options(), max_layers)


def retention_candidates(max_layers: int) -> Iterator[Grid]:
    """The same, where full layers refine a share of the res3 tokens."""
    chains = (chain for chain in _nested(LEVELS) if chain[-1] == LEVELS)
    yield from _staged(chains, ({**options, "keep": keep} for keep in KEPT for options in _options()), max_layers)


def more_levels_candidates(max_layers: int) -> Iterator[Grid]:
    """Every nested list with res6 or res2 in it."""
    chains = (chain for chain in _nested(TOKEN_LEVELS) if set(chain[-1]) - set(LEVELS))
    yield from _staged(chains, _options(), max_layers)


def early_exit_candidates(max_layers: int) -> Iterator[Grid]:
    """The fixed exits: a gate's choice has no one cost."""
    yield from (single(EarlyExit(layers)) for layers in EXITS if layers <= max_layers)


def lite_candidates(max_layers: int) -> Iterator[Grid]:
    """Interleaved layers: every number of updates and blocks, with every option and pixel embedding."""
    for updates in range(1, max_layers + 1):
        for (aware, keys), same, small, embedding in product(
            ((False, False), (True, False), (True, True)), (False, True), (True, False), get_args(PixelEmbedding)
        ):
            options = {"key_aware": aware, "project_keys": keys, "same_locations": same, "small_ffn": small}
            yield Grid(partial(_lite, updates, options, embedding), 1, max_layers // updates)


def _lite(updates: int, options: dict[str, bool], embedding: PixelEmbedding, blocks: int) -> Lite:
    return Lite(Interleaving(updates, blocks, **options), embedding)


def hybrid_candidates(max_layers: int) -> Iterator[Grid]:
    """RT-DETR's paths, as wide as the encoder and half of it, of one to three blocks, folded or not. It has one layer
    of attention."""
    for folded, embedding, expansion in product((False, True), get_args(PixelEmbedding), (0.5, 1.0)):
        yield Grid(partial(_hybrid, folded, embedding, expansion), 1, BLOCKS)


def _hybrid(folded: bool, embedding: PixelEmbedding, expansion: float, blocks: int) -> Hybrid:
    return Hybrid(folded, pixel_embedding=embedding, expansion=expansion, blocks=blocks)


def pem_candidates(max_layers: int) -> Iterator[Grid]:
    """PEM's decoder, half as wide as the head and in other widths. It has no token layers."""
    yield from (single(Pem(width)) for width in (None, *PEM_WIDTHS))


def _options() -> Iterator[dict[str, object]]:
    for embedding, gate in product(get_args(PixelEmbedding), get_args(Recalibration)):
        yield {"pixel_embedding": embedding, "recalibration": gate}


def _staged(
    chains: Iterable[tuple[tuple[Level, ...], ...]], options: Iterable[dict[str, object]], max_layers: int
) -> Iterator[Grid]:
    for levels, chosen in product(chains, options):
        yield Grid(partial(_schedule, levels, chosen), len(levels), max_layers)


def _schedule(levels: tuple[tuple[Level, ...], ...], options: dict[str, object], *layers: int) -> Schedule:
    return Schedule(tuple(map(Stage, levels, layers)), **options)  # type: ignore[arg-type]


def _nested(levels: tuple[Level, ...]) -> Iterator[tuple[tuple[Level, ...], ...]]:
    """Every list of sets of levels each of which contains the one before, and more."""
    sets = [chosen for count in range(1, len(levels) + 1) for chosen in combinations(levels, count)]

    def begun(chain: tuple[tuple[Level, ...], ...]) -> Iterator[tuple[tuple[Level, ...], ...]]:
        yield chain
        for larger in sets:
            if set(chain[-1]) < set(larger):
                yield from begun((*chain, larger))

    for first in sets:
        yield from begun((first,))


FAMILIES: dict[str, Callable[[int], Iterator[Grid]]] = {
    "staged": staged_candidates,
    "retention": retention_candidates,
    "more-levels": more_levels_candidates,
    "early-exit": early_exit_candidates,
    "hybrid": hybrid_candidates,
    "lite": lite_candidates,
    "pem": pem_candidates,
}
DEFAULT_FAMILIES = tuple(name for name in FAMILIES if name != "more-levels")  # a hundred times as many, and ours alone
