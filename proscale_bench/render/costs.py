"""The figure of every configuration's cost by part, whether or not its accuracy is known.

What the schedule does not touch comes first, in greys, so that the encoders of a backbone start at one line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from proscale_bench.analysis.settings import Setting, by_backbone, by_setting, main_setting
from proscale_bench.render.style import FAINT, HALO, LEGEND, WIDTH_INCHES, backbone_name, style
from proscale_bench.results.record import Cost, Record
from proscale_bench.units import show_reduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2
ROW_INCHES = 0.27
HIDDEN_SHARE = 0.0015  # of the widest bar: what is thinner cannot be seen, and the legend says so


class Part(NamedTuple):
    name: str
    color: str
    read: Callable[[Cost], float]


def _token_layers(levels: int) -> Callable[[Cost], float]:
    return lambda cost: sum(layer.gflops for layer in cost.layers if len(layer.levels) == levels)


PARTS = (
    Part("backbone", "#b3b3b3", lambda cost: cost.gflops["backbone"]),
    Part("transformer decoder", "#dadada", lambda cost: cost.gflops["transformer_decoder"]),
    Part("FPN upsampling", "#6b6b6b", lambda cost: cost.gflops["fpn_upsampling"]),
    Part("projection", "#009E73", lambda cost: cost.gflops["encoder_projection"]),
    Part("pixel embedding", "#E69F00", lambda cost: cost.gflops["pixel_embedding"]),
    Part("re-calibration", "#000000", lambda cost: cost.gflops["encoder_recalibration"]),
    Part("token layers over 1 level", "#a6cee8", _token_layers(1)),
    Part("token layers over 2 levels", "#4a98d1", _token_layers(2)),
    Part("token layers over 3 levels", "#08519c", _token_layers(3)),
)


def costs_figure(records: Sequence[Record]) -> Figure:
    """One panel for each backbone and one bar for each schedule at the main setting; beside each bar the saving."""
    from matplotlib.figure import Figure

    setting = main_setting(records)
    groups = by_backbone(record for record in (by_setting(records)[setting] if setting else []) if record.cost)
    rows = max(1, -(-len(groups) // COLUMNS))
    bars = max((len(group) for group in groups.values()), default=4)
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, rows * (ROW_INCHES * bars + 0.5) + 1.1), layout="constrained")
        grid = figure.subplots(rows, min(COLUMNS, max(1, len(groups))), sharex=True, squeeze=False)
        panels = list(grid.flat)
        named: list[str] = []
        for index, (axes, (backbone, group)) in enumerate(zip(panels, groups.items(), strict=False)):
            _bars(axes, backbone, group)
            names = [record.identity.schedule for record in group]
            if index % COLUMNS and names == named:  # as the panel to the left
                axes.tick_params(labelleft=False)
            named = names
        for axes in panels[len(groups) :]:
            axes.set_axis_off()
        _finish(figure, groups, setting)
    return figure


def _bars(axes: Axes, backbone: str, records: Sequence[Record]) -> None:
    from matplotlib.ticker import MaxNLocator

    for row, record in enumerate(records):
        cost = record.cost
        if cost is None:
            continue
        left = 0.0
        for part in PARTS:
            width = part.read(cost)
            axes.barh(row, width, left=left, height=0.72, color=part.color, edgecolor="white", linewidth=0.3)
            left += width
        saving = show_reduction(cost.reduction_pct["encoder"]).replace("-", "−")
        if not record.is_baseline:
            axes.annotate(saving, (left, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5, bbox=HALO)
    axes.set_title(backbone_name(backbone), fontsize=9.5, loc="left")
    axes.set_yticks(range(len(records)), [record.identity.schedule for record in records])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.invert_yaxis()


def _finish(figure: Figure, groups: dict[str, list[Record]], setting: Setting | None) -> None:
    """Room for the percentages, the axis's meaning, and a legend of the parts that are there."""
    from matplotlib.patches import Patch

    if setting is None or not groups:
        axes = figure.axes[0]
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no configuration has a cost", ha="center", va="center", color=FAINT)
        return
    costs = [record.cost for group in groups.values() for record in group if record.cost]
    widest = max(cost.gflops["total"] for cost in costs)
    figure.axes[0].set_xlim(0, 1.24 * widest)
    figure.supxlabel(
        f"total GFLOPs ({setting.how})\nbeside each bar: the encoder (in colours) against the baseline's",
        fontsize=9,
    )
    handles = []
    for part in PARTS:
        most = max(part.read(cost) for cost in costs)
        if most:
            hidden = most < HIDDEN_SHARE * widest
            label = f"{part.name} (≈ {most:.1g})" if hidden else part.name
            handles.append(Patch(facecolor=part.color, label=label))
    figure.legend(
        handles=handles,
        **LEGEND,
    )
