"""The published totals of token retention, from the terms that count ours: Sparse DETR (Roh et al. 2022), table 1.

A Deformable DETR of four levels, six layers before and six behind, 300 queries, whose encoder refines the share rho of
all tokens; one 850x1040 image, and the sampling as a CUDA operator that counts 0 (rules `published`), without heads on
the proposals: both are inferred from the match. What is Sparse
DETR's own is written here: its score is a projected token and a predictor of four linear layers, on every token.
"""

from __future__ import annotations

import pytest

from proscale_bench.cost.rules import RULES
from proscale_bench.specs.backbones import get_backbone, terms_of
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.levels import STRIDES
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.terms import One, Operator, Sides, Terms, Tokens, decimal_ratio, kept_number, terms

SIDES = Sides(850, 1040, 850, 1040)  # in no batch, so not padded: every level's size is rounded up
LEVELS = ("res6", "res5", "res4", "res3")
HEAD = Head(queries=300, num_classes=91)
TOTALS = {
    "resnet50": {0.1: 105.4, 0.2: 112.9, 0.3: 120.5, 0.4: 128.0, 0.5: 135.6},
    "swin_t": {0.1: 113.4, 0.2: 121.0, 0.3: 128.5, 0.4: 136.1, 0.5: 143.7},
}
D, FFN, HEADS, POINTS, QUERIES = HEAD.width, HEAD.encoder_ffn, HEAD.encoder_heads, HEAD.encoder_points, HEAD.queries
TOKENS = sum(Tokens(STRIDES[level]).at(SIDES) for level in LEVELS)


def count(table: Terms) -> int:
    rules = RULES["published"]
    return sum(rules.factor(operator, "mac") * n * quantity.at(SIDES) for (operator, quantity), n in table.items())


def on_all_tokens(operator: Operator, amount: int) -> Terms:
    return terms(*((operator, amount, Tokens(STRIDES[level])) for level in LEVELS))


def encoder_layer(share: float) -> float:
    """All tokens are values; the products of a query are those of a layer that refines all, for each that is kept."""
    values = count(on_all_tokens(Operator.LINEAR, D * D))
    queries = count(parts.token_layer_terms(HEAD, LEVELS)) - values
    return values + queries * kept_number(TOKENS, *decimal_ratio(share)) / TOKENS


def decoder_layer() -> int:
    """Self-attention, deformable cross-attention, FFN, three norms; a class and a refined box of each query."""
    cross = D * D + 3 * D * HEADS * len(LEVELS) * POINTS
    heads = D * HEAD.num_classes + 2 * D * D + 4 * D
    a_query = 4 * D * D + 2 * QUERIES * D + cross + 2 * D * FFN + heads
    products = terms((Operator.LINEAR, QUERIES * a_query, One()), (Operator.LAYER_NORM, 3 * 5 * D * QUERIES, One()))
    return count(products) + count(on_all_tokens(Operator.LINEAR, D * D))


def score() -> int:
    """A linear layer and its norm; a norm, and linear layers d, d, d/2, d/4, 1."""
    products = D * D + D * D + D * D // 2 + D * D // 8 + D // 4
    return count(on_all_tokens(Operator.LINEAR, products)) + count(on_all_tokens(Operator.LAYER_NORM, 2 * 5 * D))


@pytest.mark.parametrize(("backbone", "share"), [(name, share) for name, totals in TOTALS.items() for share in totals])
def test_the_published_totals_are_met_within_1_percent(backbone: str, share: float) -> None:
    known = get_backbone(backbone)
    features = count(terms_of(known)) + count(parts.projection_terms(known.channels, D, LEVELS))
    total = features + score() + 6 * (encoder_layer(share) + decoder_layer())
    assert total / 1e9 == pytest.approx(TOTALS[backbone][share], rel=0.01)
