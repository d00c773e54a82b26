"""An exponential moving average of a model's weights: steadier than the weights themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of what a model's parameters were after each iteration, the last ones most.

    At first it looks back less far than `decay` says, or it would remember how the model was initialised: after n
    updates the old average weighs (1 + n) / (10 + n) at the most.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.parameters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        current: list[Tensor] = [parameter.detach() for _, parameter in model.named_parameters()]
        torch._foreach_lerp_(list(self.parameters.values()), current, 1 - decay)
