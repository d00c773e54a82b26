"""The gate of an early exit, which learns last: which exit is worth the most on an image, all other weights fixed.

An exit after its k-th choice of layers is worth PQ_k - beta k on an image (Yao et al. 2024, ECO-M2F). The loss of the
released code is the same for every gate where a device has one image, so this one is ours: the cross-entropy with the
exit that is worth the most. It is convex in the gate's weights, so the result follows from the images alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DECAY = 1e-4  # of the weights on features of unit variance; it makes the best gate the only one
STEPS = 200
LEAST_SPREAD = 1e-6


def best_exits(quality: Tensor, beta: float) -> Tensor:
    """The exit that is worth the most on each image, the earlier of equals: [N], from PQ of each exit, [N, exits]."""
    return (quality - beta * torch.arange(1, quality.shape[1] + 1)).argmax(dim=1)


@torch.enable_grad()
def fit_gate(gate: nn.Linear, features: Tensor, best: Tensor) -> None:
    """Have a gate choose these exits, as far as the features tell: its weights are replaced.

    Args:
        gate: [C] to logits of exits.
        features: what it is given of each image, [N, C].
        best: places of exits, [N].
    """
    given = features.double()
    mean, spread = given.mean(dim=0), given.std(dim=0, unbiased=False).clamp_min(LEAST_SPREAD)
    inputs = (given - mean) / spread
    weight = torch.zeros(gate.out_features, gate.in_features, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(gate.out_features, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(inputs @ weight.T + bias, best) + DECAY * weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        gate.weight.copy_(weight / spread)
        gate.bias.copy_(bias - (weight / spread) @ mean)
