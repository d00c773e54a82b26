"""The names of a Deformable DETR's tensors: in the official code, and in `transformers`.

Both have levels from fine to coarse, ours from coarse to fine: so projections are numbered the other way, and rows of
level embeddings, offsets and weights are `turned`. Both have a head for each layer, whether layers share it or not:
`settled` takes one where all are the same one, and gives each layer its own where `transformers` shares the class head
that the official code clones. The head of the proposals is there the last of the heads.

Sources: keys of fundamentalvision's Deformable-DETR, and of `transformers.DeformableDetrForObjectDetection` with
ResNets of timm, whose names are torchvision's, and its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.key_layout import KeyLayout, KeyRule, rule
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS

if TYPE_CHECKING:  # a header tells a model without it
    from torch import Tensor

LEVELS = len(DETECTOR_LEVELS)
POINTS = 4
HEADS = ("class_heads", "box_heads")
FIRST_QUERY, PROPOSED = "proposals.query.weight", {"class_heads": "class_head", "box_heads": "box_head"}


def _projections(theirs: str) -> tuple[KeyRule, ...]:
    return tuple(rule(f"{theirs}.{LEVELS - 1 - index}.", f"encoder.projections.{index}.") for index in range(LEVELS))


def _pairs(theirs: str, ours: str, *pairs: tuple[str, str]) -> tuple[KeyRule, ...]:
    return tuple(rule(f"{theirs}.{one}.", f"{ours}.{other}.") for one, other in pairs)


_PROPOSALS = (
    *(("enc_output", "tokens.linear"), ("enc_output_norm", "tokens.norm")),
    *(("pos_trans", "query"), ("pos_trans_norm", "query_norm")),
)
_HEADS = (
    rule("class_embed.{i}.", "decoder.class_heads.{i}."),
    rule("bbox_embed.{i}.layers.{j}.", "decoder.box_heads.{i}.{2j}."),
)

OFFICIAL_DETECTOR = KeyLayout(
    "official",
    anchors=("transformer.decoder.layers.0.cross_attn.sampling_offsets.weight",),
    rules=(
        rule("backbone.0.body.", "backbone."),
        *_projections("input_proj"),
        rule("transformer.level_embed$", "encoder.level_embedding$"),
        *_pairs(
            "transformer.encoder.layers.{i}",
            "encoder.layers.{i}",
            *(("self_attn", "attention"), ("linear12", "small_ffn.linear1"), ("linear22", "small_ffn.linear2")),
            *(("norm22", "small_ffn.norm"), ("linear1", "linear1"), ("linear2", "linear2")),
            *(("norm1", "norm1"), ("norm2", "norm2")),
        ),
        *_pairs(
            "transformer.decoder.layers.{i}",
            "decoder.layers.{i}",
            *(
                ("cross_attn", "cross_attention"),
                ("norm1", "cross_norm"),
                ("self_attn.out_proj", "self_attention.out_proj"),
            ),
            *(("norm2", "self_norm"), ("linear1", "linear1"), ("linear2", "linear2"), ("norm3", "ffn_norm")),
        ),
        rule("transformer.decoder.layers.{i}.self_attn.", "decoder.layers.{i}.self_attention."),
        rule("query_embed.weight$", "decoder.queries$"),
        rule("transformer.reference_points.", "decoder.points."),
        *_pairs("transformer", "proposals", *_PROPOSALS),
        *_HEADS,
    ),
    encoder=r"transformer\.(encoder\.|level_embed)|input_proj\.",
    unused=r"criterion\.|.*\.num_batches_tracked$|transformer\.decoder\.(class|bbox)_embed\.",
    turned=True,
)

_RESNET = "model.backbone.model.encoder.stages.{s}.layers.{b}"
_QUERY = "model.decoder.layers.{i}"
HUGGING_FACE_DETECTOR = KeyLayout(
    "huggingface",
    anchors=("model.decoder.layers.0.encoder_attn.sampling_offsets.weight",),
    rules=(
        rule("model.backbone.model.embedder.embedder.convolution.", "backbone.conv1."),
        rule("model.backbone.model.embedder.embedder.normalization.", "backbone.bn1."),
        rule(f"{_RESNET}.layer.{{c}}.convolution.", "backbone.layer{s+1}.{b}.conv{c+1}."),
        rule(f"{_RESNET}.layer.{{c}}.normalization.", "backbone.layer{s+1}.{b}.bn{c+1}."),
        rule(f"{_RESNET}.shortcut.convolution.", "backbone.layer{s+1}.{b}.downsample.0."),
        rule(f"{_RESNET}.shortcut.normalization.", "backbone.layer{s+1}.{b}.downsample.1."),
        rule("model.backbone.model.", "backbone."),
        *_projections("model.input_proj"),
        rule("model.level_embed$", "encoder.level_embedding$"),
        *_pairs(
            "model.encoder.layers.{i}",
            "encoder.layers.{i}",
            *(("self_attn", "attention"), ("self_attn_layer_norm", "norm1"), ("final_layer_norm", "norm2")),
            *(("mlp.fc1", "linear1"), ("mlp.fc2", "linear2")),
        ),
        *(
            rule(f"{_QUERY}.self_attn.{name}_proj.", "decoder.layers.{i}.self_attention.in_proj_", part)
            for part, name in enumerate("qkv")
        ),
        *_pairs(
            _QUERY,
            "decoder.layers.{i}",
            *(("self_attn.o_proj", "self_attention.out_proj"), ("self_attn_layer_norm", "self_norm")),
            *(("encoder_attn", "cross_attention"), ("encoder_attn_layer_norm", "cross_norm")),
            *(("mlp.fc1", "linear1"), ("mlp.fc2", "linear2"), ("final_layer_norm", "ffn_norm")),
        ),
        rule("model.query_position_embeddings.weight$", "decoder.queries$"),
        rule("model.reference_points.", "decoder.points."),
        *_pairs("model", "proposals", *_PROPOSALS),
        *_HEADS,
    ),
    encoder=r"model\.(encoder\.|level_embed|input_proj)",
    older=(
        (r"^model\.backbone\.conv_encoder\.", "model.backbone."),
        (r"^(model\.decoder\..*\.self_attn)\.out_proj\.", r"\1.o_proj."),
        (r"^(model\..*\.layers\.\d+)\.fc([12])\.", r"\1.mlp.fc\2."),
        (r"^model\.decoder\.(class|bbox)_embed\.", r"\1_embed."),  # the same heads once more, or tied to them
    ),
    unused=r".*\.num_batches_tracked$",
    turned=True,
)
DETECTORS = (OFFICIAL_DETECTOR, HUGGING_FACE_DETECTOR)


def settled(sources: Mapping[str, tuple[str, ...]], refined: bool) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The places of heads as our decoder has them.

    Args:
        sources: the file's keys of each of ours.
        refined: boxes are, by heads of each layer's own; else all layers have the same ones.

    Returns:
        The same, and the file's keys of heads that repeat another.
    """
    found, repeated = dict(sources), list[str]()
    if FIRST_QUERY in found:
        for kind in HEADS:
            last = max(_numbers(found, kind), default=0)
            for key in [key for key in found if key.startswith(f"decoder.{kind}.{last}.")]:
                rest = key.removeprefix(f"decoder.{kind}.{last}.")
                found[f"proposals.{PROPOSED[kind]}.{rest}"] = found.pop(key)
    for kind in HEADS:
        first = {key.removeprefix(f"decoder.{kind}.0."): one for key, one in found.items() if f".{kind}.0." in key}
        if refined:
            for number in range(max(_numbers(found, "box_heads"), default=0) + 1):
                for rest, source in first.items():
                    found.setdefault(f"decoder.{kind}.{number}.{rest}", source)
            continue
        for number in sorted(_numbers(found, kind) - {0}):
            for key in [key for key in found if key.startswith(f"decoder.{kind}.{number}.")]:
                repeated += found.pop(key)
    return found, repeated


def _numbers(keys: Mapping[str, object], kind: str) -> set[int]:
    return {int(found[1]) for key in keys if (found := re.match(rf"decoder\.{kind}\.(\d+)\.", key))}


def turned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under our keys with their levels in the other order; twice is as before.

    Raises:
        BenchError: rows that are not those of heads, four levels and four points.
    """
    found = dict(tensors)
    for key, tensor in tensors.items():
        if key == "encoder.level_embedding":
            found[key] = tensor.flip(0)
        elif match := re.search(r"attention\.(sampling_offsets|attention_weights)\.(weight|bias)$", key):
            a_head = LEVELS * POINTS * (2 if match[1] == "sampling_offsets" else 1)
            if not tensor.ndim or len(tensor) % a_head:
                raise BenchError(f"{key}: shape {list(tensor.shape)} is not of four levels with four points")
            by_level = tensor.reshape(len(tensor) // a_head, LEVELS, -1, *tensor.shape[1:])
            found[key] = by_level.flip(1).flatten(0, 2)
    return found


def to_official(tensors: Mapping[str, Tensor], head: DetectorHead) -> dict[str, Tensor]:
    """Tensors under our keys as the official code has them: a head for each layer, and once more in the decoder."""
    found: dict[str, Tensor] = {}
    numbers = range(head.decoder_layers)
    for key, tensor in turned(tensors).items():
        places = [key]
        for kind in HEADS:
            if not head.refine and key.startswith(f"decoder.{kind}.0."):
                places = [key.replace(".0.", f".{number}.", 1) for number in numbers]
            if key.startswith(prefix := f"proposals.{PROPOSED[kind]}."):
                places = [f"decoder.{kind}.{head.decoder_layers}.{key.removeprefix(prefix)}"]
        for place in places:
            (name,) = OFFICIAL_DETECTOR.to_theirs(place)
            found[name] = tensor
            if (head.refine and name.startswith("bbox_embed.")) or (head.two_stage and name.startswith("class_embed.")):
                found[f"transformer.decoder.{name}"] = tensor
    return found
