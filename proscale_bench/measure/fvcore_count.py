"""Count with fvcore, the papers' own counter, on the real model.

fvcore's tracer has no rule for PyTorch's fused attention and counts it as nothing. It is counted here by a handle of
our own, and reported as `unseen`. Where the official code has the products themselves, as Mask2Former's decoder does,
they go under the call's name and belong to the count: fvcore's own number is `seen`, and the two together are what the
closed form must equal. Where it has one fused call too, fvcore's count of the official code is without it, and so are
the rules: it is only listed, as `fused_attention`, and so are deformable convolutions, in no part's count. Nothing is
absorbed by a tolerance.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from proscale_bench.cost.geometry import SizeGroup
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.models.attention import FusedAttention
from proscale_bench.models.build import build
from proscale_bench.models.deformable_detr import DeformableDetr
from proscale_bench.models.inference import use_sampling
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.postprocess import resize_masks, semantic
from proscale_bench.specs.model import POSTPROCESSING, ModelSpec, leaves
from proscale_bench.specs.terms import Operator

with warnings.catch_warnings():  # fvcore's package compiles losses that we never use
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import get_shape

FUSED_ATTENTION = "scaled_dot_product_attention"
DEFORM_CONV = "deform_conv2d"
NOT_COUNTED = (Operator.FUSED_ATTENTION.value, DEFORM_CONV)  # listed, and in no part's count


@dataclass(frozen=True)
class FvcoreCount:
    """fvcore's count of one image, under the rules `fvcore`.

    Args:
        flops: by leaf of the model's parts, with what fvcore does not see and its rules count.
        seen: what fvcore counts by itself.
        unseen: FLOPs that only our handle sees, by operator.
        uncounted: calls of operators that fvcore met and has no rule for, by aten name.
    """

    flops: dict[str, int]
    seen: int
    unseen: dict[str, int]
    uncounted: dict[str, int]


class _Boxes(nn.Module):
    """One image through a detector: what its post-processing does depends on the data, and multiplies no tensors."""

    def __init__(self, model: DeformableDetr) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.model(image)
        return found.class_logits, found.boxes


class _WithPostprocessing(nn.Module):
    """One image through the model, and its masks through what post-processing does whatever the data."""

    def __init__(self, model: Mask2Former, group: SizeGroup) -> None:
        super().__init__()
        self.model, self.padded, self.output = model, group.padded, group.output

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        predictions = self.model(image)
        masks = resize_masks(predictions.pred_masks[0], self.padded, self.padded, self.output)
        return semantic(predictions.pred_logits[0], masks), *predictions.gates  # what no output needs is not traced


def count_with_fvcore(spec: ModelSpec, group: SizeGroup) -> FvcoreCount:
    """Run the real model once on a blank image, with fvcore watching. Takes seconds and real memory.

    Raises:
        BenchError: there is not that much memory.
    """
    try:
        return _count(spec, group)
    except (MemoryError, RuntimeError) as error:  # torch's allocator raises the latter
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        raise BenchError(
            f"not enough memory for fvcore at {'x'.join(map(str, group.padded))}: it runs the real model",
            "verify at a smaller size; the count itself needs no memory",
        ) from error


def _count(spec: ModelSpec, group: SizeGroup) -> FvcoreCount:
    model = build(spec)
    use_sampling(model, "grid_sample")  # the sampling that fvcore has a rule for
    image = torch.zeros(1, 3, *group.padded)
    watched = _Boxes(model) if isinstance(model, DeformableDetr) else _WithPostprocessing(model, group)
    analysis = FlopCountAnalysis(watched.eval(), image)
    fused = {f"model.{name}" for name, module in model.named_modules() if isinstance(module, FusedAttention)}
    analysis.set_op_handle(f"aten::{FUSED_ATTENTION}", partial(_fused_attention, fused))
    analysis.set_op_handle(f"torchvision::{DEFORM_CONV}", _deformable_convolution)
    # We list what has no rule ourselves.
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with torch.no_grad():
        modules = {name: _whole_flops(operators) for name, operators in analysis.by_module_and_operator().items()}
    whole = modules[""]
    unseen = {operator: whole[operator] for operator in (FUSED_ATTENTION, *NOT_COUNTED) if operator in whole}
    counted = {
        name.removeprefix("model."): sum(n.values()) - sum(n[operator] for operator in NOT_COUNTED)
        for name, n in modules.items()
    }
    seen = sum(whole.values()) - sum(unseen.values())
    return FvcoreCount(_by_part(counted, spec), seen, unseen, dict(analysis.unsupported_ops()))


def _fused_attention(fused: Collection[str], inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """The products of one call; see the module's docstring.

    Of the official code's own operators, that is A.V always, and Q.K^T where no mask makes it a `baddbmm`.

    Args:
        fused: names of the modules whose official code has one call too.
    """
    query, value = get_shape(inputs[0]), get_shape(inputs[2])  # [B, heads, Q, d], [B, heads, S, d]
    product = prod(query) * value[-2]
    if outputs[0].node().scopeName().rpartition("/")[2] in fused:
        return Counter({Operator.FUSED_ATTENTION.value: 2 * product})
    masked = inputs[3].type().kind() != "NoneType"
    return Counter({FUSED_ATTENTION: product if masked else 2 * product})


def _deformable_convolution(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Its products with the kernel."""
    kernel = get_shape(inputs[1])  # [out, in / groups, kh, kw]
    return Counter({DEFORM_CONV: prod(get_shape(outputs[0])) * prod(kernel[1:])})


def _by_part(modules: dict[str, int], spec: ModelSpec) -> dict[str, int]:
    """The count of every leaf of the model's parts: its modules' less that of other parts' modules inside them."""
    parts = leaves(spec.parts)
    booked = [module for part in parts for module in part.modules if module in modules]

    def own(module: str) -> int:
        inside = [other for other in booked if other.startswith(f"{module}.")]
        nearest = [one for one in inside if not any(one.startswith(f"{other}.") for other in inside)]
        return modules[module] - sum(modules[one] for one in nearest)

    flops = {part.name: sum(own(module) for module in part.modules if module in modules) for part in parts}
    return flops | ({POSTPROCESSING: modules[""] - modules["model"]} if POSTPROCESSING in flops else {})


def _whole_flops(operators: Counter[str]) -> Counter[str]:
    """fvcore sums some integers as floats; every count is one."""
    for operator, flops in operators.items():
        if flops != int(flops):
            message = f"fvcore counted {flops} FLOPs of {operator}, which is no whole number"
            raise BenchError(message, exit_code=ExitCode.UNTRUSTED)
    return Counter({operator: int(flops) for operator, flops in operators.items()})
