"""The interface between a backbone, an encoder (a whole pixel decoder) and the transformer decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import Size


@dataclass(frozen=True)
class EncoderOutput:
    """The features that the transformer decoder works from.

    Args:
        mask_features: per-pixel embeddings as wide as the head, [B, C, H/4, W/4].
        pyramid: feature maps [B, C, h, w] at strides 32, 16 and 8, coarse to fine. Their width is the head's too,
            unless the encoder's spec has a `pyramid_width`: the transformer decoder then projects them.
        gates: logits of the encoder's gate over its exits, [B, exits]; empty where it has none.
    """

    mask_features: Tensor
    pyramid: tuple[Tensor, ...]
    gates: tuple[Tensor, ...] = ()


class PixelEncoder(nn.Module, ABC):
    """A module from the backbone's features to mask features and a pyramid. Encoders never import each other.

    The smallest one projects every feature to the decoder's width, and mixes nothing:

        class ProjectionEncoder(PixelEncoder):
            def __init__(self, head: Head, channels: Mapping[str, int]) -> None:
                super().__init__()
                self.projections = nn.ModuleDict({name: projection(channels[name], head.width) for name in channels})

            def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
                res2, *finer_to_coarse = (self.projections[name](features[name]) for name in sorted(features))
                return EncoderOutput(mask_features=res2, pyramid=tuple(reversed(finer_to_coarse)))

    `encoders/parts.py` has the modules that encoders share, and docs/encoders.md a feature pyramid network.
    """

    spec: EncoderSpec  # what `build` made it from, as checkpoints say
    head: Head

    @abstractmethod
    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """Encode a batch.

        Args:
            features: `{"res2": [B, C2, H/4, W/4], ..., "res5": [B, C5, H/32, W/32]}`, H and W multiples of 32.
        """

    def least_images(self, size: Size) -> int:
        """The number of images that each part of a training's batch needs, for images of this size in pixels."""
        return 1

    def between_parts(self, output: EncoderOutput) -> Callable[[], object] | None:
        """The work of the encoder outside its modules, as a call that can be timed by itself; None where nothing can.

        It is booked as the part of the spec that names the module `encoder`.

        Args:
            output: result of a forward pass.
        """
        return None

    def optimize(self) -> None:
        """Apply the encoder's own exact optimizations of inference, in place: see its terms `as_executed`."""
