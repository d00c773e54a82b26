"""Flags' changes to a recipe fit together, and change its digest where they change what is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import Recipe, StepSchedule, TrapezoidSchedule, read_recipe
from proscale_bench.config.recipe_changes import RecipeChanges, with_changes
from proscale_bench.errors import BenchError


@pytest.fixture
def published() -> Recipe:
    return read_recipe(find_shipped("recipes", "coco-50ep"))


def test_no_change_is_none(published: Recipe) -> None:
    assert with_changes(published, RecipeChanges()) == published


@pytest.mark.parametrize(
    "change",
    [{"backbone": "swin_t"}, {"iterations": 99}, {"batch_size": 8}, {"accumulate": 2}, {"precision": "bf16"}],
)
def test_what_is_learnt_by_another_recipe_has_another_digest(published: Recipe, change: dict[str, Any]) -> None:
    found = with_changes(published, RecipeChanges(**change))
    ((name, value),) = change.items()
    assert getattr(found, name) == value
    assert found.digest != published.digest
    assert Recipe.model_validate(found.model_dump()) == found


@pytest.mark.parametrize("iterations", [1, 2, 3, 9, 27, 100, 368_750, 737_500])
def test_milestones_and_warm_up_keep_their_share(published: Recipe, iterations: int) -> None:
    schedule = with_changes(published, RecipeChanges(iterations=iterations)).schedule
    assert isinstance(schedule, StepSchedule)
    assert all(0 < milestone < iterations for milestone in schedule.milestones)
    assert schedule.warmup_iterations < iterations
    if iterations >= 27:
        assert schedule.milestones == pytest.approx([iterations * 8 / 9, iterations * 26 / 27], abs=2)
    if iterations >= 368_750:
        assert schedule.warmup_iterations == 10 * iterations // 368_750
    assert sorted(set(schedule.milestones)) == list(schedule.milestones)


def test_a_warm_up_without_milestones_is_stretched_too() -> None:
    shapes = read_recipe(find_shipped("recipes", "shapes"))
    assert with_changes(shapes, RecipeChanges(iterations=900)).schedule.warmup_iterations == 10
    assert with_changes(shapes, RecipeChanges(iterations=1)).schedule.warmup_iterations == 0


def test_a_file_takes_the_place_of_the_recipes(published: Recipe) -> None:
    given = published.model_copy(update={"backbone_weights": "old.pth"})
    found = with_changes(given, RecipeChanges(start=Path("baseline.safetensors")))
    assert (found.start, found.backbone_weights) == ("baseline.safetensors", None)
    found = with_changes(found, RecipeChanges(backbone_weights=Path("new.pth")))
    assert (found.start, found.backbone_weights) == (None, "new.pth")
    assert found.digest == published.digest  # files have digests of their own


def test_a_cool_down_keeps_its_share() -> None:
    shapes = read_recipe(find_shipped("recipes", "shapes"))
    short, one = (with_changes(shapes, RecipeChanges(iterations=count)).schedule for count in (900, 1))
    assert isinstance(short, TrapezoidSchedule)
    assert isinstance(one, TrapezoidSchedule)
    assert (short.warmup_iterations, short.cooldown_iterations) == (10, 180)
    assert (one.warmup_iterations, one.cooldown_iterations) == (0, 1)


def test_what_does_not_fit_is_refused(published: Recipe) -> None:
    with pytest.raises(BenchError, match="16 images an iteration in 3 equal parts"):
        with_changes(published, RecipeChanges(accumulate=3))
    with pytest.raises(BenchError, match="--start has a backbone already"):
        with_changes(published, RecipeChanges(start=Path("a"), backbone_weights=Path("b")))
