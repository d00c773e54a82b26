"""Models of a schedule on a named backbone, as most tests want them."""

from __future__ import annotations

from typing import Any

from proscale_bench.models.build import build
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import EncoderSpec


def build_model(
    encoder: EncoderSpec,
    backbone: str = "resnet50",
    num_classes: int | None = None,
    num_queries: int | None = None,
    **settings: Any,
) -> Mask2Former:
    """A freshly initialised model, in eval mode; `settings` are those of `build`."""
    return build(mask2former(encoder, backbone, classes=num_classes, queries=num_queries), **settings)
