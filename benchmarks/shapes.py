"""The contents of the embedded validation split, how long an image takes, and the picture of docs/shapes.md.

python benchmarks/shapes.py [--picture docs/shapes.png]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from proscale_bench.data.embedded import IMAGES, SEED
from proscale_bench.data.shapes import CATEGORIES, Scene, make_scene

BY_ID = {category.id: category for category in CATEGORIES}
WIDTH, GAP, ROWS, COLUMNS = 1152, 6, 2, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="write the picture here")
    asked = parser.parse_args()
    scenes = [make_scene(SEED, index) for index in range(IMAGES)]
    if asked.picture:
        draw(chosen(scenes), asked.picture)
    else:
        report(scenes)


def chosen(scenes: list[Scene]) -> list[Scene]:
    """The first images, and the first with a crowd."""
    first = scenes[: ROWS * COLUMNS - 1]
    crowded = (scene for scene in scenes[len(first) :] if any(segment.is_crowd for segment in scene.segments))
    return [*first, next(crowded)]


def report(scenes: list[Scene]) -> None:
    pixels = sum(scene.ids.size for scene in scenes)
    segments = [segment for scene in scenes for segment in scene.segments]
    things = [segment for segment in segments if BY_ID[segment.category_id].is_thing and not segment.is_crowd]
    print(f"{len(scenes)} images, {pixels / len(scenes):,.0f} pixels each; {len(things)} things")
    ranges = Counter(
        "small" if thing.area_px < 32**2 else "medium" if thing.area_px < 96**2 else "large" for thing in things
    )
    print("sizes:", ", ".join(f"{name} {100 * count / len(things):.1f} %" for name, count in ranges.most_common()))
    names = Counter(BY_ID[thing.category_id].name for thing in things)
    print("things:", ", ".join(f"{name} {count}" for name, count in names.most_common()))
    shares: Counter[str] = Counter()
    for segment in segments:
        category = BY_ID[segment.category_id]
        shares["things" if category.is_thing else category.name] += int(segment.area_px)
    shares["void"] = pixels - shares.total()
    print("pixels:", ", ".join(f"{name} {100 * count / pixels:.1f} %" for name, count in shares.most_common()))
    print("images with a crowd:", sum(any(segment.is_crowd for segment in scene.segments) for scene in scenes))
    print("images with void:", sum(bool((scene.ids == 0).any()) for scene in scenes))
    counts = [sum(BY_ID[segment.category_id].is_thing for segment in scene.segments) for scene in scenes]
    print("images without things:", counts.count(0))

    def took(index: int) -> float:
        started = time.process_time()
        make_scene(0, index, (160, 192))
        return 1000 * (time.process_time() - started)

    print(f"one image of 160x192: {median(took(index) for index in range(500)):.1f} ms of CPU time (median of 500)")


def draw(scenes: list[Scene], path: Path) -> None:
    """Rows of images, as wide as each other, each image above its map."""
    rows = []
    for first in range(0, len(scenes), COLUMNS):
        row = scenes[first : first + COLUMNS]
        free = WIDTH - GAP * (COLUMNS - 1)
        height = round(free / sum(scene.ids.shape[1] / scene.ids.shape[0] for scene in row))
        strip = np.full((2 * height + GAP, WIDTH, 3), 255, np.uint8)
        left = 0
        for scene in row:
            width = min(round(scene.ids.shape[1] * height / scene.ids.shape[0]), WIDTH - left)
            image = Image.fromarray(scene.image).resize((width, height), Image.Resampling.LANCZOS)
            ids = Image.fromarray(scene.ids.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
            strip[:height, left : left + width] = np.asarray(image)
            strip[height + GAP // 2 :, left : left + width][:height] = classes(scene, np.asarray(ids))
            left += width + GAP
        rows += [strip, np.full((2 * GAP, WIDTH, 3), 255, np.uint8)]
    Image.fromarray(np.concatenate(rows[:-1])).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def classes(scene: Scene, ids: np.ndarray) -> np.ndarray:
    """A map in the colours of its classes, void in black, with lines between segments."""
    colored = np.zeros((*ids.shape, 3), np.uint8)
    for segment in scene.segments:
        colored[ids == segment.id] = BY_ID[segment.category_id].color
    colored[1:][ids[1:] != ids[:-1]] = 255
    colored[:, 1:][ids[:, 1:] != ids[:, :-1]] = 255
    return colored


if __name__ == "__main__":
    main()
