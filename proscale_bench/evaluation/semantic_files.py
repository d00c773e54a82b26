"""Semantic quality of somebody's files: two folders of PNGs of class indices, of the same names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proscale_bench.data.pictures import read_label_map
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.cautions import Cautions
from proscale_bench.evaluation.semantic import (
    IGNORED,
    SemanticCounts,
    SemanticQuality,
    count_image,
    semantic_quality,
)

MAX_LABEL = (1 << 16) - 1  # of PNGs of 16 bits
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoredLabels:
    """What a folder of predictions is worth, and what each image adds, by ascending name."""

    names: tuple[str, ...]
    counts: tuple[SemanticCounts, ...]
    quality: SemanticQuality


def evaluate_semantic(
    gt_dir: Path,
    pred_dir: Path,
    num_classes: int,
    ignore_label: int = IGNORED,
    *,
    progress: Progress | None = None,
) -> SemanticQuality:
    """mIoU, fwIoU, mACC and pACC of PNGs of class indices; see `score_semantic_files`."""
    return score_semantic_files(gt_dir, pred_dir, num_classes, ignore_label, progress=progress).quality


def score_semantic_files(
    gt_dir: Path,
    pred_dir: Path,
    num_classes: int,
    ignore_label: int = IGNORED,
    *,
    progress: Progress | None = None,
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
        counts.append(_count(gt_dir / name, pred_dir / name, num_classes, ignore_label))
        if progress is not None:
            progress(done, len(names))
    return ScoredLabels(tuple(names), tuple(counts), semantic_quality(counts, num_classes, cautions.lines()))


def _count(truth: Path, predicted: Path, num_classes: int, ignore_label: int) -> SemanticCounts:
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
