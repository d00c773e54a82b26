"""The official names of EoMT's tensors, and those of `transformers.EomtForUniversalSegmentation`.

EoMT has no encoder of its own: it is counted, timed and evaluated as the model of a configuration, whose names these
are. Source of the official names: https://github.com/tue-mps/eomt (MIT), on timm's vision transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from proscale_bench.models.checkpoints.encoder_layouts import rename
from proscale_bench.models.checkpoints.key_layout import rule

_BACKBONE = "encoder.backbone"
_BLOCK = f"{_BACKBONE}.blocks.{{i}}"
_PARTS = ("q", "k", "v")

EOMT = (
    rule(f"{_BACKBONE}.cls_token$", "embeddings.cls_token$"),
    rule(f"{_BACKBONE}.reg_token$", "embeddings.register_tokens$"),
    rule(f"{_BACKBONE}.pos_embed$", "embeddings.position_embeddings.weight$"),
    rule(f"{_BACKBONE}.patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    rule(f"{_BLOCK}.attn.qkv.", "layers.{i}.attention.qkv."),
    rule(f"{_BLOCK}.attn.proj.", "layers.{i}.attention.out_proj."),
    rule(f"{_BLOCK}.ls{{s}}.gamma$", "layers.{i}.layer_scale{s}.lambda1$"),
    rule(f"{_BLOCK}.", "layers.{i}."),
    rule(f"{_BACKBONE}.norm.", "layernorm."),
    rule("q.", "query."),
    rule("class_head.", "class_predictor."),
    *(rule(f"mask_head.{2 * index}.", f"mask_head.fc{index + 1}.") for index in range(3)),
    rule("upscale.{i}.norm.", "upscale_block.block.{i}.layernorm2d."),
    rule("upscale.{i}.", "upscale_block.block.{i}."),
    rule("attn_mask_probs$", "attn_mask_probs$"),
)
_OF_ITS_PROCESSOR = ("encoder.pixel_mean", "encoder.pixel_std")
_MODULE = "network."  # in the state of a training, beside the criterion's


_ANCHOR = "encoder.backbone.cls_token"


def is_official(keys: Iterable[str]) -> bool:
    """True where a file has the official names, with the prefix of its training's module or without."""
    return any(key in (_ANCHOR, f"{_MODULE}{_ANCHOR}") for key in keys)


def of_eomt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The official tensors of EoMT under the names of `transformers`, whose mean and deviation are its processor's.

    Raises:
        BenchError: a tensor without a place.
    """
    official = {key.removeprefix(_MODULE): one for key, one in state.items() if not key.startswith("criterion.")}
    found: dict[str, Tensor] = {}
    for key, tensor in rename({k: one for k, one in official.items() if k not in _OF_ITS_PROCESSOR}, EOMT).items():
        if ".qkv." in key:
            thirds = zip(_PARTS, tensor.chunk(3), strict=True)
            found |= {key.replace("qkv", f"{part}_proj"): third for part, third in thirds}
        else:
            found[key] = tensor[0] if key.endswith("position_embeddings.weight") else tensor
    return found
