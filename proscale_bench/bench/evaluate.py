"""Evaluates weights on a data set: the record of their accuracy, next to what the model costs."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from proscale_bench.bench.count import cost_of, identity_of
from proscale_bench.bench.execution import ExecutionSettings, make_ready
from proscale_bench.bench.other_weights import OtherWeights
from proscale_bench.bench.predictors import size_for
from proscale_bench.bench.weights import UNKNOWN_ORIGIN, AnyWeights, TrainingOrigin
from proscale_bench.config.choices import (
    EMBEDDED,
    OFFICIAL_THRESHOLDS,
    ClassesBy,
    PostProcessing,
    PostprocessingThresholds,
)
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import InputSize, SizeGroup, resized_size, size_of_images
from proscale_bench.cost.rules import get_rules
from proscale_bench.data.batches import Batch, form_batches
from proscale_bench.data.dataset import Dataset, Id
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import Accuracy, Evaluated, Task
from proscale_bench.results.export import now
from proscale_bench.results.profile import Execution
from proscale_bench.results.record import EvaluationProtocol, Input, Origin, Record
from proscale_bench.results.store import write_record
from proscale_bench.specs.model import over_exits
from proscale_bench.units import Size, printable
from proscale_bench.version import __version__

if TYPE_CHECKING:
    from proscale_bench.evaluation.any_predictor import ImageInput
    from proscale_bench.evaluation.journal import Journal
    from proscale_bench.evaluation.runner import BatchDone, Predictor, Work
    from proscale_bench.evaluation.saved import PredictionWriter
    from proscale_bench.evaluation.summary import OnStage, Summary
    from proscale_bench.models.processes import Processes

COCO_RESIZE = (800, 1333)
Resize = tuple[int, int]  # short side, longest side


@dataclass(frozen=True)
class EvaluationRequest:
    """The images of an evaluation, its tasks, and the making of its metrics.

    Args:
        resize: (short side, longest side) that images are resized to; None: given as they are.
        limit: number of images, the first ones; None: all.
        resamples: number of draws of the bootstrap; 0 for none.
        seed: seed of the bootstrap.
        reference: whether pycocotools makes the AP.
        classes_by: how classes of weights meet the data's categories: see `in_order_of`.
        input: how images become what somebody else's model is given; None: as this tool's own models are.
        postprocessing: what makes predictions of outputs: this tool, or the model's own image processor (`theirs`).
    """

    dataset: Dataset
    tasks: tuple[Task, ...]
    resize: Resize | None
    limit: int | None = None
    batch_size: int = 1
    resamples: int = 1000
    seed: int = 0
    reference: bool = False
    thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS
    classes_by: ClassesBy = "name"
    input: ImageInput | None = None
    postprocessing: PostProcessing = "ours"

    @property
    def name(self) -> str:
        """Name of the images: the split, and how many of it."""
        name, limit = self.dataset.name, self.limit
        return f"{name}[:{limit}]" if limit is not None and limit < len(self.dataset.images) else name

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        short, longest = self.resize or (None, 0)
        fixed = None if self.input is None else self.input.fixed
        return form_batches(self.dataset.images[: self.limit], self.batch_size, short, longest, fixed)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes of the images as the model gets them, each once, unpadded."""
        images = [(image.height_px, image.width_px) for batch in self.batches for image in batch.images]
        if self.resize is not None:
            images = [resized_size(*size, *self.resize) for size in images]
        return tuple(dict.fromkeys(images))

    @property
    def resize_words(self) -> str:
        if self.input is not None and self.input.words is not None:
            return self.input.words
        return "none" if self.resize is None else f"{self.resize[0]},{self.resize[1]}"

    @cached_property
    def images_digest(self) -> str:
        """Digest of the data set's annotations and of which images are evaluated, in which order."""
        ids = [image.id for image in self.dataset.images[: self.limit]]
        return hashlib.sha256(f"{self.dataset.digest} {ids}".encode()).hexdigest()

    @property
    def folder(self) -> str | None:
        """The name of the folder that the data lie in; None for the embedded data."""
        return (
            None
            if self.dataset.name == EMBEDDED
            else printable(self.dataset.image_dir.resolve().parent.name)[:200] or None
        )

    @property
    def protocol(self) -> EvaluationProtocol:
        """All that decides the result beside the model and its execution."""
        dataset, limit = self.dataset, self.limit
        return EvaluationProtocol(
            dataset=dataset.name,
            annotations=dataset.digest,
            split="val" if dataset.name == EMBEDDED else dataset.name,
            images=self.size.images,
            limit=limit if limit is not None and limit < len(dataset.images) else None,
            tasks=tuple(task for task in get_args(Task) if task in self.tasks),
            resize=self.resize_words,
            thresholds=asdict(self.thresholds),
            postprocessing=None if self.postprocessing == "ours" else self.postprocessing,
        )

    @cached_property
    def size(self) -> InputSize:
        """The sizes of the images as the model gets them, at which its cost is counted."""
        return size_of_images(
            self.name,
            (
                SizeGroup(batch.padded_height_px, batch.padded_width_px, image.height_px, image.width_px)
                for batch in self.batches
                for image in batch.images
            ),
        )


def tasks_on(dataset: Dataset, wanted: tuple[Task, ...] | None) -> tuple[Task, ...]:
    """Choose the tasks that are wanted; None: all that there is truth for.

    Raises:
        BenchError: a task that the data have no truth for.
    """
    truths: dict[Task, object] = {
        "panoptic": dataset.panoptic,
        "instance": dataset.instances_json if dataset.has_masks else None,
        "semantic": dataset.semantic_dir or dataset.panoptic,
        "boxes": dataset.instances_json,
    }
    there = tuple(task for task, truth in truths.items() if truth is not None)
    for task in wanted or ():
        if task not in there:
            hint = f"it has {', '.join(there)}; 'proscale-bench data check' says what is missing"
            raise BenchError(f"{dataset.name} has no truth for the task {task}", hint)
    chosen = wanted or there
    return tuple(task for task in chosen if task != "boxes" or "instance" not in chosen)  # which has box AP too


def default_resize(dataset: Dataset) -> Resize | None:
    """Resize as the official pipeline does; not at all where the images are small and made for it."""
    return COCO_RESIZE if dataset.resizes else None


JOURNALS = "evaluation"  # in the run's folder, until an evaluation is complete


@dataclass(frozen=True)
class EvaluationOutcome:
    """The result of an evaluation, with what it takes to look at an image again.

    Args:
        record: the record; None where files were scored, which belong to no model that we know.
        image_pq: PQ of each image by itself, all its segments taken together; empty without the panoptic task.
        journal: the journal of the images; None where files were scored.
        writer: keeper of the predictions, where they are kept.
    """

    accuracy: Accuracy
    record: Record | None
    work: Work
    predictor: Predictor
    image_pq: dict[Id, float]
    journal: Journal | None = None
    writer: PredictionWriter | None = None

    def keep(self, run: Path) -> None:
        """Write the record into a run's folder, after which the journal is not needed any more.

        Raises:
            BenchError: the folder cannot be written.
        """
        if self.record is not None:
            write_record(run, self.record)
            if self.journal is not None:
                self.journal.remove()
        if self.writer is not None:
            self.writer.done()


def evaluate_model(
    request: EvaluationRequest,
    settings: ExecutionSettings,
    weights: AnyWeights,
    journals: Path,
    processes: Processes,
    *,
    resume: bool = True,
    writer: PredictionWriter | None = None,
    on_batch: Callable[[BatchDone], None] = lambda done: None,
    on_stage: OnStage = lambda what, done, total: None,
) -> EvaluationOutcome | None:
    """Evaluate weights; None in all processes but the first. The journal stays until the record is kept.

    Args:
        journals: the folder of the journals, the same for all processes. An evaluation that was interrupted there is
            gone on with.
        resume: False starts over.
        writer: keeps the predictions too.
        on_batch: called after every batch.
        on_stage: called with what is being done after the images, and how much of it is done.

    Raises:
        BenchError: data that cannot be read, a model of other classes, a device that is not there, a full disk.
    """
    from proscale_bench.evaluation.journal import Journal
    from proscale_bench.evaluation.runner import Work, evaluate, results_of
    from proscale_bench.evaluation.summary import summarise
    from proscale_bench.measure.memory import is_out_of_memory, memory_guard
    from proscale_bench.models.running import global_state

    size = size_for(request, weights.spec)
    work = Work(request.dataset, request.batches, frozenset(request.tasks))
    start = time.perf_counter()
    with global_state(settings.dtype, settings.threads), ExitStack() as stack:
        ready = make_ready(request, settings, weights, stack, f"cuda:{processes.local_rank}", on_stage)
        environment, execution, predictor = ready.environment, ready.execution, ready.chosen.predictor
        order = ready.chosen.order
        cautions = (*weights.cautions, *([order.caution] if order.caution else []))
        key = _key(request, weights, execution, writer, list(ready.chosen.class_ids), ready.file)
        folder = journals / key
        if processes.is_first:
            if not resume:
                Journal(folder).remove()
            if writer is not None:
                writer.begin(key, work.images)
        processes.wait()
        guard = memory_guard() if settings.device == "cpu" else nullcontext()
        try:
            with guard:
                evaluate(work, predictor, folder, processes, writer=writer, on_batch=on_batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            hint = "use a smaller --batch-size or --resize; what is evaluated is kept, and the same command goes on"
            raise BenchError(f"out of memory at batch size {request.batch_size}", hint) from error
        processes.wait()
    if not processes.is_first:
        return None
    summary = summarise(work, folder, request.resamples, request.seed, request.reference, None, on_stage)
    if writer is not None:
        on_stage("writing the predictions", 0, 1)
        writer.finish(work.images, results_of(work, folder), request.tasks)
    if summary.no_segments:
        cautions = (*cautions, request.thresholds.unreached(summary.best_score))
    seconds = time.perf_counter() - start
    accuracy = accuracy_of(
        request, summary, weights.source, processes.size, seconds, cautions, weights.origin, order.by
    )
    record = Record(
        identity=identity_of(weights.spec, weights.digest, order.places),
        input=Input.model_validate({**size.row(), "dataset": request.images_digest}),
        convention="mac",
        rules="fvcore",
        execution=execution,
        evaluation=request.protocol,
        cost=weights.cost(request)
        if isinstance(weights, OtherWeights)
        else cost_of(count_model(over_exits(weights.spec, summary.exits), size, get_rules("fvcore"))),
        accuracy=accuracy,
        provenance=Origin(tool_version=__version__, created=now()),
        environment=environment,
    )
    return EvaluationOutcome(accuracy, record, work, predictor, summary.image_pq, Journal(folder), writer)


def score_files(
    request: EvaluationRequest,
    predictions: Path,
    on_batch: Callable[[BatchDone], None] = lambda done: None,
    on_stage: OnStage = lambda what, done, total: None,
) -> EvaluationOutcome:
    """Score files of predictions.

    Raises:
        BenchError: files that are missing, damaged, or do not fit the data.
    """
    from proscale_bench.evaluation.file_predictor import FilePredictor
    from proscale_bench.evaluation.runner import Work, evaluate
    from proscale_bench.evaluation.summary import summarise
    from proscale_bench.models.processes import Processes

    work = Work(request.dataset, request.batches, frozenset(request.tasks))
    predictor = FilePredictor(predictions, work, request.reference)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="proscale-bench-") as folder:
        evaluate(work, predictor, Path(folder), Processes(), on_batch=on_batch)
        summary = summarise(
            work, Path(folder), request.resamples, request.seed, request.reference, predictor.scorer, on_stage
        )
    seconds = time.perf_counter() - start
    accuracy = accuracy_of(request, summary, printable(str(predictions))[-200:], 1, seconds, predictor.warnings)
    return EvaluationOutcome(accuracy, None, work, predictor, summary.image_pq)


def accuracy_of(
    request: EvaluationRequest,
    summary: Summary,
    source: str,
    processes: int,
    seconds: float,
    warnings: tuple[str, ...] = (),
    origin: TrainingOrigin = UNKNOWN_ORIGIN,
    classes_by: ClassesBy | None = None,
) -> Accuracy:
    """Put metrics and the way that they were found together; `origin` is the weights', `classes_by` of `ClassOrder`."""
    return Accuracy(
        dataset=request.name,
        **summary.metrics_pct,  # type: ignore[arg-type]
        provenance="measured",
        source=source,
        evaluated=Evaluated(
            tasks=request.tasks,
            images=request.size.images,
            dataset_digest=request.dataset.digest,
            images_digest=request.images_digest,
            resize=request.resize_words,
            engine=summary.engine,
            processes=processes,
            seconds=seconds,
            resamples=request.resamples,
            seed=request.seed,
            classes_by=classes_by,
            training_seed=origin.seed,
            training_recipe=origin.recipe,
            training_start=origin.start,
            data_folder=request.folder,
            intervals=summary.intervals_pct,
            replicates=summary.replicates_pct,
            classes=summary.classes,
            different_maps=summary.different_maps,
            warnings=tuple(printable(message)[:1000] for message in (*warnings, *summary.warnings)),
        ),
    )


def _key(
    request: EvaluationRequest,
    weights: AnyWeights,
    execution: Execution,
    writer: PredictionWriter | None,
    classes: list[Id | None],
    file: str | None = None,
) -> str:
    """Name the journal of an evaluation after all that decides a bit of it.

    Args:
        classes: the model's, by id.
        file: digest of the exported file that ran; None: the model itself.
    """
    key = {
        "classes": classes,
        "weights": weights.digest,
        "schedule": weights.spec.variant,
        "images": request.images_digest,
        "protocol": request.protocol.model_dump(mode="json"),
        "execution": execution.model_dump(mode="json"),
        "saved": str(writer.folder.resolve()) if writer else None,
        "tool_version": __version__,
        **({"file": file} if file else {}),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
