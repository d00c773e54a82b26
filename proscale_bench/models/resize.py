"""How every map is resized."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from proscale_bench.models.position import Size


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear, with pixel centres at (i + 0.5) / size: [B, C, h, w] to [B, C, *size]."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
