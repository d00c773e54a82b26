"""A Deformable DETR as data: what it costs against published totals, and how it is spelt."""

from __future__ import annotations

import pytest

from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.errors import BenchError
from proscale_bench.specs.deformable_detr import deformable_detr
from proscale_bench.specs.encoders.multiscale import MultiScale, MultiScaleLite, parse_compact


def count(
    schedule: str, size: str, *, rules: str = "fvcore", name: str = "deformable-detr", backbone: str = "resnet50"
) -> FlopCount:
    spec = deformable_detr(parse_compact(schedule), backbone, name=name)
    return count_model(spec, parse_size(size), get_rules(rules))


@pytest.mark.parametrize(
    ("name", "backbone", "total"),
    [
        ("deformable-detr", "resnet50", 172.9),
        ("deformable-detr+two-stage", "resnet50", 177.3),
        ("deformable-detr", "swin_t", 180.4),
        ("deformable-detr+two-stage", "swin_t", 184.8),
    ],
)
def test_the_totals_of_sparse_detrs_readme(name: str, backbone: str, total: float) -> None:
    found = count("baseline", "850x1040", name=name, backbone=backbone)
    assert found.gflops.total == pytest.approx(total, rel=0.002)


def test_the_mean_of_the_official_readme() -> None:
    """173 G over COCO's first 100 images, which keep their size after the resize."""
    assert count("baseline", "coco-first100").gflops.total == pytest.approx(173, abs=0.5)


def test_the_parameters_of_the_published_model() -> None:
    """39.8 M that are trained: the stem and the first stage of the ResNet are frozen there."""
    frozen = 64 * 3 * 49 + (64 * 64 + 9 * 64 * 64 + 2 * 64 * 256) + 2 * (256 * 64 + 9 * 64 * 64 + 64 * 256)
    assert count("baseline", "640x640").params_m.total - frozen / 1e6 == pytest.approx(39.8, abs=0.06)


@pytest.mark.parametrize(
    ("schedule", "published"),
    [("baseline", 137), ("lite:(2+1)x3", 53), ("lite:(6+1)x1", 41), ("lite:(2+1)x3+h2l2", 30)],
)
def test_dinos_and_lites_encoders(schedule: str, published: float) -> None:
    """Table 4 of Lite DETR counts the token layers of FFN 2,048, by a counter of its own on a size that is not stated.

    At 800x1066, COCO's most frequent, the rules `published` meet DINO's 137 to 0.1 %, and miss 41 by 5.4 %; at 800x1040
    all four are met within 5 %. Solved for a cheap and a full layer, the printed numbers are 5.8 and 11.8 G, and ours
    6.5 and 10.5: as if cheap layers did not project anew the values of the fine tokens, which none of them changes
    (0.9 G).
    """
    name = "deformable-detr+ffn:2048"
    assert count(schedule, "800x1040", name=name).gflops["encoder_token_layers"] == pytest.approx(published, rel=0.05)
    if schedule == "baseline":
        at_most_frequent = count(schedule, "800x1066", rules="published", name=name)
        assert at_most_frequent.gflops["encoder_token_layers"] == pytest.approx(published, rel=0.001)


@pytest.mark.parametrize(
    ("share", "total"), [("0.1", 105.4), ("0.2", 112.9), ("0.3", 120.5), ("0.4", 128.0), ("0.5", 135.6)]
)
def test_retention_costs_what_sparse_detr_prints_but_for_its_score(share: str, total: float) -> None:
    """Its score is five linear layers on every token, where ours is one: 3.1 G of the difference, of 3.5 G at most."""
    found = count(f"baseline+keep:{share}", "850x1040", rules="published").gflops.total
    assert 0 < total - found < 3.5


def test_savings_of_encoder_layers_and_total_are_told_apart() -> None:
    found: FlopCount = count("2,2,1,1", "850x1040")
    assert tuple(found.reduction_pct) == ("encoder", "encoder_token_layers", "total")
    saved = [found.reduction_pct[part] for part in found.reduction_pct]
    assert saved == pytest.approx([73.35, 77.07, 38.28], abs=0.01)
    row = found.row()
    assert row["model"] == "Deformable DETR"
    assert row["classes"] == 91
    assert row["input"]["padded_height_px"] == 850


@pytest.mark.parametrize(
    ("spelt", "canonical"),
    [
        ("baseline", "baseline"),
        ("0,0,0,6", "baseline"),
        ("0,0,0,4", "baseline:4"),
        ("2,2,1,1", "2,2,1,1"),
        ("2,2,1,1+keep:0.50", "2,2,1,1+keep:0.5"),
        ("6,0,0,0+keep:0.5", "6,0,0,0"),
        ("baseline+keep:1", "baseline"),
        ("baseline+keep:0.3", "baseline+keep:0.3"),
        ("lite", "lite:(2+1)x3"),
        ("lite:2+1x3+h2l2", "lite:(2+1)x3+h2l2"),
        ("lite:(6+1)x1+h3l1+kda", "lite:(6+1)x1+kda"),
    ],
)
def test_spellings(spelt: str, canonical: str) -> None:
    found = parse_compact(spelt)
    assert found.compact == canonical
    assert parse_compact(canonical) == found
    assert isinstance(found, MultiScaleLite if spelt.startswith("lite") else MultiScale)


@pytest.mark.parametrize(
    ("spelt", "told", "advice"),
    [
        ("3,3,3", "'3,3,3' is not four numbers of layers", "2,2,1,1"),
        ("2,2,1,1+conv", "no option '+conv'", "keep"),
        ("2,2,1,1+kep:0.5", "no option '+kep:0.5'", "did you mean 'keep:0.3'?"),
        ("baseline+keep:0", "keep 0.0 is not a share", "keep:0.3"),
        ("baseline+keep:0.5+keep:0.5", "given twice", "once"),
        ("2,2,1,101", "101 layers is not a whole number from 0 to 100", "2,2,1,1"),
        ("lit:(2+1)x3", "unknown schedule", "lite"),
        ("lite:(2+1)x3+maxpool", "unknown option '+maxpool'", "lite"),
        ("lite:(2+1)x3+h2l2+h3l1", "given twice", "once"),
        ("lite:(0+1)x3", "0 updates", "lite:(2+1)x3"),
        ("", "unknown schedule", "baseline"),
    ],
)
def test_what_is_no_encoder_of_a_detector(spelt: str, told: str, advice: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_compact(spelt)
    assert told in caught.value.message
    assert advice in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("size", "name", "told"),
    [
        ("32x32", "deformable-detr", "res6, at stride 64, sees no more of them than res5"),
        ("8x20", "deformable-detr+two-stage", "res6"),
        ("64x64", "deformable-detr+two-stage", "300 queries are chosen from 85 tokens"),
    ],
)
def test_images_that_are_too_small(size: str, name: str, told: str) -> None:
    with pytest.raises(BenchError, match=told) as caught:
        count("baseline", size, name=name)
    assert "larger images" in (caught.value.hint or "")
    assert count("baseline", "33x20").gflops.total > 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "deformable-detr+refined"}, "did you mean 'refine'?"),
        ({"width": 100}, "as in --width 128"),
        ({"queries": 0}, "at least one"),
        ({"backbone": "resnet5"}, "resnet50"),
    ],
)
def test_what_no_model_can_have(given: dict[str, object], told: str) -> None:
    with pytest.raises(BenchError) as caught:
        deformable_detr(**given)  # type: ignore[arg-type]
    assert told in (caught.value.hint or "")


def test_the_tiny_detector_is_small_enough_to_ship() -> None:
    spec = deformable_detr(parse_compact("baseline"), "tiny", classes=10)
    assert sum(spec.parameters().values()) * 4 < 2.5e6 * 2
    assert sum(spec.parameters().values()) * 2 < 2.5e6
