"""An image with its segments as a picture: alone, or true and predicted ones side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Pixels = NDArray[np.uint8]
IdMap = NDArray[np.integer]

ALONE_PX = 640  # the longer side of an image that is drawn alone, at least
PANEL_PX = 420  # the longer side of a panel, at least; smaller images are enlarged by whole factors
GAP_PX, BAR_PX, FONT_PX = 8, 26, 14
PAPER, INK, FAINT = (255, 255, 255), (34, 34, 34), (110, 110, 110)
RIGHT, WRONG = (255, 255, 255), (213, 0, 50)
OPACITY = 0.55
MIN_LABEL_SHARE = 0.004  # of the panel: a smaller segment goes without a name
COARSE_PX = 320  # of a longer side, as many pixels decide where a name stands
GOLDEN_ANGLE = 0.618033988749895


@dataclass(frozen=True)
class DrawnBox:
    """A box as it is drawn: (x, y, width, height) in pixels, and what stands at it. `category` decides the colour."""

    box: tuple[float, float, float, float]
    category: int
    label: str


@dataclass(frozen=True)
class DrawnSegment:
    """A segment of a map. `matched` says whether it has its like in the other map; None where it is not judged."""

    id: int
    category: int  # decides the colour
    name: str
    matched: bool | None


def side_by_side(
    image: Pixels,
    true_ids: IdMap,
    true_segments: Sequence[DrawnSegment],
    predicted_ids: IdMap,
    predicted_segments: Sequence[DrawnSegment],
    caption: str,
) -> Image:
    """Draw three panels: image, truth and prediction. Missed and wrong segments are outlined in red.

    Args:
        image: RGB [H, W, 3].
        true_ids, predicted_ids: [H, W]; pixels whose id no segment has stay as they are, darkened.
        caption: stands below.
    """
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    height, width = image.shape[:2]
    scale = max(1, PANEL_PX // max(height, width))
    panels = [
        ("image", image, ()),
        ("truth", _tinted(image, true_ids, true_segments), true_segments),
        ("prediction", _tinted(image, predicted_ids, predicted_segments), predicted_segments),
    ]
    shown = (height * scale, width * scale)
    canvas = Images.new("RGB", (3 * shown[1] + 4 * GAP_PX, shown[0] + 2 * BAR_PX + GAP_PX), PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(FONT_PX)
    for index, ((title, pixels, segments), ids) in enumerate(zip(panels, (None, true_ids, predicted_ids), strict=True)):
        left, top = GAP_PX + index * (shown[1] + GAP_PX), BAR_PX
        large = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
        if ids is not None:
            large = _outlined(large, np.repeat(np.repeat(ids, scale, axis=0), scale, axis=1), segments)
        canvas.paste(Images.fromarray(large), (left, top))
        draw.text((left, BAR_PX // 2), title, INK, font, anchor="lm")
        if ids is not None:
            _label(draw, font, ids, segments, (left, top), scale)
    below = _fitting(draw, font, caption, canvas.width)
    draw.text((GAP_PX, canvas.height - BAR_PX // 2), below, FAINT, font, anchor="lm")
    return canvas


def overlaid(image: Pixels, ids: IdMap, segments: Sequence[DrawnSegment]) -> Image:
    """Draw an image with its segments over it: tinted, outlined, named where they have room, and all classes below.

    Small images are enlarged, and letters grow with large ones.

    Args:
        image: RGB [H, W, 3].
        ids: [H, W]; pixels whose id no segment has stay as they are, darkened.
    """
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    scale = max(1, ALONE_PX // max(image.shape[:2]))
    large_ids = np.repeat(np.repeat(ids, scale, axis=0), scale, axis=1)
    tinted = _tinted(image, ids, segments)
    outlined = _outlined(np.repeat(np.repeat(tinted, scale, axis=0), scale, axis=1), large_ids, segments)
    height, width = large_ids.shape
    size_px = max(FONT_PX, max(height, width) // 64)
    font = ImageFont.load_default(size_px)
    places, below = _legend(segments, font.getlength, width, size_px)
    canvas = Images.new("RGB", (width, height + below), PAPER)
    canvas.paste(Images.fromarray(outlined), (0, 0))
    draw = ImageDraw.Draw(canvas)
    _label(draw, font, ids, segments, (0, 0), scale)
    for (category, name), (left, top) in places.items():
        draw.rectangle((left, height + top, left + size_px, height + top + size_px), color_of(category), FAINT)
        fitting = _fitting(draw, font, name, width - left - size_px)
        draw.text((left + 1.4 * size_px, height + top + size_px // 2), fitting, INK, font, anchor="lm")
    return canvas


def boxed(image: Pixels, boxes: Sequence[DrawnBox]) -> Image:
    """Draw an image with boxes over it, each with its label at its upper left corner; the first ones stand on top.

    Small images are enlarged, and lines and letters grow with large ones.

    Args:
        image: RGB [H, W, 3].
    """
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    scale = max(1, ALONE_PX // max(image.shape[:2]))
    canvas = Images.fromarray(np.repeat(np.repeat(image, scale, axis=0), scale, axis=1))
    size_px = max(FONT_PX, max(canvas.size) // 64)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size_px)
    for one in reversed(boxes):
        x, y, width, height = (scale * side for side in one.box)
        color = color_of(one.category)
        draw.rectangle((x, y, x + width, y + height), outline=color, width=max(2, size_px // 6))
        place = (min(max(x, 0), canvas.width - draw.textlength(one.label, font)), max(y - size_px, 0))
        draw.rectangle(draw.textbbox(place, one.label, font), color)
        draw.text(place, one.label, INK, font)
    return canvas


def _legend(
    segments: Sequence[DrawnSegment], length: Callable[[str], float], width: int, size_px: int
) -> tuple[dict[tuple[int, str], tuple[int, int]], int]:
    """The corner of each class in lines of a width, and the height of all lines."""
    places: dict[tuple[int, str], tuple[int, int]] = {}
    left, top = size_px // 2, size_px // 2
    for category, name in sorted({(segment.category, segment.name) for segment in segments}):
        takes = round(length(name) + 2.4 * size_px)
        if left + takes > width and left > size_px // 2:
            left, top = size_px // 2, top + round(1.5 * size_px)
        places[category, name] = (left, top)
        left += takes
    return places, top + round(1.5 * size_px) if places else 0


def color_of(category: int) -> tuple[int, int, int]:
    """The colour of a class. Neighbours in number are far apart in hue."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(
        (0.33 + category * GOLDEN_ANGLE) % 1.0, 0.62 + 0.3 * (category % 2), 0.95 - 0.2 * (category % 3 == 2)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def _tinted(image: Pixels, ids: IdMap, segments: Sequence[DrawnSegment]) -> Pixels:
    table = {segment.id: color_of(segment.category) for segment in segments}
    values, places = np.unique(ids, return_inverse=True)
    colors = np.array([table.get(value, (0, 0, 0)) for value in values.tolist()], np.uint8)[places.reshape(ids.shape)]
    # Each pair of a pixel's value and a tint's has one answer: 65,536 sums, and not one a pixel.
    levels = np.arange(256.0)
    mixed = ((1 - OPACITY) * levels[:, None] + OPACITY * levels).round().astype(np.uint8)
    tinted: Pixels = mixed[image, colors]
    return tinted


def _outlined(pixels: Pixels, ids: IdMap, segments: Sequence[DrawnSegment]) -> Pixels:
    """Draw every segment's border: white, or red and thicker where it has no like in the other map."""
    outlined: Pixels = pixels.copy()
    around = np.pad(ids.astype(np.int64), 1, constant_values=-1)
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    border = np.any([other != ids for other in neighbours], axis=0)
    outlined[border & np.isin(ids, [segment.id for segment in segments if segment.matched is not False])] = RIGHT
    for inside in (ids == segment.id for segment in segments if segment.matched is False):
        outlined[inside & ~_shrunk(inside, 3)] = WRONG
    return outlined


def _shrunk(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _label(
    draw: ImageDraw, font: object, ids: IdMap, segments: Sequence[DrawnSegment], corner: tuple[int, int], scale: int
) -> None:
    """Write names where they have room, the largest segments first, none over another."""
    taken: list[tuple[float, float, float, float]] = []
    by_size = sorted(((int((ids == segment.id).sum()), segment) for segment in segments), key=lambda pair: -pair[0])
    height, width = ids.shape
    for pixels, segment in by_size:
        if pixels < MIN_LABEL_SHARE * ids.size:
            break
        row, column = _middle(ids == segment.id)
        place = (corner[0] + scale * (column + 0.5), corner[1] + scale * (row + 0.5))
        box = draw.textbbox(place, segment.name, font, anchor="mm", stroke_width=2)  # type: ignore[arg-type]
        inside = box[0] >= corner[0] and box[2] <= corner[0] + scale * width
        free = all(box[2] <= x0 or x1 <= box[0] or box[3] <= y0 or y1 <= box[1] for x0, y0, x1, y1 in taken)
        if inside and free and box[1] >= corner[1] and box[3] <= corner[1] + scale * height:
            draw.text(place, segment.name, RIGHT, font, anchor="mm", stroke_width=2, stroke_fill=INK)  # type: ignore[arg-type]
            taken.append(box)


def _middle(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """A pixel far inside a mask: one of the last that shrinking leaves. Of a large mask, every few pixels are seen."""
    step = max(1, max(mask.shape) // COARSE_PX)
    left = mask[::step, ::step]
    if not left.any():
        left, step = mask, 1
    while (smaller := _shrunk(left, 1)).any():
        left = smaller
    rows, columns = np.nonzero(left)
    middle = len(rows) // 2
    return int(rows[middle]) * step, int(columns[middle]) * step


def _fitting(draw: ImageDraw, font: object, words: str, width: int) -> str:
    """The words, cut to the width that there is."""
    while words and draw.textlength(words, font) > width - 2 * GAP_PX:  # type: ignore[arg-type]
        words = f"{words.rstrip('…')[:-1]}…"
    return words
