"""Textures: a tone for every pixel, 0 for a surface's first colour and 256 for its second. Whole numbers only."""

from __future__ import annotations

import numpy as np

from proscale_bench.data.shapes.outlines import UNIT, Outline, direction
from proscale_bench.data.shapes.randomness import Int32s, Random

Color = tuple[int, int, int]

PATTERNS = ("plain", "stripes", "checks", "spots", "shaded", "faded")


def stuff_tone(name: str, random: Random, height: int, width: int) -> Int32s:
    """The tone of a stuff class over a whole image, [height, width]."""
    y = np.arange(height, dtype=np.int32)[:, None]
    x = np.arange(width, dtype=np.int32)
    if name == "sky":  # brighter towards one side, with clouds
        fade = y * 160 // height if random.chance(80) else 160 - y * 160 // height
        clouds = random.clouds(height, width, 5) + (random.clouds(height, width, 4) >> 1)
        sky: Int32s = np.minimum(fade + np.maximum(clouds - 200, 0), 256)
        return sky
    if name == "water":  # waves across, never straight
        period = random.between(7, 11)
        phase = (y << 8) // period + random.clouds(height, width, 4) + 2 * random.clouds(height, width, 5)
        return 256 - abs((phase & 255) * 2 - 256)  # a triangle wave in 0..256, of period 256
    if name == "bricks":  # courses of stones, half a stone apart, each of its own tone
        tall, wide = random.between(7, 11), random.between(15, 24)
        course, inside_y = np.divmod(y + random.below(tall), tall)
        stone, inside_x = np.divmod(x + (course & 1) * (wide // 2) + random.below(wide), wide)
        tones = random.bytes(height // tall + 2, width // wide + 3) >> 1
        return np.where((inside_y == 0) | (inside_x == 0), 256, tones[course, stone]).astype(np.int32)
    if name == "tiles":  # a board of two colours, turned
        size = random.between(7, 13)
        cosine, sine = direction(random)
        u = (x * cosine + y * sine >> UNIT) // size
        v = (y * cosine - x * sine >> UNIT) // size
        return 32 + ((u + v) & 1) * 192
    # gravel: stones of several sizes, one in each cell of a grid and none across its border
    cell = random.between(6, 9)
    row, inside_y = np.divmod(y, cell)
    column, inside_x = np.divmod(x, cell)
    cells = height // cell + 1, width // cell + 1
    middle = (cell - 1) * 8
    dx = inside_x * 16 - middle - (random.bytes(*cells) // 8 - 16)[row, column]
    dy = inside_y * 16 - middle - (random.bytes(*cells) // 8 - 16)[row, column]
    radius = (random.bytes(*cells) * middle // 512 + middle // 2)[row, column]
    stone = (random.bytes(*cells) // 2 + 128)[row, column]
    return np.where(dx * dx + dy * dy <= radius * radius, stone, 0).astype(np.int32)


def thing_tone(pattern: str, random: Random, outline: Outline, u: Int32s, v: Int32s) -> Int32s:
    """The tone of a thing at places seen from it; its pattern turns with it."""
    size = max(outline.radius * random.between(70, 120) >> 8, 40)  # 1/16 px; no finer than a pixel can show
    if pattern == "stripes":
        return (u // size & 1) * 256
    if pattern == "checks":
        return ((u // size + v // size) & 1) * 256
    if pattern == "spots":
        inside_u, inside_v = u % size - size // 2, v % size - size // 2
        return (inside_u * inside_u + inside_v * inside_v <= size * size // 9).astype(np.int32) * 256
    if pattern == "shaded":
        from_middle: Int32s = (u * u + v * v >> 4) * 256 // (outline.radius * outline.radius >> 4)
        return np.minimum(from_middle, 256)
    if pattern == "faded":
        return np.clip(128 + u * 128 // outline.radius, 0, 256)
    return np.zeros_like(u)


def colors(random: Random, hue: int, strength: tuple[int, int], brightness: tuple[int, int]) -> tuple[Color, Color]:
    """Two colours that differ: of about one hue (of 1536), one of them darker, or of two hues."""
    first = random.between(*brightness)
    second = first * random.between(110, 165) // 256 if first > 150 else first * random.between(400, 435) // 256
    other = hue + random.between(-100, 100) if random.chance(70) else random.below(1536)
    pair = (
        color(hue + random.between(-60, 60), random.between(*strength), first),
        color(other, random.between(*strength), second),
    )
    return pair if random.chance(50) else (pair[1], pair[0])


def color(hue: int, strength: int, brightness: int) -> Color:
    """RGB of a hue of 1536 (red at 0, green at 512, blue at 1024), as strong and as bright as 0..255 have it."""
    hue %= 1536
    full = (abs(hue - 768) - 256, 512 - abs(hue - 512), 512 - abs(hue - 1024))
    red, green, blue = (
        brightness * (255 * 255 - strength * (255 - min(max(channel, 0), 255))) // (255 * 255) for channel in full
    )
    return red, green, blue
