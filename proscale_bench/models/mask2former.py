"""Mask2Former, Cheng et al. 2022: backbone, encoder (its pixel decoder, or another), transformer decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.models.backbones import Features
from proscale_bench.models.encoders.interface import PixelEncoder
from proscale_bench.models.masked_decoder import MaskedDecoder, Predictions
from proscale_bench.specs.levels import SIZE_DIVISOR
from proscale_bench.units import Size

# Of ImageNet, RGB 0 to 255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class Mask2Former(nn.Module):
    """A model from images to class and mask logits; `build.build` makes one.

    Args:
        backbone: images [B, 3, H, W] to `{"res2": ..., "res5": ...}`.
        encoder: features to mask features and pyramid.
        decoder: those to predictions.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, backbone: nn.Module, encoder: PixelEncoder, decoder: MaskedDecoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.decoder = decoder
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor | Sequence[Tensor], *, auxiliary: bool = False) -> Predictions:
        """Predict from images as they are: RGB, 0 to 255, float32.

        Args:
            images: [B, 3, H, W], or B images [3, h, w] of their own sizes; all are padded right and bottom to
                the batch's largest, rounded up to a multiple of 32.
            auxiliary: also give the predictions before each decoder layer.

        Returns:
            Logits, with masks [B, Q, H/4, W/4] of the padded size.

        Raises:
            ValueError: images of another shape.
        """
        features: Features = self.backbone(self.prepare(images))
        return self.head(features, auxiliary=auxiliary)

    def head(self, features: Features, *, auxiliary: bool = False) -> Predictions:
        """Predict from a backbone's features: all of the model that a schedule can change."""
        predictions: Predictions = self.decoder(self.encoder(features), auxiliary=auxiliary)
        return predictions

    def prepare(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Normalise, then pad with zeros: [B, 3, H, W], H and W multiples of 32. See `forward`."""
        if isinstance(images, Tensor):
            if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
                raise ValueError(f"expected at least one image, [B, 3, H, W], got {tuple(images.shape)}")
            return _pad((images - self.pixel_mean) / self.pixel_std, _padded_size([images]))
        if not images or any(image.ndim != 3 or image.shape[0] != 3 for image in images):
            given = [tuple(image.shape) for image in images]
            raise ValueError(f"expected at least one image, each [3, H, W], got {given}")
        size = _padded_size(images)
        return torch.stack([_pad((image - self.pixel_mean) / self.pixel_std, size) for image in images])


def _padded_size(images: Sequence[Tensor]) -> Size:
    """The largest height and width, rounded up to what the strides need."""
    height, width = (max(image.shape[axis] for image in images) for axis in (-2, -1))
    return height + -height % SIZE_DIVISOR, width + -width % SIZE_DIVISOR


def _pad(image: Tensor, size: Size) -> Tensor:
    height, width = size
    return F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))
