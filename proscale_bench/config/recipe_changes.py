"""The changes that flags of `train` make to a recipe, and with it to the recipe's digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proscale_bench.config.recipe import Recipe, ShapesData, StepSchedule, TrapezoidSchedule, ValidationSettings
from proscale_bench.errors import BenchError


@dataclass(frozen=True)
class RecipeChanges:
    """The fields that flags of `train` change, and with them the recipe's digest; None leaves the recipe's."""

    backbone: str | None = None
    iterations: int | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    precision: str | None = None
    start: Path | None = None
    backbone_weights: Path | None = None
    split: str | None = None
    val_split: str | None = None
    validate_every: int | None = None
    score_threshold: float | None = None
    overlap_threshold: float | None = None
    mask_threshold: float | None = None


def with_changes(recipe: Recipe, changes: RecipeChanges) -> Recipe:
    """Change a recipe as the command line wants it.

    Another number of iterations stretches the schedule: milestones and warm-up keep their share. A file to start from
    takes the place of the recipe's, of either kind.

    Raises:
        BenchError: flags that do not fit each other or the recipe.
    """
    if changes.start is not None and changes.backbone_weights is not None:
        raise BenchError("--start has a backbone already, and --backbone-weights is another", "keep one of them")
    plain = ("backbone", "batch_size", "accumulate", "precision")
    update = {name: value for name in plain if (value := getattr(changes, name)) is not None}
    files = {"start": changes.start, "backbone_weights": changes.backbone_weights}
    if any(files.values()):
        update |= {name: path and str(path) for name, path in files.items()}
    if changes.iterations is not None:
        update |= {"iterations": changes.iterations, "schedule": _stretched(recipe, changes.iterations)}
    update |= _other_data(recipe, changes)
    found = recipe.model_copy(update=update)
    if found.batch_size % found.accumulate:
        parts = f"{found.batch_size} images an iteration in {found.accumulate} equal parts"
        raise BenchError(parts, "--batch-size is a multiple of --accumulate")
    return found


def _other_data(recipe: Recipe, changes: RecipeChanges) -> dict[str, Any]:
    """The fields that say what is learnt from and validated on, where flags change them."""
    update: dict[str, Any] = {}
    if changes.split is not None:
        if isinstance(recipe.data, ShapesData):
            raise BenchError(f"--split: the recipe {recipe.name} trains on the embedded data", "leave --split out")
        update["data"] = recipe.data.model_copy(update={"split": changes.split})
    names = ("score_threshold", "overlap_threshold", "mask_threshold")
    changed = {"split": changes.val_split, **{name: getattr(changes, name) for name in names}}
    changed = {name: value for name, value in changed.items() if value is not None}
    if changes.validate_every == 0:
        if changed:
            flag = "val-split" if "split" in changed else next(iter(changed)).replace("_", "-")
            raise BenchError(f"--{flag} with --validate-every 0", "leave one of them out")
        return update | {"validation": None}
    if changes.validate_every is not None:
        changed["every"] = changes.validate_every
    if not changed:
        return update
    settings = recipe.validation or ValidationSettings(every=recipe.checkpoint_every)
    return update | {"validation": settings.model_copy(update=changed)}


def _stretched(recipe: Recipe, iterations: int) -> Any:
    """The schedule of so many iterations; of milestones that fall together, one is left."""
    share = iterations / recipe.iterations
    warmup = min(round(recipe.schedule.warmup_iterations * share), iterations - 1)
    update: dict[str, Any] = {"warmup_iterations": warmup}
    if isinstance(recipe.schedule, StepSchedule):
        places = {round(milestone * share) for milestone in recipe.schedule.milestones}
        update["milestones"] = tuple(sorted(place for place in places if 0 < place < iterations))
    elif isinstance(recipe.schedule, TrapezoidSchedule):
        cooldown = round(recipe.schedule.cooldown_iterations * share)
        update["cooldown_iterations"] = min(max(cooldown, 1), iterations - warmup)
    return recipe.schedule.model_copy(update=update)
