"""Evaluates weights on a data set into a run's folder: the record of what they are worth, next to what they cost."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.config.architecture import backbone_name
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import InputSize, SizeGroup, size_of_images
from proscale_bench.cost.rules import get_rules
from proscale_bench.data.batches import Batch, form_batches
from proscale_bench.data.coco import Truth
from proscale_bench.data.dataset import Dataset
from proscale_bench.results.accuracy import Accuracy, Task
from proscale_bench.results.export import now
from proscale_bench.results.profile import DeviceType, DType, Execution
from proscale_bench.results.record import Identity, Input, Origin, Record
from proscale_bench.results.store import write_record
from proscale_bench.sweep.plan import label_of
from proscale_bench.sweep.runner import cost_of
from proscale_bench.sweep.weights import Weights
from proscale_bench.version import __version__

if TYPE_CHECKING:
    from proscale_bench.evaluation.processes import Processes
    from proscale_bench.evaluation.runner import Step, Work
    from proscale_bench.evaluation.saved import PredictionWriter

JOURNALS = "evaluation"  # in the run's folder, until an evaluation is complete
Resize = tuple[int, int]  # short side, longest side


@dataclass(frozen=True)
class Request:
    """What is evaluated on what, and how its metrics are made.

    Args:
        resize: (short side, longest side) that images are resized to; None: given as they are.
        limit: the first so many images; None: all.
        resamples: of the bootstrap; 0 for none.
        reference: AP by pycocotools.
    """

    dataset: Dataset
    tasks: tuple[Task, ...]
    resize: Resize | None
    limit: int | None = None
    batch_size: int = 1
    resamples: int = 1000
    seed: int = 0
    reference: bool = False

    @property
    def name(self) -> str:
        """Of the images: the split, and how many of it."""
        name, limit = self.dataset.name, self.limit
        return f"{name}[:{limit}]" if limit is not None and limit < len(self.dataset.images) else name

    @property
    def batches(self) -> tuple[Batch, ...]:
        return form_batches(self.dataset.images[: self.limit], self.batch_size, self.resize)

    @property
    def resize_words(self) -> str:
        return "none" if self.resize is None else f"{self.resize[0]},{self.resize[1]}"

    @property
    def size(self) -> InputSize:
        """The sizes of the images as the model gets them: what its cost is counted at."""
        return size_of_images(
            self.name,
            (
                SizeGroup(batch.padded_height_px, batch.padded_width_px, image.height_px, image.width_px)
                for batch in self.batches
                for image in batch.images
            ),
        )


@dataclass(frozen=True)
class Settings:
    """How the model is run; see `measure.profile.Settings`."""

    device: DeviceType
    dtype: DType = "fp32"
    compiled: bool = False
    sampling: str = "auto"
    rewrites: bool = True
    threads: int | None = None


def evaluate_weights(
    request: Request,
    settings: Settings,
    weights: Weights,
    run: Path,
    processes: Processes,
    *,
    resume: bool = True,
    writer: PredictionWriter | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    on_stage: Callable[[str], None] = lambda what: None,
) -> Record | None:
    """Evaluate, keep the record in the run's folder, and give it; None in all processes but the first.

    Args:
        run: the folder, the same for all processes. An evaluation that was interrupted in it is gone on with.
        resume: False starts over.
        writer: keeps the predictions too.
        on_step: told after every batch.
        on_stage: told what is being done.

    Raises:
        BenchError: data that cannot be read, a model of other classes, a device that is not there, a full disk.
    """
    import torch

    from proscale_bench.evaluation.journal import Journal
    from proscale_bench.evaluation.model_source import ModelSource
    from proscale_bench.evaluation.runner import Work, evaluate
    from proscale_bench.measure.environment import device_name, look_around
    from proscale_bench.models.inference import prepare_for_inference
    from proscale_bench.models.running import check_device, global_state

    check_device(settings.device, settings.dtype)
    device = torch.device(settings.device, processes.local_rank if settings.device == "cuda" else None)
    truth = Truth(request.dataset)
    work = Work(truth, request.batches, frozenset(request.tasks))
    with global_state(settings.dtype, settings.threads):
        environment = look_around(device, "not asked")
        sampling = prepare_for_inference(
            weights.model.to(device),
            rewrites=settings.rewrites,
            sampling_name=settings.sampling,
            compiled=settings.compiled,
        )
        execution = Execution(
            device=settings.device,
            device_name=device_name(device),
            dtype=settings.dtype,
            batch_size=request.batch_size,
            mode="compiled" if settings.compiled else "eager",
            sampling=sampling,
            rewrites=settings.rewrites,
            threads=torch.get_num_threads(),
        )
        source = ModelSource(weights.model, request.dataset, request.tasks, request.resize, settings.dtype)
        folder = run / JOURNALS / _key(request, weights, execution, writer is not None)
        start = time.perf_counter()
        if not resume and processes.is_first:
            Journal(folder).remove()
        processes.wait()
        evaluate(work, source, folder, processes, writer, on_step)
        processes.wait()
        if not processes.is_first:
            return None
        seconds = time.perf_counter() - start
    accuracy = score(request, work, folder, weights.source, processes.size, seconds, on_stage)
    if writer is not None:
        from proscale_bench.evaluation.runner import results_of

        on_stage("writing the predictions")
        writer.finish(work.images, results_of(work, folder), request.tasks)
    record = Record(
        identity=identity_of(weights),
        input=Input.model_validate({**request.size.row(), "dataset": _images_digest(request)}),
        convention="mac",
        rules="fvcore",
        execution=execution,
        cost=cost_of(
            count_model(
                weights.schedule,
                backbone_name(weights.architecture.backbone),
                weights.architecture,
                request.size,
                get_rules("fvcore"),
            )
        ),
        accuracy=accuracy,
        provenance=Origin(tool_version=__version__, created=now()),
        environment=environment.strings(),
    )
    write_record(run, record)
    Journal(folder).remove()
    return record


def identity_of(weights: Weights) -> Identity:
    return Identity(
        backbone=backbone_name(weights.architecture.backbone),
        schedule=weights.schedule.compact,
        encoder=weights.schedule.encoder,
        label=label_of(weights.schedule),
        weights=weights.digest,
    )


def score(
    request: Request,
    work: Work,
    folder: Path,
    source: str,
    processes: int,
    seconds: float,
    on_stage: Callable[[str], None],
) -> Accuracy:
    """The metrics of what the journals hold."""
    from proscale_bench.evaluation.summary import summarise

    return summarise(
        work,
        folder,
        dataset=request.name,
        source=source,
        images_digest=_images_digest(request),
        resize=request.resize_words,
        processes=processes,
        seconds=seconds,
        resamples=request.resamples,
        seed=request.seed,
        reference=request.reference,
        on_stage=on_stage,
    )


def _images_digest(request: Request) -> str:
    """Of the data set's annotations and of which images are evaluated, in which order."""
    ids = [image.id for image in request.dataset.images[: request.limit]]
    return hashlib.sha256(f"{request.dataset.digest} {ids}".encode()).hexdigest()


def _key(request: Request, weights: Weights, execution: Execution, saved: bool) -> str:
    """What the journal of an evaluation is called: all that decides a bit of it."""
    key = {
        "weights": weights.digest,
        "schedule": weights.schedule.compact,
        "images": _images_digest(request),
        "tasks": sorted(request.tasks),
        "resize": request.resize_words,
        "execution": execution.model_dump(mode="json"),
        "saved": saved,
        "tool_version": __version__,
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
