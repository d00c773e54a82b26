"""The hybrid encoder as data: spellings, and formulas that equal the counts of RT-DETR's own modules."""

from __future__ import annotations

from typing import Any

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import get_backbone
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.parts import FPN_UPSAMPLING, PIXEL_EMBEDDING
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.spelling import parse_encoder

from .reference_counts import count, records

OURS = (PIXEL_EMBEDDING.name, FPN_UPSAMPLING.name)  # Mask2Former's step to stride 4, which RT-DETR does not have


def spec_of(arguments: dict[str, Any]) -> tuple[Hybrid, Head]:
    """The encoder and head of a record's arguments."""
    encoder = Hybrid(
        folded=arguments["folded"],
        expansion=arguments.get("expansion", 1.0),
        blocks=round(3 * arguments.get("depth_mult", 1)),
    )
    return encoder, Head(width=arguments["d"], encoder_heads=arguments["heads"], encoder_ffn=arguments["ffn"])


@pytest.mark.parametrize("record", records("hybrid"))
def test_counts_and_parameters_equal_those_of_the_official_modules(record: dict[str, Any]) -> None:
    encoder, head = spec_of(record["arguments"])
    channels = get_backbone(record["backbone"]).channels
    tables = {name: one for name, one in encoder.terms(channels, head).items() if name not in OURS}
    assert {operator.value: flops for operator, flops in count(tables.values(), record).items()} == record[
        "by_operator"
    ]
    assert sum(count(tables.values(), record).values()) == record["total"]
    modules = {
        "encoder_projection": ("input_proj",),
        "encoder_top_down": ("lateral_convs", "fpn_blocks"),
        "encoder_bottom_up": ("downsample_convs", "pan_blocks"),
    }
    nearest = record["by_operator"]["upsample_nearest2d"]  # the root's own there
    for name, theirs in modules.items():
        expected = sum(record["by_module"][module] for module in theirs) + nearest * (name == "encoder_top_down")
        assert sum(count([tables[name]], record).values()) == expected, name
    embedding = parts.pixel_embedding_parameters(channels, head.width, "conv")
    assert encoder.parameters(channels, head) - embedding == record["params_total"]


WORDS = {
    "hybrid": Hybrid(),
    "hybrid+folded": Hybrid(folded=True),
    "hybrid+official": Hybrid(position_order="official"),
    "hybrid+maxpool": Hybrid(pixel_embedding="maxpool"),
    "hybrid+folded+official+dw+expansion:0.5+blocks:2": Hybrid(True, "official", "depthwise", 0.5, 2),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_spelling_is_read_and_written(word: str) -> None:
    assert parse_encoder(word) == WORDS[word]
    assert WORDS[word].compact == word
    assert str(WORDS[word]) == word
    assert WORDS[word].encoder == "hybrid"


@pytest.mark.parametrize(
    ("word", "canonical"),
    [
        (" hybrid+token+conv ", "hybrid"),
        ("hybrid+expansion:1+blocks:3", "hybrid"),
        ("hybrid+expansion:0.50+folded", "hybrid+folded+expansion:0.5"),
        ("hybrid+folded+blocks:0", "hybrid+blocks:0"),  # there is nothing to fold
    ],
)
def test_two_spellings_of_one_encoder_are_equal(word: str, canonical: str) -> None:
    assert parse_encoder(word).compact == canonical
    assert parse_encoder(word) == parse_encoder(canonical)


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("hybrid+fold", "unknown option '+fold'", "did you mean 'folded'? a hybrid encoder is"),
        ("hybrid+xyz", "unknown option '+xyz'", "a hybrid encoder is"),
        ("hybrid:3", "unknown schedule 'hybrid:3'", "a hybrid encoder is"),
        ("hybird+folded", "unknown schedule 'hybird+folded'", "did you mean 'hybrid'? a hybrid encoder is"),
        ("LIT", "unknown schedule 'LIT'", "did you mean 'lite'? "),
        ("hybrid+folded+folded", "an option is given twice", "give each option once"),
        ("hybrid+expansion:0", "expansion 0.0 is not from 1/32 to 8", "RT-DETR uses 1"),
        ("hybrid+expansion:9", "expansion 9.0 is not from 1/32 to 8", "RT-DETR uses 1"),
        ("hybrid+expansion:nan", "'nan' is no number", "a hybrid encoder is"),
        ("hybrid+blocks:101", "101 blocks is not a number from 0 to 100", "RT-DETR uses 3"),
        ("hybrid+blocks", "'' is no number", "a hybrid encoder is"),
    ],
)
def test_what_is_no_spelling_says_what_would_be(word: str, message: str, hint: str) -> None:
    with pytest.raises(BenchError) as error:
        parse_encoder(word)
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_the_page_s_totals_hold() -> None:
    """The whole pixel decoder at 800x1344 under fvcore's rules, without the upsampling that is charged to the head."""
    expected = {"resnet50": (115.36, 110.12), "swin_t": (110.20, 104.96)}
    for backbone, gflops in expected.items():
        for word, total in zip(("hybrid", "hybrid+folded"), gflops, strict=True):
            assert round(count_flops(word, backbone, "800x1344").gflops["encoder"], 2) == total
