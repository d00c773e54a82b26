"""What every encoder (whole pixel decoder) takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class EncoderOutput:
    """What the transformer decoder works from.

    Args:
        mask_features: [B, C, H/4, W/4], per-pixel embeddings.
        pyramid: [B, C, h, w] at strides 32, 16, 8: coarse to fine.
    """

    mask_features: Tensor
    pyramid: tuple[Tensor, ...]


class PixelEncoder(nn.Module, ABC):
    """From the backbone's features to mask features and a pyramid.

    Encoders are siblings: none imports another.
    """

    @abstractmethod
    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """Encode `{"res2": [B, C2, H/4, W/4], ..., "res5": [B, C5, H/32, W/32]}`."""

    def between_parts(self, output: EncoderOutput) -> Callable[[], object] | None:
        """What the encoder runs outside its modules, as a call that can be timed by itself; None where nothing can.

        It is booked as the part of the spec that names the module `encoder`.

        Args:
            output: of a forward pass.
        """
        return None
