"""Places labels beside points so that none overlaps another, a mark or the frame, and draws them in a panel.

Greedy and deterministic: labels are placed in the order given, each at the nearest free place around its point, in
eight directions at growing distance. A far label needs a leader, a thin line to its point, which may cross no mark and
no label either. A label without a free place is left out: better no label than one that misleads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from proscale_bench.render.style import HALO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

XY = tuple[float, float]

# Right, left, above, below, then the diagonals: how a reader looks for a label.
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
RINGS = 9
NEAR_RINGS = 2  # beyond, a label needs a leader
MOST_NAMES = 200  # of a panel, which has no room for more; each takes a megabyte while it looks for a place
CROSSING = 6.0  # rings that a label would rather move than lie over a line


class Box(NamedTuple):
    """A rectangle: left, bottom, right, top."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        return overlapping([self], [other])[0]

    def inside(self, frame: Box) -> bool:
        across = frame.left <= self.left and self.right <= frame.right
        return across and frame.bottom <= self.bottom and self.top <= frame.top

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.bottom <= y <= self.top

    def grown(self, by: float) -> Box:
        return Box(self.left - by, self.bottom - by, self.right + by, self.top + by)


@dataclass(frozen=True)
class Wanted:
    """A label of some width and height that belongs to the point (x, y)."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Placed:
    """The box of a label and, for a far one, the end of its leader: the point of the box next to the label's own."""

    box: Box
    leader: tuple[float, float] | None


def place(
    wanted: Sequence[Wanted], frame: Box, marks: Sequence[Box] = (), lines: Sequence[Box] = (), gap: float = 4.0
) -> list[Placed | None]:
    """A box for every label, or None.

    Args:
        wanted: the labels, the most important first.
        frame: what they must lie in.
        marks: what they must not cover.
        lines: what they had better not cover, such as a line cut into small boxes.
        gap: between a point and its label, and half of that between labels.
    """
    placed: list[Placed | None] = []
    taken, leaders = list(marks), list[Box]()
    for label in wanted:
        around = [(ring, box) for ring, box in _around(label, gap) if box.inside(frame)]
        covers = overlapping([box.grown(gap / 2) for _, box in around], [*taken, *leaders])
        free = [option for option, covered in zip(around, covers, strict=True) if not covered]
        crosses = overlapping([box for _, box in free], lines)
        options = (
            (ring + CROSSING * crossing, index, ring, box)
            for index, ((ring, box), crossing) in enumerate(zip(free, crosses, strict=True))
        )
        for _, _, ring, box in sorted(options):
            if ring <= NEAR_RINGS:
                placed.append(Placed(box, None))
            else:
                end = (_within(label.x, box.left, box.right), _within(label.y, box.bottom, box.top))
                leader = cut([(label.x, label.y), end], thickness=1.0)
                others = [other for other in taken if not other.holds(label.x, label.y)]
                if any(overlapping(leader, others)):
                    continue
                placed.append(Placed(box, end))
                leaders += leader
            taken.append(box)
            break
        else:
            placed.append(None)
    return placed


def overlapping(boxes: Sequence[Box], others: Sequence[Box]) -> list[bool]:
    """Whether each of some boxes overlaps any of the others."""
    import numpy as np

    if not boxes or not others:
        return [False] * len(boxes)
    left, bottom, right, top = np.asarray(boxes).T[:, :, None]
    other_left, other_bottom, other_right, other_top = np.asarray(others).T
    across = (left < other_right) & (other_left < right)
    found: list[bool] = (across & (bottom < other_top) & (other_bottom < top)).any(axis=1).tolist()
    return found


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def cut(points: Sequence[tuple[float, float]], thickness: float = 2.0, length: float = 6.0) -> list[Box]:
    """A polyline as small boxes."""
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(points):
        pieces = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) / length))
        for piece in range(pieces + 1):
            x, y = x0 + (x1 - x0) * piece / pieces, y0 + (y1 - y0) * piece / pieces
            boxes.append(Box(x, y, x, y).grown(thickness))
    return boxes


def _around(label: Wanted, gap: float) -> Iterator[tuple[int, Box]]:
    """Candidate boxes with the ring that they lie on."""
    for ring in range(1, RINGS + 1):
        distance = gap + (ring - 1) * label.height / 2
        for dx, dy in DIRECTIONS:
            along = distance * (0.7 if dx and dy else 1.0)  # less of each on a diagonal
            half_width, half_height = label.width / 2, label.height / 2
            x, y = label.x + dx * (along + half_width), label.y + dy * (along + half_height)
            yield ring, Box(x - half_width, y - half_height, x + half_width, y + half_height)


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
    figure, names = axes.get_figure(root=True), names[:MOST_NAMES]
    assert figure is not None
    pixel = figure.dpi / 72  # a point, in pixels

    def on_screen(point: XY) -> XY:
        a, b = axes.transData.transform(point)
        return float(a), float(b)

    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "bbox": HALO}
    drawn = [axes.annotate(name.text, name.point, (0, 0), color=name.color, **look) for name in names]
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
