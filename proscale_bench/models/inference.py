"""Preparing a trained model to run: its sampling, and exact optimizations that change its output by rounding alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from proscale_bench.errors import BenchError
from proscale_bench.models import sampling
from proscale_bench.models.backbones import FrozenBatchNorm2d
from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.deformable_detr import DeformableDetr
from proscale_bench.models.encoders.parts import TokenLayer
from proscale_bench.models.encoders.pem import DeformableConvolution
from proscale_bench.models.mask2former import Mask2Former


def prepare_for_inference(
    model: Mask2Former | DeformableDetr,
    *,
    optimizations: bool = True,
    sampling_name: str = sampling.AUTO,
    compiled: bool = False,
) -> str:
    """Set a model up for inference, in place; training and saving are over for it.

    Args:
        optimizations: fold batch norms into convolutions, predict the masks that serve only as attention masks at
            their level's own resolution, or of two stages' proposals what the choice needs alone, do what else the
            encoder can, and lay maps out with channels last, so that a map is its tokens.
        sampling_name: `auto` or a name of `sampling.SAMPLERS`.
        compiled: compile what gains from it: on the CPU the arithmetic around the sampling, elsewhere the regions
            of `compile_regions` too.

    Returns:
        The name of the sampling in use.

    Raises:
        BenchError: the sampling is unknown or does not run on the model's device.
    """
    if compiled and (exits := getattr(model.encoder.spec, "exits", ())):  # how much runs follows from the image
        message = f"{model.encoder.spec.compact}: what its gate chooses cannot be compiled"
        raise BenchError(message, f"leave out --compile, or fix an exit, as in '{exits[-1].compact}'")
    model.eval().requires_grad_(False)
    if optimizations:
        model.encoder.optimize()
        fold_batch_norms(model)
        if isinstance(model, Mask2Former):
            model.decoder.masks_at_levels = True
        elif model.proposals is not None:
            model.proposals.chosen_alone = True
        model.to(memory_format=torch.channels_last)
    chosen = use_sampling(model, sampling_name, compiled)
    if compiled and next(model.parameters()).device.type != "cpu":
        compile_regions(model)
    return chosen


def compile_regions(model: Mask2Former | DeformableDetr) -> None:
    """Have `torch.compile` take the parts of a model one by one: sooner ready than the whole, and layers share code.

    On the CPU this gained nothing (see docs/profiling.md).
    """
    token_layers = [module for module in model.modules() if isinstance(module, TokenLayer)]
    for module in (model.backbone, *token_layers, model.decoder):
        module.compile()


def use_sampling(model: nn.Module, name: str, compiled: bool = False) -> str:
    """Have all deformable attention and convolution of a model sample by the core of this name.

    Returns:
        The name, or what `auto` stands for.

    Raises:
        BenchError: the sampling is unknown or does not run on the model's device.
    """
    chosen = sampling.choose(name, next(model.parameters()).device, compiled)
    for module in model.modules():
        if isinstance(module, (DeformableAttention, DeformableConvolution)):
            module.sampling = chosen
    return chosen


def fold_batch_norms(model: nn.Module) -> None:
    """Multiply each batch norm into the convolution before it: `bn1` into `conv1`, a sequence's `1` into `0`."""
    kinds = (FrozenBatchNorm2d, _BatchNorm)
    norms: dict[str, Any] = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    for name, norm in norms.items():
        parent, _, own = name.rpartition(".")
        convolution: Any = model.get_submodule(f"{parent}.{own.replace('bn', 'conv') if 'bn' in own else int(own) - 1}")
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
            transpose=isinstance(convolution, nn.ConvTranspose2d),
        )
        model.set_submodule(name, nn.Identity())
