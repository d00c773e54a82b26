"""What the official pipeline does to an image before the model sees it, to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.architecture import SIZE_DIVISOR

SHORT_PX, LONGEST_PX = 800, 1333  # of COCO evaluation in the papers

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # height, width


def resized_size(height_px: int, width_px: int, short_px: int = SHORT_PX, longest_px: int = LONGEST_PX) -> Size:
    """The size an image is resized to: its shorter side to `short_px`, or its longer to `longest_px` if less.

    Source: `../shared/method/proscale.md`, "Input"; each product is rounded as floating point numbers are there.
    """
    scale = short_px / min(height_px, width_px)
    # The shorter side is the target itself: height * (800 / height) can miss it by a bit.
    height, width = (
        (float(short_px), scale * width_px) if height_px < width_px else (scale * height_px, float(short_px))
    )
    if max(height, width) > longest_px:
        scale = longest_px / max(height, width)
        height, width = height * scale, width * scale
    return max(int(height + 0.5), 1), max(int(width + 0.5), 1)


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
