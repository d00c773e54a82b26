"""The hybrid encoder's closed form, its trace and fvcore agree to the last FLOP at random sizes."""

from __future__ import annotations

import random

import pytest
import torch

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.measure.fvcore_count import FUSED_ATTENTION
from proscale_bench.models.build import build
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.specs.terms import Operator, Squared, Tokens
from tests.measure.engines import NUMBERS, check_fvcore, check_trace

torch.set_num_threads(1)
WORDS = ["hybrid", "hybrid+folded", "hybrid+official+maxpool+expansion:0.5+blocks:2"]
RANDOM = random.Random(17)
SIZES = [f"{RANDOM.randint(1, 1400)}x{RANDOM.randint(1, 1400)}" for _ in range(20)]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("as_executed", [False, True])
@pytest.mark.parametrize(("word", "backbone"), [*((word, "tiny") for word in WORDS), ("hybrid", "resnet50")])
def test_the_trace_equals_the_closed_form(word: str, backbone: str, as_executed: bool, number: int) -> None:
    spec = mask2former(parse_encoder(word), backbone)
    check_trace(spec, map(parse_size, SIZES[:number]), as_executed)


@pytest.mark.parametrize("backbone", ["tiny", "resnet50", "swin_t"])
@pytest.mark.parametrize("word", WORDS)
def test_parameters_are_those_of_the_module(word: str, backbone: str) -> None:
    spec = mask2former(parse_encoder(word), backbone)
    encoder = build(spec, device="meta").encoder
    assert sum(parameter.numel() for parameter in encoder.parameters()) == spec.parameters()["encoder"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("word", WORDS)
def test_fvcore_equals_the_closed_form(word: str, number: int) -> None:
    """On `tiny`, which takes fvcore's real forward pass a second."""
    spec = mask2former(parse_encoder(word), "tiny")
    for size in SIZES[:number]:
        small = parse_size("x".join(str(-(-int(side) // 6)) for side in size.split("x")))
        found = check_fvcore(spec, small)
        tokens = Squared(Tokens(32)).at(small.groups[0].sides)
        assert found.unseen[Operator.FUSED_ATTENTION.value] == 2 * 64 * tokens
        assert found.seen + found.unseen[FUSED_ATTENTION] == sum(found.flops.values())


def test_fvcore_equals_the_closed_form_on_a_real_backbone() -> None:
    spec, size = mask2former(parse_encoder("hybrid"), "resnet50"), parse_size("150x201")
    check_fvcore(spec, size)


@pytest.mark.parametrize("word", WORDS)
def test_what_inference_saves_is_folded_or_kept(word: str) -> None:
    """Unfolded and folded are one model in inference, without batch norms and without positions."""
    size = parse_size("800x1333")
    spec = mask2former(parse_encoder(word), "resnet50")
    counted, executed = (
        ClosedForm(spec, RULES["complete"], as_executed=as_executed).by_operator(size) for as_executed in (False, True)
    )
    encoder = [row for row in counted if row.startswith("encoder")]
    assert any(counted[row][Operator.BATCH_NORM] for row in encoder)
    assert not any(executed[row][Operator.BATCH_NORM] or executed[row][Operator.MATMUL] for row in encoder)
    assert counted["encoder_token_layers"][Operator.MATMUL] == 128 * 25 * 42
    for row in ("encoder_token_layers", "pixel_embedding"):
        both = (counted[row], executed[row])
        assert len({one[Operator.FUSED_ATTENTION] + one[Operator.LINEAR] for one in both}) == 1
