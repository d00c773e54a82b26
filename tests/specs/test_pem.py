"""PEM's pixel decoder as data: spellings, and formulas that equal the counts of the official module."""

from __future__ import annotations

from typing import Any

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import NEVER_COUNTED, RULES
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.specs.backbones import BACKBONES, get_backbone
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import pyramid_width
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.specs.terms import Operator

from .reference_counts import count, records

# The official module's children that run each of our parts; `dcn` runs two, of which only the sum is known.
MODULES = {
    "in_projections conv_avg": ("encoder_projection",),
    "csm": ("encoder_modulation",),
    "dcn": ("encoder_deform_conv", "encoder_upsampling"),
    "out": ("pixel_embedding",),
}


@pytest.mark.parametrize("record", records("pem"))
def test_counts_and_parameters_equal_those_of_the_official_module(record: dict[str, Any]) -> None:
    arguments, channels = record["arguments"], get_backbone(record["backbone"]).channels
    encoder, head = Pem(arguments["conv_dim"]), Head(width=arguments["mask_dim"])
    tables = encoder.terms(channels, head)
    found = count(tables.values(), record)
    assert {operator.value: flops for operator, flops in found.items()} == record["by_operator"]
    assert sum(found.values()) == record["total"]
    for theirs, ours in MODULES.items():
        expected = sum(record["by_module"][module] for module in theirs.split())
        assert sum(count((tables[part] for part in ours), record).values()) == expected, theirs
    assert encoder.parameters(channels, head) == record["params_total"]


def test_the_whole_of_it_on_r50() -> None:
    """The page's numbers. Beside the deformable convolutions `complete` has the gates, one product an element."""
    spec, size = mask2former(Pem()), parse_size("800x1344")
    names = [part.name for part in spec.encoder.parts]
    forms = {rules: ClosedForm(spec, RULES[rules]) for rules in RULES}
    flops = {rules: sum(form.count(size)[name] for name in names) for rules, form in forms.items()}
    assert flops["fvcore"] == flops["published"] == 12_882_702_848
    operators = forms["complete"].by_operator(size)
    deformable = sum(operators[name][Operator.DEFORM_CONV] for name in names)
    gates = sum(operators[name][Operator.GATING] for name in names)
    assert deformable == 3_251_404_800
    assert gates == 128 * (67_200 + 16_800 + 4_200 + 1_050)
    assert flops["complete"] == flops["fvcore"] + deformable + gates
    assert forms["fvcore"].uncounted(size)[Operator.DEFORM_CONV] == deformable
    assert spec.parameters()["encoder"] == 2_178_001
    assert any("deformable convolutions" in what for what in NEVER_COUNTED)
    assert round(count_flops("pem", "swin_t", "800x1344").gflops["encoder"], 2) == 10.30
    assert (
        round(count_flops("pem", "resnet50", "1024x2048").gflops["encoder"], 3) == 25.127
    )  # of PEM's Cityscapes model


@pytest.mark.parametrize("as_executed", [False, True])
def test_the_transformer_decoder_lifts_each_level(as_executed: bool) -> None:
    spec, size = mask2former(Pem()), parse_size("800x1344")
    form, base = (ClosedForm(one, RULES["fvcore"], as_executed=as_executed) for one in (spec, spec.baseline()))
    lifted = form.count(size)["transformer_decoder"] - base.count(size)["transformer_decoder"]
    assert lifted == 128 * 256 * (16_800 + 4_200 + 1_050)
    parameters = [one.parameters()["transformer_decoder"] for one in (spec, spec.baseline())]
    assert parameters[0] - parameters[1] == 3 * (128 * 256 + 256)


def test_a_pyramid_as_wide_as_the_head_is_not_lifted() -> None:
    as_wide, base = mask2former(Pem(256)), mask2former(baseline())
    assert as_wide.terms()["transformer_decoder"] == base.terms()["transformer_decoder"]
    assert as_wide.parameters()["transformer_decoder"] == base.parameters()["transformer_decoder"]


@pytest.mark.parametrize(("backbone", "width"), [("resnet50", 128), ("swin_l", 128), ("tiny", 32)])
def test_it_is_half_as_wide_as_the_head(backbone: str, width: int) -> None:
    head = mask2former(Pem(), backbone).head
    assert pyramid_width(Pem(), head) == width
    assert pyramid_width(Pem(64), head) == 64
    assert pyramid_width(baseline(), head) == head.width


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_as_executed_norms_are_folded(backbone: str) -> None:
    form = ClosedForm(mask2former(Pem(), backbone), RULES["fvcore"], as_executed=True)
    operators = form.by_operator(parse_size("97x131"))
    assert not any(operators[part.name][Operator.BATCH_NORM] for part in Pem.parts)


@pytest.mark.parametrize(
    ("text", "encoder", "compact"),
    [("pem", Pem(), "pem"), (" pem ", Pem(), "pem"), ("pem+width:064", Pem(64), "pem+width:64")],
)
def test_spellings(text: str, encoder: Pem, compact: str) -> None:
    assert parse_encoder(text) == encoder
    assert encoder.compact == str(encoder) == compact
    assert parse_encoder(compact) == encoder


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("pem+widht:64", "unknown schedule 'pem+widht:64'", "'pem+width:64'"),
        ("pem:3", "unknown schedule 'pem:3'", "'pem+width:64'"),
        ("pem+conv", "unknown schedule 'pem+conv'", "'pem+width:64'"),
        ("pem+width:", "unknown schedule 'pem+width:'", "'pem+width:64'"),
        ("pem+width:-2", "unknown schedule 'pem+width:-2'", "'pem+width:64'"),
        ("pem+width:0", "0 channels is no even number from 2 to 4096", "'pem+width:64'"),
        ("pem+width:33", "33 channels is no even number from 2 to 4096", "'pem+width:64'"),
        ("pem+width:5000", "5000 channels is no even number from 2 to 4096", "'pem+width:64'"),
    ],
)
def test_what_is_no_spelling_says_what_would_be(text: str, message: str, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_encoder(text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == ExitCode.USAGE
