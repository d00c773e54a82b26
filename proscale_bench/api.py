"""The public Python functions: the same contract as the command line (see CLI.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.config.schedule import Schedule
from proscale_bench.cost.count import count_flops
from proscale_bench.errors import BenchError

if TYPE_CHECKING:
    from os import PathLike

    from proscale_bench.evaluation.average_precision import InstanceScores, IouType
    from proscale_bench.models.mask2former import Mask2Former

__all__ = [
    "BenchError",
    "Schedule",
    "build_model",
    "count_flops",
    "evaluate_instances",
    "load_checkpoint",
    "parse_schedule",
]


def build_model(
    schedule: Schedule | str,
    backbone: str = "resnet50",
    num_classes: int | None = None,
    num_queries: int | None = None,
) -> Mask2Former:
    """Mask2Former with this schedule's encoder, freshly initialised, in eval mode.

    Args:
        schedule: a `Schedule` or anything that `parse_schedule` reads.
        backbone: one of `resnet50 resnet101 swin_t swin_s swin_b swin_l tiny`.
        num_classes: without the no-object class; COCO panoptic's 133 where None.
        num_queries: 100, or 200 for swin_l, where None.

    Raises:
        BenchError: unknown schedule or backbone.
    """
    from proscale_bench.models.build import build_model as build

    if not isinstance(schedule, Schedule):
        schedule = parse_schedule(schedule)
    return build(schedule, backbone, num_classes, num_queries)


def load_checkpoint(path: str | PathLike[str], schedule: Schedule | str | None = None) -> Mask2Former:
    """The model of a checkpoint, float32 on the CPU, in eval mode. Nothing in the file is executed.

    Args:
        path: `.pth`, detectron2's `.pkl`, `.safetensors`, or a Hugging Face folder; recognised by content.
        schedule: what the tensors cannot tell (`residual`, the re-calibration's temperature and layout); by default
            what the file's metadata say, else as in the released models. It must not contradict the tensors.

    Returns:
        A model whose schedule, backbone, widths, heads and depths are read off the file. Of a file that holds a head
        alone, one for `model.head(features)`.

    Raises:
        BenchError: unreadable, hostile, damaged, incomplete, or of no model that we know.
    """
    from pathlib import Path

    from proscale_bench.models.checkpoints.load import load_checkpoint as load

    told = schedule if schedule is None or isinstance(schedule, Schedule) else parse_schedule(schedule)
    return load(Path(path), told)


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
    import warnings

    from proscale_bench.evaluation.instance_files import evaluate_instances as evaluate

    scores = evaluate(gt_json, results_json, iou_type)
    for warning in scores.warnings:
        warnings.warn(warning, UserWarning, stacklevel=2)
    return scores
