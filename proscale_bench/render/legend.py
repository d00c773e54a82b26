"""Legends that lie within their figure and off its panels, however many entries they have and however long these are.

A legend is measured, not guessed: it has as many columns as fit, and a figure becomes higher by what it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from proscale_bench.render.style import LEGEND

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTERS = 48  # of a line of an entry
MOST = 0.98  # of the figure's width: widths differ a little by resolution


def draw_above(figure: Figure, handles: Sequence[Artist], columns: int, room: float, **look: Any) -> None:
    """Draw a legend above the panels, in as many of `columns` columns as fit.

    Args:
        figure: laid out by constraints, not drawn yet, in the context of `style`.
        room: inches that the figure has for it; it becomes higher by what is missing.
        look: what differs from `LEGEND`.
    """
    _break_lines(handles)
    for ncols in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, **{**LEGEND, **look}, loc="outside upper left", ncols=ncols)
        extent = legend.get_window_extent()
        if ncols == 1 or extent.width <= MOST * figure.bbox.width:
            width, height = figure.get_size_inches()
            figure.set_size_inches(width, height + max(0.0, extent.height / figure.dpi - room))
            return
        legend.remove()


def drawn_within(axes: Axes, handles: Sequence[Artist], width: float, height: float, **look: Any) -> bool:
    """Draw a legend in a panel that holds nothing else; False, and nothing is drawn, if it is too large.

    Args:
        width, height: of the panel, in inches.
        look: what differs from `LEGEND`.
    """
    _break_lines(handles)
    legend = axes.legend(handles=handles, **{**LEGEND, **look}, loc="center")
    figure, extent = axes.get_figure(root=True), legend.get_window_extent()
    assert figure is not None
    if extent.width <= width * figure.dpi and extent.height <= height * figure.dpi:
        return True
    legend.remove()
    return False


def _break_lines(handles: Sequence[Artist]) -> None:
    """Break entries that are too long."""
    for handle in handles:
        label = str(handle.get_label())
        if len(label) > LETTERS:
            handle.set_label(fill(label, LETTERS))
