"""PQ and mIoU of somebody's files: folders of PNG maps, with a JSON beside them for PQ.

Numbers are panopticapi's and detectron2's wherever these give any. Where they stop, so do we, and say which file and
image; where files mislead a metric, its number stands and a warning says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from proscale_bench.data.consistency import repeated
from proscale_bench.data.dataset import Category, Id, PanopticEntry
from proscale_bench.data.panoptic_json import PredictedEntry, read_panoptic_predictions, read_panoptic_truth
from proscale_bench.data.pictures import IdMap, read_id_map, read_label_map
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.panoptic import (
    VOID,
    Overlaps,
    PanopticCounts,
    PanopticQuality,
    RunningQuality,
    count_overlaps,
    overlaps,
)
from proscale_bench.evaluation.results import Cautions
from proscale_bench.evaluation.semantic import IGNORED, SemanticCounts, SemanticQuality, count_image, semantic_quality

MAX_LABEL = (1 << 16) - 1  # of PNGs of 16 bits

OnPanopticImage = Callable[[int, int, RunningQuality], None]  # images done, of how many, the quality so far
OnLabelMap = Callable[[int, int], None]  # maps done, of how many


@dataclass(frozen=True)
class ScoredFiles:
    """The quality of a folder of predictions, and the counts of each image, in the order of the truth's annotations."""

    categories: tuple[Category, ...]
    image_ids: tuple[Id, ...]
    counts: tuple[PanopticCounts, ...]
    quality: PanopticQuality


def score_panoptic_files(
    gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path, *, progress: OnPanopticImage | None = None
) -> ScoredFiles:
    """Count predictions in COCO's panoptic format, image by image: two maps are in memory at a time.

    Args:
        gt_json, gt_dir: the truth, as `annotations/panoptic_val2017.json` and `annotations/panoptic_val2017/`.
        pred_json, pred_dir: the predictions; an entry for every image of the truth.
        progress: told after each image how many are done, of how many, and the quality so far.

    Raises:
        BenchError: a file is missing, damaged or not in the format, or the files do not fit each other.
    """
    truth = read_panoptic_truth(gt_json, with_images=False)
    predictions = read_panoptic_predictions(pred_json)
    for folder in (gt_dir, pred_dir):
        if not folder.is_dir():
            raise BenchError(f"{folder}: not a folder", "give the folder of the PNG maps")

    cautions = Cautions()
    _check_truth(truth.categories, truth.entries, cautions)
    by_image = check_predictions(pred_json, truth.categories, truth.entries, predictions, cautions)

    running, counts = RunningQuality(truth.categories), []
    for done, entry in enumerate(truth.entries, start=1):
        counts.append(_count_panoptic(entry, gt_dir, by_image[entry.image_id], pred_dir, cautions))
        running.add(counts[-1])
        if progress is not None:
            progress(done, len(truth.entries), running)
    image_ids = tuple(entry.image_id for entry in truth.entries)
    return ScoredFiles(truth.categories, image_ids, tuple(counts), running.quality(cautions.lines()))


def _count_panoptic(
    entry: PanopticEntry, gt_dir: Path, prediction: PredictedEntry, pred_dir: Path, cautions: Cautions
) -> PanopticCounts:
    # One after the other: the decoder keeps Python's lock, so threads that decode ahead were measured to gain nothing.
    true_ids = _read(entry.image_id, gt_dir / entry.file_name)
    predicted_png = pred_dir / prediction.file_name
    predicted_ids = _read(entry.image_id, predicted_png)
    try:
        shared = overlaps(true_ids, predicted_ids)
        counts = count_overlaps(shared, entry.segments, prediction.segments)
    except ValueError as error:
        raise BenchError(
            f"image {entry.image_id}: {predicted_png}: {error}",
            "map and JSON must be of one prediction, and of the size of the truth",
        ) from error
    _check_map(entry, shared, cautions)
    return counts


def _read(image_id: Id, path: Path) -> IdMap:
    try:
        return read_id_map(path)
    except BenchError as error:
        raise error.within(f"image {image_id}") from error


def _check_truth(categories: Sequence[Category], entries: Sequence[PanopticEntry], cautions: Cautions) -> None:
    for category_id, _ in repeated(category.id for category in categories):
        cautions.add("category ids that stand twice in the truth; the last counts", f"{category_id}")
    for image_id, _ in repeated(entry.image_id for entry in entries):
        cautions.add("images that the truth has more than once; each counts", f"image {image_id}")
    known = {category.id for category in categories}
    for entry in entries:
        place = f"image {entry.image_id}"
        for segment_id, _ in repeated(segment.id for segment in entry.segments):
            cautions.add("true ids that stand twice in an image; the last counts", f"{place}, id {segment_id}")
        for segment in entry.segments:
            if segment.category_id not in known:
                cautions.add(
                    "true segments of an unknown category, which count nowhere",
                    f"{place}, id {segment.id}, category {segment.category_id}",
                )
            if segment.id == VOID:
                cautions.add("true segments with id 0, which are void at once", place)


def check_predictions(
    path: Path,
    categories: Sequence[Category],
    entries: Sequence[PanopticEntry],
    predictions: Sequence[PredictedEntry],
    cautions: Cautions,
) -> dict[Id, PredictedEntry]:
    """The prediction of each image, the last where there are several; what misleads is added to the cautions.

    Raises:
        BenchError: an image of the truth is not predicted, or in categories that the truth does not know.
    """
    by_image = {entry.image_id: entry for entry in predictions}
    images = dict.fromkeys(entry.image_id for entry in entries)  # once each, in order
    absent = [entry.image_id for entry in entries if entry.image_id not in by_image]
    if absent:
        raise BenchError(
            f"{path}: no prediction for {len(absent):,} of {len(entries):,} images, the first image {absent[0]}",
            _hint_of_absent(absent[0], by_image),
        )
    for image_id in by_image:
        if image_id not in images:
            cautions.add("predictions for images that the truth lacks, left out", f"image {image_id}")
    for image_id, _ in repeated(prediction.image_id for prediction in predictions):
        cautions.add("images predicted more than once; the last counts", f"image {image_id}")
    known = {category.id for category in categories}
    for image_id in images:
        place, segments = f"image {image_id}", by_image[image_id].segments
        for segment_id, _ in repeated(segment.id for segment in segments):
            cautions.add("predicted ids that stand twice in an image; the last counts", f"{place}, id {segment_id}")
        for segment in {segment.id: segment for segment in segments}.values():
            if segment.category_id not in known:
                raise BenchError(
                    f"{path}: {place}: segment {segment.id}: unknown category {segment.category_id}",
                    "predictions have the category ids of the truth, not class indices",
                )
            if segment.id == VOID:
                cautions.add("predicted segments with id 0, which is void to the truth", place)
    return by_image


def _hint_of_absent(absent: Id, predicted: Collection[Id]) -> str:
    if any(str(id_) == str(absent) for id_ in predicted):
        return "its id is text in one of both files and a number in the other: write both alike"
    return "every image needs an entry: one where nothing was found has no segments and a map of zeros"


def _check_map(entry: PanopticEntry, shared: Overlaps, cautions: Cautions) -> None:
    """Hold the truth's map against its segments."""
    areas: dict[int, int] = {}
    for (true_id, _), pixels in shared.items():
        areas[true_id] = areas.get(true_id, 0) + pixels
    truth = {segment.id: segment for segment in entry.segments}
    for true_id in areas:
        if true_id not in truth and true_id != VOID:
            cautions.add(
                "ids in maps of the truth that its JSON lacks: no segment and no void",
                f"image {entry.image_id}, id {true_id}",
            )
    for segment in truth.values():
        place = f"image {entry.image_id}, id {segment.id}"
        if segment.is_crowd:
            continue
        if segment.id not in areas:
            cautions.add("true segments without a pixel in their map, which can only be missed", place)
        elif segment.area_px != areas[segment.id]:
            cautions.add(
                "true segments whose JSON area, which IoU takes, is not their map's: IoU may be wrong, and over 1",
                f"{place}: {segment.area_px} in the JSON, {areas[segment.id]} in the map",
            )


@dataclass(frozen=True)
class ScoredLabels:
    """The quality of a folder of predictions, and the counts of each image, by ascending name."""

    names: tuple[str, ...]
    counts: tuple[SemanticCounts, ...]
    quality: SemanticQuality


def score_semantic_files(
    gt_dir: Path, pred_dir: Path, num_classes: int, ignore_label: int = IGNORED, *, progress: OnLabelMap | None = None
) -> ScoredLabels:
    """Count predictions image by image: two maps are in memory at a time.

    Args:
        gt_dir: PNGs of class indices, grey or of a palette, and of `ignore_label` where nothing is asked.
        pred_dir: PNGs of class indices, of the names and sizes of the truth's.
        num_classes: labels are 0 to `num_classes - 1`.
        progress: told after each image how many are done, and of how many.

    Raises:
        BenchError: a PNG is missing, damaged, of another size, or has a label that is no class.
    """
    if not 0 < num_classes <= MAX_LABEL + 1:
        raise BenchError(f"{num_classes} classes", f"the labels of PNGs are of 1 to {MAX_LABEL + 1:,} classes")
    names, predicted = _names(gt_dir), set(_names(pred_dir))
    if not names:
        raise BenchError(f"{gt_dir}: no PNG", "give the folder of the truth's maps")
    absent = [name for name in names if name not in predicted]
    if absent:
        raise BenchError(
            f"{pred_dir}: {len(absent):,} of {len(names):,} predictions are missing, the first {absent[0]}",
            "a prediction has the name of the truth's PNG",
        )
    cautions = Cautions()
    for name in sorted(predicted.difference(names)):
        cautions.add("predictions for images that the truth lacks, left out", name)

    counts = []
    for done, name in enumerate(names, start=1):
        counts.append(_count_labels(gt_dir / name, pred_dir / name, num_classes, ignore_label))
        if progress is not None:
            progress(done, len(names))
    return ScoredLabels(tuple(names), tuple(counts), semantic_quality(counts, num_classes, cautions.lines()))


def _count_labels(truth: Path, predicted: Path, num_classes: int, ignore_label: int) -> SemanticCounts:
    true_labels, predicted_labels = read_label_map(truth), read_label_map(predicted)
    try:
        return count_image(true_labels, predicted_labels, num_classes, ignore_label)
    except ValueError as error:
        raise BenchError(
            f"{predicted}: {error}", f"the truth is {truth}; check the number of classes and the label ignored"
        ) from error


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise BenchError(f"{folder}: not a folder", "give a folder of PNGs of class indices")
    try:
        return sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".png")
    except OSError as error:
        raise BenchError(f"{folder}: {error.strerror or error}", "check its permissions") from error
