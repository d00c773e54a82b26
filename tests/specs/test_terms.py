"""Quantities are functions of the size; a table of terms and a tree of parts add up."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.staged import baseline, parse_compact
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import Part, leaves, rows, with_sums
from proscale_bench.specs.terms import Einsum, One, Operator, OutputPixels, Sides, Squared, Terms, Tokens

sides = st.builds(Sides, *[st.integers(1, 3_000)] * 4)


@given(sides, st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]), st.sampled_from([1, 7, 12]))
def test_tokens_are_rounded_up_to_strides_and_windows(given_sides: Sides, stride: int, window: int) -> None:
    height, width = (-(-side // stride) for side in given_sides[:2])
    windows = -(-height // window) * -(-width // window)
    assert Tokens(stride).at(given_sides) == height * width
    assert Tokens(stride, window).at(given_sides) == windows * window**2


@given(sides)
def test_the_other_quantities(given_sides: Sides) -> None:
    tokens = Tokens(32)
    assert One().at(given_sides) == 1
    assert Squared(tokens).at(given_sides) == tokens.at(given_sides) ** 2
    assert OutputPixels().at(given_sides) == given_sides.output_height_px * given_sides.output_width_px
    assert Einsum(7, tokens).at(given_sides) == 7 * tokens.at(given_sides)


def test_quantities_of_one_content_are_of_one_kind_only_when_they_are() -> None:
    kinds = {Tokens(32), Tokens(32, 1), Squared(Tokens(32)), Einsum(32, Tokens(32)), One(), OutputPixels()}
    assert len(kinds) == 5


def test_a_stride_of_64_is_a_ceiling_and_no_ratio_to_32() -> None:
    assert Tokens(64).at(Sides(96, 96, 96, 96)) == 4  # 9 at stride 32 would be 2.25


def test_terms_of_one_key_add_up() -> None:
    table = Terms()
    table.add(Operator.CONV, 2, Tokens(4))
    table.add(Operator.CONV, 3, Tokens(4))
    assert table == {(Operator.CONV, Tokens(4)): 5}


def test_a_tree_of_parts_adds_up_and_quoted_parts_stand_first() -> None:
    parts = (
        Part("encoder", "encoder", quoted=True),
        Part("projection", "projection", "encoder"),
        Part("layers", "layers", "encoder", quoted=True),
        Part("layer_1", "layer 1", "layers", numbered=True),
        Part("layer_2", "layer 2", "layers", numbered=True),
        Part("rest", "rest"),
        Part("total", "total", None),
    )
    assert [part.name for part in leaves(parts)] == ["projection", "layer_1", "layer_2", "rest"]
    assert [part.name for part in rows(parts)] == ["encoder", "layers", "projection", "rest", "total"]
    sums = with_sums({"projection": 1, "layer_1": 10, "layer_2": 100, "rest": 1000}, parts)
    assert (sums["layers"], sums["encoder"], sums["total"]) == (110, 111, 1111)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_a_named_model_has_no_dimensions_of_its_own(backbone: str) -> None:
    spec = mask2former(baseline(), backbone)
    assert (spec.backbone_name, spec.dimensions(), spec.classes) == (backbone, {}, None)
    assert spec.baseline() == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(pickle.loads(pickle.dumps(spec))) == hash(spec)


def test_what_differs_from_the_name_is_a_dimension() -> None:
    spec = mask2former(parse_compact("3,3,3"), "tiny", classes=3, queries=50, width=128)
    assert (spec.dimensions(), spec.classes) == ({"width": 128, "queries": 50}, 3)
    assert mask2former(parse_compact("3,3,3"), "swin_l", queries=200).dimensions() == {}
    assert mask2former(parse_compact("3,3,3"), "swin_l", queries=100).dimensions() == {"queries": 100}


def test_every_leaf_has_terms_and_nothing_else_does() -> None:
    for spelling in ("baseline", "3,3,3", "0,0,0", "4:2,543:4+trc:conv"):
        spec = mask2former(parse_compact(spelling))
        names = {part.name for part in leaves(spec.parts)}
        assert set(spec.terms()) | {"encoder_token_layers"} == names | {"encoder_token_layers"}


def test_widths_and_queries_change_the_cost() -> None:
    size, named = parse_size("64x64"), mask2former(baseline(), "tiny")
    wide = mask2former(baseline(), "tiny", width=128)
    one, other = (sum(ClosedForm(spec, RULES["fvcore"]).count(size).values()) for spec in (named, wide))
    assert other > one
    assert sum(wide.parameters().values()) > sum(named.parameters().values())


@pytest.mark.parametrize(
    ("given_numbers", "named"),
    [
        ({"classes": 0}, "0 classes"),
        ({"queries": -1}, "-1 queries"),
        ({"width": 100}, "norm groups"),
        ({"width": 0}, "0 channels"),
    ],
)
def test_dimensions_that_no_model_can_have(given_numbers: dict[str, int], named: str) -> None:
    with pytest.raises(BenchError, match=named):
        mask2former(baseline(), "resnet50", **given_numbers)
    with pytest.raises(BenchError, match="unknown backbone"):
        mask2former(baseline(), "resnet51")
