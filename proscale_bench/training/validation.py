"""Validation during a training: what finds the scores, and a copy of the model that it may use up."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from proscale_bench.data.dataset import Category
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.results.training import ValidationScores
from proscale_bench.training.loop import Trainer
from proscale_bench.training.optimizer import averaged

OnValidation = Callable[[int, int], None]  # how many images are done, of how many


class Validator(Protocol):
    """Evaluates a model on a split that it does not learn from. The first process alone has one."""

    @property
    def split(self) -> str:
        """The name of the split."""

    def open(self, classes: Sequence[Category]) -> str:
        """Read the split's annotations, and return the digest of what the scores follow from.

        Raises:
            BenchError: data that cannot be read, or of other classes than the training's.
        """

    def scores(self, model: Mask2Former, on_image: OnValidation) -> ValidationScores:
        """The scores of a model, which may be changed.

        Raises:
            BenchError: an image cannot be read.
        """


def trained_model(trainer: Trainer) -> Mask2Former:
    """A copy of the model with the average's weights where there is one, in eval mode on the training's device."""
    model = copy.deepcopy(trainer.model).eval()
    if trainer.average is not None:
        with torch.no_grad():
            for name, tensor in averaged(model).items():
                tensor.copy_(trainer.average.tensors[name])
    return model
