"""Count by tracing: run the real model on the meta device and account for every operator it executes.

No memory, no arithmetic: only shapes. Each operator is looked up in an explicit table; one that is not there stops
the count, so nothing is ever left out silently. The trace knows no rule set: it keeps raw amounts by part and
operator, and `cost.rules` decides afterwards what they are worth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from proscale_bench.config.architecture import Architecture
from proscale_bench.config.schedule import Schedule
from proscale_bench.cost.closed_form import PARTS, PartFlops
from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import Convention, Operator, Rules
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.models.build import build_from_architecture
from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.encoders.parts import Recalibration
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.postprocess import resize_masks, semantic

aten = torch.ops.aten

# Where a module's cost is booked. What `encoder` itself runs is the FPN upsampling; a token layer is its own part.
PART_OF_MODULE = {
    "backbone": "backbone",
    "encoder": "fpn_upsampling",
    "encoder.projections": "encoder_projection",
    "encoder.recalibration": "encoder_recalibration",
    "encoder.lateral": "pixel_embedding",
    "encoder.pixel_embedding": "pixel_embedding",
    "encoder.mask_features": "pixel_embedding",
    "decoder": "transformer_decoder",
}
LAYER = "encoder.layers."
EINSUMS = (Operator.MASK_EINSUM, Operator.SEMANTIC_EINSUM)


@dataclass(frozen=True)
class Trace:
    """What one model executed on one image.

    `calls` counts (part, operator, amount of one call); a token layer's part is `encoder.layers.N`.
    `uncounted` counts calls of arithmetic that no rule set counts, by aten name.
    """

    calls: Counter[tuple[str, Operator, int]]
    uncounted: Counter[str]

    def flops(self, rules: Rules, convention: Convention = "mac") -> PartFlops:
        """The trace under a rule set."""
        parts: Counter[str] = Counter()
        for (part, operator, amount), calls in self.calls.items():
            counted = rules.einsum(amount) if operator in EINSUMS else amount
            parts[part] += calls * counted * rules.factor(operator, convention)
        layers = sorted((part for part in parts if part.startswith(LAYER)), key=lambda part: int(part[len(LAYER) :]))
        return PartFlops(tuple(parts[part] for part in layers), *(parts[part] for part in PARTS))


def trace_model(
    architecture: Architecture,
    schedule: Schedule,
    size: InputSize,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[Trace, int]]:
    """Trace the model at every distinct size of an input.

    Args:
        progress: called with (sizes done, sizes in all).

    Returns:
        (trace of one image, number of such images) for every group of the size.

    Raises:
        BenchError: the model ran an operator without a rule (exit code 3).
    """
    model = build_from_architecture(schedule, architecture, device="meta")
    padded_sizes: dict[tuple[int, int], Trace] = {}  # the network depends on the padded size alone
    traces = []
    for done, group in enumerate(size.groups):
        progress(done, len(size.groups))
        padded = (group.padded_height_px, group.padded_width_px)
        if padded not in padded_sizes:
            padded_sizes[padded] = trace_network(model, *padded)
        network = padded_sizes[padded]
        output = (group.output_height_px, group.output_width_px)
        post = trace_postprocessing(architecture, padded, output)
        both = Trace(network.calls + post.calls, network.uncounted + post.uncounted)
        traces.append((both, group.images))
    progress(len(size.groups), len(size.groups))
    return traces


def sum_flops(traces: list[tuple[Trace, int]], rules: Rules, convention: Convention = "mac") -> PartFlops:
    """FLOPs by part, summed over images: what the closed form must equal."""
    counts = [(trace.flops(rules, convention), images) for trace, images in traces]
    layers = zip(*(flops.layers for flops, _ in counts), strict=True)
    return PartFlops(
        tuple(sum(layer * images for layer, (_, images) in zip(at, counts, strict=True)) for at in layers),
        *(sum(getattr(flops, part) * images for flops, images in counts) for part in PARTS),
    )


def trace_network(model: Mask2Former, height_px: int, width_px: int) -> Trace:
    """Trace a forward pass of a model on the meta device.

    Raises:
        BenchError: an operator without a rule (exit code 3).
    """
    device = next(model.parameters()).device
    with torch.no_grad(), _recording("", model) as recorder:
        model(torch.empty(1, 3, height_px, width_px, device=device))
    return recorder.trace()


def trace_postprocessing(architecture: Architecture, padded: tuple[int, int], output: tuple[int, int]) -> Trace:
    """Trace what post-processing does before it depends on the data: the masks' resizes, the semantic product."""
    head = architecture.head
    logits = torch.empty(head.queries, head.num_classes + 1, device="meta")
    masks = torch.empty(head.queries, padded[0] // 4, padded[1] // 4, device="meta")
    with torch.no_grad(), _recording("postprocessing") as recorder:
        semantic(logits, resize_masks(masks, padded_size=padded, image_size=padded, output_size=output))
    return recorder.trace()


@contextmanager
def _recording(part: str, model: nn.Module | None = None) -> Iterator[Recorder]:
    recorder = Recorder(part)
    hooks = recorder.watch(model) if model is not None else []
    try:
        with _PythonCalls(recorder), recorder:
            yield recorder
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Scope:
    """The innermost module that is running, and the part its cost is booked under."""

    part: str
    kind: type | None = None


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator, after PyTorch has taken composite ones apart."""

    def __init__(self, part: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.scopes = [_Scope(part)]
        self.python_calls: list[_PythonCall] = []
        self.calls: Counter[tuple[str, Operator, int]] = Counter()
        self.uncounted: Counter[str] = Counter()

    def trace(self) -> Trace:
        return Trace(self.calls, self.uncounted)

    def watch(self, model: nn.Module) -> list[Any]:
        """Follow which module is running."""
        hooks: list[Any] = []
        for name, module in model.named_modules():
            part = _part_of(name)

            def enter(module: nn.Module, inputs: Any, part: str | None = part) -> None:
                self.scopes.append(_Scope(part or self.scopes[-1].part, type(module)))

            def leave(module: nn.Module, inputs: Any, output: Any) -> None:
                self.scopes.pop()

            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        return hooks

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in MOVES:
            return result
        if rule := RULE_TABLE.get(packet):
            found = rule(self, args, result)
            if found is not None:
                operator, amount = found
                self.calls[self.scopes[-1].part, operator, amount] += 1
        elif packet in UNCOUNTED:
            self.uncounted[str(packet)] += 1
        else:
            raise BenchError(
                f"operator {func} has no counting rule",
                "a count that leaves it out could not be trusted: add a rule to proscale_bench/measure/flops.py",
                ExitCode.UNTRUSTED,
            )
        return result


def _part_of(module: str) -> str | None:
    """The part of a module's name; None for one that is booked with its parent."""
    if module.startswith(LAYER):
        return ".".join(module.split(".")[:3])
    return PART_OF_MODULE.get(module) or PART_OF_MODULE.get(module.rpartition(".")[0])


@dataclass
class _PythonCall:
    """A composite function in progress, and how many matrix products it has run."""

    function: Any
    masked: bool
    products: int = 0


class _PythonCalls(TorchFunctionMode):
    """Remembers which Python-level function an operator comes from: `bmm` may be an einsum or an attention."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.einsum, nn.functional.scaled_dot_product_attention):
            return func(*args, **kwargs)
        masked = kwargs.get("attn_mask", args[3] if len(args) > 3 else None) is not None
        self.recorder.python_calls.append(_PythonCall(func, masked))
        try:
            return func(*args, **kwargs)
        finally:
            self.recorder.python_calls.pop()


# ---------------------------------------------------------------------------------------------------------------
# The rule table
# ---------------------------------------------------------------------------------------------------------------

Counted = tuple[Operator, int]
Rule = Callable[[Recorder, Any, Any], "Counted | None"]


def _convolution(recorder: Recorder, args: Any, result: Tensor) -> Counted:
    weight: Tensor = args[1]  # [out, in / groups, kh, kw]
    return Operator.CONV, result.numel() * weight[0].numel()


def _linear(matrix: int) -> Rule:
    """`addmm` and `mm`: the second matrix, at this argument, gives the inner and outer dimensions."""

    def rule(recorder: Recorder, args: Any, result: Tensor) -> Counted:
        return Operator.LINEAR, result.numel() * int(args[matrix].shape[0])

    return rule


def _bmm(recorder: Recorder, args: Any, result: Tensor) -> Counted:
    amount = result.numel() * int(args[0].shape[-1])
    if not recorder.python_calls:
        return Operator.MATMUL, amount
    call = recorder.python_calls[-1]
    call.products += 1
    if call.function is torch.einsum:
        in_model = recorder.scopes[-1].part != "postprocessing"
        return (Operator.MASK_EINSUM if in_model else Operator.SEMANTIC_EINSUM), amount
    if call.masked and call.products == 1:
        return Operator.MASKED_QK, amount
    return Operator.BMM, amount


def _an_element(operator: Operator, amount: int) -> Rule:
    """A fixed amount for every element of the (first) output."""

    def rule(recorder: Recorder, args: Any, result: Any) -> Counted:
        output: Tensor = result[0] if isinstance(result, (tuple, list)) else result
        return operator, amount * output.numel()

    return rule


def _elementwise_product(recorder: Recorder, args: Any, result: Tensor) -> Counted | None:
    """The two products of tensors by elements; a factor that is a number is a scaling."""
    if not all(isinstance(factor, Tensor) and factor.ndim for factor in args[:2]):
        recorder.uncounted["aten.mul"] += 1
        return None
    kind = recorder.scopes[-1].kind
    if kind is DeformableAttention:
        return Operator.WEIGHTED_SUM, result.numel()
    if kind is Recalibration:
        return Operator.GATING, result.numel()
    raise BenchError(
        f"a product of two tensors in {kind.__name__ if kind else 'no module'} has no counting rule",
        "a count that leaves it out could not be trusted: add a rule to proscale_bench/measure/flops.py",
        ExitCode.UNTRUSTED,
    )


RULE_TABLE: dict[Any, Rule] = {
    aten.convolution: _convolution,
    aten.addmm: _linear(matrix=2),
    aten.mm: _linear(matrix=1),
    aten.bmm: _bmm,
    aten.mul: _elementwise_product,
    aten.native_batch_norm: _an_element(Operator.BATCH_NORM, 2),
    aten.native_group_norm: _an_element(Operator.GROUP_NORM, 5),
    aten.native_layer_norm: _an_element(Operator.LAYER_NORM, 5),
    aten.grid_sampler_2d: _an_element(Operator.GRID_SAMPLER, 4),
    aten.upsample_bilinear2d: _an_element(Operator.UPSAMPLE_BILINEAR2D, 4),
}

# Arithmetic that no rule set counts; listed with every count (see `cost.rules.NEVER_COUNTED`).
UNCOUNTED = {
    # softmax and activations
    *(aten._softmax, aten._safe_softmax, aten.relu, aten.relu_, aten.gelu, aten.sigmoid),
    # additions, sums and scalings
    *(aten.add, aten.add_, aten.sub, aten.div, aten.sum),
    # pooling
    aten.max_pool2d_with_indices,
    # positions
    *(aten.pow, aten.sin, aten.cos, aten.floor_divide),
    # masks
    *(aten.lt, aten.ne, aten.eq, aten.bitwise_not, aten.bitwise_or, aten.all, aten.where, aten.masked_fill),
}

# Views, copies and constants: no arithmetic at all.
MOVES = {
    *(aten.view, aten._unsafe_view, aten.t, aten.transpose, aten.permute, aten.expand, aten.unsqueeze),
    *(aten.squeeze, aten.select, aten.slice, aten.split, aten.split_with_sizes, aten.stack, aten.cat),
    *(aten.clone, aten.detach, aten.index, aten.roll, aten.constant_pad_nd, aten.alias, aten._to_copy),
    *(aten.empty, aten.zeros, aten.new_zeros, aten.full, aten.fill_, aten.arange, aten.scalar_tensor),
}
