"""The public Python functions: the same contract as the command line (see CLI.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.api_files import evaluate_instances, evaluate_panoptic, evaluate_semantic, warn_of
from proscale_bench.bench.specs import count_flops
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.model import EncoderSpec

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from proscale_bench.bench.predict import PredictedImage
    from proscale_bench.export.engines import ExportedModel
    from proscale_bench.models.build import OwnModel
    from proscale_bench.results.accuracy import Task
    from proscale_bench.results.profile import DeviceType
    from proscale_bench.sweeps.tasks import Measurement

__all__ = [
    "BenchError",
    "Schedule",
    "build_model",
    "count_flops",
    "evaluate",
    "evaluate_instances",
    "evaluate_panoptic",
    "evaluate_semantic",
    "export_model",
    "load_checkpoint",
    "load_exported",
    "parse_schedule",
    "predict",
    "profile",
    "read_run",
    "sweep",
]


def build_model(
    schedule: EncoderSpec | str,
    backbone: str | None = None,
    num_classes: int | None = None,
    num_queries: int | None = None,
    *,
    width: int | None = None,
    weights: str | PathLike[str] | None = None,
) -> OwnModel:
    """Mask2Former with this schedule's encoder, freshly initialised, in eval mode.

    Args:
        schedule: a `Schedule` or anything that `parse_schedule` reads.
        backbone: one of `resnet50 resnet101 swin_t swin_s swin_b swin_l tiny`; resnet50 where None.
        num_classes: without the no-object class; COCO panoptic's 133 where None.
        num_queries: 100, or 200 for swin_l, where None.
        width: channels of the head; 256, or 64 for tiny, where None.
        weights: a checkpoint whose dimensions the model has, instead of the four above; its values are not loaded.

    Raises:
        BenchError: unknown schedule or backbone, a number that no model can have, or weights that say otherwise.
    """
    from pathlib import Path

    from proscale_bench.bench.specs import ModelChoice
    from proscale_bench.models.build import build

    choice = ModelChoice(
        schedules=[schedule],
        backbone=backbone,
        weights=None if weights is None else Path(weights),
        classes=num_classes,
        queries=num_queries,
        width=width,
    )
    (spec,) = choice.specs()
    return build(spec)


def load_checkpoint(path: str | PathLike[str], schedule: EncoderSpec | str | None = None) -> OwnModel:
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

    told = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    return load(Path(path), told)


def export_model(
    weights: str | PathLike[str],
    path: str | PathLike[str],
    size: str = "640x640",
    *,
    batch_size: int = 1,
    dynamic: bool = False,
    sampling: Literal["grid_sample", "gather"] = "grid_sample",
    quantize: Literal["int8"] | None = None,
    calibrate: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> ExportedModel:
    """Export a checkpoint's model to a file that runs without Python, prove it beside torch, and load it.

    Args:
        weights: a checkpoint of a whole model.
        path: the file to write; its end says what: `.onnx`, `.xml` for OpenVINO, `.pt2` for compiled code.
        size: of the images, height x width.
        batch_size: number of images in a run.
        dynamic: take any multiples of 32 from 64 as sides, a detector of 64 from 128, and any batch; for ResNets.
        sampling: how deformable attention samples: `gather` for engines whose grid sampling is missing or wrong.
        quantize: weights and activations of convolutions and linear layers in 8 bits; `.onnx` and `.xml`.
        calibrate: folder of pictures that ranges of activations are taken from; drawn ones where None.
        overwrite: replace a file.

    Raises:
        BenchError: unreadable weights, a file that is there, a model that cannot be exported so, or a file that is not
            the same model (exit code 3).
    """
    from pathlib import Path

    from proscale_bench.bench.export import export_weights
    from proscale_bench.bench.weights import read_weights
    from proscale_bench.data.image_files import find_pictures
    from proscale_bench.export.settings import ExportSettings, size_of

    settings = ExportSettings(size_of(size), batch_size, dynamic, sampling, precision=quantize or "fp32")
    pictures = None if calibrate is None else find_pictures([str(calibrate)])[1]
    export_weights(read_weights(Path(weights)), Path(path), settings, calibration=pictures, overwrite=overwrite)
    return load_exported(path, trust=True)


def load_exported(path: str | PathLike[str], *, trust: bool = False, threads: int = 0) -> ExportedModel:
    """Load a file that `models export` wrote; `.run(images)` gives logits and mask logits, or a detector's boxes.

    Args:
        path: an `.onnx`, `.xml` or `.pt2` file.
        trust: run the machine code of a `.pt2` file, which loading it does.
        threads: number of CPU threads; 0: the engine's choice.

    Raises:
        BenchError: unreadable, no export of ours, an engine that is not installed, or a package without trust.
    """
    from pathlib import Path

    from proscale_bench.export.engines import load_exported as load

    return load(Path(path), trust=trust, threads=threads)


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
    warn_of(tuple(warnings))
    return table


def profile(
    *schedules: EncoderSpec | str,
    backbone: str | None = None,
    size: str = "640x640",
    weights: str | PathLike[str] | None = None,
    classes: int | None = None,
    queries: int | None = None,
    width: int | None = None,
    device: DeviceType = "cpu",
    out: str | PathLike[str] | None = None,
    **how: Any,
) -> pd.DataFrame:
    """Time schedules in turns with their baseline, in this process. Loads torch.

    Args:
        schedules: spellings or schedules; none: that of the weights, else `3,3,3`.
        backbone, weights, classes, queries, width: which models, as the flags of `profile`.
        size: height x width of the image in pixels.
        device: `cpu` or `cuda`.
        out: a folder that the records are written to; None: they are not kept.
        how: the keys of `profile:` in a sweep's file: `threads=1`, `repeats=20`, `batch_sizes=(1, 8)` ...

    Returns:
        One row a model and batch size: see `read_run`.

    Raises:
        BenchError: something of it is unknown, no such device, or the models do not fit into memory.
    """
    from pathlib import Path

    from proscale_bench.bench.specs import ModelChoice
    from proscale_bench.config.sweep import ProfileStep, step_of
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.sweeps.measurements import ProfileTask

    choice = ModelChoice(
        schedules=schedules,
        backbone=backbone,
        weights=None if weights is None else Path(weights),
        classes=classes,
        queries=queries,
        width=width,
    )
    step = step_of(ProfileStep, how)
    models, name = choice.specs(), parse_size(size).name
    return _measured([ProfileTask(models, name, one, device, step) for one in step.batch_sizes], out)


def evaluate(
    *weights: str | PathLike[str], device: DeviceType = "cpu", out: str | PathLike[str] | None = None, **how: Any
) -> pd.DataFrame:
    """Evaluate checkpoints, in this process: PQ, AP and mIoU with intervals, beside the cost. Loads torch.

    Args:
        weights: files; none: those that ship.
        device: `cpu` or `cuda`.
        out: a folder that the records are written to; None: they are not kept.
        how: the keys of `evaluate:` in a sweep's file: `data="my-coco"`, `split="val2017"`, `limit=100` ...; without
            `data` on the embedded ones.

    Returns:
        One row a file: see `read_run`.

    Raises:
        BenchError: something of it is unknown, weights or data cannot be read or do not fit each other.
    """
    from pathlib import Path

    from proscale_bench.config.choices import EMBEDDED
    from proscale_bench.config.sweep import EvaluateStep, step_of
    from proscale_bench.config.weights import require_shipped_weights
    from proscale_bench.sweeps.measurements import EvaluateTask

    step = step_of(EvaluateStep, how)
    data = None if step.data == EMBEDDED else Path(step.data)
    files = [Path(one) for one in weights] or list(require_shipped_weights().values())
    return _measured([EvaluateTask(path, data, device, step) for path in files], out)


def predict(
    weights: str | PathLike[str],
    *images: str | PathLike[str],
    categories: str | PathLike[str] | None = None,
    schedule: EncoderSpec | str | None = None,
    tasks: Sequence[Task] | None = None,
    resize: tuple[int, int] | Literal["default"] | None = "default",
    device: DeviceType = "cpu",
    compiled: bool = False,
    threads: int | None = None,
    out: str | PathLike[str] | None = None,
    pictures: bool = True,
    overwrite: bool = False,
    **how: Any,
) -> list[PredictedImage]:
    """Predict pictures of which no truth is known, in this process, as `proscale-bench predict` does. Loads torch.

    Args:
        weights: a checkpoint.
        images: files, folders, and patterns such as `photos/*.jpg`.
        categories: a JSON with COCO's list of categories, the weights' classes in order; the ids of its images are used
            too. None: what the weights say.
        schedule: schedule of a checkpoint whose tensors do not tell it.
        tasks: None for all that the model predicts: `panoptic`, `instance` and `semantic`, or `boxes`.
        resize: (short side, longest side) in pixels, or None: pictures are given as they are; by default as the weights
            say, else 800 and 1333.
        compiled: run `torch.compile`.
        threads: number of CPU threads; None: as many as PyTorch likes.
        out: a new folder that results are written to, as `proscale-bench predict` does; None: they are not kept.
        pictures: write drawn pictures there too.
        overwrite: replace a folder that `predict` wrote.
        how: of the keys of `evaluate:` in a sweep's file `score_threshold=0.5`, `overlap_threshold`, `mask_threshold`,
            `classes_by="order"`, `batch_size`, `dtype="bf16"`, `sampling` and `optimizations`.

    Returns:
        A value for each picture, in order, all in memory: maps take five bytes a pixel.

    Raises:
        BenchError: pictures or weights cannot be read, nothing says what the classes are called, `out` is there, or an
            argument has a value that it cannot have.
    """
    from pathlib import Path

    from proscale_bench.bench.execution import ExecutionSettings
    from proscale_bench.bench.predict import (
        ALL_TASKS,
        COMMAND,
        PredictionRequest,
        named,
        predictions,
        write_predictions,
    )
    from proscale_bench.bench.predictors import judged_by
    from proscale_bench.bench.vocabulary import read_categories, vocabulary_of
    from proscale_bench.bench.weights import read_weights
    from proscale_bench.config.sweep import EvaluateStep, step_of
    from proscale_bench.data.image_files import find_pictures, look_at
    from proscale_bench.data.whole_folder import refuse_folder, whole_folder

    if odd := how.keys() & {"data", "split", "limit", "bootstrap", "seed"}:
        raise BenchError(f"predict: {min(odd)} is of evaluations", "leave it out")
    step = step_of(EvaluateStep, {"tasks": tasks, **how})
    if out is not None:
        refuse_folder(Path(out), COMMAND, overwrite)
    told = None if categories is None else read_categories(Path(categories))
    files = look_at(*find_pictures([str(image) for image in images]), told.image_ids if told else {})
    loaded = read_weights(Path(weights), parse_schedule(schedule) if isinstance(schedule, str) else schedule)
    words = vocabulary_of(loaded, Path(weights), told)
    warn_of((words.note,) if words.note else ())
    scale = words.resize if resize == "default" else resize
    judged = judged_by(loaded.spec, tuple(tasks or ALL_TASKS), tasks, loaded.source)
    asked = PredictionRequest(files, words.categories, judged, scale, step.batch_size, step.thresholds, step.classes_by)
    settings = ExecutionSettings(device, step.dtype, compiled, step.sampling, step.optimizations, threads)
    found = list(predictions(asked, settings, loaded))
    if out is not None:
        with whole_folder(Path(out), COMMAND, overwrite) as folder:
            write_predictions(folder, asked, iter(found), pictures=pictures)
    return named(asked, found)


def sweep(
    spec: str | PathLike[str] = "zoo", out: str | PathLike[str] | None = None, *, processes: int | None = None
) -> pd.DataFrame:
    """Count, profile and evaluate many configurations, as `proscale-bench sweep` does; a run that is there goes on.

    Args:
        spec: a YAML file, or a sweep that ships: `zoo` or `paper`.
        out: the folder of the run; `reports/NAME` where None.
        processes: how many evaluations run at once; one a core where None.

    Returns:
        One row a configuration: see `read_run`.

    Raises:
        BenchError: the file has a problem, or the folder holds another sweep. What fails is a row that says so.
    """
    from pathlib import Path

    from proscale_bench.analysis.frame import frame
    from proscale_bench.config.choices import find_shipped
    from proscale_bench.sweeps.local import LocalExecutor
    from proscale_bench.sweeps.plan import measurements, plan, read_sweep
    from proscale_bench.sweeps.runner import run_sweep

    asked = read_sweep(find_shipped("sweeps", str(spec)))
    run = Path("reports") / asked.name if out is None else Path(out)
    counts, executor = plan(asked) if asked.counts else [], LocalExecutor(processes)
    outcome = run_sweep(counts, run, measurements(asked, run), executor, name=asked.name)
    return frame(outcome.records)


def _measured(tasks: Sequence[Measurement], out: str | PathLike[str] | None) -> pd.DataFrame:
    """Run tasks one after the other in this process; their records are kept where a folder is given."""
    import json
    from pathlib import Path

    from proscale_bench.analysis.frame import frame
    from proscale_bench.results.record import Record
    from proscale_bench.results.store import write_record

    records = [Record.model_validate_json(json.dumps(found)) for task in tasks for found in task.run()]
    if out is not None:
        for record in records:
            write_record(Path(out), record)
    return frame(records)
