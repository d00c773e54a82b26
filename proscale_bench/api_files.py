"""The metrics alone, of files that any tool may have written: the same contract as the command line (see CLI.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from warnings import warn

if TYPE_CHECKING:
    from os import PathLike

    from proscale_bench.evaluation.average_precision import InstanceScores, IouType
    from proscale_bench.evaluation.panoptic import PanopticQuality
    from proscale_bench.evaluation.semantic import SemanticQuality


def evaluate_panoptic(
    gt_json: str | PathLike[str],
    gt_dir: str | PathLike[str],
    pred_json: str | PathLike[str],
    pred_dir: str | PathLike[str],
) -> PanopticQuality:
    """PQ, SQ and RQ of predictions in COCO's panoptic format, as fractions: panopticapi's to the last digit.

    Args:
        gt_json, gt_dir: the truth, as `panoptic_val2017.json` and `panoptic_val2017/`.
        pred_json, pred_dir: the predictions, with an entry for every image of the truth.

    Returns:
        `all`, `things` and `stuff`, whose numbers are None where no class has a segment, and `per_class` by
        category id. `warnings` says where the files mislead the metric; each is issued as a `UserWarning` too.

    Raises:
        BenchError: a file is missing, damaged or not in the format, or the files do not fit each other.
    """
    from pathlib import Path

    from proscale_bench.evaluation.map_files import score_panoptic_files

    quality = score_panoptic_files(Path(gt_json), Path(gt_dir), Path(pred_json), Path(pred_dir)).quality
    warn_of(quality.warnings)
    return quality


def evaluate_semantic(
    gt_dir: str | PathLike[str], pred_dir: str | PathLike[str], num_classes: int = 54, ignore_label: int = 255
) -> SemanticQuality:
    """mIoU, fwIoU, mACC and pACC of PNGs of class indices, in percent: detectron2's to the last digit.

    Args:
        gt_dir: PNGs of class indices, and of `ignore_label` where nothing is asked.
        pred_dir: PNGs of class indices, of the names and sizes of the truth's.
        num_classes: 54 are COCO's stuff and one for all things.

    Returns:
        The four numbers, and `iou` and `acc` per class; None where the truth has no pixel of a class. `warnings`
        are issued as `UserWarning`s too.

    Raises:
        BenchError: a PNG is missing, damaged, of another size, or has a label that is no class.
    """
    from pathlib import Path

    from proscale_bench.evaluation.map_files import score_semantic_files

    quality = score_semantic_files(Path(gt_dir), Path(pred_dir), num_classes, ignore_label).quality
    warn_of(quality.warnings)
    return quality


def evaluate_instances(
    gt_json: str | PathLike[str], results_json: str | PathLike[str], iou_type: IouType = "segm"
) -> InstanceScores:
    """COCO's average precision of a results file: pycocotools' numbers, fractions of 1, unrounded, -1 where undefined.

    Args:
        gt_json: a COCO instances file.
        results_json: a list of COCO results, with masks, boxes or both.
        iou_type: what is compared, masks ("segm") or boxes ("bbox").

    Returns:
        `stats`, the 12 numbers in COCOeval's order; `ap`, `ap50` ... by name; `per_category`, AP by category id.

    Warns:
        UserWarning: something in the files misleads the numbers.

    Raises:
        BenchError: a file is unreadable, or something in it is not whole, with its place.
    """
    from proscale_bench.evaluation.instance_files import evaluate_instances as evaluate

    scores = evaluate(gt_json, results_json, iou_type)
    warn_of(scores.warnings)
    return scores


def warn_of(messages: tuple[str, ...]) -> None:
    """Issue messages as warnings where the public function was called."""
    for message in messages:
        warn(message, UserWarning, stacklevel=3)
