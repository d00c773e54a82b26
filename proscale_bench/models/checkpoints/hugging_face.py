"""Hugging Face's configuration of a Mask2Former, both ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.hugging_face_detector import MODEL_TYPE, hints_of_detector, refuse_other_head
from proscale_bench.models.checkpoints.infer import POINTS, Inferred
from proscale_bench.models.checkpoints.shapes import Hints
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.box_decoder import DetectorHead

# What a configuration may say if our model is to compute the same. The tensors tell the dimensions.
REQUIRED: dict[str, tuple[Any, ...]] = {
    "model_type": ("mask2former",),
    "activation_function": ("relu",),
    "pre_norm": (False,),
    "common_stride": (4,),
    "feature_strides": ([4, 8, 16, 32],),
    "backbone_config.model_type": ("swin", "resnet"),
    "backbone_config.hidden_act": ("gelu", "relu"),  # of Swin, of ResNet
    "backbone_config.layer_norm_eps": (1e-5,),
    "backbone_config.use_absolute_embeddings": (False,),
    "backbone_config.layer_type": ("bottleneck",),
    "backbone_config.downsample_in_bottleneck": (False,),
    "backbone_config.downsample_in_first_stage": (False,),
}


def hints_of_config(path: Path, text: str) -> Hints:
    """The configuration's hints beside the tensors: the number of heads, of encoder and decoder alike.

    Raises:
        BenchError: it describes another model than ours, naming the setting.
    """
    config = json.loads(text)
    if _setting(config, "model_type") == MODEL_TYPE:
        return hints_of_detector(path, config)
    for setting, allowed in REQUIRED.items():
        found = _setting(config, setting)
        if found is not None and found not in allowed:
            raise BenchError(
                f"{path}: {setting} is {json.dumps(found)[:100]}, and our model has {json.dumps(allowed[0])}",
                "only Mask2Former as published, on Swin or ResNet, can be loaded",
            )
    heads = config.get("num_attention_heads")
    if heads is not None and (type(heads) is not int or not 1 <= heads <= 1024):
        raise BenchError(f"{path}: num_attention_heads is {json.dumps(heads)[:100]}, not a number of heads")
    return Hints(encoder_heads=heads, decoder_heads=heads)


def refuse_contradiction(path: Path, text: str, inferred: Inferred) -> None:
    """Hold a configuration against what the tensors beside it make.

    Raises:
        BenchError: it says otherwise than they do, naming the first setting.
    """
    config = json.loads(text)
    if isinstance(inferred.head, DetectorHead):
        refuse_other_head(path, config, inferred.head)
        return
    labels = config.get("id2label")
    if isinstance(labels, dict) and len(labels) != inferred.head.num_classes:
        raise _contradiction(path, "id2label", f"of {len(labels):,} classes", inferred.head.num_classes)
    dimensions = _dimensions(inferred)
    backbone = {f"backbone_config.{key}": one for key, one in dimensions.pop("backbone_config").items()}
    for setting, ours in (dimensions | backbone).items():
        found = _setting(config, setting)
        if found is not None and found != ours:
            raise _contradiction(path, setting, json.dumps(found)[:100], ours)


def _contradiction(path: Path, setting: str, told: str, ours: Any) -> BenchError:
    return BenchError(
        f"{path}: {setting} is {told}, and the tensors are of {json.dumps(ours)}",
        "tensors are missing or under another name, or the configuration is another model's; "
        "'models inspect' of the file of weights alone lists them",
    )


def _setting(config: Any, name: str) -> Any:
    """A setting by its dotted name; None where there is none."""
    for key in name.split("."):
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _dimensions(inferred: Inferred) -> dict[str, Any]:
    """The settings that follow from a model's dimensions."""
    backbone, head = inferred.backbone, inferred.head
    described: dict[str, Any] = {}
    if isinstance(backbone, Swin):
        described = {
            "model_type": "swin",
            "embed_dim": backbone.width,
            "depths": list(backbone.depths),
            "num_heads": list(backbone.heads),
            "window_size": backbone.window,
        }
    elif isinstance(backbone, ResNet):
        described = {
            "model_type": "resnet",
            "layer_type": "bottleneck",
            "embedding_size": backbone.stem_width,
            "hidden_sizes": list(backbone.channels),
            "depths": list(backbone.depths),
        }
    layers = len(inferred.schedule.layers)
    return {
        "encoder_layers": layers,
        "backbone_config": described,
        "feature_size": head.width,
        "mask_feature_size": head.width,
        "hidden_dim": head.width,
        **({"encoder_feedforward_dim": head.encoder_ffn} if layers else {}),
        "decoder_layers": head.decoder_layers + 1,  # it counts the learned queries
        "num_attention_heads": head.encoder_heads,
        "dim_feedforward": head.decoder_ffn,
        "num_queries": head.queries,
    }


def config_of(inferred: Inferred, names: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration with which `transformers` builds the same model.

    Args:
        names: of its classes; another number than it has: placeholders.

    Raises:
        BenchError: a backbone that it cannot build.
    """
    backbone, head = inferred.backbone, inferred.head
    if not isinstance(backbone, Swin) and not (isinstance(backbone, ResNet) and backbone.expansion == 4):
        raise BenchError("Hugging Face has no backbone of these dimensions", "write the official layout")
    if head.encoder_points != POINTS or head.decoder_heads != head.encoder_heads:
        raise BenchError("Hugging Face has four points and one number of heads", "write the official layout")
    stages = {"out_features": [f"stage{stage}" for stage in range(1, 5)], "out_indices": [1, 2, 3, 4]}
    dimensions = _dimensions(inferred)
    names = names if len(names) == head.num_classes else [f"LABEL_{index}" for index in range(head.num_classes)]
    labels = {str(index): name for index, name in enumerate(names)}
    return {
        "architectures": ["Mask2FormerForUniversalSegmentation"],
        "model_type": "mask2former",
        **dimensions,
        "backbone_config": dimensions["backbone_config"] | stages,
        "id2label": labels,
        "label2id": {label: int(index) for index, label in labels.items()},
    }
