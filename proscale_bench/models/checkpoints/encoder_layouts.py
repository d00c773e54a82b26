"""The official names of sibling encoders' tensors, and ours: a table an encoder, and a pure function that reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.key_layout import KeyRule, rule

_LAYER = "transformer.encoder.layers.{i}"

# Deformable DETR, DINO and Lite-DETR; their levels are fine to coarse: see `of_detector`.
DETECTOR = (
    rule("input_proj.{l}.", "projections.{l}."),
    rule("transformer.level_embed$", "level_embedding$"),
    rule(f"{_LAYER}.self_attn.", "layers.{i}.attention."),
    rule(f"{_LAYER}.linear12.", "layers.{i}.small_ffn.linear1."),
    rule(f"{_LAYER}.linear22.", "layers.{i}.small_ffn.linear2."),
    rule(f"{_LAYER}.norm22.", "layers.{i}.small_ffn.norm."),
    rule(f"{_LAYER}.", "layers.{i}."),
    rule("transformer.enc_output.", "proposals.linear."),
    rule("transformer.enc_output_norm.", "proposals.norm."),
)

# `transformers.DeformableDetrForObjectDetection`, fine to coarse too.
HUGGING_FACE_DETECTOR = (
    rule("model.input_proj.{l}.", "projections.{l}."),
    rule("model.level_embed$", "level_embedding$"),
    rule("model.encoder.layers.{i}.self_attn.", "layers.{i}.attention."),
    rule("model.encoder.layers.{i}.self_attn_layer_norm.", "layers.{i}.norm1."),
    rule("model.encoder.layers.{i}.mlp.fc{f}.", "layers.{i}.linear{f}."),
    rule("model.encoder.layers.{i}.final_layer_norm.", "layers.{i}.norm2."),
    rule("model.enc_output.", "proposals.linear."),
    rule("model.enc_output_norm.", "proposals.norm."),
)

# PEM, whose levels go from res2 to res5.
PEM: tuple[KeyRule, ...] = (
    *(
        rule(f"in_projections.{index}.{theirs}.", f"projections.{3 - index}.{ours}.")
        for index in range(4)
        for theirs, ours in (("conv", "0"), ("bn", "1"))
    ),
    *(rule(f"conv_avg.{theirs}.", f"context.{ours}.") for theirs, ours in (("conv", "0"), ("bn", "1"))),
    rule("csm.{i}.mlp.0.mlp.", "modulations.{i}.gate."),
    rule("dcn.{i}.dcn_offset.", "deformable.{i}.0.offset."),
    rule("dcn.{i}.dcn.", "deformable.{i}.0."),
    rule("dcn.{i}.dcn_bn.", "deformable.{i}.1."),
    rule("dcn.{i}.up_sample.", "upsampling.{i}.0."),
    rule("dcn.{i}.up_bn.", "upsampling.{i}.1."),
    *(rule(f"out.{theirs}.", f"mask_features.{ours}.") for theirs, ours in (("conv", "0"), ("bn", "1"))),
)

_CONVOLUTION_NORM = (("conv.", "0."), ("norm.", "1."))
_CSP = (("conv1.", "through."), ("conv2.", "past."), ("conv3.", "output."))
_BRANCHES = (("conv1.", "wide."), ("conv2.", "narrow."))
_PATHS = (("fpn_blocks", "top_down.fusions"), ("pan_blocks", "bottom_up.fusions"))
_CONVOLUTIONS = (
    *(("lateral_convs.{i}.", "top_down.laterals.{i}."), ("downsample_convs.{i}.", "bottom_up.downsampling.{i}.")),
    *((f"{path}.{{i}}.{one}", f"{ours}.{{i}}.{way}") for path, ours in _PATHS for one, way in _CSP),
    *(
        (f"{path}.{{i}}.bottlenecks.{{b}}.{one}", f"{ours}.{{i}}.blocks.{{b}}.{way}")
        for path, ours in _PATHS
        for one, way in _BRANCHES
    ),
)

# RT-DETR (rtdetr_pytorch), whose levels go from res3 to res5; `input_proj.N.conv` and `.norm` are RT-DETRv2's.
HYBRID: tuple[KeyRule, ...] = (
    *(
        rule(f"input_proj.{index}.{theirs}", f"projections.{2 - index}.{ours}")
        for index in range(3)
        for theirs, ours in (("0.", "0."), ("1.", "1."), *_CONVOLUTION_NORM)
    ),
    *(
        rule(f"encoder.0.layers.0.{theirs}.", f"layers.0.{ours}.")
        for theirs, ours in (
            *(("self_attn", "attention"), ("norm1", "attention_norm")),
            *(("linear1", "ffn.0"), ("linear2", "ffn.2"), ("norm2", "ffn_norm")),
        )
    ),
    *(rule(f"{one}{theirs}", f"{way}{ours}") for one, way in _CONVOLUTIONS for theirs, ours in _CONVOLUTION_NORM),
    *(
        rule(f"{path}.{{i}}.bottlenecks.{{b}}.conv.", f"{ours}.{{i}}.blocks.{{b}}.convolution.")
        for path, ours in _PATHS
    ),
)


def rename(state: Mapping[str, Tensor], rules: Sequence[KeyRule]) -> dict[str, Tensor]:
    """Tensors under our names.

    Raises:
        BenchError: one that the table has no place for.
    """
    found = {}
    for key, tensor in state.items():
        places = ((one.ours, one.theirs.match(key)) for one in rules)
        place = next(((ours, match) for ours, match in places if match), None)
        if place is None:
            raise BenchError(f"{key} has no place in the encoder", "it is of another encoder, or of another part")
        ours, (numbers, rest) = place
        found[ours.fill(numbers) + rest] = tensor
    return found


def of_detector(
    state: Mapping[str, Tensor], heads: int, points: int, rules: Sequence[KeyRule] = DETECTOR
) -> dict[str, Tensor]:
    """The encoder of Deformable DETR, DINO or Lite-DETR for `MultiScaleEncoder` and its like, coarse to fine.

    Args:
        state: projections, level embedding, layers, and perhaps the layers of two-stage proposals.
        heads, points: of the attention, which no shape tells.
        rules: whose names they are.

    Raises:
        BenchError: a tensor without a place.
    """
    found = rename(state, rules)
    levels = len(found["level_embedding"])
    rows = {"sampling_offsets": heads * levels * points * 2, "attention_weights": heads * levels * points}
    turned = {}
    for key, tensor in found.items():
        if match := re.match(r"projections\.(\d+)\.", key):
            turned[f"projections.{levels - 1 - int(match[1])}.{key[match.end() :]}"] = tensor
        elif key == "level_embedding":
            turned[key] = tensor.flip(0)
        elif len(tensor) == rows.get(key.split(".")[-2]):  # (head, level, ...); offsets may be the same on all levels
            by_level = tensor.reshape(heads, levels, -1, *tensor.shape[1:])
            turned[key] = torch.flatten(by_level.flip(1), 0, 2)
        else:
            turned[key] = tensor
    return turned
