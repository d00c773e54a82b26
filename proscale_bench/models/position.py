"""The places of tokens (sine positions, reference points, level sizes), and maps between their sizes.

Positions are made on the device by arithmetic, never from a list on the host, so that a forward pass runs on the
meta device and can be captured in a CUDA graph. They depend on the input's size alone and are kept for the last few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from proscale_bench.units import Size

EPS = 1e-6
KEPT = 20  # tensors of each kind: four sizes of five levels


class Sine(NamedTuple):
    """The dimensions of a sine position.

    Args:
        temperature: the longest wavelength over the shortest; 20 in DINO and Lite-DETR.
        shift: subtracted from coordinates, which count from 1; 0.5 in Deformable DETR.
    """

    temperature: float = 10_000.0
    shift: float = 0.0


MASK2FORMER = Sine()
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
def sine_position(size: Size, channels: int, device: torch.device, sine: Sine = MASK2FORMER) -> Tensor:
    """Two-dimensional sine position of every token of a level, y before x.

    Each axis has channels / 2 features: coordinates count from 1, normalised to 2 pi at the last; feature i
    has the wavelength T^(2 floor(i / 2) / (channels / 2)), sine where i is even, cosine where it is odd.

    Returns:
        [h*w, channels], float32.

    Source: Carion et al. 2020, appendix A.4.
    """
    height, width = size

    def axis(length: int) -> Tensor:
        first = 1 - sine.shift
        coordinate = torch.arange(first, first + length, dtype=torch.float32, device=device)
        return _sine_features(coordinate / (length + EPS), channels // 2, sine.temperature)

    y = axis(height)[:, None].expand(height, width, -1)
    x = axis(width)[None].expand(height, width, -1)
    return torch.cat((y, x), dim=-1).flatten(0, 1)


def padded_sine_position(padding: Tensor, channels: int, sine: Sine) -> Tensor:
    """The sine position of a level of padded images: coordinates count, and end at, the places that are no padding.

    Args:
        padding: [B, h, w], True where a place is padding.

    Returns:
        [B, h*w, channels], float32.
    """
    valid = (~padding).float()
    coordinates = (valid.cumsum(1), valid.cumsum(2))
    ends = (coordinates[0][:, -1:], coordinates[1][:, :, -1:])
    axes = [(coordinate - sine.shift) / (end + EPS) for coordinate, end in zip(coordinates, ends, strict=True)]
    return torch.cat([_sine_features(axis, channels // 2, sine.temperature) for axis in axes], dim=-1).flatten(1, 2)


def box_position(boxes: Tensor, channels: int) -> Tensor:
    """The sine position of boxes, a quarter of the channels for each of their numbers.

    Args:
        boxes: [..., 4], from 0 to 1.

    Returns:
        [..., channels], float32.

    Source: Zhu et al. 2021 (Deformable DETR), appendix A.4, and the official code.
    """
    return _sine_features(boxes.float(), channels // 4, MASK2FORMER.temperature).flatten(-2)


def _sine_features(coordinate: Tensor, features: int, temperature: float) -> Tensor:
    """Sines and cosines of coordinates that are 1 at the last place: [...] to [..., features]."""
    index = torch.arange(features, device=coordinate.device)
    wavelength = temperature ** (2 * (index // 2) / features)
    angle = (coordinate * (2 * math.pi))[..., None] / wavelength
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)


def grid_position(size: Size, channels: int, device: torch.device, down_columns: bool = False) -> Tensor:
    """Two-dimensional sine position of every token of a map, in quarters: sine and cosine of y, then of x.

    Places count from 0, and feature k of a quarter has the frequency 10000^(-k / (channels / 4)). The products of
    places and frequencies are a matrix product, as the released code has them.

    Args:
        down_columns: count the places of tokens, which go along rows, down columns, as the released code does: the
            vector of token t of [h, w] has y = t // h and x = t % h. Right for square maps alone.

    Returns:
        [h*w, channels], float32.

    Source: Zhao et al. 2024 (RT-DETR), the released code.
    """
    height, width = size
    features = channels // 4
    frequencies = 10_000.0 ** (torch.arange(features, dtype=torch.float32, device=device) / -features)
    token, side = torch.arange(height * width, device=device), height if down_columns else width
    places = torch.stack((token // side, token % side)).float()  # [2, h*w], (y, x)
    angles = torch.bmm(places[:, :, None], frequencies.expand(2, 1, features))  # [2, h*w, channels / 4]
    return torch.cat((angles.sin(), angles.cos()), dim=2).transpose(0, 1).flatten(1)


kept_grid_position = once_per_size(grid_position)


@once_per_size
def pixel_centres(size: Size, device: torch.device) -> Tensor:
    """The centres of a level's pixels as fractions of its width and height: [h*w, 2], (x, y)."""
    height, width = size
    y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1).flatten(0, 1)


def valid_ratios(padding: Tensor) -> Tensor:
    """The share of a level's width and height that is no padding: [B, h, w] to [B, 2], (x, y)."""
    return torch.stack([(~axis).float().mean(1) for axis in (padding[:, 0], padding[:, :, 0])], dim=-1)


def valid_centres(padding: Tensor) -> Tensor:
    """The pixels' centres as fractions of what is no padding of a level: [B, h, w] to [B, h*w, 2], (x, y)."""
    height, width = padding.shape[-2:]
    y, x = (
        (torch.arange(length, device=padding.device) + 0.5) / (~axis).sum(1, keepdim=True)
        for length, axis in ((height, padding[:, :, 0]), (width, padding[:, 0]))
    )
    return torch.stack((x[:, None].expand(-1, height, -1), y[..., None].expand(-1, -1, width)), dim=-1).flatten(1, 2)


def padded_centres(paddings: Sequence[Tensor]) -> Tensor:
    """The centres of the pixels of all levels, at their place in the valid part of each level.

    Args:
        paddings: of each level, [B, h, w].

    Returns:
        [B, N, L * 2], (level, xy): fractions of each level's width and height.

    Source: Zhu et al. 2021, appendix A.2, and the official code for padded images.
    """
    ratios = torch.stack([valid_ratios(one) for one in paddings], dim=1)  # [B, L, 2]
    centres = torch.cat([valid_centres(one) for one in paddings], dim=1)  # [B, N, 2]
    return (centres[:, :, None] * ratios[:, None]).flatten(2)


@once_per_size
def level_extents(sizes: tuple[Size, ...], device: torch.device) -> Tensor:
    """(width, height) of every level in pixels: [L, 2], float32."""
    return torch.stack(
        [torch.stack([torch.full((), side, dtype=torch.float32, device=device) for side in (w, h)]) for h, w in sizes]
    )


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear, with pixel centres at (i + 0.5) / size: [B, C, h, w] to [B, C, *size]."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
