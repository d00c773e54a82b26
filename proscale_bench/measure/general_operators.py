"""The table that the trace of any model counts by: rules that ask for the kind of an operator and never for a class.

A product inside `einsum` or `scaled_dot_product_attention` is sorted by the function that it was written as, since
counters differ in exactly those. What fvcore knows is counted as fvcore counts it.
"""

from __future__ import annotations

from math import prod
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


def _summed_bmm(scope: Scope, args: Any, result: Tensor) -> Counted:
    """A batch of products [B, n, m] x [B, m, p], summed into one matrix."""
    return ((Operator.MASKED_QK, args[1].numel() * int(args[2].shape[-1])),)


def _affine_grid(scope: Scope, args: Any, result: Tensor) -> Counted:
    """Every place [N, ..., d] is a product of an affine matrix [N, d, d + 1] with the place and a 1."""
    return ((Operator.BMM, result.numel() * int(args[0].shape[-1])),)


def _trilinear(scope: Scope, args: Any, result: Tensor) -> Counted:
    """Three factors, each with new axes, are multiplied by elements and summed: what `nn.Bilinear` runs."""
    grown = []
    for factor, axes in zip(args[:3], args[3:6], strict=True):
        shape = list(factor.shape)
        for axis in axes:
            shape.insert(axis, 1)
        grown.append(shape)
    return ((Operator.ELEMENTWISE_PRODUCT, 2 * prod(torch.broadcast_shapes(*grown))),)  # type: ignore[no-untyped-call]


def _convolution_backward(scope: Scope, args: Any, result: Any) -> Counted:
    """The gradients of the input and of the weight: each is as many products as the convolution."""
    output, given, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    places: Tensor = given if transposed else output
    return ((Operator.CONV, sum(wanted[:2]) * places.numel() * weight[0].numel()),)


def in_place(names: str) -> set[Any]:
    """Operators by name, and what they are called that write over their first argument."""
    return packets(names) | packets(" ".join(f"{name}_" for name in names.split()))


def _deformable_convolution_backward(scope: Scope, args: Any, result: Any) -> Counted:
    """The gradients of the sampled input and of the kernel: each is as many products as the convolution."""
    return ((Operator.DEFORM_CONV, 2 * args[0].numel() * args[2][0].numel()),)


def _of_torchvision(names: str) -> set[Any]:
    """Operators of torchvision's own, where it is imported."""
    import torchvision  # noqa: F401

    return {getattr(torch.ops.torchvision, name) for name in names.split()}


RULES: dict[Any, OperatorRule] = (
    RULE_TABLE
    | {
        packet: rule
        for names, rule in {
            "addmm": _product(1, Operator.LINEAR),
            "mm _scaled_mm _int_mm": _product(0, Operator.LINEAR),
            "mv dot vdot": _product(0, Operator.MATRIX_VECTOR),
            "addmv": _product(1, Operator.MATRIX_VECTOR),
            "bmm": _product(0, Operator.BMM),
            "baddbmm": _product(1, Operator.MASKED_QK),
            "addbmm": _summed_bmm,
            "affine_grid_generator": _affine_grid,
            "_trilinear": _trilinear,
            "addr _weight_norm_interface": an_element(Operator.ELEMENTWISE_PRODUCT, 1),
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
    | dict.fromkeys(_of_torchvision("_deform_conv2d_backward"), _deformable_convolution_backward)
)

WITH_PRODUCTS = ("attention", "rnn_layer", "linear_backward")  # in names of backward passes that run matrix products

ARITHMETIC = (
    UNCOUNTED
    | in_place("softmax log_softmax _log_softmax hardtanh hardswish hardsigmoid silu gelu sigmoid tanh leaky_relu elu")
    | in_place("celu mish softplus prelu _prelu_kernel relu6 threshold logit glu erf log_sigmoid_forward")
    | in_place("selu log_sigmoid")
    | in_place("hardshrink softshrink rrelu_with_noise sub div rsub neg abs reciprocal sqrt rsqrt exp log log2 log10")
    | in_place("log1p expm1 exp2 pow square cos sin tan acos asin atan cosh sinh acosh asinh atanh atan2 fmod")
    | in_place("remainder floor_divide ceil floor round trunc frac sign sgn signbit clamp clamp_min clamp_max deg2rad")
    | in_place("rad2deg maximum minimum fmax fmin lerp addcdiv hypot copysign heaviside nextafter xlogy logaddexp")
    | in_place("logaddexp2 ldexp sinc erfc erfinv lgamma digamma i0 angle polar gcd lcm renorm cumsum cumprod")
    | in_place("eq ne lt gt le ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor")
    | in_place("bitwise_not bitwise_left_shift bitwise_right_shift nan_to_num index_add index_reduce scatter_add")
    | in_place("scatter_reduce")
    | packets("cummax cummin logcumsumexp prod amax amin max min argmax argmin aminmax var var_mean std std_mean norm")
    | packets(
        "linalg_vector_norm logsumexp nansum trace dist mode median nanmedian kthvalue count_nonzero any all isin"
    )
    | packets("_is_all_true _is_any_true isnan isinf isfinite isneginf isposinf equal allclose topk sort argsort")
    | packets("nonzero nonzero_static searchsorted bucketize unique_dim _unique2 unique_consecutive histc histogram")
    | packets("bincount masked_select one_hot avg_pool2d avg_pool3d max_pool3d_with_indices adaptive_max_pool2d")
    | packets("adaptive_max_pool3d fractional_max_pool2d _adaptive_avg_pool3d upsample_bicubic2d upsample_nearest1d")
    | packets("upsample_nearest3d upsample_linear1d upsample_trilinear3d _upsample_nearest_exact1d")
    | packets("_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_nearest_exact2d grid_sampler_3d")
    | packets("_cdist_forward _pdist_forward _euclidean_dist linalg_cross _fft_r2c _fft_c2r _fft_c2c segment_reduce")
    | packets("linalg_inv_ex linalg_qr linalg_cholesky_ex linalg_lu_factor_ex linalg_eig linalg_lstsq cholesky_solve")
    | packets("linalg_solve_triangular _linalg_svd _linalg_det _linalg_eigh _linalg_eigvals _linalg_solve_ex")
    | packets("_linalg_slogdet _linalg_check_errors embedding_bag _embedding_bag _embedding_bag_forward_only")
    | packets("nll_loss_forward nll_loss2d_forward binary_cross_entropy binary_cross_entropy_with_logits mse_loss")
    | packets("smooth_l1_loss huber_loss soft_margin_loss multi_margin_loss multilabel_margin_loss_forward _ctc_loss")
    | packets("native_dropout bernoulli bernoulli_ normal normal_ rand randn rand_like randn_like randint randperm")
    | packets("uniform_ multinomial exponential_ poisson linspace logspace hann_window hamming_window blackman_window")
    | {
        getattr(aten, name)
        for name in dir(aten)
        if name.endswith(("_backward", "_backward_data", "_backward_"))
        and not any(word in name for word in WITH_PRODUCTS)
    }
    | _of_torchvision("nms roi_align ps_roi_align roi_pool ps_roi_pool")
)

COPIES = (
    MOVES
    | packets("embedding gather index_select scatter scatter_ index_put index_put_ masked_scatter masked_scatter_")
    | packets("index_fill index_fill_ index_copy index_copy_ take take_along_dim copy flip rot90 roll tril triu tril_")
    | packets("triu_ tril_indices triu_indices diagonal diag diag_embed fill full_like eye zero_ zeros ones meshgrid")
    | packets("unfold im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle replication_pad2d reflection_pad2d")
    | packets(
        "replication_pad3d reflection_pad3d max_unpool2d max_unpool3d block_diag put put_ promote_types _neg_view"
    )
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
    | {torch.ops.prim.device, torch.ops.profiler._record_function_enter_new, torch.ops.profiler._record_function_exit}
)

GENERAL = OperatorTable(RULES, ARITHMETIC - RULES.keys(), COPIES)
