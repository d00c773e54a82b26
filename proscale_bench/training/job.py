"""A training from its recipe to its files: what `train` runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from proscale_bench.config.choices import OFFICIAL_THRESHOLDS
from proscale_bench.config.recipe import DetectionRecipe, Recipe
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import locked, write_atomic
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.checkpoint import digest
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.models.inference import use_sampling
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.processes import Processes
from proscale_bench.models.running import check_device, device_name, global_state
from proscale_bench.models.sampling import AUTO
from proscale_bench.results.export import environment, now
from proscale_bench.results.profile import DeviceType
from proscale_bench.results.training import (
    BestWeights,
    StartedFrom,
    TrainingRecord,
    TrainingSession,
    TrainingStep,
    ValidationScores,
    read_record,
)
from proscale_bench.specs.families import MASK2FORMER, own_model
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.training import folder, setup
from proscale_bench.training.box_trainer import BoxTrainer
from proscale_bench.training.checkpoint import read_state
from proscale_bench.training.dropout import add_dropout
from proscale_bench.training.log import LogWriter, TensorBoardWriter
from proscale_bench.training.loop import NonFiniteError, Trainer
from proscale_bench.training.samples import batch_indices
from proscale_bench.training.stopping import stop_between_iterations
from proscale_bench.training.validation import Validator, trained_model
from proscale_bench.version import __version__

NAMED = 8  # images of a batch


@dataclass(frozen=True)
class TrainingJob:
    """A schedule to train, and how the training runs.

    Args:
        recipe: recipe with its backbone and files.
        seed: seed of weights, images and points.
        coco: the data set's folder, for a recipe on COCO's data.
        threads: number of CPU threads; None for PyTorch's number.
        workers: number of threads that load images.
        sampling: `auto` or a name of `sampling.SAMPLERS`.
        tensorboard: True writes the log for TensorBoard too.
        model: family of the model with its options, as `--model` spells it.
        validator: evaluates the model as often as the recipe says; None where there is nothing to validate on.
    """

    recipe: Recipe
    schedule: EncoderSpec
    seed: int = 0
    coco: Path | None = None
    device: DeviceType = "cpu"
    threads: int | None = None
    workers: int = 2
    sampling: str = AUTO
    tensorboard: bool = False
    validator: Validator | None = None
    model: str = MASK2FORMER

    def is_validated(self, iteration: int) -> bool:
        """True if there is a validation after so many iterations."""
        if self.validator is None or self.recipe.validation is None or not iteration:
            return False
        return iteration == self.recipe.iterations or iteration % self.recipe.validation.every == 0


class Watcher:
    """Callbacks during a training; these do nothing."""

    def making(self, done: int, total: int) -> None:
        """Called while missing images of the embedded data are made."""

    def started(self, start: setup.InitialWeights) -> None:
        """Called with the weights that the model starts from."""

    def begins(self, iteration: int) -> None:
        """Called before the first iteration, with the number of those that are done."""

    def step(self, step: TrainingStep) -> None:
        """Called after every iteration."""

    def validating(self, done: int, total: int) -> None:
        """Called while the model is validated, image by image."""

    def validated(self, iteration: int, scores: ValidationScores, is_best: bool) -> None:
        """Called after a validation."""


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training: its record, and the file of its weights."""

    record: TrainingRecord
    weights: Path


def run_training(
    job: TrainingJob,
    run: Path,
    processes: Processes | None = None,
    watcher: Watcher | None = None,
    *,
    start_over: bool = False,
) -> FinishedTraining | None:
    """Train to the end, from where the run's folder stands; None in all processes but the first.

    Args:
        run: the folder, seen by all processes; the first one writes.
        start_over: remove the training that is there.

    Raises:
        BenchError: a device that is not there; files or data that cannot be read; a folder of another training, or in
            which another process trains; a full disk; a number that is not finite, and then its batch is kept.
        KeyboardInterrupt: after the iteration at which Ctrl-C or SIGTERM came, which is kept.
    """
    processes, watcher = processes or Processes(), watcher or Watcher()
    check_device(job.device, job.recipe.precision)
    job.recipe.require_folder(job.coco)
    with (
        locked(run, "training") if processes.is_first else nullcontext(),
        global_state(job.recipe.precision, job.threads),
    ):
        if processes.is_first:
            _prepare(run, job, start_over)
        processes.wait()
        try:
            return _Training(job, run, processes, watcher).finish()
        except torch.OutOfMemoryError as error:
            raise BenchError(
                f"the memory of {device_name(torch.device(job.device))} is full",
                "take an iteration's images in more parts with --accumulate, or fewer of them with --batch-size",
            ) from error


def _prepare(run: Path, job: TrainingJob, start_over: bool) -> None:
    """Refuse a folder of another training before time is spent."""
    if start_over:
        folder.remove_training(run)
    folder.remove_leftovers(run)
    state = read_state(run, _identity(job))
    if state is None and folder.is_begun(run):
        raise BenchError(f"{run} holds weights, and no training to go on with", folder.START_OVER)


def _identity(job: TrainingJob) -> dict[str, Any]:
    """Everything that the files of a training follow from, as far as it is known before anything is opened."""
    settings, validation = job.recipe.validation, None
    if job.validator is not None and settings is not None:
        validation = {"every": settings.every, "split": job.validator.split, "images": settings.images}
        if settings.thresholds != OFFICIAL_THRESHOLDS:  # as it was before there were others
            validation["thresholds"] = asdict(settings.thresholds)
    return setup.identity_of(job.recipe, job.schedule, job.seed, job.model) | {"validation": validation}


class _Training:
    """A job in its folder, with all that it needs."""

    def __init__(self, job: TrainingJob, run: Path, processes: Processes, watcher: Watcher) -> None:
        self.job, self.run, self.processes, self.watcher = job, run, processes, watcher
        recipe = job.recipe
        self.data = setup.open_data(recipe, job.coco, processes, watcher.making)
        self.seen = setup.seen_by(recipe, self.data.images.classes)
        device = setup.device_of(job.device, processes)
        torch.manual_seed(job.seed)
        classes = len(self.data.images.classes)
        baseline = setup.open_baseline(recipe)
        spec = own_model(job.model, job.schedule, recipe.backbone, classes=classes)
        if baseline is not None:
            spec = setup.like(baseline, spec)
        model: Any = build(spec, drop_path=recipe.drop_path)
        self.start = setup.initialise(model, recipe, baseline, self.seen.names)
        if processes.is_first:
            watcher.started(self.start)
        self.backbone = spec.backbone_name
        model.to(device)
        self.sampling = use_sampling(
            model, setup.sampling_for(job.sampling, device, recipe.augmentation.crop, job.schedule)
        )
        identity = _identity(job) | {"start": self.start.digest, "data": self.data.digest}
        if job.validator is not None and processes.is_first:
            identity["validation data"] = job.validator.open(self.data.images.classes)
        if isinstance(recipe, DetectionRecipe):
            add_dropout(model, recipe.dropout)
            self.trainer: Trainer = BoxTrainer(model, recipe, job.seed, identity, processes)
        else:
            self.trainer = Trainer(model, recipe, job.seed, identity, processes)
        state = self.trainer.resume(run)
        self.begun = (self.trainer.iteration, self.trainer.seconds)
        self.earlier = state.sessions if state else ()
        self.unlogged = state.unlogged if state else ()

    def finish(self) -> FinishedTraining | None:
        """Train to the end, and write what that gave."""
        trainer, recipe = self.trainer, self.job.recipe
        self.watcher.begins(trainer.iteration)
        if trainer.iteration == recipe.iterations and folder.is_finished(self.run):
            if not self.processes.is_first:
                return None
            return FinishedTraining(read_record(self.run / folder.RECORD), self.run / folder.WEIGHTS)
        with (
            closing(self._log()) if self.processes.is_first else nullcontext() as log,
            stop_between_iterations(trainer.stop_soon),
            closing(self._steps()) as steps,
        ):
            if log is not None and log.unlogged and self.job.is_validated(trainer.iteration):
                self._validate(log)  # it was stopped before this was done
            for step in steps:
                is_last, is_validated = step.iteration == recipe.iterations, self.job.is_validated(step.iteration)
                if log is not None:
                    log.add(step, held=is_validated)
                    if is_last or is_validated or trainer.stops or step.iteration % recipe.checkpoint_every == 0:
                        log.keep()
                        trainer.keep(self.run, log.unlogged, self._sessions())
                self.watcher.step(step)
                if trainer.stops and not is_last:
                    raise KeyboardInterrupt(
                        f"iteration {step.iteration:,} of {recipe.iterations:,} is kept in {self.run}; "
                        "the same command goes on"
                    )
                if log is not None and is_validated:
                    self._validate(log)
        if log is None:
            return None
        return FinishedTraining(self._write_outcome(log), self.run / folder.WEIGHTS)

    def _validate(self, log: LogWriter) -> None:
        """Evaluate the model, keep its weights if they are the best so far, and then write the line that says so.

        One that is killed here has the state of this iteration and no line of it, and is validated anew.
        """
        validator, trainer, before = self.job.validator, self.trainer, log.best
        assert validator is not None
        scores = validator.scores(trained_model(trainer), self.watcher.validating)
        is_best = before is None or scores.is_no_worse_than(before.validation)
        if is_best:
            best = BestWeights(weights=folder.BEST, iteration=trainer.iteration, validation=scores)
            model = trained_model(trainer).cpu()
            save_checkpoint(
                model, self.run / folder.BEST, self._record(model, log, best).provenance(best), seen=self.seen
            )
        log.write(scores)
        trainer.rest()
        self.watcher.validated(trainer.iteration, scores, is_best)

    def _log(self) -> LogWriter:
        recipe, (done, seconds) = self.job.recipe, self.begun
        return LogWriter(
            self.run / folder.LOG,
            done=done,
            unlogged=self.unlogged,
            seconds=seconds,
            batch_size=recipe.batch_size,
            last=recipe.iterations,
            board=TensorBoardWriter(self.run / folder.BOARD, done) if self.job.tensorboard else None,
        )

    def _steps(self) -> Generator[TrainingStep, None, None]:
        """A number that is not finite becomes an error with the batch's images and where they are kept."""
        try:
            yield from self.trainer.run(self.data.images, self.job.workers)
        except NonFiniteError as error:
            names = self._names(error.iteration)
            path = folder.save_batch(self.run, error.iteration + 1, self.processes.rank, error.samples, names)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            raise BenchError(
                f"{error.message}; its images: {', '.join(names[:NAMED])}{more}",
                f"{error.hint}; see what the model was shown: numpy.load('{path}')['images']",
                ExitCode.UNTRUSTED,
            ) from error

    def _names(self, iteration: int) -> list[str]:
        """This process's images of an iteration."""
        images = self.data.images
        indices = batch_indices(self.job.seed, iteration, self.job.recipe.batch_size, len(images))
        return [images.name(index) for index in indices[self.processes.rank :: self.processes.size]]

    def _sessions(self) -> tuple[TrainingSession, ...]:
        """Every session of the training, this one the last."""
        trainer, (done, seconds) = self.trainer, self.begun
        if trainer.iteration == done:
            return self.earlier
        this = TrainingSession(
            first_iteration=done,
            iterations=trainer.iteration - done,
            seconds=trainer.seconds - seconds,
            processes=self.processes.size,
            threads=torch.get_num_threads(),
            device=self.job.device,
            device_name=device_name(trainer.device),
            sampling=self.sampling,
            torch=torch.__version__,
        )
        return (*self.earlier, this)

    def _write_outcome(self, log: LogWriter) -> TrainingRecord:
        """Write `training.json`, then `model.safetensors`: where this is, a training is done."""
        model, best = trained_model(self.trainer).cpu(), None
        if (line := log.best) is not None and line.validation is not None:
            best = BestWeights(weights=folder.BEST, iteration=line.iteration, validation=line.validation)
        record = self._record(model, log, best)
        write_atomic(self.run / folder.RECORD, record.model_dump_json(indent=2) + "\n")
        save_checkpoint(model, self.run / folder.WEIGHTS, record.provenance(), seen=self.seen)
        return record

    def _record(self, model: Mask2Former, log: LogWriter, best: BestWeights | None) -> TrainingRecord:
        """The record of the training as it stands, whose weights are those of `model`."""
        trainer, recipe, data, start = self.trainer, self.job.recipe, self.data, self.start
        return TrainingRecord(
            name=recipe.name,
            recipe=recipe.model_dump(mode="json", exclude={"start", "backbone_weights"}),
            recipe_digest=recipe.digest,
            schedule=self.job.schedule.compact,
            backbone=self.backbone,
            seed=trainer.seed,
            data=data.name,
            data_digest=data.digest,
            images=len(data.images),
            classes=len(data.images.classes),
            start=StartedFrom(kind=start.kind, file=start.file, digest=start.digest),
            iterations=trainer.iteration,
            seconds=trainer.seconds,
            sessions=self._sessions(),
            weights=folder.WEIGHTS,
            weights_digest=digest(model.state_dict()),
            averaged=trainer.average is not None,
            last=log.lines[-1] if log.lines else None,
            best=best,
            tool_version=__version__,
            created=now(),
            environment=environment(),
        )
