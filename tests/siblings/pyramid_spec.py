"""A small convolutional sibling, as data: a feature pyramid with a top-down path (Lin et al. 2017), no tokens."""

from __future__ import annotations

from dataclasses import dataclass

from proscale_bench.specs.encoders import parts
from proscale_bench.specs.levels import Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import LayerSpec, Part
from proscale_bench.specs.terms import Operator, Terms, Tokens, terms


@dataclass(frozen=True)
class Pyramid:
    """Projections, a top-down path, a 3x3 convolution on each level."""

    name: str | None = None

    encoder = "pyramid"
    compact = "pyramid"
    layers: tuple[LayerSpec, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `EncoderSpec`. What the encoder runs between its modules is the top-down path."""
        return (
            parts.PROJECTION,
            Part("encoder_top_down", "top-down path", "encoder", ("encoder",)),
            Part("encoder_smoothing", "smoothing", "encoder", ("encoder.smoothing",)),
            parts.PIXEL_EMBEDDING,
        )

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """See `EncoderSpec`."""
        width = head.width
        return {
            parts.PROJECTION.name: parts.projection_terms(channels, width),
            "encoder_top_down": terms(
                *((Operator.UPSAMPLE_BILINEAR2D, 4 * width, Tokens(stride)) for stride in (16, 8, 4))
            ),
            "encoder_smoothing": terms(*((Operator.CONV, 9 * width * width, Tokens(stride)) for stride in (32, 16, 8))),
            parts.PIXEL_EMBEDDING.name: parts.pixel_embedding_terms(channels, width, "conv"),
        }

    def parameters(self, channels: Channels, head: Head) -> int:
        """See `EncoderSpec`."""
        width = head.width
        smoothing = 3 * (9 * width * width + width)
        embedding = parts.pixel_embedding_parameters(channels, width, "conv")
        return parts.projection_parameters(channels, width) + smoothing + embedding
