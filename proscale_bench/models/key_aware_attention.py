"""Key-aware deformable attention. Source: Li et al. 2023 (Lite DETR), section 4.3."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.sampling import key_aware_sampler
from proscale_bench.units import Size


def linear(width: int) -> nn.Linear:
    """A projection of queries or keys, as it is before training."""
    projection = nn.Linear(width, width)
    nn.init.xavier_uniform_(projection.weight)
    nn.init.zeros_(projection.bias)
    return projection


class KeyAwareAttention(DeformableAttention):
    """Deformable attention whose weights are products of queries and keys, sampled where the values are.

    A sample outside the level has a key of zeros: its logit is 0, and it still takes weight.

    Args:
        project_keys: keys have a projection of their own; else they are the values.

    Keys that are the values are sampled once. Only an evaluation that nobody prepared (see `models/inference.py`)
    samples them twice, as the official code does: that is what counters count.
    """

    attention_weights: None  # type: ignore[assignment]

    def __init__(
        self,
        width: int,
        heads: int,
        levels: int,
        points: int,
        *,
        same_locations: bool = False,
        project_keys: bool = False,
    ) -> None:
        super().__init__(width, heads, levels, points, same_locations=same_locations)
        del self.attention_weights
        self.query_proj = linear(width)
        self.key_proj = linear(width) if project_keys else None
        self.samples_once = False

    def values(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """See `DeformableAttention.values`; keys that have a projection of their own follow, [B, S, heads, 2 d]."""
        values = super().values(tokens, padding)
        if self.key_proj is None:
            return values
        return torch.cat((values, self._by_head(self.key_proj(tokens), padding)), dim=-1)

    def forward(
        self, query: Tensor, reference: Tensor, values: Tensor, sizes: Sequence[Size], extents: Tensor
    ) -> Tensor:
        """See `DeformableAttention.forward`."""
        locations = self.locations(query, reference, extents)
        keys = None if self.samples_once or self.training else values
        if self.key_proj is not None:
            values, keys = values.chunk(2, dim=-1)
        queries = self.query_proj(query).unflatten(-1, (self.heads, -1))  # [B, N, heads, d]
        sample = key_aware_sampler(self.sampling, query.device)
        output: Tensor = self.output_proj(sample(queries, values, keys, sizes, locations))
        return output
