"""Small images, recipes and models to train with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from proscale_bench.config.recipe import DetectionRecipe, Recipe
from proscale_bench.data.dataset import Category
from proscale_bench.models.build import build
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.processes import Processes
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.training.loop import Trainer
from proscale_bench.training.samples import Sample
from tests.models.checkpoints.samples import HEAD, SWIN

COLORS = np.array([(190, 80, 80), (80, 80, 190), (100, 140, 100)])  # by class
BLOCKS = (0, 0, 1)  # their classes: two of one kind are to be told apart
RECIPE: dict[str, Any] = {
    "schema_version": 1,
    "name": "small",
    "data": {"source": "coco", "split": "val2017"},
    "backbone": "tiny",
    "iterations": 4,
    "batch_size": 4,
    "augmentation": {"crop": [64, 64]},
    "optimizer": {"learning_rate": 1.0e-3, "backbone_multiplier": 1.0},
    "schedule": {"kind": "polynomial", "warmup_iterations": 1, "warmup_factor": 0.5},
    "loss": {"points": 64},
    "ema": 0.9,
    "checkpoint_every": 2,
}


DETECTION: dict[str, Any] = {**RECIPE, "model": "deformable-detr", "loss": {}}


def recipe(**changes: Any) -> Recipe:
    """A short recipe; with `model`, a detector's."""
    kind, base = (DetectionRecipe, DETECTION) if "model" in changes else (Recipe, RECIPE)
    return kind.model_validate(base | changes)


class Blocks:
    """Images of a noisy ground with three blocks on it, turned over by chance."""

    classes = (Category(1, "red", True), Category(2, "blue", True), Category(3, "ground", False))

    def __init__(self, length: int = 8, size: tuple[int, int] = (64, 64)) -> None:
        self.length, self.size = length, size

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        return f"blocks {index}"

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        own = np.random.default_rng(index)
        height, width = self.size
        segments = np.full(self.size, len(BLOCKS))
        for block in range(len(BLOCKS)):
            top, left = own.integers(height * 3 // 4), own.integers(width * 3 // 4)
            segments[top : top + own.integers(12, height // 2), left : left + own.integers(12, width // 2)] = block
        there = np.unique(segments)
        labels = np.array([*BLOCKS, 2], np.int64)
        image = COLORS[labels[segments]] + own.integers(-30, 31, (height, width, 1))
        turn = slice(None, None, -1 if random.random() < 0.5 else 1)
        masks = segments == there[:, None, None]
        return Sample(np.ascontiguousarray(image[:, turn]).astype(np.uint8), labels[there], masks[:, :, turn].copy())


def small(schedule: str = "1,1,1", drop_path: float = 0.0) -> Mask2Former:
    """A model for `Blocks`, always the same."""
    torch.manual_seed(0)
    head = replace(HEAD, num_classes=3, queries=6)
    return build(Mask2FormerSpec(SWIN, parse_encoder(schedule), head), drop_path=drop_path)


def trainer(schedule: str = "1,1,1", processes: Processes | None = None, **changes: Any) -> Trainer:
    made = recipe(**changes)
    return Trainer(small(schedule, made.drop_path), made, 3, {}, processes)
