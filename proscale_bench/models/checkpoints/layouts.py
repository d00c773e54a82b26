"""The layouts that we know: tables of a code base's names of tensors and ours.

Sources: keys of the official checkpoints (Mask2Former on detectron2, PRO-SCALE), and of
`transformers.Mask2FormerForUniversalSegmentation` with Swin and ResNet backbones.
"""

from __future__ import annotations

import re

from proscale_bench.models.checkpoints.key_layout import KeyLayout, KeyRule, rule

EXTRA = "extra."  # in our own files: what the model has no use for and a conversion gives back

# Encoders of other families have names of their own, and a file of ours says which it holds.
NOT_STAGED = re.compile(
    r"encoder\.(?!projections\.|level_embedding$|layers\.\d+\.|recalibration\.score\."
    r"|mask_features\.|lateral\.|pixel_embedding\.)"
)

OURS = KeyLayout(
    "ours",
    anchors=("encoder.mask_features.weight", "decoder.query_features", "decoder.class_heads.0.weight"),
    rules=tuple(rule(part, part) for part in ("backbone.", "encoder.", "proposals.", "decoder.")),
    encoder=r"encoder\.",
    unused=EXTRA.replace(".", r"\."),
)

_PIXEL, _PREDICTOR = "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"
_CROSS, _SELF = f"{_PREDICTOR}.transformer_cross_attention_layers", f"{_PREDICTOR}.transformer_self_attention_layers"

OFFICIAL = KeyLayout(
    "official",
    anchors=tuple(f"{head}.mask_features.weight" for head in (_PIXEL, "sem_seg_head", "pixel_decoder")),
    rules=(
        rule("backbone.stem.conv1.norm.", "backbone.bn1."),
        rule("backbone.stem.conv1.", "backbone.conv1."),
        rule("backbone.res{n+1}.{b}.conv{c}.norm.", "backbone.layer{n}.{b}.bn{c}."),
        rule("backbone.res{n+1}.{b}.shortcut.norm.", "backbone.layer{n}.{b}.downsample.1."),
        rule("backbone.res{n+1}.{b}.shortcut.", "backbone.layer{n}.{b}.downsample.0."),
        rule("backbone.res{n+1}.{b}.", "backbone.layer{n}.{b}."),
        rule("backbone.patch_embed.proj.", "backbone.features.0.0."),
        rule("backbone.patch_embed.norm.", "backbone.features.0.2."),
        rule("backbone.layers.{s}.blocks.{b}.mlp.fc{f}.", "backbone.features.{2s+1}.{b}.mlp.{3f-3}."),
        rule("backbone.layers.{s}.blocks.{b}.", "backbone.features.{2s+1}.{b}."),
        rule("backbone.layers.{s}.downsample.", "backbone.features.{2s+2}."),
        rule("backbone.norm{s}.", "backbone.norms.{s}."),
        rule(f"{_PIXEL}.input_proj.", "encoder.projections."),
        rule(f"{_PIXEL}.transformer.level_embed$", "encoder.level_embedding$"),
        rule(f"{_PIXEL}.transformer.encoder.layers.{{i}}.self_attn.", "encoder.layers.{i}.attention."),
        rule(f"{_PIXEL}.transformer.encoder.layers.{{i}}.", "encoder.layers.{i}."),
        rule(f"{_PIXEL}.transformer.encoder.token_excite.ops.", "encoder.recalibration.score."),
        rule(f"{_PIXEL}.transformer.encoder.gt.head.", "encoder.gate."),  # ECO-M2F
        rule(f"{_PIXEL}.mask_features.", "encoder.mask_features."),
        rule(f"{_PIXEL}.adapter_1.norm.", "encoder.lateral.1."),
        rule(f"{_PIXEL}.adapter_1.", "encoder.lateral.0."),
        rule(f"{_PIXEL}.layer_1.norm.", "encoder.pixel_embedding.1."),
        rule(f"{_PIXEL}.layer_1.", "encoder.pixel_embedding.0."),
        rule(f"{_CROSS}.{{i}}.multihead_attn.", "decoder.layers.{i}.cross_attention."),
        rule(f"{_CROSS}.{{i}}.norm.", "decoder.layers.{i}.cross_norm."),
        rule(f"{_SELF}.{{i}}.self_attn.", "decoder.layers.{i}.self_attention."),
        rule(f"{_SELF}.{{i}}.norm.", "decoder.layers.{i}.self_norm."),
        rule(f"{_PREDICTOR}.transformer_ffn_layers.{{i}}.norm.", "decoder.layers.{i}.ffn_norm."),
        rule(f"{_PREDICTOR}.transformer_ffn_layers.{{i}}.", "decoder.layers.{i}."),
        rule(f"{_PREDICTOR}.decoder_norm.", "decoder.norm."),
        rule(f"{_PREDICTOR}.query_feat.weight$", "decoder.query_features$"),
        rule(f"{_PREDICTOR}.query_embed.weight$", "decoder.query_positions$"),
        rule(f"{_PREDICTOR}.level_embed.weight$", "decoder.level_embedding$"),
        rule(f"{_PREDICTOR}.class_embed.", "decoder.class_head."),
        rule(f"{_PREDICTOR}.mask_embed.layers.{{i}}.", "decoder.mask_head.{2i}."),
    ),
    encoder=r"(sem_seg_head\.)?pixel_decoder\.|sem_seg_head\.(transformer|input_proj|mask_features|adapter_1|layer_1)\.",
    older=(
        (r"^(?=(pixel_decoder|predictor)\.)", "sem_seg_head."),  # a head alone
        (r"^sem_seg_head\.(?!(pixel_decoder|predictor)\.)", f"{_PIXEL}."),  # of Mask2Former's first version
        (rf"^{_PREDICTOR}\.static_query\.", f"{_PREDICTOR}.query_feat."),
    ),
    unused=r"criterion\.|.*\.num_batches_tracked$|.*\.attn_mask$|n_averaged$",
)

_LEVEL, _TRANSFORMER = "model.pixel_level_module", "model.transformer_module"
_SWIN, _RESNET = f"{_LEVEL}.encoder.encoder.layers.{{s}}", f"{_LEVEL}.encoder.encoder.stages.{{s}}.layers.{{b}}"
_TOKEN, _QUERY = f"{_LEVEL}.decoder.encoder.layers.{{i}}", f"{_TRANSFORMER}.decoder.layers.{{i}}"


def _thirds(theirs: str, names: tuple[str, str, str], ours: str) -> tuple[KeyRule, ...]:
    """Query, key and value, which we join."""
    return tuple(rule(f"{theirs}.{name}.", ours, part) for part, name in enumerate(names))


HUGGING_FACE = KeyLayout(
    "huggingface",
    anchors=(f"{_LEVEL}.decoder.mask_projection.weight",),
    rules=(
        rule(f"{_LEVEL}.encoder.embedder.embedder.convolution.", "backbone.conv1."),
        rule(f"{_LEVEL}.encoder.embedder.embedder.normalization.", "backbone.bn1."),
        rule(f"{_RESNET}.layer.{{c}}.convolution.", "backbone.layer{s+1}.{b}.conv{c+1}."),
        rule(f"{_RESNET}.layer.{{c}}.normalization.", "backbone.layer{s+1}.{b}.bn{c+1}."),
        rule(f"{_RESNET}.shortcut.convolution.", "backbone.layer{s+1}.{b}.downsample.0."),
        rule(f"{_RESNET}.shortcut.normalization.", "backbone.layer{s+1}.{b}.downsample.1."),
        rule(f"{_LEVEL}.encoder.embeddings.patch_embeddings.projection.", "backbone.features.0.0."),
        rule(f"{_LEVEL}.encoder.embeddings.norm.", "backbone.features.0.2."),
        *_thirds(
            f"{_SWIN}.blocks.{{b}}.attention.self", ("query", "key", "value"), "backbone.features.{2s+1}.{b}.attn.qkv."
        ),
        rule(
            f"{_SWIN}.blocks.{{b}}.attention.self.relative_position_",
            "backbone.features.{2s+1}.{b}.attn.relative_position_",
        ),
        rule(f"{_SWIN}.blocks.{{b}}.attention.output.dense.", "backbone.features.{2s+1}.{b}.attn.proj."),
        rule(f"{_SWIN}.blocks.{{b}}.layernorm_before.", "backbone.features.{2s+1}.{b}.norm1."),
        rule(f"{_SWIN}.blocks.{{b}}.layernorm_after.", "backbone.features.{2s+1}.{b}.norm2."),
        rule(f"{_SWIN}.blocks.{{b}}.intermediate.dense.", "backbone.features.{2s+1}.{b}.mlp.0."),
        rule(f"{_SWIN}.blocks.{{b}}.output.dense.", "backbone.features.{2s+1}.{b}.mlp.3."),
        rule(f"{_SWIN}.downsample.", "backbone.features.{2s+2}."),
        rule(f"{_LEVEL}.encoder.hidden_states_norms.stage{{s+1}}.", "backbone.norms.{s}."),
        rule(f"{_LEVEL}.decoder.input_projections.", "encoder.projections."),
        rule(f"{_LEVEL}.decoder.level_embed$", "encoder.level_embedding$"),
        rule(f"{_TOKEN}.self_attn.", "encoder.layers.{i}.attention."),
        rule(f"{_TOKEN}.self_attn_layer_norm.", "encoder.layers.{i}.norm1."),
        rule(f"{_TOKEN}.fc{{f}}.", "encoder.layers.{i}.linear{f}."),
        rule(f"{_TOKEN}.final_layer_norm.", "encoder.layers.{i}.norm2."),
        rule(f"{_LEVEL}.decoder.mask_projection.", "encoder.mask_features."),
        rule(f"{_LEVEL}.decoder.adapter_1.", "encoder.lateral."),
        rule(f"{_LEVEL}.decoder.layer_1.", "encoder.pixel_embedding."),
        rule(f"{_QUERY}.cross_attn.", "decoder.layers.{i}.cross_attention."),
        rule(f"{_QUERY}.cross_attn_layer_norm.", "decoder.layers.{i}.cross_norm."),
        *_thirds(f"{_QUERY}.self_attn", ("q_proj", "k_proj", "v_proj"), "decoder.layers.{i}.self_attention.in_proj_"),
        rule(f"{_QUERY}.self_attn.", "decoder.layers.{i}.self_attention."),
        rule(f"{_QUERY}.self_attn_layer_norm.", "decoder.layers.{i}.self_norm."),
        rule(f"{_QUERY}.fc{{f}}.", "decoder.layers.{i}.linear{f}."),
        rule(f"{_QUERY}.final_layer_norm.", "decoder.layers.{i}.ffn_norm."),
        rule(f"{_TRANSFORMER}.decoder.layernorm.", "decoder.norm."),
        rule(f"{_TRANSFORMER}.queries_features.weight$", "decoder.query_features$"),
        rule(f"{_TRANSFORMER}.queries_embedder.weight$", "decoder.query_positions$"),
        rule(f"{_TRANSFORMER}.level_embed.weight$", "decoder.level_embedding$"),
        rule(f"{_TRANSFORMER}.decoder.mask_predictor.mask_embedder.{{i}}.0.", "decoder.mask_head.{2i}."),
        rule("class_predictor.", "decoder.class_head."),
    ),
    encoder=rf"{_LEVEL}\.decoder\.",
    older=(  # Swin as transformers 5 has it in memory; its files keep the names above
        (rf"^({_LEVEL}\.encoder)\.swin\.(?=embeddings|encoder)", r"\1."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.q_proj\.", r"\1.self.query."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.k_proj\.", r"\1.self.key."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.v_proj\.", r"\1.self.value."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.o_proj\.", r"\1.output.dense."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.relative_position_bias\.", r"\1.self."),
        (rf"^({_LEVEL}\.encoder\..*)\.mlp\.fc1\.", r"\1.intermediate.dense."),
        (rf"^({_LEVEL}\.encoder\..*)\.mlp\.fc2\.", r"\1.output.dense."),
    ),
    unused=rf"criterion\.|.*\.num_batches_tracked$|{_LEVEL}\.encoder\.(swin\.)?layernorm\.",
)

LAYOUTS = {layout.name: layout for layout in (OURS, OFFICIAL, HUGGING_FACE)}
