"""Figures of stacked bars: every configuration's cost by part, and counted costs beside measured times.

`render/parts.py` says which pieces a bar has, and in which colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from proscale_bench.analysis.labels import row_names
from proscale_bench.analysis.settings import Setting, by_backbone, by_setting, main_setting, profiled
from proscale_bench.render.columns import MARKS, show_saving
from proscale_bench.render.legend import draw_above
from proscale_bench.render.parts import BETWEEN, BLUES, BarPart, bar_parts, time_between
from proscale_bench.render.style import FAINT, HALO, INK, LEGEND, WIDTH_INCHES, backbone_name, style, unbroken
from proscale_bench.results.profile import Profile, StageProfile
from proscale_bench.results.record import Cost, Record
from proscale_bench.specs.encoders.parts import TOKEN_LAYERS
from proscale_bench.specs.model import TOTAL
from proscale_bench.units import show_mac, show_reduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2  # of panels, in the figure of costs
LEGEND_COLUMNS = 3
HIDDEN_SHARE = 0.0015  # of the widest bar: what is thinner cannot be seen, and the legend says so
ROW_INCHES, HEAD_INCHES, LINE_INCHES, ROOF_INCHES = 0.27, 0.95, 0.17, 2.9
MOST_PANELS = 6  # settings and backbones; the report's tables have them all
MOST_BARS = 100  # of a panel: a figure of metres takes gigabytes, and the report's tables have them all
ALL_LAYERS = BLUES[2]  # stands for all token layers under the roof
TITLE_LETTERS = 38  # that fit over half of the figure
ROOM = 1.27  # beside the longest bar, for the saving


class Stack(NamedTuple):
    """One stack: its pieces as (part, colour, length), its whole length, an interval, and the words beside it."""

    pieces: list[tuple[str, str, float]]
    whole: float
    interval: tuple[float, float] | None
    beside: str


def costs_figure(records: Sequence[Record]) -> Figure:
    """One panel for each size and backbone and one bar for each schedule; beside each bar what it saves."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    setting = main_setting(records)
    counted = _counted_alike(records, setting) if setting else {}
    groups = {where: group[:MOST_BARS] for where, group in counted.items()}
    sizes = {size for size, _ in groups}
    shown = [record for group in groups.values() for record in group]
    parts, known = bar_parts(shown), row_names(shown)
    widest = {
        size: max(_total(record) for (at, _), group in groups.items() if at == size for record in group)
        for size in sizes
    }
    rows = max(1, -(-len(groups) // COLUMNS))
    bars = max((len(group) for group in groups.values()), default=4)
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, rows * (ROW_INCHES * bars + 0.5) + 1.1), layout="constrained")
        grid = figure.subplots(rows, min(COLUMNS, max(1, len(groups))), squeeze=False)
        panels = list(grid.flat)
        named: list[str] = []
        for index, (axes, ((size, backbone), group)) in enumerate(zip(panels, groups.items(), strict=False)):
            _stacks(axes, [known[record.digest] for record in group], [_cost_bar(record, parts) for record in group])
            where = f" at {size}" if len(sizes) > 1 else ""
            all_of_it = len(counted[size, backbone])
            shown_of = f", the first {len(group)} of {all_of_it:,}" if len(group) < all_of_it else ""
            axes.set_title(f"{backbone_name(backbone)}{where}{shown_of}", fontsize=9.5, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set_xlim(0, 1.24 * widest[size])
            names = [known[record.digest] for record in group]
            if index % COLUMNS and names == named:  # as the panel to the left
                axes.tick_params(labelleft=False)
            named = names
        for axes in panels[len(groups) :]:
            axes.set_axis_off()
        _finish(figure, shown, setting if len(sizes) == 1 else None, parts)
    return figure


def _counted_alike(records: Sequence[Record], main: Setting) -> dict[tuple[str, str], list[Record]]:
    """The records with a cost by size and backbone, counted as in the main setting, which comes first."""
    groups: dict[tuple[str, str], list[Record]] = {}
    settings = by_setting(records)
    for setting in (main, *(other for other in settings if other != main and other.execution is None)):
        if (setting.rules, setting.convention) == (main.rules, main.convention):
            for backbone, group in by_backbone(record for record in settings[setting] if record.cost).items():
                groups[setting.where, backbone] = group
    return groups


def _total(record: Record) -> float:
    return record.cost.gflops[TOTAL] if record.cost else 0.0


def _cost_bar(record: Record, parts: Sequence[BarPart]) -> Stack:
    cost = record.cost
    assert cost is not None
    saving = "" if record.is_baseline else show_reduction(cost.reduction_pct.get(TOTAL))
    return Stack([(part.title, part.color, part.gflops(cost)) for part in parts], cost.gflops["total"], None, saving)


def _finish(figure: Figure, records: Sequence[Record], setting: Setting | None, parts: Sequence[BarPart]) -> None:
    """Write the axes' meaning and a legend of the parts that are there; `setting` None: the panels name their sizes."""
    from matplotlib.patches import Patch

    if not records:
        axes = figure.axes[0]
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no configuration has a cost", ha="center", va="center", color=FAINT)
        return
    costs = [record.cost for record in records if record.cost]
    widest = max(map(_total, records))
    how = setting.how if setting else f"{show_mac(records[0].convention)}, rules {records[0].rules}"
    figure.supxlabel(f"total GFLOPs ({how})\nbeside each bar: its own length against the baseline's", fontsize=9)
    handles = []
    for part in parts:
        most = max(part.gflops(cost) for cost in costs)
        if most:
            hidden = most < HIDDEN_SHARE * widest
            label = f"{part.title} (≈ {most:.1g})" if hidden else part.title
            handles.append(Patch(facecolor=part.color, label=label))
    draw_above(figure, handles, LEGEND_COLUMNS, 0.7)


def latency_figure(records: Sequence[Record]) -> Figure:
    """A row for each setting and backbone, GFLOPs to the left and milliseconds to the right; below, the roofline."""
    from matplotlib.figure import Figure

    panels = [
        (setting, backbone, [record for record in rows if record.profile and record.cost])
        for setting, group in profiled(records).items()
        for backbone, rows in by_backbone(group).items()
    ]
    panels = [(setting, backbone, rows[:MOST_BARS]) for setting, backbone, rows in panels if rows][:MOST_PANELS]
    with style():
        if not panels:
            figure = Figure(figsize=(WIDTH_INCHES, 1.5))
            figure.text(0.5, 0.5, "nothing was profiled", ha="center", va="center", color=FAINT)
            return figure
        roofed = [record for _, _, rows in panels for record in rows if record.profile and record.profile.ceilings]
        heads = [HEAD_INCHES + LINE_INCHES * _ran_on(setting).count("\n") for setting, _, _ in panels]
        heights = [ROW_INCHES * len(rows) + head for head, (_, _, rows) in zip(heads, panels, strict=True)]
        heights += [ROOF_INCHES] if roofed else []
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 0.75), layout="constrained")
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        shown = [record for _, _, rows in panels for record in rows]
        parts, known = bar_parts(shown), row_names(shown)
        there: set[str] = set()
        for row, (setting, backbone, group) in enumerate(panels):
            left, right = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
            for axes, bars in (
                (left, [_counted(record, parts) for record in group]),
                (right, [realised(record, parts) for record in group]),
            ):
                axes.set_xlim(0, ROOM * _stacks(axes, [known[record.digest] for record in group], bars) or 1)
                there |= {title for bar in bars for title, _, length in bar.pieces if length}
            right.tick_params(labelleft=False)
            _describe(left, right, setting, backbone)
        if roofed:
            first = roofed[0].execution
            alike = [record for record in roofed if record.execution == first]
            _roof(figure.add_subplot(grid[len(heights) - 1, :]), alike, parts)
        _legend(figure, [(part.title, part.color) for part in parts] + [BETWEEN], there)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # once laid out, it looks alike however often it is saved
    return figure


def _counted(record: Record, parts: Sequence[BarPart]) -> Stack:
    cost, profile = _both(record)
    pieces = [(part.title, part.color, part.gflops(cost)) for part in parts]
    saving = profile.counted_saving_pct
    beside = show_reduction(saving.counted) if saving else ""
    if saving and show_reduction(saving.executed) != beside:
        beside += f" ({show_reduction(saving.executed)} executed)"
    return Stack(pieces, cost.gflops["total"], None, beside)


def realised(record: Record, parts: Sequence[BarPart]) -> Stack:
    """The stack of a record's times."""
    cost, profile = _both(record)
    pieces = [(part.title, part.color, part.latency_ms(cost, profile)) for part in parts]
    pieces.append((*BETWEEN, max(0.0, time_between(profile, cost.tree))))
    beside = show_saving(profile.realised_saving_pct)
    return Stack(pieces, profile.latency_median_ms, profile.latency_interval_ms, beside)


def _stacks(axes: Axes, names: Sequence[str], bars: Sequence[Stack]) -> float:
    """Draw one bar for each name; return the length of the longest."""
    from matplotlib.ticker import MaxNLocator

    longest = 0.0
    for row, bar in enumerate(bars):
        left = 0.0
        for _, color, length in bar.pieces:
            if length:
                axes.barh(row, length, left=left, height=0.72, color=color, edgecolor="white", linewidth=0.3)
                left += length
        end = max(left, bar.whole)
        if bar.interval:
            low, high = bar.interval
            axes.plot([bar.whole, bar.whole], [row - 0.36, row + 0.36], color=INK, linewidth=1.6, gid="whole")
            axes.plot([low, high], [row, row], color=INK, linewidth=1.6, gid="interval")
            end = max(end, high)
        longest = max(longest, end)
        if said := bar.beside.replace("-", "−"):
            axes.annotate(said, (end, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5, bbox=HALO)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.invert_yaxis()
    return longest


def _describe(left: Axes, right: Axes, setting: Setting, backbone: str) -> None:
    """Write the titles and the axes' labels of a row."""
    execution = setting.execution
    left.set_title(f"{backbone_name(backbone)} at {setting.where}", fontsize=9.5, loc="left")
    left.set_xlabel(
        f"counted: GFLOPs of one image\n(rules {setting.rules}, {show_mac(setting.convention)})", fontsize=8.5
    )
    if execution is None:
        return
    batch = execution.batch_size
    right.set_title(_ran_on(setting), fontsize=9.5, loc="left")
    how = textwrap.fill(f"({unbroken(', '.join(execution.words.split(', ')[3:]))})", 36, break_long_words=False)
    of = f"a batch of {batch}" if batch > 1 else "one image"
    right.set_xlabel(f"realised: milliseconds of {of}\n{how}", fontsize=8.5)


def _ran_on(setting: Setting) -> str:
    """The device, number format and batch size, on as many lines as half of the figure needs."""
    how = setting.execution
    return textwrap.fill(f"{how.device_name}, {how.dtype}, batch {how.batch_size}", TITLE_LETTERS) if how else ""


def _roof(axes: Axes, records: Sequence[Record], parts: Sequence[BarPart]) -> None:
    """Draw achieved FLOP/s against the most FLOPs per byte that a stage can have, on logarithmic axes."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ceilings = _both(records[0])[1].ceilings
    assert ceilings is not None
    stages = [*((part.stage, part.color) for part in parts if part.stage), (TOKEN_LAYERS.name, ALL_LAYERS)]
    points = [
        (point, color, record.is_baseline)
        for record in records
        for stage, color in stages
        if (point := _point(_both(record)[1].stages.get(stage)))
    ]
    if not points:
        return
    for point, color, is_baseline in points:
        face, order = ("white", 5) if is_baseline else (color, 4)  # a ring around what it hides
        look: dict[str, Any] = {"markersize": 6.5, "markeredgewidth": 1.5, "markerfacecolor": face, "zorder": order}
        axes.plot(*point, "o", color=color, **look)
    intensities, heights = zip(*(point for point, _, _ in points), strict=True)
    ridge = ceilings.matmul_gflops_per_s / ceilings.copy_gb_per_s
    low, high = min(*intensities, ridge) / 2, max(*intensities, ridge) * 2
    roof = [(low, low * ceilings.copy_gb_per_s), (ridge, ceilings.matmul_gflops_per_s)]
    roof.append((high, ceilings.matmul_gflops_per_s))
    axes.plot(*zip(*roof, strict=True), color=FAINT, linewidth=1.4, zorder=2, gid="roof")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(low, high)
    axes.set_ylim(min(heights) / 2, max(*heights, ceilings.matmul_gflops_per_s) * 2.2)
    product, copy = f"{ceilings.matmul_gflops_per_s:,.0f} GFLOP/s", f"{ceilings.copy_gb_per_s:,.0f} GB/s"
    axes.set_title(f"Against the device: {product} (a matrix product), {copy} (a copy)", fontsize=9.5, loc="left")
    axes.set_xlabel("FLOPs executed for each byte that must move at the least (log; 1 MAC = 2 FLOPs)", fontsize=8.5)
    axes.set_ylabel("achieved GFLOP/s (log)", fontsize=8.5)
    marks = [
        Line2D([], [], linestyle="none", marker="o", color=INK, markerfacecolor="white", label="baseline: hollow"),
        Line2D([], [], linestyle="none", marker="o", color=INK, label="schedules: filled"),
        Line2D([], [], linestyle="none", marker="o", color=ALL_LAYERS, label="all token layers"),
        Line2D([], [], color=FAINT, label="the product and the copy"),
    ]
    axes.legend(handles=marks, loc="best", fontsize=8.2, handlelength=1.4)


def _point(stage: StageProfile | None) -> tuple[float, float] | None:
    """The coordinates (FLOPs per byte, GFLOP/s) of a stage that counts and moves something."""
    if stage is None or not stage.achieved_gflops_per_s or not stage.min_bandwidth_gb_per_s:
        return None
    return stage.achieved_gflops_per_s / stage.min_bandwidth_gb_per_s, stage.achieved_gflops_per_s


def _legend(figure: Figure, parts: Sequence[tuple[str, str]], there: set[str]) -> None:
    from matplotlib.patches import Patch

    draw_above(
        figure,
        [Patch(facecolor=color, label=title) for title, color in parts if title in there],
        LEGEND_COLUMNS,
        1.15,
        title=f"beside each bar: saved against the baseline, {MARKS}\nblack: the whole with its 95 % interval",
        title_fontsize=LEGEND["fontsize"],
        alignment="left",
    )


def _both(record: Record) -> tuple[Cost, Profile]:
    if record.cost is None or record.profile is None:
        raise ValueError(f"{record.identity.label} was not profiled")
    return record.cost, record.profile
