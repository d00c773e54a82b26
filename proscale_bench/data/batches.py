"""Which images go through the model together, and loading them before their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from proscale_bench.config.architecture import SIZE_DIVISOR
from proscale_bench.data.dataset import ImageEntry
from proscale_bench.data.transforms import resized_size

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Batch:
    """Images that are padded to one shape."""

    index: int
    images: tuple[ImageEntry, ...]
    padded_height_px: int
    padded_width_px: int


def form_batches(
    images: Sequence[ImageEntry], batch_size: int, resize: tuple[int, int] | None = None
) -> tuple[Batch, ...]:
    """Batches of one padded shape each, in the order of their first images.

    They follow from the whole list, so however they are shared out, an image always has the same company and the same
    padding: its result is the same to the last bit.

    Args:
        images: in the order of the data set.
        batch_size: at most so many; what is left of a shape at the end is a smaller batch.
        resize: (short side, longest side) that images are resized to; None: as they are.
    """
    waiting: dict[tuple[int, int], list[int]] = {}  # padded shape: places in the list
    formed: list[tuple[list[int], tuple[int, int]]] = []
    for place, image in enumerate(images):
        shape = padded_shape(image, resize)
        company = waiting.setdefault(shape, [])
        company.append(place)
        if len(company) == batch_size:
            formed.append((waiting.pop(shape), shape))
    formed += [(company, shape) for shape, company in waiting.items()]
    formed.sort(key=lambda batch: batch[0][0])
    return tuple(
        Batch(index, tuple(images[place] for place in company), *shape) for index, (company, shape) in enumerate(formed)
    )


def padded_shape(image: ImageEntry, resize: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of an image in the model, a multiple of 32 each."""
    height, width = image.height_px, image.width_px
    if resize is not None:
        height, width = resized_size(height, width, *resize)
    return height + -height % SIZE_DIVISOR, width + -width % SIZE_DIVISOR


def load_ahead(items: Sequence[Item], load: Callable[[Item], Loaded], workers: int, ahead: int) -> Iterator[Loaded]:
    """Load items in threads, in order, at most `ahead` before they are taken; closing the iterator ends the threads.

    An error of `load` is raised at its item's turn.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
    pending: deque[Future[Loaded]] = deque()
    try:
        for item in items:
            if len(pending) >= ahead:
                yield pending.popleft().result()
            pending.append(pool.submit(load, item))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
