"""Images on their way into a model: normalised, and padded to one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.units import Size

# Of ImageNet, RGB 0 to 255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class ImageModel(nn.Module):
    """A model that takes images as they are: RGB, 0 to 255, float32."""

    divisor: ClassVar[int] = SIZE_DIVISOR  # sides are padded to a multiple of it

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    def prepare(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Normalise, then pad with zeros right and bottom.

        Args:
            images: [B, 3, H, W], or B images [3, h, w] of their own sizes.

        Returns:
            [B, 3, H, W], of the batch's largest sides, rounded up to a multiple of the model's `divisor`.

        Raises:
            ValueError: images of another shape.
        """
        if isinstance(images, Tensor):
            if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
                raise ValueError(f"expected at least one image, [B, 3, H, W], got {tuple(images.shape)}")
            return _pad((images - self.pixel_mean) / self.pixel_std, self._padded_size([images]))
        if not images or any(image.ndim != 3 or image.shape[0] != 3 for image in images):
            given = [tuple(image.shape) for image in images]
            raise ValueError(f"expected at least one image, each [3, H, W], got {given}")
        size = self._padded_size(images)
        return torch.stack([_pad((image - self.pixel_mean) / self.pixel_std, size) for image in images])

    def _padded_size(self, images: Sequence[Tensor]) -> Size:
        height, width = (max(image.shape[axis] for image in images) for axis in (-2, -1))
        return height + -height % self.divisor, width + -width % self.divisor


def _pad(image: Tensor, size: Size) -> Tensor:
    height, width = size
    return F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))
