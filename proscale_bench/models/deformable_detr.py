"""Deformable DETR, Zhu et al. 2021: backbone, encoder over four levels, decoder of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.models.backbones import PATCH, Features, SwinBackbone
from proscale_bench.models.box_decoder import BoxDecoder, DetectorOutput, TwoStage
from proscale_bench.models.encoders.multiscale import MultiScaleEncoder
from proscale_bench.models.images import ImageModel


class DeformableDetr(ImageModel):
    """A model from images to classes and boxes; `build.build` makes one.

    Args:
        backbone: images [B, 3, H, W] to `{"res2": ..., "res5": ...}`.
        encoder: features to tokens of four levels.
        proposals: those to the queries of two stages; None where there is one.
        decoder: tokens to predictions.
    """

    divisor = 1  # images keep their size: the levels round theirs up

    def __init__(
        self, backbone: nn.Module, encoder: MultiScaleEncoder, proposals: TwoStage | None, decoder: BoxDecoder
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.proposals = proposals
        self.decoder = decoder

    def forward(
        self, images: Tensor | Sequence[Tensor], padding_mask: Tensor | None = None, *, auxiliary: bool = False
    ) -> DetectorOutput:
        """Predict from images as they are: RGB, 0 to 255, float32.

        Args:
            images: [B, 3, H, W], or B images [3, h, w] of their own sizes; these are padded right and bottom to the
                batch's largest, and the mask of that is made here.
            padding_mask: [B, H, W], True where a pixel is padding, which lies right and below; None where none is.
            auxiliary: also give the predictions of the earlier layers, and the proposals.

        Raises:
            ValueError: images of another shape.
            BenchError: two stages have fewer tokens than queries.
        """
        if padding_mask is None and not isinstance(images, Tensor):
            padding_mask = padding_of(images)
        prepared = self.prepare(images)
        if padding_mask is not None:  # what was there is none of the image, and the normalised zero of padding
            prepared = prepared.masked_fill(padding_mask[:, None], 0)
        return self.head(self.features(prepared), padding_mask, auxiliary=auxiliary)

    def features(self, prepared: Tensor) -> Features:
        """The backbone's features of normalised images; those of a Swin end in whole patches."""
        if isinstance(self.backbone, SwinBackbone):
            prepared = F.pad(prepared, (0, -prepared.shape[-1] % PATCH, 0, -prepared.shape[-2] % PATCH))
        features: Features = self.backbone(prepared)
        return features

    def head(
        self, features: Features, padding_mask: Tensor | None = None, *, auxiliary: bool = False
    ) -> DetectorOutput:
        """Predict from a backbone's features: all of the model that a schedule can change."""
        tokens, grid = self.encoder(features, padding_mask)
        chosen = None if self.proposals is None else self.proposals(tokens, grid, auxiliary=auxiliary)
        output: DetectorOutput = self.decoder(tokens, grid, chosen, auxiliary=auxiliary)
        return output


def padding_of(images: Sequence[Tensor]) -> Tensor | None:
    """The mask of images [3, h, w] that are padded to the largest, [B, H, W]; None where all are of one size."""
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    if len(set(sizes)) < 2:
        return None
    mask = torch.ones(len(sizes), *map(max, zip(*sizes, strict=True)), dtype=torch.bool, device=images[0].device)
    for one, (height, width) in zip(mask, sizes, strict=True):
        one[:height, :width] = False
    return mask
