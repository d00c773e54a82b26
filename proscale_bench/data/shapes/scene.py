"""One image of Shapes, composed: ground, things from back to front, sometimes a crowd, sometimes void.

An image follows from the seed and its index alone. All that decides a pixel or a label is whole-number arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Segment
from proscale_bench.data.pictures import IdMap
from proscale_bench.data.shapes.canvas import VOID, Canvas, Paint
from proscale_bench.data.shapes.categories import STUFF, THINGS, ShapeClass
from proscale_bench.data.shapes.outlines import draw_outline
from proscale_bench.data.shapes.randomness import Random
from proscale_bench.data.shapes.textures import PATTERNS, Color, colors, stuff_tone, thing_tone

VERSION = 2  # of the data set: a change of any pixel or label is another version

# Height, width and weight. Padded to 32 they are of eight shapes, so that batches form.
SIZES = (
    (160, 192, 12),
    (192, 160, 9),
    (152, 184, 5),
    (128, 160, 6),
    (120, 160, 3),
    (160, 128, 5),
    (96, 128, 2),
    (192, 192, 8),
    (192, 256, 8),
    (256, 192, 6),
)
MIN_SIDE, MAX_SIDE = 64, 512
THING_COUNTS = (4, 0, 17, 22, 22, 17, 11, 7)  # how often an image has 0, 1, 2 ... things
STUFF_COUNTS = (0, 0, 45, 35, 20)
TYPICAL_PATTERN_PERCENT, TYPICAL_HUE_PERCENT = 75, 85  # of things
TYPICAL_HUE_PERCENT_STUFF = 50  # its texture tells
SMALL, MEDIUM, LARGE = (170, 1_000), (1_150, 7_500), (11_500, 20_000)  # COCO's ranges end at 1,024 and 9,216 pixels
RANGE_WEIGHTS = (31, 38, 31)
CROWD_PERCENT = 9
VOID_PERCENT = 18
SEEN_PERCENT = 45  # of a thing, at the least
SEEN_PERCENT_LARGE = 75  # or there would be hardly any
SEEN_PERCENT_STUFF = 20
TRIES = 12

Look = tuple[str, tuple[Color, Color]]


@dataclass(frozen=True)
class Scene:
    """One image and the truth about it.

    Args:
        image: RGB, [H, W, 3].
        ids: ids of segments, [H, W]; 0 is void.
        segments: those of `ids`, in the order of their ids; stuff has one a class.
    """

    image: NDArray[np.uint8]
    ids: IdMap
    segments: tuple[Segment, ...]


def scene_size(seed: int, index: int) -> tuple[int, int]:
    """Height and width of an image, without making it."""
    return _size(Random(seed, index))


def make_scene(seed: int, index: int, size: tuple[int, int] | None = None) -> Scene:
    """An image of Shapes, the same on every machine and whatever was made before it.

    Args:
        seed: seed of the whole set, 0 or more.
        index: place of the image in it.
        size: height and width, 64 to 512 each, instead of one of the data set's own: another image.

    Raises:
        ValueError: no such size.
    """
    random = Random(seed, index) if size is None else Random(seed, index, *size)
    height, width = size or _size(random)
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise ValueError(f"an image of Shapes has sides of {MIN_SIDE} to {MAX_SIDE} pixels, not {height}x{width}")
    canvas = Canvas(height, width)
    seen = [(shape_class, False) for shape_class in _ground(canvas, random)]  # by segment; whether it is a crowd
    rimmed, thrown = random.chance(35), random.chance(60)
    plans = [_plan(random, height, width) for _ in range(random.weighted(THING_COUNTS))]
    plans.sort(key=lambda plan: plan.depth, reverse=True)
    crowd_at = random.below(len(plans) + 1) if random.chance(CROWD_PERCENT) else None
    for position, plan in enumerate([*plans, None]):
        if position == crowd_at and (shape_class := _crowd(canvas, random)):
            seen.append((shape_class, True))
        if plan and _thing(canvas, random, plan, rimmed, thrown):
            seen.append((plan.shape_class, False))
    if random.chance(VOID_PERCENT):
        _void(canvas, random)
    ids, segments = _labelled(canvas, random, seen)
    return Scene(canvas.picture(random), ids, segments)


def _size(random: Random) -> tuple[int, int]:
    height, width, _ = SIZES[random.weighted([weight for _, _, weight in SIZES])]
    return height, width


def _ground(canvas: Canvas, random: Random) -> list[ShapeClass]:
    """Cover all with regions of stuff: every pixel belongs to the nearest of some sites, as seen through ripples."""
    height, width = canvas.shape
    classes: list[ShapeClass] = []
    for _ in range(random.weighted(STUFF_COUNTS)):
        rest = [shape_class for shape_class in STUFF if shape_class not in classes]
        classes.append(rest[random.weighted([shape_class.weight for shape_class in rest])])
    classes.sort(key=lambda shape_class: shape_class.category.name != "sky")
    region = _regions(random, len(classes), height, width)
    for index, shape_class in enumerate(classes):
        pair = colors(random, _hue(random, shape_class, TYPICAL_HUE_PERCENT_STUFF), (30, 130), (120, 235))
        tone = stuff_tone(shape_class.category.name, random, height, width)
        canvas.put([Paint(0, 0, region == index, tone, pair)], keep=SEEN_PERCENT_STUFF)
    return classes


def _regions(random: Random, count: int, height: int, width: int) -> NDArray[np.int64]:
    """The one of `count` regions that each pixel is in, [H, W]; the first one has the topmost site."""
    ripples = random.between(1, 8)
    y = (np.arange(height, dtype=np.int32) << 4)[:, None] + random.clouds(height, width, 5) * ripples // 4
    x = (np.arange(width, dtype=np.int32) << 4) + random.clouds(height, width, 5) * ripples // 4
    parts = [*range(count)] + [random.between(1, count - 1)] * random.below(2)  # one region may be in two parts
    for _ in range(TRIES):
        sites: list[tuple[int, int]] = []
        for _ in parts:
            offers = [(random.below(16 * height), random.below(16 * width)) for _ in range(6)]
            sites.append(max(offers, key=lambda offer: min((_squared(offer, site) for site in sites), default=0)))
        sites.sort()
        distances = np.stack([(y - down) ** 2 + (x - across) ** 2 for down, across in sites])
        region: NDArray[np.int64] = np.array(parts)[distances.argmin(0)]
        if np.bincount(region.reshape(-1), minlength=count).min() * 10 >= height * width:
            return region
    return np.arange(height)[:, None] * count // height + np.zeros((1, width), np.int64)


def _squared(one: tuple[int, int], other: tuple[int, int]) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


@dataclass(frozen=True)
class Plan:
    """A thing to come. The deeper, the further behind: mostly the large ones."""

    shape_class: ShapeClass
    area_px: int
    depth: int


def _plan(random: Random, height: int, width: int) -> Plan:
    shape_class = THINGS[random.weighted([thing.weight for thing in THINGS])]
    first, last = (SMALL, MEDIUM, LARGE)[random.weighted(RANGE_WEIGHTS)]
    last = min(last, height * width // 2)
    if first > last:  # no image of this size has room for it
        first, last = MEDIUM[0], min(MEDIUM[1], last)
    # Small ones are more frequent within a range, as everywhere: the lower of two draws.
    area = min(random.between(first, last), random.between(first, last))
    return Plan(shape_class, area, area * random.between(80, 256))


def _thing(canvas: Canvas, random: Random, plan: Plan, rimmed: bool, thrown: bool) -> bool:
    """Put a thing somewhere; where there is no room, a smaller one."""
    look = _look(random, plan.shape_class)
    area = plan.area_px
    for attempt in range(1, TRIES + 1):
        paint = _stamp(canvas, random, plan.shape_class, area, look)
        keep = SEEN_PERCENT_LARGE if area >= LARGE[0] else SEEN_PERCENT
        shadow = min(2 + area // 2_000, 6) if thrown else 0
        if paint is not None and canvas.put([paint], keep, shadow, rimmed):
            return True
        if attempt % 3 == 0:
            area = max(area * 5 // 8, SMALL[0])
    return False


def _crowd(canvas: Canvas, random: Random) -> ShapeClass | None:
    """Put many small things of one class close together: one segment."""
    height, width = canvas.shape
    shape_class = THINGS[random.weighted([thing.weight for thing in THINGS])]
    count, area = random.between(9, 22), random.between(60, 170)
    for _ in range(TRIES):
        y, x = random.between(height // 5, height * 4 // 5), random.between(width // 5, width * 4 // 5)
        spread = random.between(height // 7, height // 4)
        paints = []
        for _ in range(count):
            size, look = area * random.between(60, 140) // 100, _look(random, shape_class)
            at = (y + _throw(random, spread), x + _throw(random, spread * 3 // 2))
            paints.append(_stamp(canvas, random, shape_class, size, look, at))
        if canvas.put([paint for paint in paints if paint is not None], keep=SEEN_PERCENT):
            return shape_class
    return None


def _throw(random: Random, spread: int) -> int:
    """-spread..spread, mostly near 0."""
    return (random.between(-spread, spread) + random.between(-spread, spread)) // 2


def _look(random: Random, shape_class: ShapeClass) -> Look:
    """A pattern and two colours, mostly its class's own. The rest look like any other, so that the outline decides."""
    pattern = shape_class.pattern if random.chance(TYPICAL_PATTERN_PERCENT) else random.pick(PATTERNS)
    return pattern, colors(random, _hue(random, shape_class, TYPICAL_HUE_PERCENT), (120, 240), (110, 255))


def _hue(random: Random, shape_class: ShapeClass, typical_percent: int) -> int:
    return shape_class.hue + random.between(-80, 80) if random.chance(typical_percent) else random.below(1536)


def _stamp(
    canvas: Canvas, random: Random, shape_class: ShapeClass, area: int, look: Look, at: tuple[int, int] | None = None
) -> Paint | None:
    """A thing of an area, somewhere or `at` a pixel; None where it would lie outside."""
    height, width = canvas.shape
    outline = draw_outline(random, shape_class.category.name, area, height, width)
    if at is not None:
        outline = replace(outline, y=16 * at[0], x=16 * at[1])
    reach = outline.reach_px
    top, left = max((outline.y >> 4) - reach, 0), max((outline.x >> 4) - reach, 0)
    bottom, right = min((outline.y >> 4) + reach, height), min((outline.x >> 4) + reach, width)
    if bottom <= top or right <= left:
        return None
    u, v = outline.coordinates(top, left, bottom - top, right - left)
    pattern, pair = look
    return Paint(top, left, outline.covers(u, v), thing_tone(pattern, random, outline, u, v), pair)


def _void(canvas: Canvas, random: Random) -> None:
    """Take a part of the image away from all segments: a border, as of a scanned picture, or a smear."""
    height, width = canvas.shape
    for _ in range(TRIES):
        y = np.arange(height, dtype=np.int32)[:, None] + np.zeros((1, width), np.int32)
        x = np.arange(width, dtype=np.int32) + np.zeros((height, 1), np.int32)
        tone = random.clouds(height, width, 3)
        pair = colors(random, random.below(1536), (0, 40), (10, 200))
        if random.chance(45):
            from_edge = random.pick((y, x, height - 1 - y, width - 1 - x))
            mask = from_edge < random.between(5, 14)
            tone = tone // 4
        else:
            down, across = y - random.below(height), x - random.below(width)
            ragged = random.clouds(height, width, 3) + random.clouds(height, width, 4)
            mask = (down * down + across * across) * 256 < random.between(150, 1_100) * (ragged + 64)
        if canvas.put([Paint(0, 0, mask, tone, pair)], keep=None):
            return


def _labelled(canvas: Canvas, random: Random, seen: list[tuple[ShapeClass, bool]]) -> tuple[IdMap, tuple[Segment, ...]]:
    """The map of ids, [H, W], and its segments. Ids are near their class's colour, as COCO's maps have it."""
    areas = np.bincount(canvas.segment.reshape(-1), minlength=len(seen) + 1).tolist()
    table = np.zeros(len(seen) + 1, np.uint32)
    segments: list[Segment] = []
    for number, (shape_class, crowd) in enumerate(seen, start=1):
        id_ = VOID
        while id_ == VOID or id_ in table:
            red, green, blue = (
                min(max(channel + random.between(-30, 30), 0), 255) for channel in shape_class.category.color or ()
            )
            id_ = red + 256 * green + 65536 * blue
        table[number] = id_
        segments.append(Segment(id_, shape_class.category.id, crowd, areas[number]))
    return table[canvas.segment], tuple(sorted(segments, key=lambda segment: segment.id))
