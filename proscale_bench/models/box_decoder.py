"""A decoder of boxes: queries that look around a point, or in a box, of their own.

Source: Zhu et al. 2021 (Deformable DETR), section 4.1 and appendix A.3 and A.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.errors import BenchError
from proscale_bench.models.attention import Attention
from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.encoders.multiscale import Proposals
from proscale_bench.models.encoders.parts import TokenGrid
from proscale_bench.models.position import box_position, valid_ratios
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS

EPS = 1e-5  # of the inverse of the sigmoid
PRIOR = 0.01  # probability of every class at the start (Lin et al. 2017, focal loss)


@dataclass(frozen=True)
class QueryBoxes:
    """Classes and boxes of queries, or of proposals.

    Args:
        class_logits: [B, Q, C]: a probability for each class by itself, with no class for "no object".
        boxes: [B, Q, 4]: centre x, centre y, width and height, from 0 to 1 of the image without its padding.
    """

    class_logits: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class DetectorOutput(QueryBoxes):
    """A detector's output.

    Args:
        auxiliary: the predictions of earlier layers, the first layer's first; empty unless asked for or in training.
        proposals: those of the encoder's tokens, N in all: [B, N, C] and [B, N, 4]; a box is 1, 1, 1, 1 where a token
            proposes none. None where there is one stage, or nobody asks for auxiliary predictions.
    """

    auxiliary: tuple[QueryBoxes, ...] = ()
    proposals: QueryBoxes | None = None


class BoxDecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention, feed-forward network, each followed by its own LayerNorm."""

    def __init__(self, head: DetectorHead) -> None:
        super().__init__()
        width, heads = head.width, head.decoder_heads
        self.self_attention = Attention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.cross_attention = DeformableAttention(width, heads, len(DETECTOR_LEVELS), head.decoder_points)
        self.cross_norm = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, head.decoder_ffn)
        self.linear2 = nn.Linear(head.decoder_ffn, width)
        self.ffn_norm = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, memory: Tensor, grid: TokenGrid) -> Tensor:
        """Update queries.

        Args:
            x, position: [B, Q, C].
            reference: points [B, Q, L * 2] or boxes [B, Q, L * 4]: see `DeformableAttention`.
            memory: the encoder's tokens, [B, N, C], on `grid`.
        """
        query = x + position
        x = self.self_norm(x + self.self_attention(query, query, x))
        values = self.cross_attention.values(memory, grid.padding)
        x = self.cross_norm(x + self.cross_attention(x + position, reference, values, grid.sizes, grid.extents))
        output: Tensor = self.ffn_norm(x + self.linear2(F.relu(self.linear1(x))))
        return output


def box_head(width: int, side: float = 0.0) -> nn.Sequential:
    """Three linear layers, from a query to the logits of a box, to which those of its reference are added.

    Args:
        side: logit of the box's sides at the start.
    """
    last = nn.Linear(width, 4)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor((0.0, 0.0, side, side)))
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


def around(reference: Tensor, box: Tensor) -> Tensor:
    """The logits of boxes [B, Q, 4] around references: logits of points [B, Q, 2], or of boxes [B, Q, 4]."""
    return box + F.pad(reference, (0, 4 - reference.shape[-1]))


def class_head(width: int, classes: int) -> nn.Linear:
    """A linear layer from a query to the logits of classes, each improbable at the start."""
    head = nn.Linear(width, classes)
    nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
    return head


@dataclass(frozen=True)
class Chosen:
    """The queries that two stages begin with.

    Args:
        queries: their position, then their content, [B, Q, 2 * C].
        boxes: [B, Q, 4], from 0 to 1.
        proposals: all that they were chosen from, where those are wanted.
    """

    queries: Tensor
    boxes: Tensor
    proposals: QueryBoxes | None


class TwoStage(nn.Module):
    """From the encoder's tokens to queries: those whose proposals score best, placed where these are."""

    def __init__(self, head: DetectorHead) -> None:
        super().__init__()
        width = head.width
        self.queries = head.queries
        self.chosen_alone = False
        self.tokens = Proposals(width)
        self.class_head = class_head(width, head.num_classes)
        self.box_head = box_head(width)
        self.query = nn.Linear(2 * width, 2 * width)
        self.query_norm = nn.LayerNorm(2 * width)
        nn.init.xavier_uniform_(self.tokens.linear.weight)
        nn.init.xavier_uniform_(self.query.weight)

    def forward(self, memory: Tensor, grid: TokenGrid, *, auxiliary: bool = False) -> Chosen:
        """Propose and choose. The choice is by the first class alone, and has no gradient.

        Args:
            memory: the encoder's tokens, [B, N, C], on `grid`.
            auxiliary: all proposals are wanted too, as in training.

        Raises:
            BenchError: there are fewer tokens than queries.
        """
        if memory.shape[1] < self.queries:
            sizes = ", ".join(f"{height}x{width}" for height, width in grid.sizes)
            raise BenchError(
                f"two stages: {self.queries} queries are chosen from {memory.shape[1]} tokens (levels of {sizes})",
                "use larger images, or fewer --queries",
            )
        auxiliary = auxiliary or self.training
        tokens, places = self.tokens(memory, grid)
        proposals = None
        if self.chosen_alone and not auxiliary:
            scores = F.linear(tokens, self.class_head.weight[:1], self.class_head.bias[:1])[..., 0]
            chosen = self._chosen(scores)
            boxes = around(self._at(chosen, places), self.box_head(self._at(chosen, tokens)))
        else:
            logits, every = self.class_head(tokens), around(places, self.box_head(tokens))
            boxes = self._at(self._chosen(logits[..., 0]), every)
            proposals = QueryBoxes(logits, every.sigmoid()) if auxiliary else None
        boxes = boxes.detach().sigmoid()
        position = box_position(boxes, self.query.in_features)
        queries = self.query_norm(self.query(position.to(self.query.weight.dtype)))
        return Chosen(queries, boxes, proposals)

    def _chosen(self, scores: Tensor) -> Tensor:
        return scores.topk(self.queries, dim=1).indices  # [B, Q]

    @staticmethod
    def _at(chosen: Tensor, values: Tensor) -> Tensor:
        return values.gather(1, chosen[..., None].expand(-1, -1, values.shape[-1]))


class BoxDecoder(nn.Module):
    """Layers of queries, each with a place of its own, from which classes and boxes are predicted.

    A learned query has a point, and its box is predicted around it. With refinement every layer places the queries for
    the next in the box that it predicts; with two stages the first boxes are the encoder's proposals.
    """

    def __init__(self, head: DetectorHead) -> None:
        super().__init__()
        width, layers = head.width, head.decoder_layers
        self.refine, self.width = head.refine, width
        self.layers = nn.ModuleList(BoxDecoderLayer(head) for _ in range(layers))
        self.queries: Tensor | None = None
        if not head.two_stage:
            self.queries = nn.Parameter(torch.empty(head.queries, 2 * width).normal_())  # position, then content
            self.points = nn.Linear(width, 2)
            nn.init.xavier_uniform_(self.points.weight)
            nn.init.zeros_(self.points.bias)
        heads = layers if head.refine else 1  # else all layers share them
        side = 0.0 if head.two_stage else -2.0  # boxes around a point begin small
        self.class_heads = nn.ModuleList(class_head(width, head.num_classes) for _ in range(heads))
        self.box_heads = nn.ModuleList(box_head(width, 0.0 if index else side) for index in range(heads))

    def forward(
        self, memory: Tensor, grid: TokenGrid, chosen: Chosen | None = None, *, auxiliary: bool = False
    ) -> DetectorOutput:
        """Predict from the encoder's tokens.

        What no later layer and no output needs is predicted only for `auxiliary` and in training.

        Args:
            memory: [B, N, C], on `grid`, coarse to fine.
            chosen: the queries that two stages begin with; None: the learned ones.
        """
        auxiliary = auxiliary or self.training
        if chosen is None:
            assert self.queries is not None
            queries = self.queries.expand(memory.shape[0], -1, -1)  # [B, Q, 2 * C]
            points = self.points(self.queries[:, : self.width])
            reference = points.sigmoid().expand(memory.shape[0], -1, -1)  # [B, Q, 2]
        else:
            queries, reference = chosen.queries, chosen.boxes  # [B, Q, 4]
        position, x = queries.chunk(2, dim=-1)
        ratios = _valid_ratios(grid)
        predicted = []
        for index, layer in enumerate(self.layers):
            x = layer(x, position, _on_levels(reference, ratios, len(grid.sizes)), memory, grid)
            head = index if self.refine else 0
            wanted = auxiliary or index == len(self.layers) - 1
            if not wanted and not self.refine:
                continue
            boxes = around(inverse_sigmoid(reference), self.box_heads[head](x)).sigmoid()
            if wanted:
                predicted.append(QueryBoxes(self.class_heads[head](x), boxes))
            if self.refine:
                reference = boxes.detach()
        *earlier, last = predicted
        proposals = None if chosen is None else chosen.proposals
        return DetectorOutput(last.class_logits, last.boxes, tuple(earlier), proposals)


def inverse_sigmoid(probability: Tensor) -> Tensor:
    """The logit of a probability, which is kept off 0 and 1."""
    probability = probability.clamp(0, 1)
    return (probability.clamp(min=EPS) / (1 - probability).clamp(min=EPS)).log()


def _valid_ratios(grid: TokenGrid) -> Tensor | None:
    """The share of each level that is no padding, [B, L, 2]; None where nothing is padded."""
    if grid.padding is None:
        return None
    levels = zip(torch.split(grid.padding, grid.lengths, dim=1), grid.sizes, strict=True)
    return torch.stack([valid_ratios(padding.view(-1, *size)) for padding, size in levels], dim=1)


def _on_levels(reference: Tensor, ratios: Tensor | None, levels: int) -> Tensor:
    """References [B, Q, 2 or 4], which are fractions of the image, as fractions of each level: [B, Q, L * 2 or 4]."""
    if ratios is None:
        return reference.repeat(1, 1, levels)
    return (reference[:, :, None] * ratios.repeat(1, 1, reference.shape[-1] // 2)[:, None]).flatten(2)
