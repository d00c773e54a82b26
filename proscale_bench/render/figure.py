"""The Pareto figure: the accuracy of every configuration against its cost, as SVG and PNG.

The frontier is a step line, dominated points are hollow, measured and published points have different marks, and
labels never overlap. The same records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.analysis.pareto import frontier, steps
from proscale_bench.analysis.settings import HEADLINE_SCHEDULE, Setting, by_backbone
from proscale_bench.analysis.views import TableRow, View, main_view, views
from proscale_bench.render.label_placement import Name, draw_names
from proscale_bench.render.legend import draw_above, drawn_within
from proscale_bench.render.style import (
    FAINT,
    INK,
    WIDTH_INCHES,
    backbone_color,
    backbone_name,
    draw_point,
    style,
    unbroken,
)
from proscale_bench.results.metrics import Metric, Provenance, get_metric, metric, provenance_of
from proscale_bench.results.model_key import model_of
from proscale_bench.results.record import Record
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.units import reduction_pct, show_reduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DEFAULT_X = ("total_gflops", "encoder_gflops")
DEFAULT_Y = "pq"
MARKS: dict[Provenance, str] = {"measured": "o", "published": "D", "counted": "s"}
ARROW = {"arrowstyle": "-|>", "linewidth": 1.0, "alpha": 0.55, "shrinkA": 6, "shrinkB": 6}
COLUMNS = 2  # of panels
MOST_SIZES = 4  # the page has all
PANEL_INCHES = 3.45  # of height, with its axis
FREE_INCHES = (3.0, 2.7)  # of a panel that holds the legend alone
TICKS_SHARE = 0.11  # of a panel's height, for the ticks of configurations of unknown quality


@dataclass(frozen=True)
class Point:
    """A configuration in a panel, with its coordinates."""

    record: Record
    name: str  # unlike every other point's of its backbone and mark
    x: float
    y: float
    best: bool  # on the frontier

    @property
    def backbone(self) -> str:
        return self.record.identity.backbone


def pareto_figure(records: Sequence[Record], x: Sequence[str] = DEFAULT_X, y: str = DEFAULT_Y) -> Figure:
    """One panel for each cost in `x`, all against `y`: the points that the page opens with, and those of other sizes.

    Records without `y` are ticks on the x axis. Nothing to show is said in the figure.

    Raises:
        BenchError: unknown metric.
    """
    from matplotlib.figure import Figure

    costs, quality = [get_metric(name) for name in x], get_metric(y)
    shown = _views(records, x, y)
    height = -(-len(costs) // COLUMNS)
    with style():
        size = (WIDTH_INCHES if len(costs) > 1 else 4.6, PANEL_INCHES * height * len(shown))
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.subplots(height * len(shown), min(COLUMNS, len(costs)), sharey="row", squeeze=False)
        rows = [list(cells[height * place : height * (place + 1)].flat) for place in range(len(shown))]
        drawn = [_draw_view(axes, view, costs, quality) for axes, view in zip(rows, shown, strict=True)]
        panels = [panel for view in drawn for panel in view]
        all_records = [row.record for view in shown if view for row in view.points]
        free = next(iter(rows[0][len(costs) :]), None)
        points = [point for _, _, points in panels for point in points]
        _legend(figure, all_records, points, quality, free, columns=6 if len(costs) > 1 else 3)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the places found below must stay
        for axes, cost, points in panels:
            _label(axes, points, cost, quality)
    return figure


def _views(records: Sequence[Record], x: Sequence[str], y: str) -> list[View | None]:
    """The views that are drawn: that which the page opens with, and others that were counted at another size."""
    found = views(records)
    first = main_view(found, x, y)
    others = [one for one in found if first and one.setting.is_timed == first.setting.is_timed and one.knows([x[0], y])]
    sizes = {one.setting.where: one for one in reversed([first, *others]) if one}
    return [first, *(one for one in reversed(sizes.values()) if one is not first)][:MOST_SIZES]


def _draw_view(
    cells: Sequence[Axes], view: View | None, costs: Sequence[Metric], quality: Metric
) -> list[tuple[Axes, Metric, list[Point]]]:
    """Draw all of a view but its names; the panels with their points."""
    rows, setting, data = (view.points, view.setting, view.data[:1]) if view else ([], None, [])
    panels = [(axes, cost, _points(rows, cost, quality)) for axes, cost in zip(cells, costs, strict=False)]
    for axes in cells[len(costs) :]:
        axes.set_axis_off()
    for place, (axes, cost, points) in enumerate(panels):
        axes.set_xlabel(axis_label(cost, setting))
        if place % COLUMNS == 0:
            axes.set_ylabel(axis_label(quality, setting, data))
        _draw_points(axes, points, cost, quality)
        _draw_ticks(axes, [row.record for row in rows], cost, quality, bool(points))
    seen = [axes.get_ylim() for axes, _, points in panels if points] or [cells[0].get_ylim()]
    low, high = min(low for low, _ in seen), max(high for _, high in seen)
    for axes, cost, points in panels:
        axes.set_ylim(low - TICKS_SHARE * (high - low), high)
        _draw_lines(axes, points, cost, quality)
    return panels


def default_x(records: Sequence[Record]) -> tuple[str, ...]:
    """The default metrics on the x axes: GFLOPs, and latency where an accuracy was measured beside it."""
    timed = [row for view in views(records) for row in view.rows if row.record.profile]
    return (*DEFAULT_X, *(["latency_median_ms"] if any(one.key for row in timed for one in row.evaluations) else []))


def default_y(records: Sequence[Record]) -> str:
    """The default metric on the y axis: PQ, and the box AP of a run whose evaluated models are detectors, or all."""
    known = {name for record in records for name in (DEFAULT_Y, "ap_bbox") if metric(record, name) is not None}
    detectors = all(record.identity.model == DeformableDetrSpec.family for record in records)
    return "ap_bbox" if known == {"ap_bbox"} or (detectors and not known) else DEFAULT_Y


def axis_label(shown: Metric, setting: Setting | None, data: Sequence[str] = ()) -> str:
    """A metric with its unit, and how a cost was counted (convention, rules, input size), a measurement taken, or what
    data an accuracy is of."""
    name = f"{shown.title}, {shown.unit}" if shown.unit != "GFLOPs" else f"{shown.title} {shown.unit}"
    if shown.section == "accuracy":
        return f"{name} ({', '.join(data)})" if data else name
    if shown.name == "params_m" or setting is None:
        return name
    return f"{name}\n({setting.how})" if shown.section == "cost" else fill(f"{name} ({unbroken(setting.ran)})", 52)


def _points(rows: Sequence[TableRow], cost: Metric, quality: Metric) -> list[Point]:
    pairs = [(metric(row.record, cost.name), metric(row.record, quality.name)) for row in rows]
    best = set(frontier(pairs, cost.better, quality.better))
    return [
        Point(row.record, row.label, a, b, index in best)
        for index, (row, (a, b)) in enumerate(zip(rows, pairs, strict=True))
        if a is not None and b is not None
    ]


def _frontier_line(axes: Axes, points: Sequence[Point], cost: Metric, quality: Metric) -> list[tuple[float, float]]:
    """The corners of the step line; its last value holds to the edge of the panel."""
    places = [(point.x, point.y) for point in points]
    corners = steps([places[index] for index in frontier(places, cost.better, quality.better)])
    left, right = axes.get_xlim()
    return [*corners, (right if cost.better == "lower" else left, corners[-1][1])]


def _draw_points(axes: Axes, points: Sequence[Point], cost: Metric, quality: Metric) -> None:
    axes.margins(0.16, 0.2)
    for point in points:
        color = backbone_color(point.backbone)
        marker = MARKS[provenance_of(point.record, quality.name)]
        draw_point(axes, point.x, point.y, color, color if point.best else "white", marker)
        for bar in _bars(point, cost, quality):
            axes.plot(*zip(*bar, strict=True), color=color, linewidth=1.0, alpha=0.6, zorder=3)


def _bars(point: Point, cost: Metric, quality: Metric) -> list[list[tuple[float, float]]]:
    """The intervals of a point, horizontal and vertical."""
    across, along = cost.interval(point.record), quality.interval(point.record)
    return [
        *([[(end, point.y) for end in across]] if across else []),
        *([[(point.x, end) for end in along]] if along else []),
    ]


def _draw_ticks(axes: Axes, records: Sequence[Record], cost: Metric, quality: Metric, has_points: bool) -> None:
    """Draw a short line at the foot for each configuration of unknown quality, one row for each backbone.

    They set no range: where there are points, those beyond the points' range are left out.
    """
    costed = [record for record in records if metric(record, cost.name) is not None]
    groups = by_backbone(record for record in costed if metric(record, quality.name) is None)
    height = TICKS_SHARE / max(2, len(groups))
    if has_points:
        axes.set_xlim(axes.get_xlim())
    low, high = axes.get_xlim()
    for row, group in enumerate(groups.values()):
        for record in group:
            x, color = metric(record, cost.name) or 0.0, backbone_color(record.identity.backbone)
            if has_points and not low <= x <= high:
                continue
            axes.axvline(x, ymin=(row + 0.2) * height, ymax=(row + 0.9) * height, color=color, linewidth=1.1)


def _draw_lines(axes: Axes, points: Sequence[Point], cost: Metric, quality: Metric) -> None:
    """Draw the frontier and an arrow from each baseline to the paper's schedule, or say that nothing is there."""
    axes.set_xlim(axes.get_xlim())
    if not points:
        axes.set_yticks([])
        message = f"no record has both\n{cost.name} and {quality.name}"
        axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    axes.plot(*zip(*_frontier_line(axes, points, cost, quality), strict=True), color=FAINT, linewidth=1.1, zorder=2)
    for old, new in _arrows(points):
        arrow = {**ARROW, "color": backbone_color(new.backbone)}
        axes.annotate("", (new.x, new.y), (old.x, old.y), arrowprops=arrow, zorder=3)


def _arrows(points: Sequence[Point]) -> list[tuple[Point, Point]]:
    """From each baseline to the paper's own schedule in a model that is otherwise the same, evaluated alike."""
    pairs = []
    groups: dict[object, dict[str, Point]] = {}
    for point in points:
        schedule = point.record.identity.name
        traits = point.name.removeprefix(schedule)
        groups.setdefault((model_of(point.record).architecture, traits), {})[schedule] = point
    for by_schedule in groups.values():
        if "baseline" in by_schedule and HEADLINE_SCHEDULE in by_schedule:
            pairs.append((by_schedule["baseline"], by_schedule[HEADLINE_SCHEDULE]))
    return pairs


def _label(axes: Axes, points: Sequence[Point], cost: Metric, quality: Metric) -> None:
    """Write the name of every point and the saving of every arrow where nothing else is."""
    if not points:
        return
    lines = [_frontier_line(axes, points, cost, quality)]
    lines += [bar for point in points for bar in _bars(point, cost, quality)]
    savings = []
    for old, new in _arrows(points):
        lines.append([(old.x, old.y), (new.x, new.y)])
        saving = show_reduction(reduction_pct(new.x, old.x)).replace("-", "−")
        middle = ((old.x + new.x) / 2, (old.y + new.y) / 2)
        savings.append(Name(saving, middle, backbone_color(new.backbone), backbone_color(new.backbone)))
    named = [
        Name(point.name, (point.x, point.y), INK, backbone_color(point.backbone))
        for point in sorted(points, key=lambda point: not point.best)
    ]
    best = sum(point.best for point in points)
    names = [*named[:best], *savings, *named[best:]]  # the most important first
    draw_names(axes, names, [(point.x, point.y) for point in points], lines, TICKS_SHARE)


def _legend(
    figure: Figure,
    records: Sequence[Record],
    points: Sequence[Point],
    quality: Metric,
    free: Axes | None,
    columns: int,
) -> None:
    """Draw the legend of what is there, backbones first, above the panels or in the place of one."""
    handles = [_mark(backbone_name(backbone), "s", backbone_color(backbone)) for backbone in by_backbone(records)]
    origins = [provenance_of(point.record, quality.name) for point in points]
    handles += [_mark(origin, MARKS[origin]) for origin in dict.fromkeys(origins)]
    if points:
        handles.append(_mark("frontier", "none", FAINT, line="-"))
    if not all(point.best for point in points):
        handles.append(_mark("dominated: hollow", MARKS[origins[0]], INK, "white"))
    if any(quality.interval(point.record) for point in points):
        handles.append(_mark("95 % interval", "none", INK, line="-"))
    if any(metric(record, quality.name) is None for record in records):
        handles.append(_mark(f"cost only, no {quality.title} known", "|"))
    look: dict[str, Any] = {"fontsize": 8.5, "handlelength": 1.5, "handletextpad": 0.5, "columnspacing": 1.2}
    if not handles or (free is not None and drawn_within(free, handles, *FREE_INCHES, labelspacing=0.9, **look)):
        return
    draw_above(figure, handles, columns, 0.3, **look)


def _mark(
    label: str, marker: str, color: str = INK, face: str | None = None, line: Literal["-", "none"] = "none"
) -> Line2D:
    """A mark or line of the legend; `face` is the mark's inside where it is of another colour."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": line, "marker": marker, "markersize": 6, "markeredgewidth": 1.3}
    return Line2D([], [], color=color, markerfacecolor=face or color, label=label, **look)
