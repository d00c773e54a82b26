"""The classes of Shapes."""

from __future__ import annotations

from dataclasses import dataclass

from proscale_bench.data.dataset import Category


@dataclass(frozen=True)
class ShapeClass:
    """One class, and how it tends to look. Tends: some of its things look like any other.

    Args:
        category: category of the files. Ids have gaps, as COCO's have.
        group: its `supercategory`.
        weight: frequency beside the others of its kind.
        hue: the middle of its colours, of 1536.
        pattern: pattern that a thing mostly wears; stuff has none.
    """

    category: Category
    group: str
    weight: int
    hue: int
    pattern: str = ""


def _class(
    id_: int, name: str, color: tuple[int, int, int], group: str, weight: int, hue: int, pattern: str = ""
) -> ShapeClass:
    return ShapeClass(Category(id_, name, bool(pattern), color), group, weight, hue, pattern)


THINGS = (
    _class(1, "disc", (220, 20, 60), "round", 16, 0, "shaded"),
    _class(2, "square", (0, 82, 255), "angular", 15, 1000, "checks"),
    _class(3, "triangle", (255, 179, 0), "angular", 14, 190, "faded"),
    _class(5, "bar", (0, 166, 81), "angular", 13, 570, "stripes"),
    _class(7, "ring", (174, 58, 255), "round", 12, 1190, "plain"),
    _class(8, "star", (255, 233, 70), "pointed", 11, 380, "plain"),
    _class(11, "cross", (0, 208, 208), "pointed", 10, 780, "spots"),
    _class(13, "crescent", (255, 112, 188), "round", 9, 1380, "faded"),
)
STUFF = (
    _class(92, "sky", (150, 196, 235), "outdoor", 24, 860),
    _class(95, "water", (58, 96, 148), "outdoor", 20, 930),
    _class(100, "bricks", (152, 86, 70), "building", 22, 90),
    _class(107, "tiles", (198, 182, 160), "building", 18, 420),
    _class(112, "gravel", (112, 112, 104), "outdoor", 14, 230),
)
CLASSES = THINGS + STUFF
CATEGORIES = tuple(shape_class.category for shape_class in CLASSES)
