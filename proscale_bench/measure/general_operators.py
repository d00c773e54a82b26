"""The table that the trace of any model counts by: rules that ask for the kind of an operator and never for a class.

A product inside `einsum` or `scaled_dot_product_attention` is sorted by the function that it was written as, since
counters differ in exactly those. What fvcore knows is counted as fvcore counts it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from proscale_bench.measure.operators import (
    MOVES,
    RULE_TABLE,
    UNCOUNTED,
    Counted,
    OperatorRule,
    OperatorTable,
    Scope,
    aten,
)
from proscale_bench.measure.operators import _an_element as an_element
from proscale_bench.measure.operators import _packets as packets
from proscale_bench.specs.terms import Operator

FOLLOWED = (
    torch.einsum,
    nn.functional.scaled_dot_product_attention,
    nn.functional.multi_head_attention_forward,
    nn.functional.adaptive_avg_pool2d,
)


def _is_within(scope: Scope, function: Any) -> bool:
    return scope.call is not None and scope.call.function is function


def _product(inner: int, otherwise: Operator) -> OperatorRule:
    """A matrix product whose argument `inner` ends in the dimension that is summed over."""

    def rule(scope: Scope, args: Any, result: Tensor) -> Counted:
        operator = otherwise
        if _is_within(scope, torch.einsum):
            operator = Operator.EINSUM
        elif otherwise is Operator.BMM and _is_within(scope, nn.functional.scaled_dot_product_attention):
            operator = Operator.FUSED_ATTENTION
        return ((operator, result.numel() * int(args[inner].shape[-1])),)

    return rule


def _fused_attention(scope: Scope, args: Any, result: Any) -> Counted:
    """Q.K^T and A.V in one call. A causal mask halves nothing: neither does it in any published counter."""
    query, key, value = args[:3]  # [B, heads, Q, d], [B, heads, S, d], [B, heads, S, dv]
    pairs = query.shape[:-1].numel() * int(key.shape[-2])
    return ((Operator.FUSED_ATTENTION, pairs * (int(query.shape[-1]) + int(value.shape[-1]))),)


def _elementwise(scope: Scope, args: Any, result: Tensor) -> Counted:
    """The product of two tensors by elements; a factor that is a number is a scaling."""
    factors = [factor for factor in args[:2] if isinstance(factor, Tensor) and factor.ndim]
    return ((Operator.ELEMENTWISE_PRODUCT, result.numel()),) if len(factors) == 2 else ()


def _norm(operator: Operator, weight: int) -> OperatorRule:
    """5 an element where the norm has weights, at that argument, else 4."""

    def rule(scope: Scope, args: Any, result: Any) -> Counted:
        return ((operator, result[0].numel() * (4 if args[weight] is None else 5)),)

    return rule


def _batch_norm(scope: Scope, args: Any, result: Any) -> Counted:
    """Scale and shift; with the statistics of a batch, which instance norm takes too, 5 an element."""
    is_training = any(one is True for one in args[3:6])  # which of these it is depends on the form
    has_weight = args[1] is not None
    return ((Operator.BATCH_NORM, result[0].numel() * (4 + has_weight if is_training else 1 + has_weight)),)


def _mean(scope: Scope, args: Any, result: Tensor) -> Counted:
    """The mean over a whole map is how adaptive pooling to one place runs."""
    if _is_within(scope, nn.functional.adaptive_avg_pool2d):
        return ((Operator.AVERAGE_POOL, args[0].numel()),)
    return ()


def _adaptive_pool(scope: Scope, args: Any, result: Tensor) -> Counted:
    return ((Operator.AVERAGE_POOL, args[0].numel()),)


def _convolution_backward(scope: Scope, args: Any, result: Any) -> Counted:
    """The gradients of the input and of the weight: each is as many products as the convolution."""
    output, given, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    places: Tensor = given if transposed else output
    return ((Operator.CONV, sum(wanted[:2]) * places.numel() * weight[0].numel()),)


def _of_torchvision(names: str) -> set[Any]:
    """Operators of torchvision's own, where it is imported."""
    import torchvision  # noqa: F401

    return {getattr(torch.ops.torchvision, name) for name in names.split()}


RULES: dict[Any, OperatorRule] = RULE_TABLE | {
    packet: rule
    for names, rule in {
        "addmm": _product(1, Operator.LINEAR),
        "mm": _product(0, Operator.LINEAR),
        "mv dot": _product(0, Operator.MATRIX_VECTOR),
        "addmv": _product(1, Operator.MATRIX_VECTOR),
        "bmm": _product(0, Operator.BMM),
        "baddbmm": _product(1, Operator.MASKED_QK),
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention": _fused_attention,
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention": _fused_attention,
        "convolution_backward": _convolution_backward,
        "mul mul_ addcmul addcmul_": _elementwise,
        "native_batch_norm _native_batch_norm_legit": _batch_norm,
        "_native_batch_norm_legit_no_training": _batch_norm,
        "native_group_norm": _norm(Operator.GROUP_NORM, 1),
        "native_layer_norm": _norm(Operator.LAYER_NORM, 2),
        "grid_sampler_2d": an_element(Operator.GRID_SAMPLER, 4),
        "upsample_bilinear2d": an_element(Operator.UPSAMPLE_BILINEAR2D, 4),
        "upsample_nearest2d": an_element(Operator.UPSAMPLE_NEAREST2D, 1),
        "_adaptive_avg_pool2d": _adaptive_pool,
        "mean": _mean,
    }.items()
    for packet in packets(names)
}

ARITHMETIC = (
    UNCOUNTED
    | packets("softmax log_softmax _log_softmax hardtanh hardtanh_ hardswish hardswish_ hardsigmoid hardsigmoid_")
    | packets("silu silu_ gelu_ sigmoid_ tanh tanh_ leaky_relu leaky_relu_ elu elu_ celu mish mish_ softplus prelu")
    | packets("_prelu_kernel relu6 threshold logit logit_ glu erf log_sigmoid log_sigmoid_forward selu selu_")
    | packets("sub_ div_ rsub neg neg_ abs abs_ reciprocal sqrt sqrt_ rsqrt rsqrt_ exp exp_ log log_ log2 log1p expm1")
    | packets("pow_ square cumsum cumprod prod amax amin max min argmax argmin aminmax var var_mean std norm")
    | packets("linalg_vector_norm cos_ sin_ tan atan2 fmod remainder ceil floor round trunc frac sign clamp clamp_")
    | packets("clamp_min clamp_min_ clamp_max clamp_max_ maximum minimum lerp lerp_ addcdiv logsumexp native_dropout")
    | packets("le gt ge eq_ ne_ lt_ gt_ ge_ le_ logical_and logical_xor logical_and_ logical_or_ logical_not_ any isin")
    | {getattr(aten, name) for name in dir(aten) if name.endswith(("_backward", "_backward_data", "_backward_"))}
    | packets("_is_all_true _is_any_true cummax cummin")
    | packets("bitwise_and bitwise_and_ bitwise_or_ bitwise_xor bitwise_not_ bitwise_left_shift bitwise_right_shift")
    | packets("isnan isinf isfinite nan_to_num nan_to_num_ equal allclose topk sort argsort nonzero searchsorted")
    | packets("bucketize unique_dim _unique2 unique_consecutive histc bincount masked_select one_hot kthvalue median")
    | packets("avg_pool2d avg_pool3d max_pool3d_with_indices adaptive_max_pool2d _adaptive_avg_pool3d")
    | packets("upsample_bicubic2d upsample_nearest1d upsample_nearest3d upsample_linear1d upsample_trilinear3d")
    | packets("_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_nearest_exact2d grid_sampler_3d")
    | packets("_cdist_forward _euclidean_dist linalg_cross linalg_inv_ex linalg_svd _linalg_det _fft_r2c _fft_c2r")
    | packets("_fft_c2c index_add index_add_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ embedding_bag")
    | packets("_embedding_bag _embedding_bag_forward_only bernoulli bernoulli_ normal normal_ rand randn rand_like")
    | packets("randn_like randint randperm uniform_ multinomial exponential_ linspace logspace floor_divide_ hypot")
    | _of_torchvision("nms roi_align ps_roi_align roi_pool ps_roi_pool")
)

COPIES = (
    MOVES
    | packets("embedding gather index_select scatter scatter_ index_put index_put_ masked_scatter masked_scatter_")
    | packets("index_fill index_fill_ index_copy index_copy_ take take_along_dim copy flip rot90 roll tril triu tril_")
    | packets("triu_ tril_indices triu_indices diagonal diag diag_embed fill full_like eye zero_ zeros ones meshgrid")
    | packets("unfold im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle replication_pad2d reflection_pad2d")
    | packets("reflection_pad1d replication_pad1d view_as_real view_as_complex view_as real imag complex conj")
    | packets("_conj resolve_conj resolve_neg _unsafe_index _local_scalar_dense item set_ resize_ squeeze_ unsqueeze_")
    | packets(
        "transpose_ t_ swapaxes movedim narrow narrow_copy select_scatter slice_scatter as_strided_ hstack vstack"
    )
    | packets(
        "unsafe_split unsafe_chunk chunk split_copy unbind_copy new_ones new_full new_empty_strided empty_permuted"
    )
    | packets("_reshape_alias _reshape_copy detach_ lift lift_fresh_copy _pin_memory is_same_size _assert_async")
    | packets("sym_size sym_numel sym_stride _assert_scalar _assert_tensor_metadata dropout native_channel_shuffle")
    | packets("broadcast_tensors expand_copy permute_copy view_copy _to_copy to repeat_interleave constant_pad_nd")
    | {torch.ops.prim.device}
)

GENERAL = OperatorTable(RULES, ARITHMETIC - RULES.keys(), COPIES)
