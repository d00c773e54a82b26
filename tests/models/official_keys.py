"""From the official checkpoints' keys to ours. See the project's method page, "Checkpoints"."""

from __future__ import annotations

import re

from torch import Tensor

RULES = [  # the first that matches wins
    (r"backbone\.stem\.conv1\.norm\.", r"backbone.bn1."),
    (r"backbone\.stem\.conv1\.", r"backbone.conv1."),
    (
        r"backbone\.res(\d)\.(\d+)\.conv(\d)\.norm\.",
        lambda m: f"backbone.layer{int(m[1]) - 1}.{m[2]}.bn{m[3]}.",
    ),
    (
        r"backbone\.res(\d)\.(\d+)\.shortcut\.norm\.",
        lambda m: f"backbone.layer{int(m[1]) - 1}.{m[2]}.downsample.1.",
    ),
    (
        r"backbone\.res(\d)\.(\d+)\.shortcut\.",
        lambda m: f"backbone.layer{int(m[1]) - 1}.{m[2]}.downsample.0.",
    ),
    (r"backbone\.res(\d)\.", lambda m: f"backbone.layer{int(m[1]) - 1}."),
    (r"backbone\.patch_embed\.proj\.", r"backbone.features.0.0."),
    (r"backbone\.patch_embed\.norm\.", r"backbone.features.0.2."),
    (
        r"backbone\.layers\.(\d)\.blocks\.(\d+)\.mlp\.fc(\d)\.",
        lambda m: f"backbone.features.{2 * int(m[1]) + 1}.{m[2]}.mlp.{3 * int(m[3]) - 3}.",
    ),
    (r"backbone\.layers\.(\d)\.blocks\.", lambda m: f"backbone.features.{2 * int(m[1]) + 1}."),
    (r"backbone\.layers\.(\d)\.downsample\.", lambda m: f"backbone.features.{2 * int(m[1]) + 2}."),
    (r"backbone\.norm(\d)\.", r"backbone.norms.\1."),
    (r"sem_seg_head\.pixel_decoder\.input_proj\.", r"encoder.projections."),
    (r"sem_seg_head\.pixel_decoder\.transformer\.level_embed$", r"encoder.level_embedding"),
    (
        r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.self_attn\.",
        r"encoder.layers.\1.attention.",
    ),
    (r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.", r"encoder.layers."),
    (
        r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.token_excite\.ops\.",
        r"encoder.recalibration.score.",
    ),
    (r"sem_seg_head\.pixel_decoder\.mask_features\.", r"encoder.mask_features."),
    (r"sem_seg_head\.pixel_decoder\.adapter_1\.norm\.", r"encoder.lateral.1."),
    (r"sem_seg_head\.pixel_decoder\.adapter_1\.", r"encoder.lateral.0."),
    (r"sem_seg_head\.pixel_decoder\.layer_1\.norm\.", r"encoder.pixel_embedding.1."),
    (r"sem_seg_head\.pixel_decoder\.layer_1\.", r"encoder.pixel_embedding.0."),
    (
        r"sem_seg_head\.predictor\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.",
        r"decoder.layers.\1.cross_attention.",
    ),
    (
        r"sem_seg_head\.predictor\.transformer_cross_attention_layers\.(\d+)\.norm\.",
        r"decoder.layers.\1.cross_norm.",
    ),
    (
        r"sem_seg_head\.predictor\.transformer_self_attention_layers\.(\d+)\.self_attn\.",
        r"decoder.layers.\1.self_attention.",
    ),
    (
        r"sem_seg_head\.predictor\.transformer_self_attention_layers\.(\d+)\.norm\.",
        r"decoder.layers.\1.self_norm.",
    ),
    (r"sem_seg_head\.predictor\.transformer_ffn_layers\.(\d+)\.norm\.", r"decoder.layers.\1.ffn_norm."),
    (r"sem_seg_head\.predictor\.transformer_ffn_layers\.", r"decoder.layers."),
    (r"sem_seg_head\.predictor\.decoder_norm\.", r"decoder.norm."),
    (r"sem_seg_head\.predictor\.query_feat\.weight", r"decoder.query_features"),
    (r"sem_seg_head\.predictor\.query_embed\.weight", r"decoder.query_positions"),
    (r"sem_seg_head\.predictor\.level_embed\.weight", r"decoder.level_embedding"),
    (r"sem_seg_head\.predictor\.class_embed\.", r"decoder.class_head."),
    (r"sem_seg_head\.predictor\.mask_embed\.layers\.(\d)\.", lambda m: f"decoder.mask_head.{2 * int(m[1])}."),
]


def our_key(official: str) -> str | None:
    """Our name of an official key; None for what belongs to training alone."""
    if official.startswith("criterion."):
        return None
    for pattern, replacement in RULES:
        key, matched = re.subn(f"^{pattern}", replacement, official)
        if matched:
            return key
    raise KeyError(f"no rule for {official}")


def our_state(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """An official state dict under our keys, for a strict `load_state_dict`."""
    state = {}
    for name, tensor in official.items():
        key = our_key(name)
        if key is not None:
            state[key] = tensor.flatten() if key.endswith("relative_position_index") else tensor
    return state
