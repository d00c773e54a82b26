"""A small convolutional sibling, as a module: see the spec of the same name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from proscale_bench.models.encoders.interface import EncoderOutput, PixelEncoder
from proscale_bench.models.encoders.parts import lateral, mask_projection, pixel_embedding, projection
from proscale_bench.models.position import resize
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.masked_decoder import Head


class PyramidEncoder(PixelEncoder):
    """From the coarsest level down: resize, add the projected next one, smooth."""

    def __init__(self, head: Head, channels: Mapping[str, int]) -> None:
        super().__init__()
        width = head.width
        self.projections = nn.ModuleList(projection(channels[level], width) for level in LEVELS)
        self.smoothing = nn.ModuleList(nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in LEVELS)
        self.lateral = lateral(channels["res2"], width)
        self.pixel_embedding = pixel_embedding("conv", width)
        self.mask_features = mask_projection(width)

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`."""
        pyramid: list[Tensor] = []
        path: Tensor | None = None  # [B, C, h, w], from coarse to fine
        for level, project, smooth in zip(LEVELS, self.projections, self.smoothing, strict=True):
            projected = project(features[level])
            path = projected if path is None else projected + resize(path, (projected.shape[-2], projected.shape[-1]))
            pyramid.append(smooth(path))
        res2 = self.lateral(features["res2"])
        embedded = self.pixel_embedding(res2 + resize(pyramid[-1], (res2.shape[-2], res2.shape[-1])))
        return EncoderOutput(self.mask_features(embedded), tuple(pyramid))
