"""The meaning of an ONNX file that is no export of ours, as whoever evaluates it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Normalization = Literal["imagenet", "unit", "none"]
Scores = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class GraphMeaning:
    """The meaning of a file's input and outputs, as whoever evaluates it says.

    Args:
        outputs: names of the file's by ours: `logits`, and `masks` or `boxes`.
        normalization: of images: ImageNet's, from 0 to 1, or none: from 0 to 255.
        scores: of classes beside boxes; the last of softmax is "no object". Beside masks always softmax.
        stretched: images are stretched to the file's size, and not padded.
        classes: names of its classes in order; empty: they are the data's.
    """

    outputs: Mapping[str, str]
    normalization: Normalization
    scores: Scores | None
    stretched: bool = False
    classes: tuple[str, ...] = ()

    @property
    def regions(self) -> str:
        """`masks` or `boxes`."""
        return "boxes" if "boxes" in self.outputs else "masks"
