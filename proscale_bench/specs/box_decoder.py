"""A detector's head: its dimensions, and what its decoder of boxes costs.

Source: Zhu et al. 2021 (Deformable DETR), section 4.1 and appendix A. The module is `models/box_decoder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS
from proscale_bench.specs.levels import STRIDES
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.terms import One, Operator, Terms, Tokens, terms

COCO_IDS = 91  # COCO's 80 categories are numbered up to 90, and the published models have a class for each number


@dataclass(frozen=True)
class DetectorHead(Head):
    """All that follows the backbone of a Deformable DETR: encoder and decoder, `width` channels throughout.

    Args:
        decoder_points: points a query reads on each level, for each head.
        refine: each layer of the decoder refines the boxes of the one before.
        two_stage: queries are the encoder's best proposals; this refines too.
    """

    decoder_ffn: int = 1024
    decoder_layers: int = 6
    queries: int = 300
    num_classes: int = COCO_IDS
    decoder_points: int = 4
    refine: bool = False
    two_stage: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "refine", self.refine or self.two_stage)

    @property
    def boxes(self) -> str:
        """`plain`, `refined` or `two-stage`."""
        return "two-stage" if self.two_stage else "refined" if self.refine else "plain"


def _box_products(c: int) -> int:
    """Products of one box: linear layers c, c, 4."""
    return 2 * c * c + 4 * c


@cache
def decoder_terms(head: DetectorHead) -> Terms:
    """Layers of self-attention, deformable cross-attention over all levels, and FFN; a class and a box of each query.

    Classes, and the boxes of a model that refines none, are the last layer's alone: the others serve training.
    """
    c, q, layers = head.width, head.queries, head.decoder_layers
    samples = len(DETECTOR_LEVELS) * head.decoder_points  # of a head
    a_layer = 4 * c * c + 2 * c * c - c * c + 3 * c * head.decoder_heads * samples + 2 * c * head.decoder_ffn
    a_query = layers * a_layer + c * head.num_classes + (layers if head.refine else 1) * _box_products(c)
    table = terms(
        (Operator.LINEAR, q * (a_query + (0 if head.two_stage else 2 * c)), One()),  # 2 c: the point of a learned query
        (Operator.BMM, layers * 2 * q * q * c, One()),
        (Operator.GRID_SAMPLER, layers * q * 4 * c * samples, One()),
        (Operator.WEIGHTED_SUM, layers * q * c * samples, One()),
        (Operator.LAYER_NORM, layers * 3 * 5 * c * q, One()),
    )
    for level in DETECTOR_LEVELS:
        table.add(Operator.LINEAR, layers * c * c, Tokens(STRIDES[level]))  # values
    return table


@cache
def proposal_terms(head: DetectorHead, chosen_alone: bool = False) -> Terms:
    """The encoder's tokens as proposals, and the chosen ones as queries; nothing where there is one stage.

    Args:
        chosen_alone: of all tokens only the score is computed, by which they are chosen, and boxes of the chosen.
    """
    table = Terms()
    if not head.two_stage:
        return table
    c, q = head.width, head.queries
    for level in DETECTOR_LEVELS:
        tokens = Tokens(STRIDES[level])
        heads = c if chosen_alone else c * head.num_classes + _box_products(c)
        table.add(Operator.LINEAR, c * c + heads, tokens)
        table.add(Operator.LAYER_NORM, 5 * c, tokens)
    table.add(Operator.LINEAR, q * (4 * c * c + (_box_products(c) if chosen_alone else 0)), One())
    table.add(Operator.LAYER_NORM, 5 * 2 * c * q, One())
    return table


def _head_parameters(head: DetectorHead) -> int:
    """A class head and a box head."""
    c = head.width
    return c * head.num_classes + head.num_classes + 2 * (c * c + c) + 4 * c + 4


def decoder_parameters(head: DetectorHead) -> int:
    """Layers, heads (of each layer where boxes are refined), learned queries and their points."""
    c, q, ffn = head.width, head.queries, head.decoder_ffn
    samples = len(DETECTOR_LEVELS) * head.decoder_points
    cross = 2 * (c * c + c) + 3 * (c + 1) * head.decoder_heads * samples
    layer = 4 * (c * c + c) + cross + (2 * c * ffn + ffn + c) + 3 * 2 * c
    learned = 0 if head.two_stage else 2 * q * c + 2 * c + 2
    return head.decoder_layers * layer + (head.decoder_layers if head.refine else 1) * _head_parameters(head) + learned


def proposal_parameters(head: DetectorHead) -> int:
    """A linear layer and its norm, heads of their own, and a linear layer and its norm that make queries of boxes."""
    c = head.width
    if not head.two_stage:
        return 0
    return (c * c + c + 2 * c) + _head_parameters(head) + (4 * c * c + 2 * c + 4 * c)
