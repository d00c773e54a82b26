"""The early exit's formulas: reference counts, the published totals, three engines, and expectations over exits."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.specs.backbones import get_backbone
from proscale_bench.specs.encoders.early_exit import EXITS, EarlyExit
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.spelling import GRAMMARS, parse_encoder
from proscale_bench.specs.terms import Operator
from tests.measure.engines import TIMES, check_fvcore, check_trace

from .reference_counts import count, records

STATED = "early-exit+exits:10/20/30/25/15"


@pytest.mark.parametrize("record", records("early_exit"))
def test_the_formulas_give_fvcores_count_of_the_official_module(record: dict[str, Any]) -> None:
    channels = get_backbone(record["backbone"]).channels
    encoder, head = EarlyExit(record["arguments"]["exit"]), Head(width=record["arguments"]["d"])
    found = count(encoder.terms(channels, head).values(), record)
    assert found == {Operator(name): flops for name, flops in record["by_operator"].items()}
    assert sum(found.values()) == record["total"]
    assert encoder.parameters(channels, head) == record["params_total"]


@pytest.mark.parametrize(
    ("exit_", "gflops"), [(2, "411.981"), (3, "443.448"), (4, "474.914"), (5, "506.381"), (6, "537.848")]
)
def test_a_whole_model_costs_what_its_authors_say(exit_: int, gflops: str) -> None:
    """Swin-T, 19 classes, 1024x2048: as `published`, but with the semantic product and without masked Q.K^T. (Which
    operators they counted is inferred from the match.)"""
    published = RULES["published"]
    theirs = replace(published, counted=published.counted - {Operator.MASKED_QK} | {Operator.SEMANTIC_EINSUM})
    model = mask2former(EarlyExit(exit_), "swin_t", classes=19)
    flops = ClosedForm(model, theirs).count(parse_size("1024x2048"))
    assert f"{sum(flops.values()) / 1e9:.3f}" == gflops


@pytest.mark.parametrize("backbone", ["tiny", "resnet50"])
def test_parameters_are_the_modules(backbone: str) -> None:
    for encoder in (EarlyExit(3), EarlyExit()):
        spec = mask2former(encoder, backbone)
        module = build(spec, device="meta").encoder
        assert spec.parameters()["encoder"] == sum(one.numel() for one in module.parameters())


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("backbone", ["tiny", "resnet50"])
def test_trace_and_closed_form_agree_at_any_size_under_all_rules(backbone: str, times: int) -> None:
    draw = random.Random(17)
    for exit_ in EXITS:
        spec = mask2former(EarlyExit(exit_), backbone)
        sizes = [parse_size((draw.randint(1, 500), draw.randint(1, 500))) for _ in range(times)]
        for as_executed in (False, True):
            check_trace(spec, sizes, as_executed)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(("backbone", "most"), [("tiny", 160), ("resnet50", 64)])
def test_fvcore_and_closed_form_agree(backbone: str, most: int, times: int) -> None:
    draw = random.Random(5)
    for exit_ in EXITS:
        spec = mask2former(EarlyExit(exit_), backbone)
        for _ in range(times):
            check_fvcore(spec, parse_size((draw.randint(1, most), draw.randint(1, most))))


@pytest.mark.parametrize("rules", RULES.values(), ids=lambda rules: rules.name)
def test_an_expectation_is_the_mean_over_the_stated_images(rules: Any) -> None:
    size = parse_size("coco-first100")
    stated = count_model(mask2former(parse_encoder(STATED), "tiny"), size, rules)
    by_exit = [count_model(mask2former(EarlyExit(exit_), "tiny"), size, rules) for exit_ in EXITS]
    for part, flops in stated.part_flops.items():
        exits = [one.part_flops.get(part, 0) for one in by_exit]
        assert flops == Fraction(sum(n * one for n, one in zip((10, 20, 30, 25, 15), exits, strict=True)), 100), part
    assert all(type(value) is float for value in stated.gflops.values())
    assert by_exit[0].gflops.total < stated.gflops.total < by_exit[-1].gflops.total
    assert stated.params_m == by_exit[0].params_m


def test_an_expectation_over_one_exit_costs_what_that_exit_costs_and_is_another_value() -> None:
    size, rules = parse_size("64x64"), RULES["fvcore"]
    always = mask2former(parse_encoder("early-exit+exits:0/7/0/0/0"), "tiny")
    fixed = mask2former(EarlyExit(3), "tiny")
    assert count_model(always, size, rules).gflops == count_model(fixed, size, rules).gflops
    assert always != fixed
    assert always.variant == "early-exit+exits:0/1/0/0/0"


def test_a_free_gate_has_no_one_cost() -> None:
    with pytest.raises(BenchError, match="no one cost") as raised:
        count_model(mask2former(EarlyExit(), "tiny"), parse_size("64x64"), RULES["fvcore"])
    assert raised.value.exit_code == 2
    assert raised.value.hint
    assert "early-exit+exits:10/20/30/20/20" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("early-exit", "early-exit"),
        ("early-exit:2", "early-exit:2"),
        (" early-exit:6 ", "early-exit:6"),
        ("early-exit+exits:10/20/30/20/20", "early-exit+exits:1/2/3/2/2"),
        ("early-exit+exits:0/0/0/0/5", "early-exit+exits:0/0/0/0/1"),
    ],
)
def test_every_spelling_has_one_canonical_form(text: str, canonical: str) -> None:
    assert parse_encoder(text).compact == canonical
    assert parse_encoder(canonical) == parse_encoder(text)


@pytest.mark.parametrize(
    "text",
    [
        *("early-exit:1", "early-exit:7", "early-exit:0", "early-exit:-2", "early-exit:", "early-exit:two"),
        *("early-exit+exits:", "early-exit+exits:1/2/3", "early-exit+exits:0/0/0/0/0", "early-exit+exits:1/2/3/4/5/6"),
        *("early-exit+exits:1/2/-3/4/5", "early-exit+exits:1/2/3.5/4/5", "early-exit:3+exits:1/2/3/4/5"),
        *(
            "early-exit+exits:1/1/1/1/1+exits:1/1/1/1/1",
            "early-exit+conv",
            "early-exit:3+conv",
            "early-exit+exit:1/1/1/1/1",
        ),
    ],
)
def test_what_is_no_spelling_is_refused_with_the_grammar_or_the_nearest(text: str) -> None:
    with pytest.raises(BenchError) as raised:
        parse_encoder(text)
    assert raised.value.exit_code == 2
    assert raised.value.hint
    assert "early-exit" in raised.value.hint or "exits" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("early_exit:3", "early-exit"),
        ("Early-Exit", "early-exit"),
        ("hybird", "hybrid"),
        ("litee", "lite"),
        ("pen", "pem"),
    ],
)
def test_a_misspelt_family_is_told_the_nearest_and_its_grammar(text: str, near: str) -> None:
    with pytest.raises(BenchError, match="unknown schedule") as raised:
        parse_encoder(text)
    assert raised.value.hint == f"did you mean '{near}'? {GRAMMARS[near]}"


def test_values_that_cannot_be_are_refused() -> None:
    for wrong in ({"exit": 1}, {"exit": 7}, {"exit": True}, {"shares": (1, 2)}, {"exit": 3, "shares": (1, 1, 1, 1, 1)}):
        with pytest.raises(BenchError):
            EarlyExit(**wrong)  # type: ignore[arg-type]
