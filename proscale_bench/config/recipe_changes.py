"""What the command line changes of a recipe, and with it of the recipe's digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proscale_bench.config.recipe import Recipe, StepSchedule
from proscale_bench.errors import BenchError


@dataclass(frozen=True)
class Changes:
    """By their flags; None leaves the recipe's."""

    backbone: str | None = None
    iterations: int | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    precision: str | None = None
    start: Path | None = None
    backbone_weights: Path | None = None


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """A recipe as the command line wants it.

    Another number of iterations stretches the schedule: milestones and warm-up keep their share. A file to start from
    takes the place of the recipe's, of either kind.

    Raises:
        BenchError: flags that do not fit each other or the recipe.
    """
    if changes.start is not None and changes.backbone_weights is not None:
        raise BenchError("--start has a backbone already, and --backbone-weights is another", "keep one of them")
    update: dict[str, Any] = {
        name: value
        for name in ("backbone", "batch_size", "accumulate", "precision")
        if (value := getattr(changes, name)) is not None
    }
    if changes.start is not None or changes.backbone_weights is not None:
        update |= {
            "start": changes.start and str(changes.start),
            "backbone_weights": changes.backbone_weights and str(changes.backbone_weights),
        }
    if changes.iterations is not None:
        update |= {"iterations": changes.iterations, "schedule": _stretched(recipe, changes.iterations)}
    found = recipe.model_copy(update=update)
    if found.batch_size % found.accumulate:
        raise BenchError(
            f"{found.batch_size} images an iteration in {found.accumulate} equal parts",
            "--batch-size is a multiple of --accumulate",
        )
    return found


def _stretched(recipe: Recipe, iterations: int) -> Any:
    """The schedule of so many iterations; of milestones that fall together, one is left."""
    share = iterations / recipe.iterations
    update: dict[str, Any] = {
        "warmup_iterations": min(round(recipe.schedule.warmup_iterations * share), iterations - 1)
    }
    if isinstance(recipe.schedule, StepSchedule):
        places = {round(milestone * share) for milestone in recipe.schedule.milestones}
        update["milestones"] = tuple(sorted(place for place in places if 0 < place < iterations))
    return recipe.schedule.model_copy(update=update)
