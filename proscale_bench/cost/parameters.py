"""Parameters of every part, in closed form. Frozen batch norms have none, as in the official models."""

from __future__ import annotations

from dataclasses import dataclass

from proscale_bench.config.architecture import Architecture, Head, ResNet, Swin
from proscale_bench.specs.encoders.staged import LEVELS, Schedule


@dataclass(frozen=True)
class PartParameters:
    """Numbers of parameters. `encoder` is the whole pixel decoder."""

    backbone: int
    encoder: int
    transformer_decoder: int

    @property
    def total(self) -> int:
        return self.backbone + self.encoder + self.transformer_decoder


def count_parameters(architecture: Architecture, schedule: Schedule) -> PartParameters:
    """Parameters by part."""
    backbone, head = architecture.backbone, architecture.head
    return PartParameters(
        backbone=_resnet(backbone) if isinstance(backbone, ResNet) else _swin(backbone),
        encoder=_encoder(backbone.channels, head, schedule),
        transformer_decoder=_decoder(head),
    )


def token_layer_parameters(head: Head, n_levels: int) -> int:
    """Value and output projections, offsets and weights, FFN, two norms."""
    d, ffn = head.width, head.encoder_ffn
    offsets_and_weights = 3 * (d + 1) * head.encoder_heads * n_levels * head.encoder_points
    return 2 * (d * d + d) + offsets_and_weights + (2 * d * ffn + ffn + d) + 4 * d


def _resnet(spec: ResNet) -> int:
    parameters = 7 * 7 * 3 * spec.stem_width
    c_in = spec.stem_width
    for stage, (depth, c_out) in enumerate(zip(spec.depths, spec.channels, strict=True)):
        c = spec.width << stage
        for block in range(depth):
            parameters += c_in * c + 9 * c * c + c * c_out
            if block == 0 and (stage > 0 or c_in != c_out):
                parameters += c_in * c_out
            c_in = c_out
    return parameters


def _swin(spec: Swin) -> int:
    parameters = 4 * 4 * 3 * spec.width + spec.width + 2 * spec.width  # patch embedding and its norm
    for stage, (depth, c, heads) in enumerate(zip(spec.depths, spec.channels, spec.heads, strict=True)):
        bias_table = (2 * spec.window - 1) ** 2 * heads
        parameters += depth * (12 * c * c + 13 * c + bias_table)
        parameters += 2 * c  # output norm
        if stage < 3:
            parameters += 8 * c * c + 8 * c  # merging: 4c to 2c without bias, and its norm
    return parameters


def _encoder(channels: tuple[int, int, int, int], head: Head, schedule: Schedule) -> int:
    c, c2 = head.width, channels[0]
    projections = sum(c_in * c + c + 2 * c for c_in in channels[1:])
    level_embedding = len(LEVELS) * c
    recalibration = 0 if schedule.recalibration == "none" else c + 1
    layers = sum(token_layer_parameters(head, len(levels)) for _, levels in schedule.layers)
    lateral = c2 * c + 2 * c
    embedding = (9 * c * c if schedule.pixel_embedding == "conv" else 0) + 2 * c
    mask_features = c * c + c
    return projections + level_embedding + recalibration + layers + lateral + embedding + mask_features


def _decoder(head: Head) -> int:
    c, ffn, q = head.width, head.decoder_ffn, head.queries
    attention = 4 * (c * c + c)
    layer = 2 * attention + (2 * c * ffn + ffn + c) + 3 * 2 * c
    predictions = 2 * c + c * (head.num_classes + 1) + head.num_classes + 1 + 3 * (c * c + c)
    return head.decoder_layers * layer + 2 * q * c + 3 * c + predictions
