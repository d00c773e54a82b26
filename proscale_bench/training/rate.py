"""The learning rate of each iteration, as a factor of the recipe's: a pure function, so resuming needs no state."""

from __future__ import annotations

from bisect import bisect_right

from proscale_bench.config.recipe import PolynomialSchedule, Recipe


def rate_factor(recipe: Recipe, iteration: int) -> float:
    """What the learning rate is multiplied by at an iteration, the first of which is 0."""
    plan = recipe.schedule
    if isinstance(plan, PolynomialSchedule):
        factor = float((1 - iteration / recipe.iterations) ** plan.power)
    else:
        factor = plan.factor ** bisect_right(plan.milestones, iteration)
    if iteration < plan.warmup_iterations:
        done = iteration / plan.warmup_iterations
        factor *= plan.warmup_factor * (1 - done) + done
    return factor
