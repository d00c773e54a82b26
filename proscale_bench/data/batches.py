"""Batches of images of one size, as the official pipeline resizes them, and loading them ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from proscale_bench.cost.geometry import LONGEST_PX, SHORT_PX, resized_size
from proscale_bench.data.dataset import ImageEntry
from proscale_bench.data.pictures import Pixels
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.units import Size


def resize(image: Pixels, size: Size) -> Pixels:
    """An RGB image [H, W, 3] at another size, by Pillow's bilinear filter on bytes."""
    from PIL import Image

    if image.shape[:2] == size:
        return image
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def padded_size(size: Size) -> Size:
    """The size that the model pads an image to."""
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in size)
    return height, width


Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Batch:
    """Images that the model sees together, all padded to one size; `index` is its place among all batches."""

    index: int
    images: tuple[ImageEntry, ...]
    padded_height_px: int
    padded_width_px: int


def form_batches(
    images: Sequence[ImageEntry],
    batch_size: int,
    short_px: int | None = SHORT_PX,
    longest_px: int = LONGEST_PX,
    fixed: Size | None = None,
) -> tuple[Batch, ...]:
    """Form batches of one padded size each, in the order of their first images.

    An image waits until its size's batch is full; those that never fill stay smaller. Nothing depends on how many
    processes share the batches: process r of n takes `batches[r::n]`.

    Args:
        batch_size: at least 1.
        short_px: length of the resized image's shorter side; None leaves images as they are.
        longest_px: largest length of its longer side.
        fixed: the one size that all images get instead.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}")
    waiting: dict[Size, list[ImageEntry]] = {}
    opened: list[tuple[Size, list[ImageEntry]]] = []  # in the order of first images, since each is added on opening
    for image in images:
        size = (image.height_px, image.width_px)
        if short_px is not None:
            size = resized_size(*size, short_px, longest_px)
        padded = padded_size(size) if fixed is None else fixed
        if padded not in waiting:
            waiting[padded] = []
            opened.append((padded, waiting[padded]))
        waiting[padded].append(image)
        if len(waiting[padded]) == batch_size:
            del waiting[padded]
    return tuple(Batch(index, tuple(members), *padded) for index, (padded, members) in enumerate(opened))


def load_ahead(
    items: Iterable[Item], load: Callable[[Item], Loaded], workers: int = 2, ahead: int = 4
) -> Generator[Loaded, None, None]:
    """Yield `load(item)` for each item, in order, made by threads while the consumer is busy with earlier ones.

    An error of `load` is raised in its item's place. Closing the generator, an error or Ctrl-C in the consumer ends
    the threads, after the items that they are at.

    Args:
        workers: threads; decoding and resizing let go of Python's lock.
        ahead: at most so many items are loaded or being loaded, the consumer's own included.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers is {workers}, ahead is {ahead}")
    window: deque[Future[Loaded]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
    try:
        for item in items:
            window.append(pool.submit(load, item))
            if len(window) == ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
