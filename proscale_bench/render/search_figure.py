"""The figure of a search: the capacity of every candidate against its cost, the frontier as a step line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from proscale_bench.analysis.pareto import steps
from proscale_bench.analysis.search import Axis, Found, SearchRow, cost_of
from proscale_bench.cost.search import ENCODER_AT, TOTAL_AT
from proscale_bench.render.flops import model_of
from proscale_bench.render.label_placement import Name, draw_names
from proscale_bench.render.legend import draw_above
from proscale_bench.render.style import FAINT, INK, WIDTH_INCHES, backbone_color, draw_point, style
from proscale_bench.units import GIGA, show_mac

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES: dict[Axis, str] = {
    "total_gflops": "total GFLOPs",
    "encoder_gflops": "encoder GFLOPs",
    "latency_ms": "latency, ms, predicted",
}


def search_figure(found: Found, rows: Sequence[SearchRow]) -> Figure:
    """One panel. The rows that a table shows have names; the baseline is hollow.

    The candidates are a picture within the figure: there are thousands.
    """
    from matplotlib.figure import Figure

    request, axis = found.request, found.request.limits.axis
    color = backbone_color(request.spec.backbone_name)
    points = [(cost_of(row, axis), 100 * row.capacity) for row in reversed(found.rows)]
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 4.2), layout="constrained")
        axes = figure.subplots()
        cloud: dict[str, Any] = {"markersize": 1.6, "markeredgewidth": 0, "rasterized": True}
        axes.plot(found.costs, 100 * found.candidates.capacity, "o", color=FAINT, label="candidate", zorder=1, **cloud)
        axes.set_xlabel(f"{AXES[axis]}\n({model_of(request.spec)} at {request.size}, {_how(found)})")
        axes.set_ylabel("capacity, % of the baseline's")
        corners = [*steps(points), (float(found.costs.max()), points[-1][1])]
        limit = _limit(found)
        if limit is not None:
            axes.axvline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2, label="limit")
            corners[-1] = (limit, points[-1][1])
        axes.plot(*zip(*corners, strict=True), color=color, linewidth=1.2, zorder=3, label="frontier")
        marks = [(cost_of(row, axis), 100 * row.capacity) for row in rows]
        for x, y in marks:
            draw_point(axes, x, y, color, color)
        base = _baseline(found)
        names = [Name(row.count.variant, mark, INK, color) for row, mark in zip(rows, marks, strict=True)]
        if base is not None:
            draw_point(axes, *base, INK, "white", "s")
            names.insert(0, Name("baseline", base, INK, INK))
        draw_above(figure, axes.get_legend_handles_labels()[0], 4, 0.3, markerscale=3, handlelength=2.2)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the places found below must stay
        draw_names(axes, names, [*marks, *([base] if base else [])], [corners])
    return figure


def _how(found: Found) -> str:
    if found.request.limits.axis == "latency_ms":
        return "one image on this device"
    return f"{show_mac('mac')}, rules {found.request.rules.name}"


def _limit(found: Found) -> float | None:
    """The limit on the axis; the stricter of two."""
    limits, axis = found.request.limits, found.request.limits.axis
    if axis == "latency_ms":
        return limits.latency_ms
    if axis == "encoder_gflops":
        return limits.encoder_gflops
    total = found.baseline.gflops["total"]
    saved = None if limits.saving_pct is None else total * (1 - limits.saving_pct / 100)
    return min((one for one in (limits.total_gflops, saved) if one is not None), default=None)


def _baseline(found: Found) -> tuple[float, float] | None:
    """The baseline's place; None where its latency is not known."""
    axis = found.request.limits.axis
    if axis == "latency_ms":
        return None
    at = TOTAL_AT if axis == "total_gflops" else ENCODER_AT
    return found.candidates.baseline[at] / (GIGA * found.candidates.images), 100.0
