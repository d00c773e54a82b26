"""A model that answers with what the metrics compare: panoptic maps, instances and class maps at the original size."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proscale_bench.config.architecture import SIZE_DIVISOR
from proscale_bench.data.dataset import Category
from proscale_bench.evaluation.instance import detections_of
from proscale_bench.evaluation.panoptic import PredictedSegment
from proscale_bench.evaluation.results import Prediction
from proscale_bench.models import postprocess
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.position import Size
from proscale_bench.models.running import autocast
from proscale_bench.results.accuracy import Task
from proscale_bench.results.profile import DType


@dataclass(frozen=True)
class Answer:
    """The logits of a batch, and the sizes that post-processing needs."""

    pred_logits: Tensor  # [B, Q, K+1]
    pred_masks: Tensor  # [B, Q, h, w]
    padded_size: Size


class Predictor:
    """Runs a model and turns its logits into predictions in the data set's own categories.

    Args:
        model: prepared for inference, on its device.
        categories: of the data set; the model's class index is the place in it.
        tasks: what to predict.
        dtype: number format of the forward pass; post-processing is float32.
    """

    def __init__(
        self, model: Mask2Former, categories: Sequence[Category], tasks: Collection[Task], dtype: DType = "fp32"
    ) -> None:
        self.model = model
        self.tasks = frozenset(tasks)
        self.dtype = dtype
        self.device = next(model.parameters()).device
        self.category_ids = np.array([category.id for category in categories], dtype=np.int64)
        self.things = frozenset(index for index, category in enumerate(categories) if category.is_thing)

    def answer(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The model's logits for images [h, w, 3] of one padded shape."""
        tensors = [torch.from_numpy(image).to(self.device).permute(2, 0, 1).float() for image in images]
        with torch.inference_mode(), autocast(self.device, self.dtype):
            out = self.model(tensors)
        height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
        padded = (height + -height % SIZE_DIVISOR, width + -width % SIZE_DIVISOR)
        return Answer(out.pred_logits.float(), out.pred_masks.float(), padded)

    def prediction(self, answer: Answer, index: int, image_id: int, image_size: Size, output_size: Size) -> Prediction:
        """What the answer says of one image of its batch.

        Args:
            index: the image's place in the batch.
            image_id: of the data set.
            image_size: as the model was given it.
            output_size: of the original.
        """
        with torch.inference_mode():
            logits = answer.pred_logits[index]
            masks = postprocess.resize_masks(
                answer.pred_masks[index], answer.padded_size, image_size, output_size, skip_identities=True
            )
            ids, detections, labels = None, None, None
            segments: tuple[PredictedSegment, ...] = ()
            if "panoptic" in self.tasks:
                found = postprocess.panoptic(logits, masks, self.things)
                ids = found.map.cpu().numpy()
                segments = tuple(
                    PredictedSegment(segment.id, int(self.category_ids[segment.category])) for segment in found.segments
                )
            if "instance" in self.tasks:
                instances = postprocess.instances(logits, masks, thing_classes=self.things)
                detections = tuple(
                    detections_of(
                        image_id,
                        instances.scores.cpu().numpy(),
                        self.category_ids[instances.classes.cpu().numpy()],
                        instances.masks.cpu().numpy(),
                        instances.boxes.cpu().numpy(),
                    )
                )
            if "semantic" in self.tasks:
                classes = postprocess.semantic(logits, masks).max(dim=0).indices
                labels = classes.to(torch.int16).cpu().numpy().astype(np.uint16)
        return Prediction(image_id, ids, segments, detections, labels)
