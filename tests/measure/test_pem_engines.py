"""The closed form of PEM's decoder, its trace and fvcore agree to the last FLOP at random sizes."""

from __future__ import annotations

import random

import pytest
import torch

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.measure.fvcore_count import DEFORM_CONV, FUSED_ATTENTION
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.specs.terms import Operator
from tests.measure.engines import NUMBERS, check_fvcore, check_trace

torch.set_num_threads(1)
RANDOM = random.Random(17)
SIZES = [f"{RANDOM.randint(1, 1400)}x{RANDOM.randint(1, 1400)}" for _ in range(20)]
SMALL = ["x".join(str(-(-int(side) // 6)) for side in size.split("x")) for size in SIZES]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("as_executed", [False, True])
@pytest.mark.parametrize(("word", "backbone"), [("pem", "tiny"), ("pem+width:64", "tiny"), ("pem", "resnet50")])
def test_the_trace_equals_the_closed_form(word: str, backbone: str, as_executed: bool, number: int) -> None:
    spec = mask2former(parse_encoder(word), backbone)
    check_trace(spec, map(parse_size, SIZES[:number]), as_executed)


@pytest.mark.parametrize(
    ("backbone", "sizes"),
    [
        ("tiny", SMALL[:4]),
        pytest.param("tiny", SMALL, marks=pytest.mark.slow),
        ("resnet50", ["97x131"]),
    ],
)
def test_fvcore_equals_the_closed_form_and_what_it_does_not_see_is_itemised(backbone: str, sizes: list[str]) -> None:
    spec = mask2former(parse_encoder("pem"), backbone)
    form = ClosedForm(spec, RULES["fvcore"])
    for size in map(parse_size, sizes):
        found = check_fvcore(spec, size)
        attention = form.by_operator(size)["transformer_decoder"][Operator.BMM]
        deformable = form.uncounted(size)[Operator.DEFORM_CONV]
        assert found.unseen == {FUSED_ATTENTION: attention, DEFORM_CONV: deformable}
        assert found.seen + attention == sum(found.flops.values())
