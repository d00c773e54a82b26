"""The parts of models as tables and figures show them: their order, their depth, and their colours by role.

The tree comes from a record's cost or from a spec; nothing here knows a family of models. A figure's bar begins with
what the encoder does not contain, in greys, so that the encoders of a backbone start at one line. What the encoder
contains has colours in the order of the tree, and its token layers come last, in blues by the number of their levels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from proscale_bench.specs.encoders.parts import FPN_UPSAMPLING, TOKEN_LAYERS
from proscale_bench.specs.model import TOTAL, WHOLE

if TYPE_CHECKING:  # a record's classes take longer to make than a cost on paper to count
    from proscale_bench.results.profile import Profile
    from proscale_bench.results.record import Cost, PartRow, Record
    from proscale_bench.specs.model import Part

ENCODER = "encoder"
LAYER = f"{TOKEN_LAYERS.name.removesuffix('s')}_"  # and a number: one token layer, as a stage of a profile
AnyPart = TypeVar("AnyPart", bound="Part | PartRow")
BETWEEN = ("between the encoder's parts", "#f2c9d8")
# Parts that most models have look alike in every figure, and come in this order.
KNOWN = {
    "backbone": "#b3b3b3",
    "transformer_decoder": "#dadada",
    FPN_UPSAMPLING.name: "#6b6b6b",
    "encoder_projection": "#009E73",
    "pixel_embedding": "#E69F00",
    "encoder_recalibration": "#000000",
}
GREYS = ("#8f8f8f", "#c8c8c8", "#4d4d4d", "#e6e6e6")
COLORS = ("#CC79A7", "#D55E00", "#F0E442", "#7B3294", "#A6761D", "#66A61E")
BLUES = ("#a6cee8", "#4a98d1", "#08519c", "#08306b", "#041a3d")  # of layers over 1, 2, 3, ... levels
DARK = {  # on dark paper: the same hues, brighter
    "#b3b3b3": "#6d757e",
    "#dadada": "#a9b0b8",
    "#6b6b6b": "#454c54",
    "#009E73": "#2fc99a",
    "#000000": "#ffffff",
    "#a6cee8": "#d3e8f7",
    "#4a98d1": "#79bbec",
    "#08519c": "#2f7fd0",
    "#08306b": "#1f5aa0",
    "#041a3d": "#194a80",
    BETWEEN[1]: "#8c5f73",
}


def merged(trees: Iterable[Iterable[AnyPart]]) -> dict[str, AnyPart]:
    """The parts of several trees by name. One that only some have stands after the part that is before it there, but
    never among the contents of a part that does not contain it."""
    found: list[AnyPart] = []
    for tree in trees:
        own = {part.name: part for part in tree}
        place = 0
        for part in own.values():
            known = next((index for index, other in enumerate(found) if other.name == part.name), None)
            if known is None:
                above = path(part.name, own)
                while place < len(found) and found[place].of not in (*above, None):
                    place += 1
                found.insert(place, part)
            place = (place if known is None else known) + 1
    return {part.name: part for part in found}


def path(name: str, tree: dict[str, AnyPart]) -> list[str]:
    """The names of the parts that contain a part, from the nearest on."""
    above: str | None = tree[name].of
    if above is None or above not in tree:
        return []
    return [above, *path(above, tree)]


def depth(name: str, tree: dict[str, AnyPart]) -> int:
    """The number of parts within the total that contain a part."""
    return len({*path(name, tree)} - {TOTAL, WHOLE})


def short_title(part: AnyPart) -> str:
    """The title without its remark: `encoder` of "encoder (pixel decoder)"."""
    return part.title.partition(" (")[0]


def coarse_first(levels: Sequence[str]) -> tuple[int, list[int]]:
    """A key that sorts sets of levels: few before many, res5 before res3."""
    return len(levels), [-int(re.sub(r"\D", "", level) or 0) for level in levels]


class BarPart(NamedTuple):
    """A piece of a bar.

    Args:
        stage: its stage in profiles; empty for token layers, which have one each.
        gflops: its length in a bar of costs.
        latency_ms: its length in a bar of times, from a cost and its profile.
    """

    title: str
    color: str
    stage: str
    gflops: Callable[[Cost], float]
    latency_ms: Callable[[Cost, Profile], float]


def bar_parts(records: Iterable[Record]) -> list[BarPart]:
    """The pieces of which the records' bars are made, from left to right."""
    costs = [record.cost for record in records if record.cost]
    tree = merged(cost.tree for cost in costs)
    containers = {part.of for part in tree.values()}
    levels = sorted({len(layer.levels) for cost in costs for layer in cost.layers})
    names = [name for name in tree if name not in containers and TOTAL in path(name, tree)]
    if levels:
        names.remove(TOKEN_LAYERS.name)
    order = [*KNOWN, *names]
    names.sort(key=lambda name: (ENCODER in path(name, tree), order.index(name)))
    palettes = {True: iter(COLORS * len(names)), False: iter(GREYS * len(names))}
    colors = {name: KNOWN.get(name) or next(palettes[ENCODER in path(name, tree)]) for name in names}
    return [*(_part(tree[name], colors[name]) for name in names), *map(_layers_over, levels)]


def _part(part: AnyPart, color: str) -> BarPart:
    def latency_ms(cost: Cost, profile: Profile) -> float:
        stage = profile.stages.get(part.name)
        return stage.latency_median_ms if stage else 0.0

    return BarPart(part.title, color, part.name, lambda cost: cost.gflops.get(part.name, 0.0), latency_ms)


def _layers_over(count: int) -> BarPart:
    """The token layers over that many levels."""

    def gflops(cost: Cost) -> float:
        return sum(layer.gflops for layer in cost.layers if len(layer.levels) == count)

    def latency_ms(cost: Cost, profile: Profile) -> float:
        stages = (profile.stages.get(f"{LAYER}{number}") for number, _ in enumerate(cost.layers, start=1))
        timed = zip(cost.layers, stages, strict=True)
        return sum(stage.latency_median_ms for layer, stage in timed if stage and len(layer.levels) == count)

    title = f"token layers over {count} level{'s' if count > 1 else ''}"
    return BarPart(title, BLUES[min(count, len(BLUES)) - 1], "", gflops, latency_ms)


def time_between(profile: Profile, tree: Iterable[AnyPart]) -> float:
    """The part of the encoder's time, in ms, that none of its stages takes: positions, joining and splitting tokens.

    The encoder runs the upsampling too, which papers charge to the head.
    """
    if ENCODER not in profile.stages:
        return 0.0
    inside = [part.name for part in tree if part.of == ENCODER or part.name == FPN_UPSAMPLING.name]
    stages = [profile.stages[name].latency_median_ms for name in inside if name in profile.stages]
    return profile.stages[ENCODER].latency_median_ms - sum(stages)
