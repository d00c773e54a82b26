"""Multi-scale deformable attention. Source: Zhu et al. 2021, section 4.1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proscale_bench.models.sampling import AUTO, WITH_SOFTMAX, sampler
from proscale_bench.units import Size


def _softmax(logits: Tensor) -> Tensor:
    """The softmax of each row, whose few values PyTorch's own takes one by one on a CPU: six times as fast, the same
    but for rounding."""
    if logits.device.type != "cpu" or logits.requires_grad or torch.compiler.is_compiling():
        return logits.softmax(dim=-1)
    powers = (logits - logits.amax(dim=-1, keepdim=True)).exp_()
    return powers.div_(powers.sum(dim=-1, keepdim=True))


class DeformableAttention(nn.Module):
    """Each query reads a few points of each level, at offsets and with weights that it predicts itself.

    Args:
        width: channels of queries, tokens and output.
        heads: their number; each has width / heads channels.
        levels: number of levels that the tokens come from.
        points: points a query reads on each level, for each head.
        same_locations: the offsets of a head are the same on all levels, in pixels of each.

    Raises:
        ValueError: heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int, *, same_locations: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide {width} channels")
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling = AUTO  # or a name of `sampling.SAMPLERS`
        self.offset_levels = 1 if same_locations else levels
        self.sampling_offsets = nn.Linear(width, heads * self.offset_levels * points * 2)  # (head, level, point, xy)
        self.attention_weights = nn.Linear(width, heads * levels * points)  # (head, level, point)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each head looks in a direction of its own, at 1, 2, ... pixels, all equally weighted."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=-1)  # [heads, 2], on a circle
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)  # on a square
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = directions[:, None, None] * steps[:, None]  # [heads, 1, points, 2]
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.offset_levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def values(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """The values that queries read.

        Args:
            tokens: [B, S, C], without position, level after level.
            padding: [B, S], True where a token's values are 0.

        Returns:
            [B, S, heads, d].
        """
        return self._by_head(self.value_proj(tokens), padding)

    def _by_head(self, projected: Tensor, padding: Tensor | None) -> Tensor:
        if padding is not None:
            projected = projected.masked_fill(padding[..., None], 0)
        return projected.view(*projected.shape[:2], self.heads, -1)

    def forward(
        self, query: Tensor, reference: Tensor, values: Tensor, sizes: Sequence[Size], extents: Tensor
    ) -> Tensor:
        """Attend from every query to the values around its reference point.

        Args:
            query: [B, N, C], with its position.
            reference: (x, y) as fractions of width and height: [N, 2], the same on every level, or [B, N, L * 2]; or
                boxes (x, y, width, height), [B, N, L * 4], in whose halves offsets are then counted.
            values: result of `values`, [B, sum of h*w, heads, d].
            sizes: (h, w) of each level.
            extents: the same as a tensor [L, 2], (w, h): see `position.level_extents`.

        Returns:
            [B, N, C].
        """
        locations = self.locations(query, reference, extents)
        points = locations.shape[:-1]
        logits = self.attention_weights(query).view(*points[:3], -1)
        sample = sampler(self.sampling, query.device)
        attend = WITH_SOFTMAX.get(sample)
        if attend is not None:
            attended = attend(values, sizes, locations, logits)
        else:
            attended = sample(values, sizes, locations, _softmax(logits).view(points))
        output: Tensor = self.output_proj(attended)
        return output

    def _at_points(self, by_level: Tensor) -> Tensor:
        """(x, y) of each level for all of a head's points: [B, N, 1, L * P * 2]."""
        pairs = by_level.reshape(*by_level.shape[:2], -1, 2)
        return pairs.repeat_interleave(self.points, dim=2).flatten(2)[:, :, None]

    def locations(self, query: Tensor, reference: Tensor, extents: Tensor) -> Tensor:
        """The places that queries read, as fractions of each level: [B, N, heads, L, P, 2]; see `forward`."""
        batch, queries, _ = query.shape
        # (x, y) of all points of a head in one axis: the CPU is slow at axes of two.
        offsets = self.sampling_offsets(query).view(batch, queries, self.heads, -1)  # in pixels of the level
        if self.offset_levels < self.levels:
            offsets = offsets.repeat(1, 1, 1, self.levels)
        scale = extents.repeat_interleave(self.points, dim=0).flatten()
        if reference.ndim == 2:
            centres = reference.repeat(1, self.levels * self.points)[:, None]
        else:
            if reference.shape[-1] == 4 * self.levels:
                reference, sides = reference.view(batch, queries, self.levels, 4).chunk(2, dim=-1)
                scale = self._at_points(2 * self.points / sides)  # the last point of a head starts on the box's edge
            centres = self._at_points(reference)
        places: Tensor = offsets / scale + centres
        return places.view(batch, queries, self.heads, self.levels, self.points, 2)
