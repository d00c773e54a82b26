"""All of it together learns: four images by heart."""

from __future__ import annotations

import numpy as np

from proscale_bench.data.dataset import Segment
from proscale_bench.evaluation.model_predictor import PostProcessor, run_model
from proscale_bench.evaluation.panoptic import PanopticCounts, count_image, panoptic_quality
from proscale_bench.models.inference import use_sampling
from proscale_bench.training.loop import Trainer
from tests.training.made import Blocks, trainer

OPTIMIZER = {"learning_rate": 3.0e-3, "backbone_multiplier": 1.0, "weight_decay": 0.0}


def quality(made: Trainer, images: Blocks) -> float:
    """PQ, in percent."""
    model, post_processor = made.model.eval(), PostProcessor(images.classes, ["panoptic"])
    counts: list[PanopticCounts] = []
    for index in range(len(images)):
        sample = images.sample(index, np.random.default_rng(0))
        numbers = np.arange(1, len(sample.labels) + 1)
        ids = (sample.masks * numbers[:, None, None]).sum(0).astype(np.uint32)
        truth = [
            Segment(int(number), images.classes[label].id, False, float(mask.sum()))
            for number, label, mask in zip(numbers, sample.labels, sample.masks, strict=True)
        ]
        found = post_processor.prediction(run_model(model, [sample.image]), 0, index, ids.shape, ids.shape)
        assert found.panoptic_ids is not None
        counts.append(count_image(ids, truth, found.panoptic_ids, found.segments))
    made.model.train()
    return 100 * (panoptic_quality(counts, images.classes).all.pq or 0)


def test_four_images_are_learnt_by_heart() -> None:
    images = Blocks(4)
    made = trainer(iterations=120, optimizer=OPTIMIZER, loss={"points": 256}, ema=None)
    use_sampling(made.model, "dense")
    before = quality(made, images)
    steps = list(made.run(images))
    assert before < 10
    assert quality(made, images) > 90
    assert steps[-1].total < 0.2 * steps[0].total
