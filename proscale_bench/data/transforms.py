"""Images as the official pipeline gives them to the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def resized_size(height: int, width: int, short: int = 800, longest: int = 1333) -> tuple[int, int]:
    """The size whose short side is `short`, unless the other would pass `longest`: then that one is `longest`.

    Each side is rounded to the nearest pixel, halves up, at the end alone.
    """
    scale = short / min(height, width)
    new_height, new_width = (short, scale * width) if height < width else (scale * height, short)
    if max(new_height, new_width) > longest:
        scale = longest / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    return int(new_height + 0.5), int(new_width + 0.5)


def resize_for_model(image: Pixels, short: int = 800, longest: int = 1333) -> Pixels:
    """An image [H, W, 3] at `resized_size`, by Pillow's bilinear filter on 8-bit RGB."""
    from PIL import Image

    height, width = resized_size(*image.shape[:2], short, longest)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
