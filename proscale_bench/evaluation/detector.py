"""Detectors of ours: from images to their best boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from proscale_bench.data.pictures import Pixels
from proscale_bench.evaluation.boxes import TOP, Detector, FoundBoxes, best_boxes
from proscale_bench.models.running import autocast
from proscale_bench.results.profile import DType


def detector_of(model: nn.Module, dtype: DType = "fp32", top: int = TOP) -> Detector:
    """The detector of a module, computed on its device.

    Args:
        model: from images [3, h, w] of sizes of their own, RGB 0 to 255, to `class_logits` [B, Q, C] of sigmoids and
            `boxes` [B, Q, 4] as (cx, cy, w, h), fractions of each image without padding.
        dtype: number format of the forward pass.
        top: number of boxes of an image.
    """

    def detect(images: Sequence[Pixels]) -> Iterator[FoundBoxes]:
        device = next(model.parameters()).device
        tensors = [torch.from_numpy(image).to(device).permute(2, 0, 1).float() for image in images]
        with torch.inference_mode(), autocast(device, dtype):
            found: Any = model(tensors)
        yield from best_of_each(found.class_logits.float(), found.boxes.float(), top)

    return detect


def best_of_each(class_logits: Tensor, boxes: Tensor, top: int = TOP) -> Iterator[FoundBoxes]:
    """The best boxes of each image, of what `detector_of` says a module gives, in float32."""
    scores = class_logits.sigmoid().cpu().numpy()
    corners = box_convert(boxes, "cxcywh", "xyxy").cpu().numpy()
    for of_image, found in zip(scores, corners, strict=True):
        yield best_boxes(of_image, found, top)
