"""Properties of the closed form: parts sum, rules differ by what they say, sizes mean what they say."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.bench.specs import count_flops
from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import PRODUCTS, RULES, get_rules
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.staged import baseline, parse_compact
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.terms import Operator
from proscale_bench.units import GIGA
from tests.specs.test_staged import schedules

backbones = st.sampled_from(sorted(BACKBONES))
sides = st.integers(1, 2_000)
rule_names = st.sampled_from(sorted(RULES))


@given(schedule=schedules, backbone=backbones, height=sides, width=sides, rules=rule_names)
def test_parts_sum_exactly(schedule, backbone, height, width, rules) -> None:  # type: ignore[no-untyped-def]
    count = count_flops(schedule, backbone, (height, width), rules=rules)
    flops, parts = count.part_flops, {part.name: part for part in count.spec.parts}
    for name in parts:
        children = [part.name for part in parts.values() if part.of == name]
        assert flops[name] == (sum(flops[child] for child in children) if children else count.flops[name])
    assert flops["encoder"] == (
        flops["encoder_projection"]
        + flops["encoder_recalibration"]
        + flops["encoder_token_layers"]
        + flops["pixel_embedding"]
    )
    whole = ("backbone", "encoder", "fpn_upsampling", "transformer_decoder")
    assert flops["total"] == sum(flops[part] for part in whole)
    operators = count.closed_form.by_operator(count.input)
    assert sum(sum(row.values()) for row in operators.values()) == flops["total_with_postprocessing"]
    for part, row in operators.items():
        assert sum(row.values()) == flops[part]


@given(schedule=schedules, backbone=backbones, height=sides, width=sides)
def test_rules_differ_by_exactly_what_they_leave_out(schedule, backbone, height, width) -> None:  # type: ignore[no-untyped-def]
    size = parse_size((height, width))
    forms = {name: ClosedForm(mask2former(schedule, backbone), rules) for name, rules in RULES.items()}
    complete = sum(forms["complete"].count(size).values())
    for name, form in forms.items():
        rounding = 0
        if RULES[name].rounds_einsum:
            exact, rounded = forms["complete"].by_operator(size), form.by_operator(size)
            rounding = sum(
                exact[part][operator] - rounded[part][operator]
                for part in exact
                for operator in (Operator.MASK_EINSUM, Operator.SEMANTIC_EINSUM)
                if operator in RULES[name].counted
            )
        left_out = sum(form.uncounted(size).values())
        if name == "published":  # its uncounted semantic product is rounded as well
            left_out += forms["complete"].uncounted(size)[Operator.SEMANTIC_EINSUM]
            semantic = forms["complete"].by_operator(size)["postprocessing"][Operator.SEMANTIC_EINSUM]
            rounding += semantic - form.uncounted(size)[Operator.SEMANTIC_EINSUM]
        assert sum(form.count(size).values()) + left_out + rounding == complete


@given(schedule=schedules, backbone=backbones, rules=rule_names)
def test_the_flop_convention_doubles_products_alone(schedule, backbone, rules) -> None:  # type: ignore[no-untyped-def]
    spec, size = mask2former(schedule, backbone), parse_size("320x480")
    mac = ClosedForm(spec, RULES[rules], "mac").by_operator(size)
    flop = ClosedForm(spec, RULES[rules], "flop").by_operator(size)
    for part, row in mac.items():
        for operator, amount in row.items():
            assert flop[part][operator] == amount * (2 if operator in PRODUCTS else 1)


@pytest.mark.parametrize("name", ["coco-first100", "coco-val"])
@pytest.mark.parametrize("backbone", ["resnet50", "swin_b"])
def test_a_coco_size_is_the_sum_of_its_images(name: str, backbone: str) -> None:
    form = ClosedForm(mask2former(parse_compact("3,3,3"), backbone), RULES["fvcore"])
    size = parse_size(name)
    parts: Counter[str] = Counter()
    for group in size.groups:
        single = form.count(
            parse_size((group.padded_height_px, group.padded_width_px), (group.output_height_px, group.output_width_px))
        )
        for part, flops in single.items():
            parts[part] += group.images * flops
    assert parts == form.count(size)


def test_the_coco_sets() -> None:
    first, val = parse_size("coco-first100"), parse_size("coco-val")
    assert (first.images, len(first.groups)) == (100, 46)
    assert (val.images, len(val.groups)) == (5_000, 603)
    assert len({(g.padded_height_px, g.padded_width_px) for g in first.groups}) == 20
    assert len({(g.padded_height_px, g.padded_width_px) for g in val.groups}) == 55


def test_the_closed_form_of_one_token_layer() -> None:
    """Per token at d = 256, H = 8, P = 4, F = 1024: method page's table, L = 1, 2, 3."""
    tokens = {"1,0,0": 400, "0,1,0": 2_000, "0,0,1": 8_400}
    expected = {"1,0,0": 686_592, "0,1,0": 715_264, "0,0,1": 743_936}
    for compact, per_token in expected.items():
        flops = count_flops(compact, "resnet50", "640x640").flops
        assert flops["encoder_token_layer_1"] == tokens[compact] * per_token


def test_swins_windows_are_padded() -> None:
    """One pixel of stride more can add a row of windows: the cost of Swin is not linear in its size."""

    def swin(size: str) -> int:
        return count_flops("baseline", "swin_t", size).flops["backbone"]

    assert swin("448x448") == 4 * swin("224x224")
    assert swin("256x224") / swin("224x224") > 256 / 224


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_the_input_is_padded_to_32(backbone: str) -> None:
    small = count_flops("3,3,3", backbone, "33x65", "33x65").flops
    assert small == count_flops("3,3,3", backbone, "64x96", "33x65").flops


def test_tiny_is_tiny() -> None:
    for compact in ("baseline", "3,3,3", "6,3,3", "3,3,3+conv"):
        spec = mask2former(parse_compact(compact), "tiny")
        assert sum(spec.parameters().values()) <= 1_200_000
        assert spec.head.width % 32 == 0


def test_the_largest_size_is_exact() -> None:
    flops = count_flops("baseline", "swin_l", "32768x32768").part_flops
    assert isinstance(flops["total"], int)
    assert flops["encoder_token_layers"] == 6 * 743_936 * 21 * 32_768 * 32_768 // 1024


@pytest.mark.parametrize(
    ("size", "output", "said"),
    [
        ("0x10", None, "a side of 0 pixels"),
        ("10x32769", None, "a side of 32769"),
        ("-5x10", None, "unknown size"),
        ("800", None, "unknown size"),
        ("800x", None, "unknown size"),
        ("800x1333x3", None, "unknown size"),
        ("axb", None, "unknown size"),
        ("", None, "unknown size"),
        ("1e3x1e3", None, "unknown size"),
        ("9999999999x1", None, "unknown size"),
        ("coco-vall", None, "unknown size"),
        ("coco-val", "480x640", "cannot go with"),
        ("640x640", "0x0", "a side of 0"),
        ("640x640", "big", "unknown output size"),
        ((800, 13.5), None, "whole numbers"),
        ((800, True), None, "whole numbers"),
        ((800,), None, "whole numbers"),
        ((0, 1), None, "a side of 0"),
    ],
)
def test_bad_sizes(size, output, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BenchError) as caught:
        parse_size(size, output)
    assert said in caught.value.message
    assert caught.value.hint or said == "whole numbers"


@pytest.mark.parametrize("arguments", [{"rules": "fvcor"}, {"convention": "macs"}, {"backbone": "resnet5"}])
def test_unknown_names_have_a_near_miss(arguments: dict[str, str]) -> None:
    with pytest.raises(BenchError) as caught:
        count_flops("3,3,3", **arguments)  # type: ignore[arg-type]
    assert "did you mean" in (caught.value.hint or "")
    assert get_rules("complete").counted == frozenset(Operator)


def test_the_row_is_the_contract() -> None:
    row = count_flops("3,3,3", "swin_t", "800x1333").row()
    assert list(row) == [
        *("backbone", "schedule", "encoder", "input", "convention", "rules", "engine", "gflops", "params_m"),
        *("layers", "baseline", "reduction_pct", "uncounted_ops"),
    ]
    assert row["input"] | {} == {
        "size": "800x1333",
        "height_px": 800,
        "width_px": 1333,
        "padded_height_px": 800,
        "padded_width_px": 1344,
        "output_height_px": 800,
        "output_width_px": 1333,
        "images": 1,
    }
    assert list(row["gflops"]) == [
        *("backbone", "encoder", "encoder_token_layers", "encoder_projection", "encoder_recalibration"),
        *("pixel_embedding", "fpn_upsampling", "transformer_decoder"),
        *("total", "postprocessing", "total_with_postprocessing"),
    ]
    assert row["layers"][0] == {"stage": 1, "levels": ["res5"], "tokens": 1050, "gflops": 0.7209216}
    assert row["layers"][-1]["tokens"] == 22_050
    assert row["gflops"]["encoder"] == 70_347_110_400 / GIGA  # of the official count
    assert row["baseline"]["schedule"] == "baseline"
    assert set(row["uncounted_ops"]) == {"masked_qk", "weighted_sum", "gating"}
    assert count_flops("baseline", "swin_t", "800x1333").reduction_pct == dict.fromkeys(
        ("encoder", "encoder_token_layers", "total", "total_with_postprocessing"), 0.0
    )


def test_a_baseline_is_counted_against_six_layers() -> None:
    against = count_flops("baseline:4").baseline
    assert against is not None
    assert against.spec.encoder == baseline()
