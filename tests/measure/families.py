"""Small models of `transformers` with random weights, one a family: what `hf:` reads as a configuration."""

from __future__ import annotations

from typing import Any

TINY_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [16, 24, 32, 40],
    "depths": [1, 1, 1, 1],
    "layer_type": "bottleneck",
    "out_features": ["stage2", "stage3", "stage4"],
}
LAST_STAGE = {**TINY_RESNET, "out_features": ["stage4"]}
ALL_STAGES = {**TINY_RESNET, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
TINY_SWIN = {
    "model_type": "swin",
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 2],
    "window_size": 4,
    "image_size": 128,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
DETR = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_queries": 7,
    "num_labels": 5,
    "use_timm_backbone": False,
    "backbone": None,
}
TINY_RT = {
    "model_type": "rt_detr_resnet",
    "embedding_size": 8,
    "hidden_sizes": [16, 24, 32, 40],
    "depths": [1, 1, 1, 1],
    "layer_type": "bottleneck",
    "out_features": ["stage2", "stage3", "stage4"],
}
RT_DETR = {
    "backbone_config": TINY_RT,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [24, 32, 40],
    "encoder_ffn_dim": 48,
    "encoder_attention_heads": 4,
    "d_model": 32,
    "decoder_in_channels": [32, 32, 32],
    "decoder_layers": 2,
    "decoder_ffn_dim": 48,
    "decoder_attention_heads": 4,
    "num_queries": 9,
    "num_labels": 5,
    "feat_strides": [8, 16, 32],
    "hidden_expansion": 0.5,
}
TINY_HGNET = {
    "model_type": "hgnet_v2",
    "embedding_size": 16,
    "stem_channels": [3, 8, 16],
    "hidden_sizes": [16, 24, 32, 40],
    "depths": [1, 1, 1, 1],
    "stage_in_channels": [16, 16, 24, 32],
    "stage_mid_channels": [8, 8, 16, 16],
    "stage_out_channels": [16, 24, 32, 40],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_downsample": [False, True, True, True],
    "stage_light_block": [False, False, True, True],
    "stage_kernel_size": [3, 3, 5, 5],
    "stage_numb_of_layers": [2, 2, 2, 2],
    "out_features": ["stage2", "stage3", "stage4"],
}
MASK2FORMER = {
    "backbone_config": TINY_SWIN,
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 48,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "num_queries": 7,
    "num_labels": 5,
}
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}
DINOV2 = {
    "model_type": "dinov2",
    **VIT,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
    "reshape_hidden_states": False,
}
LW_VIT = {
    "model_type": "lw_detr_vit",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 64,
    "pretrain_image_size": 64,
    "patch_size": 16,
    "window_block_indices": [0, 2],
    "num_windows": 4,
    "num_windows_side": 2,
    "out_indices": [1, 3],
}
LW_DETR = {
    "projector_scale_factors": [1.0],
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_ffn_dim": 48,
    "decoder_self_attention_heads": 4,
    "decoder_cross_attention_heads": 4,
    "num_queries": 7,
    "num_labels": 5,
    "group_detr": 2,
}

# By family: the class's name and what its configuration has beside the family's defaults.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "eomt": (
        "EomtForUniversalSegmentation",
        {**VIT, "num_queries": 5, "num_labels": 7, "num_blocks": 2, "num_upscale_blocks": 2},
    ),
    "detr": ("DetrForObjectDetection", {**DETR, "backbone_config": LAST_STAGE}),
    "conditional_detr": ("ConditionalDetrForObjectDetection", {**DETR, "backbone_config": LAST_STAGE}),
    "dab_detr": (
        "DabDetrForObjectDetection",
        {**DETR, "hidden_size": 32, "backbone_config": LAST_STAGE},
    ),
    "deformable_detr": (
        "DeformableDetrForObjectDetection",
        {
            **DETR,
            "backbone_config": TINY_RESNET,
            "num_feature_levels": 4,
            "with_box_refine": True,
            "two_stage": True,
            "two_stage_num_proposals": 10,
        },
    ),
    "rt_detr": ("RTDetrForObjectDetection", RT_DETR),
    "rt_detr_v2": ("RTDetrV2ForObjectDetection", RT_DETR),
    "d_fine": ("DFineForObjectDetection", {**RT_DETR, "backbone_config": TINY_HGNET}),
    "deimv2": ("Deimv2ForObjectDetection", {**RT_DETR, "backbone_config": TINY_HGNET}),
    "lw_detr": ("LwDetrForObjectDetection", {**LW_DETR, "backbone_config": LW_VIT}),
    "rf_detr": ("RfDetrForObjectDetection", {**LW_DETR}),
    "mask2former": ("Mask2FormerForUniversalSegmentation", MASK2FORMER),
    "maskformer": (
        "MaskFormerForInstanceSegmentation",
        {
            "backbone_config": TINY_SWIN,
            "decoder_config": {"model_type": "detr", **DETR},
            "fpn_feature_size": 32,
            "mask_feature_size": 32,
            "num_labels": 5,
        },
    ),
    "oneformer": (
        "OneFormerForUniversalSegmentation",
        {
            **{
                key: value
                for key, value in MASK2FORMER.items()
                if key not in ("feature_size", "mask_feature_size", "encoder_feedforward_dim")
            },
            "conv_dim": 32,
            "mask_dim": 32,
            "encoder_feedforward_dim": 48,
            "text_encoder_width": 16,
            "text_encoder_num_layers": 1,
            "text_encoder_vocab_size": 50,
            "is_training": False,
            "query_dec_layers": 1,
            "task_seq_len": 8,
        },
    ),
    "segformer": (
        "SegformerForSemanticSegmentation",
        {
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 3, 4],
            "decoder_hidden_size": 16,
            "num_labels": 5,
        },
    ),
    "upernet": (
        "UperNetForSemanticSegmentation",
        {
            "backbone_config": ALL_STAGES,
            "hidden_size": 16,
            "auxiliary_in_channels": 32,
            "auxiliary_channels": 16,
            "num_labels": 5,
        },
    ),
    "dpt": (
        "DPTForDepthEstimation",
        {**VIT, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 16, 24, 32], "fusion_hidden_size": 16},
    ),
    "depth_anything": (
        "DepthAnythingForDepthEstimation",
        {
            "backbone_config": {**DINOV2, "patch_size": 14, "image_size": 56},
            "neck_hidden_sizes": [8, 16, 24, 32],
            "fusion_hidden_size": 16,
            "head_hidden_size": 8,
            "reassemble_hidden_size": 32,
        },
    ),
    "beit": ("BeitForSemanticSegmentation", {**VIT, "out_indices": [1, 2, 3, 4], "num_labels": 5}),
    "yolos": ("YolosForObjectDetection", {**VIT, "image_size": [64, 64], "num_detection_tokens": 7, "num_labels": 5}),
    "glpn": (
        "GLPNForDepthEstimation",
        {
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 3, 4],
            "decoder_hidden_size": 16,
        },
    ),
    "vit": ("ViTForImageClassification", VIT),
    "swin": ("SwinForImageClassification", {key: value for key, value in TINY_SWIN.items() if key != "model_type"}),
    "convnext": ("ConvNextForImageClassification", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}),
    "dinov3_vit": ("DINOv3ViTModel", VIT),
    "sam": (
        "SamModel",
        {
            "vision_config": {
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "mlp_dim": 64,
                "output_channels": 16,
                "image_size": 64,
                "patch_size": 16,
                "window_size": 2,
                "global_attn_indexes": [1],
                "num_pos_feats": 8,
            },
            "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
            "mask_decoder_config": {
                "hidden_size": 16,
                "mlp_dim": 32,
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "iou_head_hidden_dim": 16,
            },
        },
    ),
    "data2vec_vision": (
        "Data2VecVisionForSemanticSegmentation",
        {**VIT, "out_indices": [1, 2, 3, 4], "num_labels": 5, "use_auxiliary_head": False},
    ),
    "zoedepth": (
        "ZoeDepthForDepthEstimation",
        {
            "backbone_config": {
                "model_type": "beit",
                **VIT,
                "out_features": ["stage1", "stage2", "stage3", "stage4"],
                "reshape_hidden_states": False,
            },
            "neck_hidden_sizes": [8, 16, 24, 32],
            "fusion_hidden_size": 16,
            "bottleneck_features": 16,
            "num_relative_features": 8,
        },
    ),
    "mobilevit": ("MobileViTForSemanticSegmentation", {"image_size": 64, "num_labels": 5}),
    "table_transformer": ("TableTransformerForObjectDetection", {**DETR, "backbone_config": LAST_STAGE}),
}
SPELLINGS = {"dab_detr": "dab-detr", "data2vec_vision": "data2vec-vision", "table_transformer": "table-transformer"}


def configuration(family: str) -> dict[str, Any]:
    """The `config.json` of a family's small model."""
    architecture, own = FAMILIES[family]
    return {"model_type": SPELLINGS.get(family, family), "architectures": [architecture], **own}
