"""Post-processing against the official functions' results, and where they have edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from proscale_bench.config.choices import PostprocessingThresholds
from proscale_bench.models.postprocess import (
    Instances,
    MapSegment,
    instances,
    mask_boxes,
    panoptic,
    resize_masks,
    semantic,
    to_original,
)

from .golden import by_score, shared

THINGS = {0, 1}  # of the small examples' three classes


def logits(*labels: int, classes: int = 3) -> Tensor:
    """Queries sure of their labels."""
    return 20.0 * torch.nn.functional.one_hot(torch.tensor(labels), classes + 1).float()


def masks(*rows: str) -> Tensor:
    """One mask a string: `#` is inside."""
    return torch.tensor([[[10.0 if pixel == "#" else -10.0 for pixel in row]] for row in rows])


def unpack(packed: np.ndarray, width: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(packed, axis=-1)[..., :width].astype(bool))


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
def test_the_official_functions_agree(number: int) -> None:
    folder = shared("eval/m2f_postprocess")
    case = json.loads((folder / "cases.json").read_text())[number]
    golden = np.load(folder / f"case{number}.npz")
    scores = torch.from_numpy(golden["cls"])
    output_size = tuple(case["out"])
    resized = resize_masks(torch.from_numpy(golden["mask"]), tuple(case["pad"]), tuple(case["img"]), output_size)
    assert resized.shape == (case["Q"], *output_size)

    sure = unpack(golden["sem_sure"], output_size[1])
    classes = semantic(scores, resized)
    assert torch.equal(classes.argmax(dim=0)[sure], torch.from_numpy(golden["sem_argmax"]).long()[sure])
    assert classes.double().sum().item() == pytest.approx(float(golden["sem_sum"]), rel=1e-5)

    found = panoptic(
        scores,
        resized,
        case["things"],
        PostprocessingThresholds(score=case["object_mask_threshold"], overlap=case["overlap_threshold"]),
    )
    sure = unpack(golden["panoptic_sure"], output_size[1])
    assert torch.equal(found.map[sure], torch.from_numpy(golden["panoptic"]).int()[sure])
    assert [{"id": s.id, "isthing": s.is_thing, "category_id": s.category} for s in found.segments] == case[
        "segments_info"
    ]

    best = instances(scores, resized, top_k=case["topk"], thing_classes=case["things"])
    expected_scores = torch.from_numpy(golden["inst_scores"])
    expected_classes = torch.from_numpy(golden["inst_classes"])
    ours, theirs = by_score(best.scores, best.classes), by_score(expected_scores, expected_classes)
    assert torch.allclose(best.scores[ours], expected_scores[theirs], atol=1e-5)
    assert torch.equal(best.classes[ours], expected_classes[theirs])
    assert torch.equal(best.masks[ours], unpack(golden["inst_masks"], output_size[1])[theirs])


def test_a_model_for_semantic_maps_alone_resizes_class_scores() -> None:
    """Case 4: masks stay at the padded size, class scores go to the original one, instances are of every class."""
    folder = shared("eval/m2f_postprocess")
    case = json.loads((folder / "cases.json").read_text())[4]
    golden = np.load(folder / "case4.npz")
    scores, output_size = torch.from_numpy(golden["cls"]), tuple(case["out"])
    padded = resize_masks(torch.from_numpy(golden["mask"]), tuple(case["pad"]), tuple(case["pad"]))

    classes = to_original(semantic(scores, padded), tuple(case["img"]), output_size)
    sure = unpack(golden["sem_sure"], output_size[1])
    assert torch.equal(classes.argmax(dim=0)[sure], torch.from_numpy(golden["sem_argmax"]).long()[sure])
    assert classes.double().sum().item() == pytest.approx(float(golden["sem_sum"]), rel=1e-5)

    best = instances(scores, padded, top_k=case["topk"])
    expected = torch.from_numpy(golden["inst_scores"]), torch.from_numpy(golden["inst_classes"])
    ours, theirs = by_score(best.scores, best.classes), by_score(*expected)
    assert torch.allclose(best.scores[ours], expected[0][theirs], atol=1e-5)
    assert torch.equal(best.classes[ours], expected[1][theirs])
    assert torch.equal(best.masks[ours], unpack(golden["inst_masks"], case["pad"][1])[theirs])


@pytest.mark.parametrize(
    ("padded", "image", "output"), [((64, 96), (60, 90), (60, 90)), ((16, 24), (16, 24), (33, 20))]
)
def test_steps_that_change_nothing_can_be_left_out(
    padded: tuple[int, int], image: tuple[int, int], output: tuple[int, int]
) -> None:
    found = 10 * torch.randn(5, 16, 24, generator=torch.Generator().manual_seed(0))
    every_step = resize_masks(found, padded, image, output)
    assert torch.equal(resize_masks(found, padded, image, output, skip_identities=True), every_step)


def test_nothing_kept_is_an_empty_map() -> None:
    found = panoptic(logits(3, 3), masks("##..", "..##"), THINGS)
    assert found.segments == ()
    assert found.map.tolist() == [[0, 0, 0, 0]]


def test_things_stay_apart_and_stuff_of_a_class_is_one_segment() -> None:
    found = panoptic(logits(2, 0, 2, 0), masks("##......", "..##....", "....##..", "......##"), THINGS)
    assert found.map.tolist() == [[1, 1, 2, 2, 1, 1, 3, 3]]
    assert found.segments == (MapSegment(1, 2, False), MapSegment(2, 0, True), MapSegment(3, 0, True))
    assert found.map.dtype == torch.int32


def test_a_query_that_loses_its_area_is_dropped() -> None:
    given = logits(0, 1)
    given[1, 1] = 8.0  # less sure than the first, which wins where both are
    covered = masks("####......", "..########")
    kept = panoptic(given, covered, THINGS, PostprocessingThresholds(overlap=0.75))
    assert kept.map.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 2, 2]]
    dropped = panoptic(given, covered, THINGS, PostprocessingThresholds(overlap=0.8))
    assert dropped.map.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    assert dropped.segments == (MapSegment(1, 0, True),)


def test_won_pixels_without_its_own_mask_stay_void() -> None:
    found = panoptic(logits(0), masks("##.."), THINGS)
    assert found.map.tolist() == [[1, 1, 0, 0]]


def test_instances_come_best_first_with_true_boxes() -> None:
    given = torch.zeros(2, 4)
    given[0, 0], given[1, 1], given[1, 2] = 5.0, 6.0, 5.5
    found = instances(given, masks(".##.", "...#"), top_k=3)
    assert found.classes.tolist() == [0, 1, 2]
    assert found.scores.diff().le(0).all()
    assert found.boxes.tolist() == [[1, 0, 3, 1], [3, 0, 4, 1], [3, 0, 4, 1]]
    only_things = instances(given, masks(".##.", "...#"), top_k=3, thing_classes=THINGS)
    assert only_things.classes.tolist() == [0, 1]
    assert isinstance(only_things, Instances)
    assert len(instances(given, masks(".##.", "...#"), top_k=100).scores) == 6


def test_an_empty_mask_has_score_and_box_zero() -> None:
    found = instances(logits(0, 1), masks("....", "####"), top_k=2)
    assert found.scores[1] == 0
    assert found.boxes.tolist() == [[0, 0, 4, 1], [0, 0, 0, 0]]
    assert mask_boxes(torch.zeros(0, 3, 4, dtype=torch.bool)).shape == (0, 4)


def test_masks_are_cropped_between_the_two_resizings() -> None:
    given = torch.full((1, 2, 4), -1.0)
    given[:, :, :2] = 1.0
    resized = resize_masks(given, (8, 16), (8, 8))
    assert resized.shape == (1, 8, 8)
    assert (resized[..., :7] > 0).all()
    assert resize_masks(given, (8, 16), (6, 8), (30, 20)).shape == (1, 30, 20)
