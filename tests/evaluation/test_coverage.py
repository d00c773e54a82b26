"""Bootstrap intervals of PQ and AP on 50 images: how often they hold the truth of simulated worlds.

They say 0.95; of thousands of worlds and draws 0.945 and 0.943 are true (docs/evaluation.md). The middle 95 % of the
replicates held 0.930 and 0.932. The floors are 0.94 less two standard deviations of the simulation itself.
"""

from __future__ import annotations

import numpy as np

from proscale_bench.evaluation.average_precision import IOU_THRESHOLDS, NUM_THRESHOLDS, Matches
from proscale_bench.evaluation.bootstrap import average_precisions, panoptic_qualities, resample_weights
from proscale_bench.evaluation.panoptic import ClassCounts
from proscale_bench.results.statistics import interval_of

IMAGES, RESAMPLES = 50, 400
PQ_WORLDS, AP_WORLDS = 1000, 400  # 0.95 of them is found to 0.007 and 0.011, one standard deviation
ONCE = np.ones((1, IMAGES), np.int64)
DRAWS = np.concatenate([ONCE, resample_weights(IMAGES, RESAMPLES)])
OBJECTS = np.array([2, 1.5, 1, 1, 0.8, 0.5, 0.5, 0.3])  # of each class in an image


def segments(generator: np.random.Generator, images: int) -> ClassCounts:
    """Draw segments of images, in some of which everything is harder to find than in others."""
    ease = generator.beta(4, 3, (images, 1))
    truths = generator.poisson(OBJECTS, (images, len(OBJECTS)))
    found = generator.binomial(truths, ease * np.linspace(0.7, 1, len(OBJECTS)))
    wrong = generator.poisson(0.5 * OBJECTS * (1 - ease))
    quality = np.clip(0.65 + 0.25 * ease + generator.normal(0, 0.05, found.shape), 0.5, 1)
    return ClassCounts(found * quality, found, wrong, truths - found)


def detections(generator: np.random.Generator, images: int) -> Matches:
    """Draw detections of one class, likewise; better ones have higher scores."""
    ease = generator.beta(4, 3, images)
    truth_image = np.repeat(np.arange(images), generator.poisson(3, images))
    of_truth = truth_image[generator.random(len(truth_image)) < 0.9 * ease[truth_image]]
    wrong = np.repeat(np.arange(images), generator.poisson(2 * (1 - ease)))
    iou = 0.5 + 0.5 * generator.beta(2 + 2 * ease[of_truth], 2)
    bits = ((iou[:, None] >= IOU_THRESHOLDS) << np.arange(NUM_THRESHOLDS)).sum(axis=1)
    image = np.concatenate([of_truth, wrong])
    score = generator.normal(np.concatenate([1 + iou, np.ones(len(wrong))]), 0.4)
    order, none = np.lexsort((-score, image)), np.zeros(len(image), np.int64)
    matched = np.concatenate([bits, np.zeros(len(wrong), np.int64)])
    seen = np.zeros(len(truth_image), np.int64)
    return Matches(image[order], none, score[order], none, matched[order], none, truth_image, seen, seen)


def held(truth: float, replicates: list[np.ndarray]) -> float:
    """The share of worlds whose interval holds the truth. The first replicate of a world is what it is itself."""
    intervals = [interval_of(found[1:].tolist(), found[0], IMAGES) for found in replicates]
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_the_interval_of_pq_on_50_images() -> None:
    generator = np.random.default_rng(0)
    classes = np.ones(len(OBJECTS), bool)
    many = segments(generator, 200_000)
    truth = panoptic_qualities(np.ones((1, 200_000), np.int64), many, classes).pq[0]
    worlds = [segments(generator, IMAGES) for _ in range(PQ_WORLDS)]
    assert held(truth, [panoptic_qualities(DRAWS, world, classes).pq for world in worlds]) >= 0.925


def test_the_interval_of_ap_on_50_images() -> None:
    generator = np.random.default_rng(0)
    truth = average_precisions(detections(generator, 50_000), 1, np.ones((1, 50_000), np.int64))[0]
    worlds = [detections(generator, IMAGES) for _ in range(AP_WORLDS)]
    assert held(truth, [average_precisions(world, 1, DRAWS) for world in worlds]) >= 0.916
