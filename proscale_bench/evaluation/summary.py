"""Metrics, their intervals and those of each class, from what was kept of every image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.data.dataset import Category, Id
from proscale_bench.data.truth import instance_truths
from proscale_bench.evaluation import bootstrap
from proscale_bench.evaluation.average_precision import Floats, InstanceScores, Integers, IouType, iou_types_of
from proscale_bench.evaluation.file_predictor import FileScorer
from proscale_bench.evaluation.ids import ascending, id_column
from proscale_bench.evaluation.instance import InstanceScorer
from proscale_bench.evaluation.panoptic import PanopticCounts, PanopticQuality, class_counts, panoptic_quality
from proscale_bench.evaluation.runner import Work, results_of
from proscale_bench.evaluation.semantic import SemanticCounts, SemanticQuality, class_pixels, semantic_quality
from proscale_bench.results.accuracy import ClassAccuracy
from proscale_bench.results.section import Interval
from proscale_bench.results.statistics import interval_of

AP_OF: dict[str, IouType] = {"ap": "segm", "ap_bbox": "bbox"}
OnStage = Callable[[str, int, int], None]  # what is being done; how much of it, of how much
AP_METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
SHOWN_EVERY = 50  # images
DECIMALS = 5  # of replicates in percent: a record keeps thousands


@dataclass(frozen=True)
class Summary:
    """The findings of an evaluation; metrics in percent, by the names of CLI.md.

    Args:
        engine: name of the tool that made the AP.
        no_segments: True if panoptic segments were asked for and there is none in any image.
        best_score: the largest of any query's scores; None where nobody says.
        image_pq: a fraction, of each image by itself.
        exits: how many images took each exit, by its place among the model's; empty where it has none to choose from.
        different_maps: number of images whose panoptic map is not that of torch; None where none was held against it.
    """

    metrics_pct: dict[str, float | None]
    intervals_pct: dict[str, Interval]
    replicates_pct: dict[str, Sequence[float]]
    classes: tuple[ClassAccuracy, ...]
    engine: str
    warnings: tuple[str, ...]
    no_segments: bool
    best_score: float | None
    image_pq: dict[Id, float]
    exits: Counter[int]
    different_maps: int | None = None


def summarise(
    work: Work,
    folder: Path,
    resamples: int,
    seed: int,
    reference: bool = False,
    scorer: FileScorer | None = None,
    on_stage: OnStage = lambda what, done, total: None,
) -> Summary:
    """Read the journals in the order of the data set, and score them.

    Args:
        folder: folder of the journals.
        resamples: draws of the images behind the intervals; 0: none.
        reference: AP by pycocotools.
        scorer: scorer of a file of instances; None: detections are the journals'.
        on_stage: told what is being done, and how much of it is.

    Raises:
        BenchError: an image has no result.
    """
    dataset = work.dataset
    images = {image.id: image for image in work.images}
    panoptic: list[PanopticCounts] = []
    semantic: list[SemanticCounts] = []
    own_scorer = None
    best_scores: list[float | None] = []
    exits: list[int | None] = []
    same_maps: list[bool] = []
    segments = 0
    if (kinds := iou_types_of(work.tasks)) and scorer is None:
        things = [category for category in dataset.categories if category.is_thing]
        own_scorer = InstanceScorer(things, kinds, reference)
    for done, result in enumerate(results_of(work, folder)):
        if done % SHOWN_EVERY == 0:
            on_stage("scoring", done, len(images))
        if result.panoptic is not None:
            panoptic.append(result.panoptic)
            segments += len(result.segments)
            best_scores.append(result.best_score)
        exits.append(result.exit)
        same_maps += [] if result.same_map is None else [result.same_map]
        if result.semantic is not None:
            semantic.append(result.semantic)
        if own_scorer is not None:
            own_scorer.add(images[result.image_id], instance_truths(dataset, result.image_id), result.detections or ())

    quality = panoptic_quality(panoptic, dataset.categories) if "panoptic" in work.tasks else None
    labelled = semantic_quality(semantic, len(dataset.categories)) if "semantic" in work.tasks else None
    judge = scorer or own_scorer
    scores = judge.scores() if judge is not None else {}
    replicates: dict[str, Floats] = {}
    if resamples:
        weights = bootstrap.resample_weights(len(images), resamples, seed)
        if quality is not None:
            replicates |= _panoptic_replicates(panoptic, dataset.categories, weights)
        if labelled is not None:
            replicates["miou"] = bootstrap.mean_ious(weights, class_pixels(semantic, len(dataset.categories)))
        if judge is not None:
            order = ascending(id_column(list(images)))  # the matches' order of images
            for name, iou_type in AP_OF.items():
                if iou_type not in kinds:
                    continue
                matches, number = judge.matches(iou_type), len(judge.category_ids)
                show = partial(on_stage, f"drawing the images anew, {'mask' if name == 'ap' else 'box'} AP")
                found = bootstrap.average_precisions(matches, number, weights[:, order], show)
                replicates[name] = np.where(found < 0, np.nan, found)
    # A draw without a thing, say, has no PQ of things: where there is one, what is said of the others is too rosy.
    percent = {
        name: (100 * values).round(DECIMALS).tolist()
        for name, values in replicates.items()
        if not np.isnan(values).any()
    }
    metrics = _metrics(quality, scores, labelled)
    return Summary(
        metrics_pct=metrics,
        intervals_pct={
            name: interval_of(values, value, len(images))
            for name, values in percent.items()
            if (value := metrics[name]) is not None
        },
        replicates_pct=percent,
        classes=tuple(_classes(work, quality, scores, labelled)),
        engine="none" if judge is None else "pycocotools" if reference else "proscale-bench",
        warnings=tuple(warning for one in scores.values() for warning in one.warnings),
        no_segments="panoptic" in work.tasks and not segments,
        best_score=max((one for one in best_scores if one is not None), default=None),
        image_pq={image_id: image_quality(counts) for image_id, counts in zip(images, panoptic, strict=False)},
        exits=Counter(one for one in exits if one is not None),
        different_maps=same_maps.count(False) if same_maps else None,
    )


def _panoptic_replicates(
    counts: Sequence[PanopticCounts], categories: Sequence[Category], weights: Integers
) -> dict[str, Floats]:
    """Replicates of PQ, SQ and RQ: of all classes, of things and of stuff."""
    table = class_counts(counts, categories)
    things = np.array([category.is_thing for category in categories])
    found = {}
    for name, classes in (("", np.ones_like(things)), ("_things", things), ("_stuff", ~things)):
        drawn = bootstrap.panoptic_qualities(weights, table, classes)
        found[f"pq{name}"] = drawn.pq
        if not name:
            found |= {"sq": drawn.sq, "rq": drawn.rq}
    return found


def image_quality(counts: PanopticCounts) -> float:
    """PQ of one image, all its segments taken as one class; 1 where there is nothing to find and nothing was found."""
    weight = len(counts.matches) + 0.5 * (len(counts.false_positives) + len(counts.false_negatives))
    return sum(iou for _, iou in counts.matches) / weight if weight else 1.0


def _metrics(
    quality: PanopticQuality | None, scores: dict[Any, InstanceScores], labelled: SemanticQuality | None
) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    if quality is not None:
        groups = {"pq": quality.all.pq, "sq": quality.all.sq, "rq": quality.all.rq}
        groups |= {"pq_things": quality.things.pq, "pq_stuff": quality.stuff.pq}
        found |= {name: _percent(value) for name, value in groups.items()}
    if scores:
        of = scores.get("segm", scores["bbox"])  # those by threshold and size are the boxes' where there are no masks
        named = {name: getattr(of, name) for name in AP_METRICS if name != "ap" or "segm" in scores}
        named["ap_bbox"] = scores["bbox"].ap
        found |= {name: None if value < 0 else _percent(value) for name, value in named.items()}
    if labelled is not None:
        found |= {"miou": labelled.miou, "fwiou": labelled.fwiou, "macc": labelled.macc, "pacc": labelled.pacc}
    return found


def _classes(
    work: Work, quality: PanopticQuality | None, scores: dict[Any, InstanceScores], labelled: SemanticQuality | None
) -> Iterator[ClassAccuracy]:
    for index, category in enumerate(work.dataset.categories):
        panoptic = quality.per_class[category.id] if quality else None
        fractions = panoptic if panoptic and panoptic.is_seen else None
        masks, boxes = (
            scores[kind].per_category.get(category.id) if kind in scores else None for kind in ("segm", "bbox")
        )
        yield ClassAccuracy(
            name=category.name,
            is_thing=category.is_thing,
            pq=_percent(fractions.pq) if fractions else None,
            sq=_percent(fractions.sq) if fractions else None,
            rq=_percent(fractions.rq) if fractions else None,
            true_positives=panoptic.tp if panoptic else None,
            false_positives=panoptic.fp if panoptic else None,
            false_negatives=panoptic.fn if panoptic else None,
            ap=_percent(masks),
            ap_bbox=_percent(boxes),
            iou=labelled.iou[index] if labelled else None,
        )


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
