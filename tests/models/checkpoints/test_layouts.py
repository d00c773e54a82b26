"""Keys of one layout and ours, both ways from one table."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.key_layout import Template
from proscale_bench.models.checkpoints.layouts import HUGGING_FACE, LAYOUTS, OFFICIAL
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.encoders.staged import Schedule, baseline
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.masked_decoder import Head

from .samples import heads, resnets, schedules, swins


@given(
    st.one_of(schedules(0), st.just(baseline())), st.one_of(swins(), resnets()), heads(), st.sampled_from([*LAYOUTS])
)
@settings(max_examples=12, deadline=None)
def test_every_key_goes_there_and_back(schedule: Schedule, backbone: Swin | ResNet, head: Head, name: str) -> None:
    layout = LAYOUTS[name]
    if layout is HUGGING_FACE:
        schedule = baseline()
    model = build(Mask2FormerSpec(backbone, schedule, head), device="meta")
    seen: set[str] = set()
    for key in model.state_dict():
        theirs = layout.to_theirs(key)
        assert len(theirs) in (1, 3), key
        assert [layout.to_ours(one) for one in theirs] == [
            (key, part if len(theirs) == 3 else None) for part in range(len(theirs))
        ]
        assert all(layout.current(one) == one for one in theirs)
        assert not seen & set(theirs)
        seen |= set(theirs)


@pytest.mark.parametrize(
    ("key", "current"),
    [
        ("sem_seg_head.adapter_1.weight", "sem_seg_head.pixel_decoder.adapter_1.weight"),
        ("sem_seg_head.predictor.static_query.weight", "sem_seg_head.predictor.query_feat.weight"),
        ("predictor.class_embed.bias", "sem_seg_head.predictor.class_embed.bias"),
        ("pixel_decoder.layer_1.weight", "sem_seg_head.pixel_decoder.layer_1.weight"),
    ],
)
def test_older_official_spellings_are_read(key: str, current: str) -> None:
    assert OFFICIAL.current(key) == current


@pytest.mark.parametrize(
    ("template", "key", "found"),
    [
        ("a.{s}.b.", "a.3.b.c", ({"s": 3}, "c")),
        ("a.{2s+1}.", "a.7.x", ({"s": 3}, "x")),
        ("a.{2s+1}.", "a.6.x", None),
        ("a.{3f-3}.", "a.0.x", ({"f": 1}, "x")),
        ("a.{n+1}.", "a.0.x", None),
        ("a.{s}.", "a.03.x", None),
        ("a.b$", "a.b", ({}, "")),
        ("a.b$", "a.b.c", None),
        ("a.b.", "a-b.c", None),
    ],
)
def test_templates_read_numbers(template: str, key: str, found: tuple[dict[str, int], str] | None) -> None:
    assert Template(template).match(key) == found
    if found:
        assert Template(template).fill(found[0]) + found[1] == key
