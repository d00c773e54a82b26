"""A detector in training: the same iterations, with the losses of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from proscale_bench.config.recipe import DetectionRecipe
from proscale_bench.models.running import autocast
from proscale_bench.training.box_criterion import BoxLosses, BoxTarget, box_criterion
from proscale_bench.training.box_samples import BoxSample
from proscale_bench.training.loop import Trainer


class BoxTrainer(Trainer):
    """See `Trainer`, whose samples have boxes here. A batch's images are padded to the largest of them."""

    recipe: DetectionRecipe
    terms = ("class", "box", "giou")

    def _least_images(self) -> int:
        return 1

    def _leaves_parameters_out(self) -> bool:
        return True

    def _normalizer(self, samples: Sequence[BoxSample]) -> float | None:  # type: ignore[override]
        """The mean number of objects of an iteration's parts, by which all losses are divided."""
        if self.parts == 1:
            return None
        mine = torch.tensor([float(sum(len(sample.labels) for sample in samples))])
        return self.processes.mean(mine).item() / self.recipe.accumulate

    def _losses(self, samples: Sequence[BoxSample], normalizer: float | None) -> BoxLosses:  # type: ignore[override]
        images = [torch.from_numpy(sample.image).to(self.device).permute(2, 0, 1).float() for sample in samples]
        targets = [
            BoxTarget(torch.from_numpy(sample.labels).to(self.device), torch.from_numpy(sample.boxes).to(self.device))
            for sample in samples
        ]
        with autocast(self.device, self.recipe.precision):
            predictions: Any = self._model(images)
        return box_criterion(predictions, targets, self.recipe.loss, objects=normalizer)
