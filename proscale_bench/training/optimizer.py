"""AdamW as the published models are trained, the learning rate of each iteration, and the average of the weights."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from proscale_bench.config.recipe import (
    DetectorOptimizerSettings,
    OptimizerSettings,
    PolynomialSchedule,
    Recipe,
    TrapezoidSchedule,
)
from proscale_bench.training.batch_norms import running_statistics

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
EMBEDDINGS = ("query_features", "query_positions", "level_embedding", "relative_position_bias_table")
PLACES = ("sampling_offsets", "points")  # the modules of a detector that give sampling offsets and reference points


def build_optimizer(model: nn.Module, recipe: OptimizerSettings) -> torch.optim.AdamW:
    """One group of parameters for each pair of learning rate and decay, by which the schedule scales `initial_lr`."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    is_detector = isinstance(recipe, DetectorOptimizerSettings)
    for name, parameter, decays in _parameters(model):
        rate = recipe.learning_rate * (recipe.backbone_multiplier if name.startswith("backbone.") else 1.0)
        if isinstance(recipe, DetectorOptimizerSettings) and any(place in name.split(".") for place in PLACES):
            rate *= recipe.sampling_multiplier
        groups.setdefault((rate, recipe.weight_decay if decays or is_detector else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,  # one pass over all parameters; on the CPU four times as fast as one by one
    )


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Every parameter once, with its name and whether it decays."""
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = not isinstance(module, NORMS) and name not in EMBEDDINGS
            yield f"{prefix}.{name}".lstrip("."), parameter, decays


def rate_factor(recipe: Recipe, iteration: int) -> float:
    """The factor of the recipe's learning rate at an iteration, the first of which is 0; resuming needs no state."""
    plan = recipe.schedule
    if isinstance(plan, PolynomialSchedule):
        factor = float((1 - iteration / recipe.iterations) ** plan.power)
    elif isinstance(plan, TrapezoidSchedule):
        factor = min(1.0, (recipe.iterations - iteration) / plan.cooldown_iterations)
    else:
        factor = plan.factor ** bisect_right(plan.milestones, iteration)
    if iteration < plan.warmup_iterations:
        done = iteration / plan.warmup_iterations
        factor *= plan.warmup_factor * (1 - done) + done
    return factor


class WeightAverage:
    """The average of what a model's parameters were after each iteration, the last ones most. Statistics of batch norms
    are averaged with them, since they belong to the weights that they were taken with.

    At first it looks back less far than `decay` says, or it would remember how the model was initialised: after n
    updates the old average weighs (1 + n) / (10 + n) at the most.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._sources = averaged(model)  # those of the model, which change in place
        self.tensors = {name: tensor.clone() for name, tensor in self._sources.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the model is now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.tensors.values()), list(self._sources.values()), 1 - decay)


def averaged(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that an average is of: every parameter, and the statistics of batch norms that are no counts."""
    statistics = {name: one for name, one in running_statistics(model).items() if one.is_floating_point()}
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *statistics.items())}
