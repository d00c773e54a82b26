"""The formulas of token layers on four levels: fvcore's counts of Deformable DETR's official encoder."""

from __future__ import annotations

from typing import Any

import pytest

from proscale_bench.specs.backbones import get_backbone
from proscale_bench.specs.encoders import parts
from proscale_bench.specs.levels import TOKEN_LEVELS
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.terms import Operator

from .reference_counts import count, records


@pytest.mark.parametrize("record", records("deformable_detr"))
def test_the_formulas_give_fvcores_count_of_the_official_module(record: dict[str, Any]) -> None:
    told = record["arguments"]
    channels, levels = get_backbone(record["backbone"]).channels, TOKEN_LEVELS[4 - told["levels"] : 4]
    head, width = Head(width=told["d"], encoder_ffn=told["ffn"]), told["d"]
    layers = [parts.token_layer_terms(head, levels)] * told["layers"]
    found = count([parts.projection_terms(channels, width, levels), *layers], record)
    assert found == {Operator(name): flops for name, flops in record["by_operator"].items()}
    assert sum(found.values()) == record["total"]
    parameters = told["layers"] * parts.token_layer_parameters(head, len(levels)) + len(levels) * width
    assert parts.projection_parameters(channels, width, levels) + parameters == record["params_total"]
