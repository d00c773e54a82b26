"""Lite's formulas: reference counts, three engines, and one canonical spelling for every encoder of the family."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.specs.backbones import get_backbone
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.encoders.interleaved import MAX_LAYERS, Interleaving, Lite
from proscale_bench.specs.levels import STRIDES, TOKEN_LEVELS
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.specs.terms import Operator, Tokens
from tests.measure.engines import TIMES, check_fvcore, check_trace

from .reference_counts import count, records

SPELLINGS = (
    *("lite:(2+1)x3", "lite:(3+1)x2", "lite:(6+1)x1", "lite:(1+1)x2"),
    *("lite:(2+1)x3+kda", "lite:(2+1)x1+kda+proj-key+same-loc", "lite:(3+1)x1+same-loc+full-ffn+maxpool"),
)


@pytest.mark.parametrize("record", records("lite"))
def test_the_formulas_give_fvcores_count_of_the_official_module(record: dict[str, Any]) -> None:
    """On three levels and on four."""
    told = record["arguments"]
    channels, levels = get_backbone(record["backbone"]).channels, TOKEN_LEVELS[4 - told["levels"] : 4]
    head = Head(width=told["d"], encoder_ffn=told["ffn"])
    updates, blocks = re.findall(r"\d+(?=\+1\)|$)", told["blocks"])  # of "H3L1-(2+1)x3", 2 and 3
    layers = Interleaving(int(updates), int(blocks), key_aware=told["key_aware"], small_ffn=told["small_expand"])
    tokens, coarse = [Tokens(STRIDES[level]) for level in levels], told["coarse_levels"]
    projections = parts.projection_terms(channels, told["d"], levels)
    tables = [projections, *layers.terms(head, tokens[:coarse], tokens[coarse:])]
    found = count(tables, record)
    assert found == {Operator(name): flops for name, flops in record["by_operator"].items()}
    assert sum(found.values()) == record["total"]
    parameters = parts.projection_parameters(channels, told["d"], levels) + layers.parameters(head, len(levels))
    assert parameters + len(levels) * told["d"] == record["params_total"]  # with the level embeddings


@pytest.mark.parametrize("backbone", ["tiny", "resnet50"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_parameters_are_the_modules(backbone: str, spelling: str) -> None:
    spec = mask2former(parse_encoder(spelling), backbone)
    module = build(spec, device="meta").encoder
    assert spec.parameters()["encoder"] == sum(one.numel() for one in module.parameters())


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("backbone", ["tiny", "resnet50"])
def test_trace_and_closed_form_agree_at_any_size_under_all_rules(backbone: str, times: int) -> None:
    draw = random.Random(23)
    for spelling in SPELLINGS * times:
        spec = mask2former(parse_encoder(spelling), backbone)
        size = parse_size((draw.randint(1, 500), draw.randint(1, 500)))
        for as_executed in (False, True):
            check_trace(spec, [size], as_executed)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(("backbone", "most"), [("tiny", 160), ("resnet50", 64)])
def test_fvcore_and_closed_form_agree(backbone: str, most: int, times: int) -> None:
    draw = random.Random(29)
    for spelling in SPELLINGS * times:
        spec = mask2former(parse_encoder(spelling), backbone)
        check_fvcore(spec, parse_size((draw.randint(1, most), draw.randint(1, most))))


@pytest.mark.parametrize(
    ("spelling", "resnet50", "swin_t"),
    [
        *(("lite:(2+1)x3", 96.91, 91.75), ("lite:(3+1)x2", 92.12, 86.96), ("lite:(6+1)x1", 87.33, 82.17)),
        *(("lite:(2+1)x3+kda", 101.78, 96.61), ("lite:(3+1)x2+kda", 95.99, 90.83), ("lite:(6+1)x1+kda", 90.20, 85.04)),
    ],
)
def test_whole_pixel_decoders_cost_what_is_known(spelling: str, resnet50: float, swin_t: float) -> None:
    """The encoder at 800x1344, with the 3x3 pixel embedding."""
    for backbone, gflops in (("resnet50", resnet50), ("swin_t", swin_t)):
        found = count_model(mask2former(parse_encoder(spelling), backbone), parse_size("800x1344"), RULES["fvcore"])
        assert round(found.gflops.encoder, 2) == gflops


def test_layers_say_what_they_refine_and_what_they_read() -> None:
    cheap, full = ("res5", "res4"), ("res5", "res4", "res3")
    assert parse_encoder("lite:(2+1)x2").layers == (
        *(LayerSpec(1, cheap, full), LayerSpec(1, full)),
        *(LayerSpec(2, cheap, full), LayerSpec(2, full)),
    )
    count = count_model(mask2former(parse_encoder("lite:(2+1)x1"), "tiny"), parse_size("64x64"), RULES["fvcore"])
    assert [layer["tokens"] for layer in count.row()["layers"]] == [4 + 16, 4 + 16 + 64]
    assert [layer.get("reads") for layer in count.row()["layers"]] == [list(full), None]


interleavings = st.builds(
    Interleaving,
    updates=st.integers(1, 10),
    blocks=st.integers(1, 10),
    key_aware=st.just(True),
    project_keys=st.booleans(),
    same_locations=st.booleans(),
    small_ffn=st.booleans(),
) | st.builds(Interleaving, updates=st.integers(1, 10), blocks=st.integers(1, 10), small_ffn=st.booleans())


@given(st.builds(Lite, interleavings, st.sampled_from(["conv", "maxpool", "depthwise"])))
def test_compact_spelling_round_trips(encoder: Lite) -> None:
    again = parse_encoder(encoder.compact)
    assert again == encoder
    assert hash(again) == hash(encoder)
    assert again.compact == encoder.compact
    assert len(again.layers) == encoder.interleaving.layers


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("lite", "lite:(2+1)x3"),
        (" lite:(2+1)x3 ", "lite:(2+1)x3"),
        ("lite:6+1x1", "lite:(6+1)x1"),
        ("lite+kda", "lite:(2+1)x3+kda"),
        ("lite:(03+1)x2+maxpool+kda", "lite:(3+1)x2+kda+maxpool"),
        ("lite+conv", "lite:(2+1)x3"),
        ("lite:1+1x6+dw+full-ffn", "lite:(1+1)x6+full-ffn+dw"),
    ],
)
def test_every_spelling_has_one_canonical_form(text: str, canonical: str) -> None:
    assert parse_encoder(text).compact == canonical
    assert parse_encoder(canonical) == parse_encoder(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        *((text, "'lite:(2+1)x3'") for text in ("lite:", "lite:3", "lite:(2+2)x3", "lite:(2+1)", "lite:(2+1)x3x2")),
        *(
            (text, "'lite:(2+1)x3'")
            for text in ("lite:(0+1)x3", "lite:(2+1)x0", "lite:2,1", "lite:(2+1)x3kda", "lite+")
        ),
        ("lite+kad", "did you mean 'kda'?"),
        ("lite:(2+1)x3+max-pool", "did you mean 'maxpool'?"),
        ("lite+kda+kda", "once"),
        ("lite+conv+maxpool", "once"),
        ("lite+proj-key", "'+kda'"),
        ("lite:(50+1)x3", f"{MAX_LAYERS}"),
        ("lite:(12345+1)x1", f"{MAX_LAYERS}"),
    ],
)
def test_what_is_no_spelling_is_refused_with_the_grammar_or_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(BenchError) as raised:
        parse_encoder(text)
    assert raised.value.exit_code == 2
    assert raised.value.hint
    assert hint in raised.value.hint


def test_values_that_cannot_be_are_refused() -> None:
    for wrong in ({"updates": 0}, {"blocks": -1}, {"blocks": True}, {"updates": 2.0}, {"project_keys": True}):
        with pytest.raises(BenchError):
            Interleaving(**wrong)  # type: ignore[arg-type]
