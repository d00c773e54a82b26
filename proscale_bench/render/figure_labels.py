"""The names beside the points of a panel, placed where nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proscale_bench.render.label_placement import Box, Wanted, cut, place
from proscale_bench.render.style import HALO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

XY = tuple[float, float]


@dataclass(frozen=True)
class Name:
    """A label of a panel: its text, the point that it names, its colour and that of its leader."""

    text: str
    point: XY
    color: str
    leader: str


def draw_names(
    axes: Axes, names: Sequence[Name], points: Sequence[XY], lines: Sequence[Sequence[XY]], foot: float = 0.0
) -> None:
    """Draw names, the most important first. One without a free place is left out.

    Args:
        axes: laid out: nothing of it moves any more.
        points: marks that no name may cover.
        lines: polylines that names had better not cover.
        foot: share of the panel's height, from below, where no name may be.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    pixel = figure.dpi / 72  # a point, in pixels

    def on_screen(point: XY) -> XY:
        a, b = axes.transData.transform(point)
        return float(a), float(b)

    drawn = [
        axes.annotate(
            name.text, name.point, (0, 0), textcoords="offset points", color=name.color, fontsize=9, bbox=HALO
        )
        for name in names
    ]
    wanted = []
    for name, text in zip(names, drawn, strict=True):
        extent = text.get_window_extent()
        wanted.append(Wanted(*on_screen(name.point), extent.width, extent.height))
    x0, y0, x1, y1 = axes.bbox.extents
    marks = [Box(*on_screen(point), *on_screen(point)).grown(5 * pixel) for point in points]
    pieces = [piece for line in lines for piece in cut([on_screen(point) for point in line], 2 * pixel, 4 * pixel)]
    frame = Box(x0, y0 + foot * (y1 - y0), x1, y1)
    places = place(wanted, frame, marks, pieces, gap=6.5 * pixel)
    for name, text, label, asked in zip(names, drawn, places, wanted, strict=True):
        if label is None:
            text.remove()
            continue
        text.set_position(((label.box.left - asked.x) / pixel, (label.box.bottom - asked.y) / pixel))
        text.set_gid(f"label-{text.get_text()}")
        if label.leader:
            end = axes.transData.inverted().transform(label.leader)
            axes.plot([name.point[0], end[0]], [name.point[1], end[1]], color=name.leader, linewidth=0.7, zorder=1)
