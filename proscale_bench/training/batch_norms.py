"""Batch norms in training: what they remember of images is state, like weights, and is shared like gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """The buffers of a model's batch norms, by name. Those of frozen ones never change, and are none of them."""
    return {
        f"{prefix}.{name}": buffer
        for prefix, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        for name, buffer in module.named_buffers()
    }


class RunningStatistics:
    """The statistics of a model's batch norms over an iteration.

    Every part of the batch is normalised by its own images and moves the statistics from where the iteration began; it
    ends at the mean over all parts. So they are the same whether processes share the parts or one takes them in turn.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers = list(running_statistics(model).values())
        self.begin()

    def begin(self) -> None:
        """Called before an iteration's first part."""
        self._start = [buffer.clone() for buffer in self.buffers]
        self._parts: list[Tensor] = []

    @torch.no_grad()
    def keep_part(self) -> None:
        """Called after the forward pass of each part."""
        if self.buffers:
            self._parts.append(torch.cat([buffer.flatten().float() for buffer in self.buffers]).cpu())
            torch._foreach_copy_(self.buffers, self._start)

    @torch.no_grad()
    def finish(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Called after an iteration's last part.

        Args:
            mean: replaces a tensor by its mean over all processes.
        """
        if not self.buffers:
            return
        lengths = [buffer.numel() for buffer in self.buffers]
        moved = torch.split(mean(torch.stack(self._parts).mean(0)), lengths)
        for buffer, values in zip(self.buffers, moved, strict=True):
            buffer.copy_(values.view_as(buffer))
