"""The formulas of a detector equal a trace of its module and fvcore, to the last FLOP; its parameters the module's."""

from __future__ import annotations

import random

import pytest

from proscale_bench.cost.count import as_given, count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import CONVENTIONS, RULES
from proscale_bench.measure.flops import sum_flops, trace_model
from proscale_bench.measure.fvcore_count import count_with_fvcore
from proscale_bench.models.build import build
from proscale_bench.specs.deformable_detr import DeformableDetrSpec, deformable_detr
from proscale_bench.specs.encoders.multiscale import parse_compact

ENCODERS = (
    "baseline",
    "2,2,1,1",
    "0,1,0,2+keep:0.3",
    "baseline:0",
    "lite:(2+1)x1",
    "lite:(2+1)x1+h2l2+kda+proj-key",
    "lite:(1+1)x2+same-loc+full-ffn",
)
BOTH = ("tiny", "resnet50")
KINDS = ("", "+refine", "+two-stage", "+two-stage+ffn:96")


def drawn(backbone: str, number: int) -> list[tuple[DeformableDetrSpec, str]]:
    draw = random.Random(f"{backbone} {number}")
    return [
        (
            deformable_detr(
                parse_compact(ENCODERS[(number + index) % len(ENCODERS)]),
                backbone,
                name="deformable-detr" + draw.choice(KINDS),
                classes=draw.randrange(1, 20),
                queries=draw.randrange(1, 60),
                width=draw.choice((32, 64)),
            ),
            f"{draw.randrange(65, 260)}x{draw.randrange(65, 260)}",
        )
        for index in range(7)
    ]


@pytest.mark.parametrize(
    ("backbone", "models"),
    [("tiny", drawn("tiny", 0)[:4]), ("resnet50", drawn("resnet50", 4)[:2])]
    + [
        pytest.param(name, [*drawn(name, 0), *drawn(name, 1), *drawn(name, 5)], marks=pytest.mark.slow) for name in BOTH
    ],
)
def test_the_closed_form_is_the_trace(backbone: str, models: list[tuple[DeformableDetrSpec, str]]) -> None:
    """At random sizes, under all rules and both conventions, as counted and as executed."""
    for spec, word in models:
        size = as_given(spec, parse_size(word))
        for as_executed in (False, True):
            traces = trace_model(spec, size, as_executed=as_executed)
            for rules in RULES.values():
                for convention in CONVENTIONS:
                    counted = count_model(spec, size, rules, convention, as_executed)
                    assert dict(counted.flops) == sum_flops(traces, rules, convention), (spec, word, rules.name)


@pytest.mark.parametrize("backbone", ["tiny", "resnet50"])
def test_fvcore_counts_the_same(backbone: str) -> None:
    models = drawn(backbone, 2)[: 3 if backbone == "tiny" else 1]
    for spec, word in models:
        size = as_given(spec, parse_size(word))
        found = count_with_fvcore(spec, size.groups[0])
        assert found.flops == dict(count_model(spec, size, RULES["fvcore"]).flops), (spec, word)


@pytest.mark.parametrize("backbone", ["tiny", "resnet50", "swin_t"])
def test_the_parameters_are_the_modules(backbone: str) -> None:
    for spec, _ in drawn(backbone, 3):
        model = build(spec, device="meta")
        assert sum(spec.parameters().values()) == sum(one.numel() for one in model.parameters()), spec
        for part, number in spec.parameters().items():
            module = model.get_submodule("decoder" if part == "transformer_decoder" else part)
            assert number == sum(one.numel() for one in module.parameters()), (spec, part)
