"""The figure of every configuration's cost by part, whether or not its accuracy is known.

`render/parts.py` says which pieces a bar has, and in which colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proscale_bench.analysis.settings import Setting, by_backbone, by_setting, main_setting
from proscale_bench.render.parts import BarPart, bar_parts
from proscale_bench.render.style import FAINT, HALO, LEGEND, WIDTH_INCHES, backbone_name, style
from proscale_bench.results.record import Record
from proscale_bench.units import show_reduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2
ROW_INCHES = 0.27
HIDDEN_SHARE = 0.0015  # of the widest bar: what is thinner cannot be seen, and the legend says so


def costs_figure(records: Sequence[Record]) -> Figure:
    """One panel for each backbone and one bar for each schedule at the main setting; beside each bar the saving."""
    from matplotlib.figure import Figure

    setting = main_setting(records)
    groups = by_backbone(record for record in (by_setting(records)[setting] if setting else []) if record.cost)
    parts = bar_parts(record for group in groups.values() for record in group)
    rows = max(1, -(-len(groups) // COLUMNS))
    bars = max((len(group) for group in groups.values()), default=4)
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, rows * (ROW_INCHES * bars + 0.5) + 1.1), layout="constrained")
        grid = figure.subplots(rows, min(COLUMNS, max(1, len(groups))), sharex=True, squeeze=False)
        panels = list(grid.flat)
        named: list[str] = []
        for index, (axes, (backbone, group)) in enumerate(zip(panels, groups.items(), strict=False)):
            _bars(axes, backbone, group, parts)
            names = [record.identity.schedule for record in group]
            if index % COLUMNS and names == named:  # as the panel to the left
                axes.tick_params(labelleft=False)
            named = names
        for axes in panels[len(groups) :]:
            axes.set_axis_off()
        _finish(figure, groups, setting, parts)
    return figure


def _bars(axes: Axes, backbone: str, records: Sequence[Record], parts: Sequence[BarPart]) -> None:
    from matplotlib.ticker import MaxNLocator

    for row, record in enumerate(records):
        cost = record.cost
        if cost is None:
            continue
        left = 0.0
        for part in parts:
            width = part.gflops(cost)
            axes.barh(row, width, left=left, height=0.72, color=part.color, edgecolor="white", linewidth=0.3)
            left += width
        saving = show_reduction(cost.reduction_pct.get("encoder")).replace("-", "−")
        if not record.is_baseline:
            axes.annotate(saving, (left, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5, bbox=HALO)
    axes.set_title(backbone_name(backbone), fontsize=9.5, loc="left")
    axes.set_yticks(range(len(records)), [record.identity.schedule for record in records])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.invert_yaxis()


def _finish(figure: Figure, groups: dict[str, list[Record]], setting: Setting | None, parts: Sequence[BarPart]) -> None:
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
    for part in parts:
        most = max(part.gflops(cost) for cost in costs)
        if most:
            hidden = most < HIDDEN_SHARE * widest
            label = f"{part.title} (≈ {most:.1g})" if hidden else part.title
            handles.append(Patch(facecolor=part.color, label=label))
    figure.legend(
        handles=handles,
        **LEGEND,
    )
