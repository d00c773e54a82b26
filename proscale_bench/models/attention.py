"""Multi-head attention over all tokens; `deformable_attention.py` is the other kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention with `nn.MultiheadAttention`'s parameters, spelt out so that counters see it.

    (PyTorch's own module has a fused path that hides its products.)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide {width} channels")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # query, key, value
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attend from query [B, Q, C] to key and value [B, S, C], where `allowed` [B, Q, S] is true."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [B, heads, Q or S, d]
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        mask = None if allowed is None else allowed[:, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        output: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return output


class FusedAttention(Attention):
    """Multi-head self-attention that is one fused call in the code it comes from too: counted as such.

    The transformer decoder's attentions are products of their own there, and are counted as those wherever they run.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.out_proj.reset_parameters()  # as `nn.MultiheadAttention` begins
        nn.init.zeros_(self.out_proj.bias)
