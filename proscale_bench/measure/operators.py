"""The table that the trace counts by: which operation an aten operator is, and how much of it.

Three kinds of operator: those with a rule, arithmetic that no rule set counts (listed with every count), and moves that
do no arithmetic. One that is in none of the three stops the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.models.attention import FusedAttention
from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.encoders.hybrid import KeptGridPosition
from proscale_bench.models.encoders.parts import TokenRecalibration
from proscale_bench.models.encoders.pem import SelfModulation
from proscale_bench.specs.terms import Operator

aten = torch.ops.aten


@dataclass
class PythonCall:
    """A composite function in progress, such as an einsum, and how many matrix products it has run."""

    function: Any
    masked: bool
    products: int = 0


@dataclass(frozen=True)
class Scope:
    """The place of a running operator: the part it is booked under, the innermost module, the composite function."""

    part: str
    module: type | None = None
    call: PythonCall | None = None
    path: str = ""  # of the module


@dataclass(frozen=True)
class OperatorTable:
    """The operators that a trace knows.

    Args:
        rules: what counts under some rule set.
        uncounted: arithmetic that no rule set counts.
        moves: no arithmetic at all.
    """

    rules: Mapping[Any, OperatorRule]
    uncounted: Set[Any]
    moves: Set[Any]


def no_rule(what: str) -> BenchError:
    """The error that stops a count."""
    return BenchError(
        f"{what} has no counting rule",
        "a count that leaves it out could not be trusted: add a rule to proscale_bench/measure/operators.py",
        ExitCode.UNTRUSTED,
    )


Counted = tuple[tuple[Operator, int], ...]  # and how much of each, in one call; nothing if no rule set counts it
OperatorRule = Callable[[Scope, Any, Any], Counted]  # of the scope, the arguments and the result


def _convolution(scope: Scope, args: Any, result: Tensor) -> Counted:
    weight: Tensor = args[1]  # [out, in / groups, kh, kw], or of a transposed one [in, out / groups, kh, kw]
    transposed: bool = args[6]
    return ((Operator.CONV, (args[0] if transposed else result).numel() * weight[0].numel()),)


def _deformable_convolution(scope: Scope, args: Any, result: Tensor) -> Counted:
    """The products with the kernel; what it samples and modulates is counted by no rule set."""
    weight: Tensor = args[1]  # [out, in / groups, kh, kw]
    return ((Operator.DEFORM_CONV, result.numel() * weight[0].numel()),)


def _linear(matrix: int) -> OperatorRule:
    """`addmm` and `mm`: the second matrix, at this argument, gives the inner and outer dimensions."""

    def rule(scope: Scope, args: Any, result: Tensor) -> Counted:
        return ((Operator.LINEAR, result.numel() * int(args[matrix].shape[0])),)

    return rule


def _bmm(scope: Scope, args: Any, result: Tensor) -> Counted:
    amount = result.numel() * int(args[0].shape[-1])
    call = scope.call
    if scope.module is KeptGridPosition:
        return ()  # made once for all images of a size
    if call is None:
        return ((Operator.MATMUL, amount),)
    call.products += 1
    if scope.module is FusedAttention:
        return ((Operator.FUSED_ATTENTION, amount),)
    if call.function is torch.einsum:
        in_model = scope.part != "postprocessing"
        return ((Operator.MASK_EINSUM if in_model else Operator.SEMANTIC_EINSUM, amount),)
    if call.masked and call.products == 1:
        return ((Operator.MASKED_QK, amount),)
    return ((Operator.BMM, amount),)


def _an_element(operator: Operator, amount: int) -> OperatorRule:
    """A fixed amount for every element of the (first) output."""

    def rule(scope: Scope, args: Any, result: Any) -> Counted:
        output: Tensor = result[0] if isinstance(result, (tuple, list)) else result
        return ((operator, amount * output.numel()),)

    return rule


def _elementwise_product(scope: Scope, args: Any, result: Tensor) -> Counted:
    """The two products of tensors by elements; a factor that is a number is a scaling."""
    if not all(isinstance(factor, Tensor) and factor.ndim for factor in args[:2]):
        return ()
    if scope.module is DeformableAttention:
        return ((Operator.WEIGHTED_SUM, result.numel()),)
    if scope.module in (TokenRecalibration, SelfModulation):
        return ((Operator.GATING, result.numel()),)
    raise no_rule(f"a product of two tensors in {scope.module.__name__ if scope.module else 'no module'}")


def _deformable_sampling(scope: Scope, args: Any, result: Tensor) -> Counted:
    """The reference's count: every point of every query is one bilinear sample, then one term of a weighted sum."""
    value, _, _, weights = args  # [B, S, heads, d], sizes, locations, [B, N, heads, L, P]
    sampled = weights.numel() * int(value.shape[-1])
    return (Operator.GRID_SAMPLER, 4 * sampled), (Operator.WEIGHTED_SUM, sampled)


def _packets(names: str) -> set[Any]:
    """Operators by name, as far as this torch has them: versions take composite functions apart differently."""
    return {packet for name in names.split() if (packet := getattr(aten, name, None)) is not None}


RULE_TABLE: dict[Any, OperatorRule] = {
    packet: rule
    for names, rule in {
        "convolution": _convolution,
        "addmm": _linear(matrix=2),
        "mm": _linear(matrix=1),
        "bmm": _bmm,
        "mul": _elementwise_product,
        "native_batch_norm _native_batch_norm_legit_no_training": _an_element(Operator.BATCH_NORM, 2),
        "native_group_norm": _an_element(Operator.GROUP_NORM, 5),
        "native_layer_norm": _an_element(Operator.LAYER_NORM, 5),
        "grid_sampler_2d": _an_element(Operator.GRID_SAMPLER, 4),
        "upsample_bilinear2d": _an_element(Operator.UPSAMPLE_BILINEAR2D, 4),
        "upsample_nearest2d": _an_element(Operator.UPSAMPLE_NEAREST2D, 1),
    }.items()
    for packet in _packets(names)
} | {
    torch.ops.proscale_bench.deformable_sampling: _deformable_sampling,
    torch.ops.torchvision.deform_conv2d: _deformable_convolution,
}

# Arithmetic that no rule set counts; listed with every count (see `cost.rules.NEVER_COUNTED`).
UNCOUNTED = (
    _packets("_softmax _safe_softmax relu relu_ gelu silu silu_ sigmoid")  # softmax and activations
    | _packets("add add_ sub rsub div reciprocal sum mean")  # additions, sums, means and scalings
    | _packets("log clamp")  # logits of boxes
    | _packets("max_pool2d_with_indices")
    | _packets("topk sort")  # the choice of kept tokens
    | _packets("pow sin cos floor_divide remainder")  # positions
    | _packets(
        "lt gt ne eq bitwise_not bitwise_and bitwise_or logical_not logical_or all where masked_fill masked_fill_"
    )  # masks
)

# Views, copies and constants: no arithmetic at all.
MOVES = (
    _packets("view _unsafe_view reshape t transpose permute expand unsqueeze squeeze unflatten alias as_strided")
    | _packets("select slice split split_with_sizes unbind stack cat index gather scatter roll constant_pad_nd")
    | _packets("repeat repeat_interleave clone copy_ detach lift_fresh _to_copy contiguous")
    | _packets("empty empty_like empty_strided new_empty zeros zeros_like new_zeros ones ones_like full full_like")
    | _packets("fill_ arange scalar_tensor")
)

OURS = OperatorTable(RULE_TABLE, UNCOUNTED, MOVES)
