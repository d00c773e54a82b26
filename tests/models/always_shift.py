"""Swin's attention as the official code computes it on maps no larger than a window.

There torchvision cancels the shift of odd blocks; the official code shifts and masks always. Real inputs
never go there, but the small golden cases do.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted_window_attention(
    x: Tensor,
    qkv_weight: Tensor,
    proj_weight: Tensor,
    bias: Tensor,
    window_size: list[int],
    heads: int,
    *,
    shift_size: list[int],
    qkv_bias: Tensor,
    proj_bias: Tensor,
    **_unused: object,
) -> Tensor:
    """torchvision's function of the same name, without that exception: [B, h, w, C] to the same."""
    _, height, width, channels = x.shape
    window, shift = window_size[0], shift_size[0]
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window)).roll((-shift, -shift), (1, 2))
    padded = x.shape[1:3]
    regions = torch.zeros(1, *padded, 1)
    for index, rows in enumerate((slice(-window, -shift), slice(-shift, None)) if shift else ()):
        regions[:, rows] += index + 1
        regions[:, :, rows] += 3 * (index + 1)

    tokens, regions = windows(x, window), windows(regions, window)  # [B * windows, window^2, C or 1]
    q, k, v = F.linear(tokens, qkv_weight, qkv_bias).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    mask = bias - 100.0 * (regions != regions.transpose(1, 2)).repeat(len(x), 1, 1)[:, None].float()
    tokens = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    tokens = F.linear(tokens, proj_weight, proj_bias)

    grid = (-1, padded[0] // window, padded[1] // window, window, window, channels)
    x = tokens.view(grid).transpose(2, 3).reshape(-1, *padded, channels).roll((shift, shift), (1, 2))
    return x[:, :height, :width].contiguous()


def windows(x: Tensor, window: int) -> Tensor:
    """[B, h, w, C] to [B * windows, window^2, C]."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # [B, rows, window, columns, window, C]
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)
