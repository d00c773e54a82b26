"""Hugging Face's configuration of a Deformable DETR, as far as it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.detector_layouts import POINTS
from proscale_bench.models.checkpoints.shapes import Hints
from proscale_bench.specs.box_decoder import DetectorHead

MODEL_TYPE = "deformable_detr"
# What it may say if our model is to compute the same. The tensors tell the dimensions.
REQUIRED: dict[str, Any] = {
    "activation_function": "relu",
    "position_embedding_type": "sine",
    "num_feature_levels": 4,
    "encoder_n_points": POINTS,
    "decoder_n_points": POINTS,
    "dilation": False,
}


def hints_of_detector(path: Path, config: dict[str, Any]) -> Hints:
    """The configuration's hints beside the tensors: heads, and how many queries two stages choose.

    Raises:
        BenchError: it describes another model than ours, naming the setting.
    """
    for setting, allowed in REQUIRED.items():
        if config.get(setting, allowed) != allowed:
            raise BenchError(
                f"{path}: {setting} is {json.dumps(config[setting])[:100]}, and our model has {json.dumps(allowed)}",
                "only Deformable DETR on four levels, on ResNets, can be loaded",
            )
    chosen = config.get("two_stage_num_proposals") if config.get("two_stage") else None
    return Hints(
        encoder_heads=_number(path, config, "encoder_attention_heads"),
        decoder_heads=_number(path, config, "decoder_attention_heads"),
        queries=_number(path, {"two_stage_num_proposals": chosen}, "two_stage_num_proposals"),
    )


def refuse_other_head(path: Path, config: dict[str, Any], head: DetectorHead) -> None:
    """Hold a configuration against what the tensors beside it make.

    Raises:
        BenchError: it says otherwise than they do, naming the first setting.
    """
    told: dict[str, Any] = {
        "d_model": head.width,
        "encoder_ffn_dim": head.encoder_ffn,
        "decoder_ffn_dim": head.decoder_ffn,
        "decoder_layers": head.decoder_layers,
        "decoder_attention_heads": head.decoder_heads,
        "with_box_refine": head.refine,
        "two_stage": head.two_stage,
        **({} if head.two_stage else {"num_queries": head.queries}),
    }
    labels = config.get("id2label")
    if isinstance(labels, dict):
        told["id2label"], config = head.num_classes, {**config, "id2label": len(labels)}
    for setting, ours in told.items():
        if config.get(setting, ours) != ours:
            raise BenchError(
                f"{path}: {setting} is {json.dumps(config[setting])[:100]}, and the tensors are of {json.dumps(ours)}",
                "tensors are missing or under another name, or the configuration is another model's",
            )


def _number(path: Path, config: dict[str, Any], setting: str) -> int | None:
    found = config.get(setting)
    if found is not None and (type(found) is not int or not 1 <= found <= 65_536):
        raise BenchError(f"{path}: {setting} is {json.dumps(found)[:100]}, not a number from 1")
    return found
