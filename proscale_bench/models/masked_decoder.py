"""Mask2Former's transformer decoder: queries that attend where their own mask was predicted.

Source: Cheng et al. 2022, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.models.attention import Attention
from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.models.position import resize, sine_position
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.units import Size


class LayerPrediction(NamedTuple):
    """The predictions of the queries before some layer: logits [B, Q, K+1], mask logits [B, Q, H/4, W/4].

    Training has no masks here: a loss takes those that it wants from `Predictions.mask_factors`.
    """

    pred_logits: Tensor
    pred_masks: Tensor | None


class Predictions(NamedTuple):
    """The model's output. A tuple and not a dataclass, because `torch.jit.trace` returns nothing else.

    Args:
        pred_logits: [B, Q, K+1]; the last class is "no object".
        pred_masks: mask logits at stride 4 of the padded input, [B, Q, H/4, W/4].
        auxiliary: the predictions before each layer, the first of them that of the learned queries; empty
            unless asked for or in training.
        gates: those of `EncoderOutput`.
        mask_factors: what the mask logits are products of, for a loss that wants a few of them: embeddings of the
            auxiliary predictions and the last, [L, B, Q, C], and mask features [B, C, H/4, W/4]. As `auxiliary`.
    """

    pred_logits: Tensor
    pred_masks: Tensor
    auxiliary: tuple[LayerPrediction, ...] = ()
    gates: tuple[Tensor, ...] = ()
    mask_factors: tuple[Tensor, ...] = ()


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward network, each followed by its own LayerNorm."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.cross_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, ffn)
        self.linear2 = nn.Linear(ffn, width)
        self.ffn_norm = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor, position: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """Update queries x [B, Q, C] from a level's key and value [B, S, C] where `allowed` [B, Q, S]."""
        x = self.cross_norm(x + self.cross_attention(x + position, key, value, allowed))
        query = x + position
        x = self.self_norm(x + self.self_attention(query, query, x))
        output: Tensor = self.ffn_norm(x + self.linear2(F.relu(self.linear1(x))))
        return output


class AttentionMask(nn.Module):
    """`attention_mask` as a module, so that whoever watches a model sees the logits that it decides by."""

    def forward(self, mask_logits: Tensor, size: Size) -> Tensor:
        return attention_mask(mask_logits, size)


class MaskedDecoder(nn.Module):
    """Layers that visit the pyramid in turn, coarse to fine, predicting before each and at the end.

    A layer attends where its queries' masks were predicted, resized to its level. `masks_at_levels` resizes the
    mask features instead, once for all layers, and predicts at the level's own resolution: bilinear resizing
    commutes with the product over channels, so only rounding differs, and about 5 % of the model's FLOPs are saved.
    The original order is the default, because published counts assume it. Training always predicts at the level.

    Args:
        head: dimensions.
        pyramid_width: channels of the encoder's pyramid; a projection of each level begins where it is not the head's
            width.
    """

    def __init__(self, head: Head, pyramid_width: int) -> None:
        super().__init__()
        self.masks_at_levels = False
        width = head.width
        self.input_projections = nn.ModuleList()  # coarse to fine
        for _ in LEVELS if pyramid_width != width else ():
            self.input_projections.append(projection := nn.Conv2d(pyramid_width, width, kernel_size=1))
            nn.init.kaiming_uniform_(projection.weight, a=1)
            nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
        self.query_features = nn.Parameter(torch.empty(head.queries, width).normal_())
        self.query_positions = nn.Parameter(torch.empty(head.queries, width).normal_())
        self.level_embedding = nn.Parameter(torch.empty(len(LEVELS), width).normal_())
        self.layers = nn.ModuleList(
            DecoderLayer(width, head.decoder_heads, head.decoder_ffn) for _ in range(head.decoder_layers)
        )
        self.attention_mask = AttentionMask()
        self.norm = nn.LayerNorm(width)
        self.class_head = nn.Linear(width, head.num_classes + 1)  # the last class is "no object"
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, encoded: EncoderOutput, *, auxiliary: bool = False) -> Predictions:
        """Predict from mask features and pyramid.

        Intermediate class logits cost something and change nothing: they are computed only for `auxiliary` and in
        training, which has no intermediate masks unless `auxiliary` asks for them.
        """
        pyramid = encoded.pyramid
        if self.input_projections:
            pyramid = tuple(project(x) for project, x in zip(self.input_projections, pyramid, strict=True))
        sizes: list[Size] = [(x.shape[-2], x.shape[-1]) for x in pyramid]
        values = [
            x.flatten(2).transpose(1, 2) + self.level_embedding[index]  # [B, h*w, C]
            for index, x in enumerate(pyramid)
        ]
        width, device = self.level_embedding.shape[1], self.level_embedding.device
        keys = [x + sine_position(size, width, device) for x, size in zip(values, sizes, strict=True)]

        # Of each level: what masks are predicted from there. No gradient flows through those that only attention reads.
        at_levels = not auxiliary and (self.training or self.masks_at_levels)
        mask_features = [encoded.mask_features] * len(sizes)
        if at_levels:
            mask_features = [resize(encoded.mask_features.detach(), size) for size in sizes]

        x = self.query_features.expand(encoded.mask_features.shape[0], -1, -1)  # [B, Q, C]
        intermediate, embeddings = [], []
        for index, layer in enumerate(self.layers):
            level = index % len(values)
            normed = self.norm(x)
            embedding = self.mask_head(normed)
            masks = mask_logits(embedding.detach() if at_levels else embedding, mask_features[level])
            if auxiliary or self.training:
                intermediate.append(LayerPrediction(self.class_head(normed), None if at_levels else masks))
                embeddings.append(embedding)
            allowed = self.attention_mask(masks, sizes[level])
            x = layer(x, self.query_positions, keys[level], values[level], allowed)
        normed = self.norm(x)
        embedding = self.mask_head(normed)
        masks = mask_logits(embedding, encoded.mask_features)
        factors = (torch.stack([*embeddings, embedding]), encoded.mask_features) if embeddings else ()
        return Predictions(self.class_head(normed), masks, tuple(intermediate), encoded.gates, factors)


def mask_logits(embeddings: Tensor, mask_features: Tensor) -> Tensor:
    """Mask logits [B, Q, h, w] from queries' embeddings [B, Q, C] and mask features [B, C, h, w]."""
    return torch.einsum("bqc,bchw->bqhw", embeddings, mask_features)


def attention_mask(mask_logits: Tensor, size: Size) -> Tensor:
    """The places of a level where each query may look: where it sees its own mask, or everywhere if that is nowhere.

    No gradient flows through the mask.

    Args:
        mask_logits: [B, Q, H/4, W/4], or at the level's own size.
        size: (h, w) of the level.

    Returns:
        [B, Q, h*w], bool.
    """
    resized = mask_logits.detach()
    if resized.shape[-2:] != size:
        resized = resize(resized, size)
    blocked = resized.flatten(2).sigmoid() < 0.5
    return ~blocked | blocked.all(dim=-1, keepdim=True)
