"""Masks at points: losses are taken at a few of a mask's places instead of at all.

Source: Kirillov et al. 2020 (PointRend), section 3.1; Cheng et al. 2022, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# [N, P] -> places [N, P, 2], uniform in the unit square, as (x, y): how places are drawn.
Draw = Callable[[int, int], Tensor]


def uniform_on(device: torch.device) -> Draw:
    """Places from PyTorch's global generator of a device."""
    return lambda rows, points: torch.rand(rows, points, 2, device=device)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """What comes in fp16 or bf16 as float32."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def at_points(masks: Tensor, places: Tensor) -> Tensor:
    """Masks read bilinearly: [N, C, h, w] at [N, P, 2], fractions of width and height, as [N, C, P].

    Pixel centres are at (i + 0.5) / size; beyond the border a mask is zero.
    """
    read = F.grid_sample(masks, (2 * places - 1)[:, :, None], mode="bilinear", align_corners=False)
    return read.squeeze(-1)


def uncertain_places(logits: Tensor, points: int, oversampling: float, importance: float, draw: Draw) -> Tensor:
    """Places to take the loss at: mostly where the masks hesitate, the rest anywhere.

    Args:
        logits: of masks, [N, h, w].
        points: P, places of a mask.
        oversampling: how many times P places are drawn, to choose from.
        importance: the share of P that are the least certain of those; the others are drawn anew.

    Returns:
        [N, P, 2]; no gradient flows through them.
    """
    masks = len(logits)
    with torch.no_grad():
        drawn = draw(masks, int(points * oversampling))
        certainty = at_points(at_least_fp32(logits[:, None]), drawn).squeeze(1).abs()  # [N, oversampled]
        hesitating = int(importance * points)
        chosen = certainty.topk(hesitating, dim=1, largest=False).indices
        places = drawn.gather(1, chosen[:, :, None].expand(-1, -1, 2))
        if hesitating < points:
            places = torch.cat([places, draw(masks, points - hesitating)], dim=1)
    return places
