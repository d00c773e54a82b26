"""Token retention: a layer that refines some of the tokens. Ours: see the specs of `staged` and `multiscale`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from proscale_bench.models.encoders import parts
from proscale_bench.specs.terms import decimal_ratio, kept_number


class RetainingLayer(parts.TokenLayer):
    """A token layer that refines a share of the finest level's tokens, or of all.

    A linear layer scores these tokens; those with the highest scores are queries, all are values, and the others pass
    unchanged. The choice itself has no gradient. In training what the layer changes of a kept token therefore counts as
    if weighted by the sigmoid of its score, while in value the weight is 1 (straight through). So a score rises where
    refining the token lowers the loss, to first order, inference has nothing to multiply, and with all tokens kept
    this is the layer without retention.

    Args:
        keep: the share.
        of_all: the share is of all tokens, and not of the last level's alone.
    """

    def __init__(
        self, width: int, heads: int, levels: int, points: int, ffn: int, keep: float, *, of_all: bool = False
    ) -> None:
        super().__init__(width, heads, levels, points, ffn)
        self.ratio, self.of_all = decimal_ratio(keep), of_all
        self.score = nn.Linear(width, 1)
        nn.init.xavier_uniform_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tensor, grid: parts.TokenGrid) -> Tensor:
        """Refine tokens [B, N, C] that lie on `grid`, of the scored ones those that are kept; padding comes last."""
        start = 0 if self.of_all else sum(grid.lengths[:-1])
        scored = tokens[:, start:]
        scores = self.score(scored).squeeze(-1)  # [B, n]
        ranked = scores if grid.padding is None else scores.masked_fill(grid.padding[:, start:], -torch.inf)
        number = kept_number(sum(grid.lengths) - start, *self.ratio)
        kept = ranked.topk(number, sorted=False).indices.sort().values  # [B, k], in order of place

        def queries_of(every: Tensor) -> Tensor:
            """[B, N, c] to [B, Q, c]."""
            at_kept = kept[..., None].expand(-1, -1, every.shape[-1])
            return torch.cat((every[:, :start], every[:, start:].gather(1, at_kept)), dim=1)

        queries = queries_of(tokens)
        position, reference = (
            queries_of(every.expand(tokens.shape[0], -1, -1)) for every in (grid.position, grid.reference)
        )
        if grid.reference.ndim == 2:
            reference = reference.repeat(1, 1, len(grid.sizes))
        theirs = replace(grid, position=position, reference=reference)
        values = self.attention.values(tokens, grid.padding)
        refined = torch.cat(self.refine(queries, queries.shape[1], values, theirs), dim=1)
        changed = refined[:, start:]
        if torch.is_grad_enabled():
            weight = torch.sigmoid(scores.gather(1, kept))[..., None]
            changed = changed + (weight - weight.detach()) * (changed - queries[:, start:]).detach()
        at_kept = kept[..., None].expand(-1, -1, tokens.shape[-1])
        return torch.cat((refined[:, :start], scored.scatter(1, at_kept, changed.to(scored.dtype))), dim=1)
