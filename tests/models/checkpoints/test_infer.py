"""Dimensions and schedule are read off shapes alone: what was built is what is found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.infer import NoBackbone, infer
from proscale_bench.models.checkpoints.shapes import Hints
from proscale_bench.specs.backbones import BACKBONES, ResNet, Swin
from proscale_bench.specs.encoders.staged import Schedule, baseline, parse_compact
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.specs.masked_decoder import Head

from .samples import HEAD, SWIN, heads, resnets, schedules, swins


def shapes_of(spec: Mask2FormerSpec) -> dict[str, tuple[int, ...]]:
    model = build(spec, device="meta")
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def small_shapes(schedule: str, **head: int) -> dict[str, tuple[int, ...]]:
    return shapes_of(Mask2FormerSpec(SWIN, parse_compact(schedule), Head(**{**vars(HEAD), **head})))


@given(schedules(), st.one_of(swins(), resnets()), heads())
@settings(max_examples=20, deadline=None)
def test_what_was_built_is_what_is_found(schedule: Schedule, backbone: Swin | ResNet, head: Head) -> None:
    found = infer(shapes_of(Mask2FormerSpec(backbone, schedule, head)))
    assert (found.schedule, found.backbone, found.head) == (schedule, backbone, head)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_named_model_is_found(name: str) -> None:
    for schedule in (baseline(), parse_compact("3,3,3"), parse_compact("2,2,2+conv+trc:conv")):
        spec = mask2former(schedule, name)
        assert infer(shapes_of(spec)).spec == spec


@pytest.mark.parametrize(
    "schedule",
    ["2,2,1,1", "0,0,0,3+trc:conv", "5:1,54:1,5432:1", "6:1,65:0,65432:2", "1,1,1+dw", "1,1,0,1+dw+trc:none"],
)
def test_levels_and_depth_wise_kernels_are_in_the_shapes(schedule: str) -> None:
    found = infer(small_shapes(schedule))
    assert found.schedule == parse_compact(schedule)
    assert found.head.encoder_heads == HEAD.encoder_heads


def test_the_share_of_kept_tokens_is_in_no_shape() -> None:
    shapes = small_shapes("1,0,1+keep:0.5")
    with pytest.raises(BenchError, match=r"encoder\.layers\.1\.score\.weight: it scores tokens") as caught:
        infer(shapes)
    assert "keep:0.5" in (caught.value.hint or "")
    assert infer(shapes, given=parse_compact("1,0,1+keep:0.5")).schedule.compact == "1,0,1+keep:0.5"


@pytest.mark.parametrize("schedule", ["3,3,0", "2,0,0", "0,2,0", "0,0,0+conv", "1,1,0+trc:none"])
def test_without_a_layer_over_three_levels_eight_heads_are_meant(schedule: str) -> None:
    shapes = small_shapes(schedule, encoder_heads=8, decoder_heads=8)
    assert infer(shapes).schedule == parse_compact(schedule)
    assert infer(shapes).head.encoder_heads == 8


def test_heads_come_from_the_schedule_given_or_the_metadata() -> None:
    shapes = small_shapes("2,0,0", encoder_heads=4)
    with pytest.raises(BenchError, match="4 or 2 heads"):
        infer(shapes)
    for told in (
        infer(shapes, given=parse_compact("2,0,0")),
        infer(shapes, hints=Hints(encoder_heads=4)),
        infer(shapes, hints=Hints(schedule=parse_compact("2,0,0"))),
    ):
        assert (told.head.encoder_heads, told.schedule.compact) == (4, "2,0,0")


def test_heads_that_fit_every_layer_are_preferred_to_a_guess() -> None:
    """Twelve heads over two levels have the width of eight over three; the first layer decides."""
    shapes = small_shapes("1,1,0", width=96, encoder_heads=12, decoder_heads=12)
    assert infer(shapes).head.encoder_heads == 12
    assert infer(shapes).schedule.compact == "1,1,0"


def test_what_shapes_cannot_tell_is_as_told_else_as_released() -> None:
    shapes = small_shapes("3,3,3")
    assert infer(shapes).schedule == parse_compact("3,3,3")
    told = parse_compact("3,3,3+spatial+residual+temp:1.0")
    assert infer(shapes, hints=Hints(schedule=told)).schedule == told
    assert infer(shapes, given=parse_compact("3,3,3+residual"), hints=Hints(schedule=told)).schedule.residual
    assert infer(small_shapes("4:2,543:4"), given=parse_compact("4:2,543:4")).schedule.compact == "4:2,543:4"


def test_a_head_alone_has_no_backbone() -> None:
    shapes = {key: shape for key, shape in small_shapes("3,3,3").items() if not key.startswith("backbone.")}
    assert infer(shapes).backbone == NoBackbone((8, 16, 32, 64))


WRONG: list[tuple[str, tuple[int, ...] | None, str]] = [
    ("encoder.mask_features.weight", (33, 33, 1, 1), "33"),
    ("encoder.mask_features.weight", (0, 0, 1, 1), "0"),
    ("encoder.layers.0.attention.sampling_offsets.weight", (33, 32), "sampling_offsets"),
    ("encoder.layers.0.attention.sampling_offsets.weight", None, "sampling_offsets"),
    ("encoder.layers.999999.norm1.weight", (32,), "999999"),
    ("decoder.query_features", (5,), "query_features"),
    ("decoder.class_head.weight", (1, 32), "class_head"),
    ("decoder.layers.0.linear1.weight", None, "linear1"),
    ("backbone.features.1.0.attn.relative_position_bias_table", (50, 1), "50 rows"),
    ("backbone.features.1.0.attn.relative_position_bias_table", ((2 * 65 - 1) ** 2, 1), "rows"),
    ("backbone.features.3.0.attn.relative_position_bias_table", (49, 3), "3 heads"),
    ("backbone.features.7.0.attn.relative_position_bias_table", None, "missing"),
    ("backbone.features.0.0.weight", None, "neither"),
]


@pytest.mark.parametrize(("key", "shape", "said"), WRONG)
def test_a_tensor_that_tells_nothing_is_named(key: str, shape: tuple[int, ...] | None, said: str) -> None:
    shapes = small_shapes("2,1,1") | ({key: shape} if shape else {})
    if shape is None:
        del shapes[key]
    with pytest.raises(BenchError, match=said):
        infer(shapes)
