"""The public Python functions: the same contract as the command line (see CLI.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proscale_bench.bench.specs import count_flops
from proscale_bench.config.catalogue import parse_schedule, parse_staged
from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.model import EncoderSpec

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from proscale_bench.evaluation.average_precision import InstanceScores, IouType
    from proscale_bench.evaluation.panoptic import PanopticQuality
    from proscale_bench.evaluation.semantic import SemanticQuality
    from proscale_bench.models.mask2former import Mask2Former

__all__ = [
    "BenchError",
    "Schedule",
    "build_model",
    "count_flops",
    "evaluate_instances",
    "evaluate_panoptic",
    "evaluate_semantic",
    "load_checkpoint",
    "parse_schedule",
    "read_run",
]


def build_model(
    schedule: EncoderSpec | str,
    backbone: str = "resnet50",
    num_classes: int | None = None,
    num_queries: int | None = None,
    *,
    width: int | None = None,
) -> Mask2Former:
    """Mask2Former with this schedule's encoder, freshly initialised, in eval mode.

    Args:
        schedule: a `Schedule` or anything that `parse_schedule` reads.
        backbone: one of `resnet50 resnet101 swin_t swin_s swin_b swin_l tiny`.
        num_classes: without the no-object class; COCO panoptic's 133 where None.
        num_queries: 100, or 200 for swin_l, where None.
        width: channels of the head; 256, or 64 for tiny, where None.

    Raises:
        BenchError: unknown schedule or backbone.
    """
    from proscale_bench.models.build import build
    from proscale_bench.specs.mask2former import mask2former

    if isinstance(schedule, str):
        schedule = parse_schedule(schedule)
    return build(mask2former(schedule, backbone, classes=num_classes, queries=num_queries, width=width))


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

    told = schedule if schedule is None or isinstance(schedule, Schedule) else parse_staged(schedule)
    return load(Path(path), told)


def read_run(path: str | PathLike[str]) -> pd.DataFrame:
    """A run as a table, one row a configuration: the columns of `report.csv`, and of `report --export-parquet`.

    Args:
        path: a run's folder, a folder of runs, or what `--export-json` of flops, profile, eval or sweep wrote.

    Returns:
        Flat columns with units: `encoder_gflops`, `latency_median_ms`, `pq` ...; the ends of 95 % intervals follow as
        `pq_low` and `pq_high`. A model with several accuracies has a row for each.

    Warns:
        UserWarning: a file was left out, or evaluations by an older version do not say all that decides them.

    Raises:
        BenchError: no record in it.
    """
    from pathlib import Path

    from proscale_bench.analysis.frame import read_run as read

    table, warnings = read(Path(path))
    _warn(tuple(warnings))
    return table


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

    from proscale_bench.evaluation.map_files import evaluate_panoptic as evaluate

    quality = evaluate(Path(gt_json), Path(gt_dir), Path(pred_json), Path(pred_dir))
    _warn(quality.warnings)
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

    from proscale_bench.evaluation.map_files import evaluate_semantic as evaluate

    quality = evaluate(Path(gt_dir), Path(pred_dir), num_classes, ignore_label)
    _warn(quality.warnings)
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
    _warn(scores.warnings)
    return scores


def _warn(warnings: tuple[str, ...]) -> None:
    import warnings as python

    for warning in warnings:
        python.warn(warning, UserWarning, stacklevel=3)
