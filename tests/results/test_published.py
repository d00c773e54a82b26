"""Published numbers are joined where they belong, with their source, and nowhere else."""

from __future__ import annotations

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.results.published import (
    OFFICIAL_PARTS,
    OfficialCount,
    accuracy_of,
    official_counts,
    published_result,
    published_results,
)
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.staged import parse_compact
from tests.results.records import record


def test_every_result_names_its_source_and_a_configuration_that_exists() -> None:
    assert len(published_results()) == 9
    for result in published_results():
        assert result.source
        assert result.pq is not None
        assert 40 < result.pq < 60
        assert result.backbone in BACKBONES
        assert parse_compact(result.schedule).compact == result.schedule
        assert bool(result.cost_source) == (result.gflops is not None)
        assert (result.fps is None) == (result.device == "")


@pytest.mark.parametrize(
    ("backbone", "schedule", "pq"),
    [
        ("resnet50", "baseline", 51.9),
        ("resnet50", "3,3,3", 51.44),
        ("swin_t", "baseline", 53.2),
        ("swin_t", "3,3,3", 52.88),
        ("swin_b", "baseline", 55.1),  # from ImageNet-1k; 56.4 from 21k
        ("swin_l", "baseline", 57.8),
    ],
)
def test_published_accuracy(backbone: str, schedule: str, pq: float) -> None:
    result = published_result(backbone, schedule)
    assert result is not None
    assert result.pq == pq
    assert accuracy_of(result).provenance == "published"


@pytest.mark.parametrize(("backbone", "schedule"), [("swin_t", "1,1,1"), ("tiny", "baseline"), ("swin_b", "3,3,3")])
def test_no_published_accuracy_is_none(backbone: str, schedule: str) -> None:
    assert published_result(backbone, schedule) is None
    assert record(schedule, backbone).accuracy is None


def test_the_papers_totals_are_met_under_their_rules() -> None:
    for result in published_results():
        if printed := result.gflops:
            ours = count_flops(result.schedule, result.backbone, "coco-first100", rules="published")
            assert round(ours.gflops["total_with_postprocessing"]) == printed


@pytest.mark.parametrize(
    "official", official_counts(), ids=lambda o: f"{o.backbone}-{o.height_px}x{o.width_px}-{o.schedule}"
)
def test_every_part_of_the_official_count_is_ours(official: OfficialCount) -> None:
    ours = count_flops(
        official.schedule,
        official.backbone,
        (official.height_px, official.width_px),
        (official.output_height_px, official.output_width_px),
    )
    assert {part: ours.part_flops[part] for part in ("backbone", *OFFICIAL_PARTS)} == official.flops
    parameters = ours.spec.parameters()
    assert (parameters["encoder"], sum(parameters.values())) == (official.params_encoder, official.params_total)


def test_there_are_68_official_counts_all_different() -> None:
    keys = {
        (c.backbone, c.schedule, c.height_px, c.width_px, c.output_height_px, c.output_width_px)
        for c in official_counts()
    }
    assert len(keys) == len(official_counts()) == 68


def test_a_reference_is_joined_at_its_own_size_alone() -> None:
    kinds = {
        size: [reference.kind for reference in record("baseline", "swin_t", size).references]
        for size in ("800x1333", "800x1334", "coco-first100", "coco-val")
    }
    assert kinds == {"800x1333": ["official_code"], "800x1334": [], "coco-first100": ["paper"], "coco-val": []}
