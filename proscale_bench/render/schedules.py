"""Schedules as tables and as a drawing: levels against layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from proscale_bench.render.table import Row, Table
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import LEVELS, STRIDES
from proscale_bench.units import show_gflops, show_tokens

if TYPE_CHECKING:
    from proscale_bench.cost.count import FlopCount

SEEN, UNSEEN = "■", "·"
PLAIN = str.maketrans({"■": "#", "·": ".", "×": "x"})  # for a terminal that has no more than ASCII
PIXEL_EMBEDDINGS = {
    "maxpool": "3x3 max-pool (LPE)",
    "conv": "3x3 convolution",
    "depthwise": "depth-wise 3x3 convolution (ours, not the paper's)",
}
DRAWN_LAYERS = 12  # a stage of more is written `■ × 40`


def catalogue_table(entries: Sequence[tuple[Schedule, str]]) -> Table:
    """Name, compact form and description of the shipped schedules."""
    rows = tuple(
        Row(schedule.name or schedule.compact, (schedule.compact, description)) for schedule, description in entries
    )
    return Table("", ("schedule", "compact", "what it is"), rows)


def drawing(count: FlopCount, plain: bool = False) -> Table:
    """The levels against the layers of each stage, with tokens and cost at the count's size; `plain` keeps to ASCII."""
    stages = [list(layers) for _, layers in groupby(count.layers, key=lambda layer: layer.stage)]
    header = ["", *(f"stage {layers[0].stage}" for layers in stages), "tokens"]
    levels = {level for layers in stages for level in layers[0].levels}
    rows = []
    for level in sorted({*LEVELS, *levels}, key=lambda level: -STRIDES[level]):
        marks = (_marks(SEEN if level in layers[0].levels else UNSEEN, len(layers), plain) for layers in stages)
        cells = (*marks, show_tokens(round(count.level_tokens[level])))
        rows.append(Row(f"{level}  1/{STRIDES[level]}", cells))
    if stages:
        tokens = (show_tokens(round(layers[0].tokens)) for layers in stages)
        rows.append(Row("tokens a layer", (*tokens, ""), strong=True))
        rows.append(Row("GFLOPs a layer", (*(show_gflops(layers[0].gflops) for layers in stages), "")))
    return Table("", tuple(header), tuple(rows))


def options(schedule: Schedule) -> list[tuple[str, str]]:
    """The options of a schedule beside its layers, as pairs of (name, value)."""
    gate = {"none": "none", "linear": "linear", "conv": "1x1 convolution"}[schedule.recalibration]
    if schedule.recalibration != "none":
        *others, last = schedule.levels[:-1]
        gate += f" on {schedule.finest}, temperature {schedule.recalibration_temperature:g}"
        gate += f", gates {', '.join(others)} and {last} ({schedule.recalibration_layout} layout)"
    mapping = [("levels", f"{', '.join(schedule.levels)} (our mapping, not the paper's)")]
    return [
        *(mapping if schedule.levels != LEVELS else ()),
        ("re-calibration", gate),
        ("pixel embedding", PIXEL_EMBEDDINGS[schedule.pixel_embedding]),
        ("residual", f"after every layer that does not see {schedule.finest}" if schedule.residual else "none"),
    ]


def _marks(mark: str, layers: int, plain: bool) -> str:
    marks = " ".join([mark] * layers) if layers <= DRAWN_LAYERS else f"{mark} × {layers}"
    return marks.translate(PLAIN) if plain else marks
