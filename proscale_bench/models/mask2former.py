"""Mask2Former, Cheng et al. 2022: backbone, encoder (its pixel decoder, or another), transformer decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from proscale_bench.models.backbones import Features
from proscale_bench.models.encoders.interface import PixelEncoder
from proscale_bench.models.images import ImageModel
from proscale_bench.models.masked_decoder import MaskedDecoder, Predictions


class Mask2Former(ImageModel):
    """A model from images to class and mask logits; `build.build` makes one.

    Args:
        backbone: images [B, 3, H, W] to `{"res2": ..., "res5": ...}`.
        encoder: features to mask features and pyramid.
        decoder: those to predictions.
    """

    def __init__(self, backbone: nn.Module, encoder: PixelEncoder, decoder: MaskedDecoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.decoder = decoder

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
