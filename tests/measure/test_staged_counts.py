"""Our own parts of the staged encoder are counted as exactly as the paper's: at random sizes, by every engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.models.build import build
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from tests.measure.engines import NUMBERS, check_fvcore, check_trace

OURS = [
    "1,1,1+dw",
    "2,0,1,1",
    "5:1,54:1,5432:1",
    "6:1,65432:1+trc:conv+spatial",
    "1,0,2+keep:0.3",
    "0,1,0,1+keep:0.01+dw",
]


def small(compact: str, backbone: str) -> Mask2FormerSpec:
    """A model whose decoder, which is not at issue, takes little time."""
    spec = mask2former(parse_compact(compact), backbone)
    return replace(spec, head=replace(spec.head, decoder_layers=1, queries=5, num_classes=3))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("compact", OURS)
def test_the_closed_form_equals_the_trace_at_random_sizes(compact: str, number: int) -> None:
    chance = Random(compact)
    for backbone, as_executed in product(("tiny", "resnet50"), (False, True)):
        spec = small(compact, backbone)
        sizes = [parse_size((chance.randint(1, 600), chance.randint(1, 600))) for _ in range(number // 4)]
        check_trace(spec, sizes, as_executed)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("compact", OURS)
def test_the_closed_form_equals_fvcore_at_random_sizes(compact: str, number: int) -> None:
    chance = Random(compact)
    spec = small(compact, "tiny")
    for _ in range(number):
        check_fvcore(spec, parse_size((chance.randint(1, 96), chance.randint(1, 128))))


@pytest.mark.parametrize("compact", OURS)
@pytest.mark.parametrize("backbone", ["tiny", "resnet50", "swin_t"])
def test_parameters_are_the_modules(compact: str, backbone: str) -> None:
    spec = mask2former(parse_compact(compact), backbone)
    encoder = build(spec, device="meta").encoder
    assert sum(parameter.numel() for parameter in encoder.parameters()) == spec.parameters()["encoder"]


@given(layers=st.tuples(*[st.integers(0, 4)] * 4), height=st.integers(1, 2_000), width=st.integers(1, 2_000))
def test_token_layers_over_four_levels_cost_what_the_formula_says(
    layers: tuple[int, int, int, int], height: int, width: int
) -> None:
    """sum_k p_k T_k (2d^2 + 3dHPk + 4dPk + 2df + 10d), T_k the tokens of the k coarsest levels."""
    d, heads, points, ffn = 256, 8, 4, 1024
    size = parse_size((height, width))
    padded = size.groups[0].padded
    tokens = [ceil(padded[0] / stride) * ceil(padded[1] / stride) for stride in (64, 32, 16, 8)]
    expected = sum(
        p * sum(tokens[:k]) * (2 * d * d + 3 * d * heads * points * k + 4 * d * points * k + 2 * d * ffn + 10 * d)
        for k, p in enumerate(layers, start=1)
    )
    spec = mask2former(parse_compact(",".join(map(str, layers))), "resnet50")
    counted = ClosedForm(spec, RULES["fvcore"]).count(size)
    if any(layers):
        assert sum(flops for part, flops in counted.items() if part.startswith("encoder_token_layer_")) == expected
        assert spec.encoder.levels[0] == "res6"
