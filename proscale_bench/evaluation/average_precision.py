"""COCO's average precision: from which detection found which truth to the 12 numbers, equal to pycocotools'.

The rules are those of pycocotools 2.0.11 (`COCOeval.accumulate` and `summarize`), and every sum is taken in its order.
`reference_scores` asks pycocotools itself.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.choices import Task
from proscale_bench.data.dataset import Id

IouType = Literal["segm", "bbox"]
IOU_TYPES: tuple[IouType, ...] = ("segm", "bbox")


def iou_types_of(tasks: Collection[Task]) -> tuple[IouType, ...]:
    """The shapes that are compared: masks and boxes for `instance`, boxes alone for `boxes`."""
    return IOU_TYPES if "instance" in tasks else ("bbox",) if "boxes" in tasks else ()


IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)  # of one category in one image
AREA_RANGES = ((0.0, 1e5**2), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e5**2))  # both ends belong to a range
ALL_AREAS = 0

# A detection's ten answers in each of four size ranges are the bits of one number: bit 10 * range + threshold.
NUM_THRESHOLDS = len(IOU_THRESHOLDS)
ALL_THRESHOLDS = (1 << NUM_THRESHOLDS) - 1
ALL_BITS = (1 << NUM_THRESHOLDS * len(AREA_RANGES)) - 1
AREA_BITS = tuple(ALL_THRESHOLDS << NUM_THRESHOLDS * area for area in range(len(AREA_RANGES)))

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """The detections that found a truth. Images and categories are places in the ascending lists of their ids.

    Args:
        image, category, score: [D], by image, then category, then falling score: at most the largest
            `max_detections` of a category in an image.
        rank: [D], the place among the image's detections of the category.
        matched: [D], bits: there is a truth that this detection found.
        ignored: [D], bits: it counts neither for nor against (see `AREA_BITS` for the bits).
        truth_image, truth_category: [G].
        truth_ignored: [G], bits: the truth is a crowd, or of another size.
    """

    image: Integers
    category: Integers
    score: Floats
    rank: Integers
    matched: Integers
    ignored: Integers
    truth_image: Integers
    truth_category: Integers
    truth_ignored: Integers

    @property
    def categories(self) -> Integers:
        """The categories that have a truth, ascending: no number reads another."""
        return np.unique(self.truth_category)

    def of(self, categories: Integers) -> Matches:
        """Those of some categories, which are now places among these; every truth is of one of them."""
        kept = np.isin(self.category, categories)
        detections = {name: getattr(self, name)[kept] for name in ("image", "score", "rank", "matched", "ignored")}
        category = np.searchsorted(categories, self.category[kept])
        return replace(
            self,
            **detections,
            category=category,
            truth_category=np.searchsorted(categories, self.truth_category),
        )


class InstanceScores(NamedTuple):
    """COCO's 12 numbers, fractions of 1, in COCOeval's order; -1 where there is no truth to find.

    Args:
        iou_type: masks ("segm") or boxes ("bbox").
        per_category: AP of each category id; None where it has no truth.
        warnings: properties of the input that mislead the numbers.
        ap: mean over the IoU thresholds 0.50, 0.55 ... 0.95, 101 recalls and the categories.
        ap50, ap75: AP at one threshold.
        ap_small, ap_medium, ap_large: AP of truths of at most 32 x 32 pixels, of those between, of at least 96 x 96.
        ar_1, ar_10, ar_100: average recall of the first, second and third limit of detections (`max_detections`).
        ar_small, ar_medium, ar_large: average recall by size.
    """

    iou_type: IouType
    per_category: dict[Id, float | None]
    warnings: tuple[str, ...]
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_1: float
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float

    @property
    def stats(self) -> tuple[float, ...]:
        """The 12 numbers."""
        return self[3:]


def scores_of(
    matches: Matches,
    category_ids: Sequence[Id],
    iou_type: IouType,
    max_detections: tuple[int, int, int] = MAX_DETECTIONS,
    warnings: tuple[str, ...] = (),
) -> InstanceScores:
    """The 12 numbers of matches; tables are kept of categories with a truth alone, since each takes 0.1 MB.

    Args:
        category_ids: of all categories, ascending.
    """
    there = matches.categories
    tables = accumulate(matches.of(there), len(there), sorted(max_detections))
    scores = score_tables(*tables, [category_ids[place] for place in there], iou_type, max_detections, warnings)
    return scores._replace(per_category={id_: scores.per_category.get(id_) for id_ in category_ids})


def score_tables(
    precision: Floats,
    recall: Floats,
    category_ids: Sequence[Id],
    iou_type: IouType,
    max_detections: tuple[int, int, int] = MAX_DETECTIONS,
    warnings: tuple[str, ...] = (),
) -> InstanceScores:
    """The 12 numbers of COCOeval's tables, which `accumulate` makes.

    Args:
        precision: [thresholds, recall points, categories, areas, limits], -1 where there is no truth.
        recall: [thresholds, categories, areas, limits].
        category_ids: ascending.
        max_detections: the tables' limits. The first number is always that of 100 detections, and -1 where no limit
            is 100.
    """
    limits = sorted(max_detections)

    def at(limit: int) -> list[int]:
        return [index for index, other in enumerate(limits) if other == limit]

    def ap(limits: list[int], area: int = ALL_AREAS, thresholds: slice = slice(None)) -> float:
        return mean_of_defined(precision[thresholds][:, :, :, [area], limits])

    def ar(limits: list[int], area: int = ALL_AREAS) -> float:
        return mean_of_defined(recall[:, :, [area], limits])

    last = at(limits[-1])
    return InstanceScores(
        iou_type,
        _per_category(precision, category_ids),
        warnings,
        ap(at(100)),
        ap(last, thresholds=slice(0, 1)),  # IoU 0.50
        ap(last, thresholds=slice(5, 6)),  # IoU 0.75
        *(ap(last, area) for area in (1, 2, 3)),
        *(ar(at(limit)) for limit in limits),
        *(ar(last, area) for area in (1, 2, 3)),
    )


def _per_category(precision: Floats, category_ids: Sequence[Id]) -> dict[Id, float | None]:
    """AP of each category at the last limit, None where it has no truth; `precision` as in `score_tables`."""
    means = (mean_of_defined(precision[:, :, index, ALL_AREAS, -1]) for index in range(len(category_ids)))
    return {id_: None if mean == -1 else mean for id_, mean in zip(category_ids, means, strict=True)}


def by_falling_score(matches: Matches, categories: int) -> Iterator[Integers]:
    """Each category's detections, best first; of equal scores the one of the earlier image first."""
    order = np.argsort(-matches.score, kind="stable")  # NaN last, as in the reference
    order = order[np.argsort(matches.category[order], kind="stable")]
    yield from np.split(order, np.searchsorted(matches.category[order], np.arange(1, categories)))


def accumulate(matches: Matches, categories: int, max_detections: Sequence[int]) -> tuple[Floats, Floats]:
    """COCOeval's tables, as `score_tables` reads them. Precision stays -1 at limits that no number reads."""
    limits = len(max_detections)
    precision = np.full((NUM_THRESHOLDS, len(RECALL_POINTS), categories, len(AREA_RANGES), limits), -1.0)
    recall = np.full((NUM_THRESHOLDS, categories, len(AREA_RANGES), limits), -1.0)
    counted = (matches.truth_ignored[:, None] & np.array(AREA_BITS)) == 0  # [G, areas]
    truths = np.stack(
        [np.bincount(matches.truth_category[inside], minlength=categories) for inside in counted.T], axis=1
    )
    for category, order in enumerate(by_falling_score(matches, categories)) if categories else ():
        areas = np.flatnonzero(truths[category])
        if not len(areas):
            continue
        bits = (NUM_THRESHOLDS * areas[:, None] + np.arange(NUM_THRESHOLDS)).reshape(-1, 1)  # [areas * thresholds, 1]
        total = np.repeat(truths[category, areas], NUM_THRESHOLDS)[:, None]
        for limit, most in enumerate(max_detections):
            best = order[matches.rank[order] < most]
            matched, ignored = matches.matched[best], matches.ignored[best]
            hit = (matched & ~ignored) >> bits & 1
            if most not in (100, max_detections[-1]):
                recalls = hit.sum(axis=1)[:, None] / total
            else:
                true = np.cumsum(hit, axis=1, dtype=float)
                false = np.cumsum(~(matched | ignored) >> bits & 1, axis=1, dtype=float)
                curve = true / total
                recalls = curve[:, -1:] if len(best) else np.zeros((len(total), 1))
                found = _at_recall_points(curve, envelope(true, false))
                precision[:, :, category, areas, limit] = found.reshape(len(areas), NUM_THRESHOLDS, -1).transpose(
                    1, 2, 0
                )
            recall[:, category, areas, limit] = recalls.reshape(len(areas), NUM_THRESHOLDS).T
    return precision, recall


def envelope(true: Floats, false: Floats) -> Floats:
    """The best precision from each place on, [..., D], of running sums of true and false detections."""
    precision = true / (false + true + np.spacing(1))
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]


def _at_recall_points(recall: Floats, precision: Floats) -> Floats:
    """Precision where recall first reaches each of the 101 points, 0 where it does not: [rows, 101]."""
    padded = np.concatenate((precision, np.zeros((len(precision), 1))), axis=1)
    places = np.stack([np.searchsorted(row, RECALL_POINTS) for row in recall])
    return np.take_along_axis(padded, places, axis=1)


def mean_of_defined(values: Floats) -> float:
    """The mean of what is defined, in the order of the table; -1 where nothing is."""
    defined = values[values > -1]
    return float(np.mean(defined)) if len(defined) else -1.0


def reference_scores(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    iou_type: IouType,
    max_detections: tuple[int, int, int] = MAX_DETECTIONS,
    warnings: tuple[str, ...] = (),
) -> InstanceScores:
    """Pycocotools' scores of annotations and results; it writes into both.

    Args:
        truth: with `images`, `annotations` and `categories`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        annotated = COCO()
        annotated.dataset = truth
        annotated.createIndex()
        if results:
            found = annotated.loadRes(results)
        else:  # loadRes reads the first
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(annotated, found, iou_type)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    category_ids = [id_ if isinstance(id_, str) else int(id_) for id_ in evaluation.params.catIds]
    stats: Sequence[float] = np.asarray(evaluation.stats).tolist()
    return InstanceScores(iou_type, _per_category(evaluation.eval["precision"], category_ids), warnings, *stats)
