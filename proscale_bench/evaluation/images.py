"""Images as models are given them."""

from __future__ import annotations

import numpy as np

from proscale_bench.cost.geometry import resized_size
from proscale_bench.data.batches import resize
from proscale_bench.data.dataset import Dataset, ImageEntry
from proscale_bench.data.pictures import Pixels, read_image
from proscale_bench.data.truth import require_size


def read_resized(dataset: Dataset, image: ImageEntry, sides: tuple[int, int] | None) -> Pixels:
    """An image of a data set, RGB, [h, w, 3], in memory that may be written to.

    Args:
        sides: (short side, longest side) in pixels that it is resized to, or None: as it is.

    Raises:
        BenchError: the image is unreadable, or not of the size that the annotations say.
    """
    path = dataset.image_dir / image.file_name
    pixels = read_image(path)
    require_size(path, image, pixels.shape)
    if sides is not None:
        pixels = resize(pixels, resized_size(image.height_px, image.width_px, *sides))
    return np.array(pixels)  # PyTorch wants memory that it may write to
