"""Dropout of a transformer's layers in training, as Deformable DETR has it; the modules themselves have none."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.models.attention import Attention
from proscale_bench.models.deformable_attention import DeformableAttention

FFN = ("linear1", "linear2")


def add_dropout(model: nn.Module, rate: float) -> None:
    """Drop, in training alone, what each attention of a model gives, the hidden units of each feed-forward network and
    what it gives: in place, and without a parameter. The published code drops weights of self-attention too.

    Args:
        rate: share of what is dropped; 0 changes nothing.
    """

    def drop(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return F.dropout(output, rate, module.training)

    for name, module in model.named_modules() if rate else ():
        if isinstance(module, (Attention, DeformableAttention)) or name.rpartition(".")[2] in FFN:
            module.register_forward_hook(drop)
