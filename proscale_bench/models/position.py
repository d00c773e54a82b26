"""The places of tokens (sine positions, reference points, level sizes), and maps between their sizes.

Positions are made on the device by arithmetic, never from a list on the host, so that a forward pass runs on the
meta device and can be captured in a CUDA graph. They depend on the input's size alone and are kept for the last few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.units import Size

TEMPERATURE = 10_000.0
EPS = 1e-6
KEPT = 20  # tensors of each kind: four sizes of five levels

Arguments = ParamSpec("Arguments")
Constants = TypeVar("Constants")


def once_per_size(compute: Callable[Arguments, Constants]) -> Callable[Arguments, Constants]:
    """Keep the last few results of a function of sizes and devices: nobody may write to them.

    What is made while a CUDA graph is captured or a model compiled belongs to that graph, and is not kept; nor is what
    is made on the meta device, where a trace sees the same operators whatever ran before it.
    """
    kept = lru_cache(maxsize=KEPT)(compute)

    @wraps(compute)
    def remember(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Constants:
        if torch.compiler.is_compiling() or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            return compute(*args, **kwargs)
        if any(isinstance(one, torch.device) and one.type == "meta" for one in (*args, *kwargs.values())):
            return compute(*args, **kwargs)
        with torch.inference_mode(False):  # a tensor made in it could never be trained with
            return kept(*args, **kwargs)  # type: ignore[arg-type] # sizes and devices are hashable

    return remember


@once_per_size
def sine_position(size: Size, channels: int, device: torch.device) -> Tensor:
    """Two-dimensional sine position of every token of a level, y before x.

    Each axis has channels / 2 features: coordinates count from 1, normalised to 2 pi at the last; feature i
    has the wavelength 10000^(2 floor(i / 2) / (channels / 2)), sine where i is even, cosine where it is odd.

    Returns:
        [h*w, channels], float32.

    Source: Carion et al. 2020, appendix A.4.
    """
    height, width = size
    features = channels // 2
    index = torch.arange(features, device=device)
    wavelength = TEMPERATURE ** (2 * (index // 2) / features)

    def axis(length: int) -> Tensor:
        coordinate = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        angle = (coordinate / (length + EPS) * (2 * math.pi))[:, None] / wavelength  # [length, features]
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)

    y = axis(height)[:, None].expand(height, width, features)
    x = axis(width)[None].expand(height, width, features)
    return torch.cat((y, x), dim=-1).flatten(0, 1)


@once_per_size
def pixel_centres(size: Size, device: torch.device) -> Tensor:
    """The centres of a level's pixels as fractions of its width and height: [h*w, 2], (x, y)."""
    height, width = size
    y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1).flatten(0, 1)


@once_per_size
def level_extents(sizes: tuple[Size, ...], device: torch.device) -> Tensor:
    """(width, height) of every level in pixels: [L, 2], float32."""
    return torch.stack([torch.stack([torch.full((), float(side), device=device) for side in (w, h)]) for h, w in sizes])


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear, with pixel centres at (i + 0.5) / size: [B, C, h, w] to [B, C, *size]."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
