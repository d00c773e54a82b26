"""`proscale-bench train`: a schedule, from scratch or from a baseline's checkpoint."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import (
    EXPORT_JSON,
    HOW,
    SCHEDULE_HELP,
    SHARE,
    DeviceOptions,
    MaybeFloat,
    MaybeInt,
    MaybePath,
    MaybeStr,
    flag,
    seed_in_range,
    takes,
)
from proscale_bench.config.choices import OFFICIAL_THRESHOLDS
from proscale_bench.errors import BenchError, ExitCode, one_of

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.bench.train import SplitValidator
    from proscale_bench.commands.progress import Bars
    from proscale_bench.config.recipe import Recipe
    from proscale_bench.results.training import TrainingRecord, TrainingStep, ValidationScores
    from proscale_bench.specs.model import EncoderSpec
    from proscale_bench.training.job import TrainingJob, Watcher
    from proscale_bench.training.setup import InitialWeights
else:
    Watcher = object  # its module loads torch

WHAT, FROM, RECIPE, KEPT = "What is trained", "What it starts from", "What changes the recipe", "What is kept"
MOST_ITERATIONS, MOST_IMAGES = 100_000_000, 65_536
STEADY = 0.9  # how much of the pace stays at each iteration


class TrainOptions(DeviceOptions):
    """The flags of `train`."""

    schedule: MaybeStr = flag(
        "--schedule, -s SCHEDULE", f"{SCHEDULE_HELP} [default: 3,3,3; a detector's baseline]", WHAT
    )
    model: str = flag(
        "--model, -m NAME",
        "Family: mask2former, or deformable-detr for a detector, also with +refine or +two-stage.",
        WHAT,
        default="mask2former",
        values=completion.own_models,
    )
    recipe: MaybeStr = flag(
        "--recipe, -r NAME",
        "Recipe: a YAML file, or a name of recipes list. [default: shapes, or shapes-detection; with --coco one that "
        "fits the data]",
        WHAT,
    )
    coco: MaybePath = flag(
        "--coco DIR",
        "Folder of a data set in COCO's layout; its classes are learnt. [default: the embedded data]",
        WHAT,
    )
    split: MaybeStr = flag(
        "--split NAME", "Split of DIR to learn from. [default: the recipe's; train2017, train or the only one]", WHAT
    )
    seed: int = flag(
        "--seed N",
        "Seed of the initial weights, of the order of images, and of all else that is random.",
        WHAT,
        default=0,
        callback=seed_in_range,
    )
    start: MaybePath = flag("--start FILE", "Checkpoint of a baseline to fine-tune.", FROM)
    backbone_weights: MaybePath = flag(
        "--backbone-weights FILE", "File of ImageNet weights in torchvision's layout.", FROM
    )
    backbone: MaybeStr = flag(
        "--backbone, -b NAME", "Backbone, as models list names it. [default: the recipe's]", RECIPE
    )
    iterations: MaybeInt = flag(
        "--iterations N",
        "Number of iterations; the learning rate's milestones move in proportion. [default: the recipe's]",
        RECIPE,
        min=1,
        max=MOST_ITERATIONS,
    )
    batch_size: MaybeInt = flag(
        "--batch-size, -n N", "Number of images per iteration. [default: the recipe's]", RECIPE, min=1, max=MOST_IMAGES
    )
    accumulate: MaybeInt = flag(
        "--accumulate N",
        "Number of passes that an iteration's images are divided among, to save memory. [default: the recipe's]",
        RECIPE,
        min=1,
        max=MOST_IMAGES,
    )
    precision: MaybeStr = flag(
        "--precision NAME", "Number format: fp32, or bf16 and fp16 mixed with it. [default: the recipe's]", RECIPE
    )
    validate_every: MaybeInt = flag(
        "--validate-every N",
        "Number of iterations between two evaluations; 0 for none. [default: the recipe's]",
        RECIPE,
        min=0,
        max=MOST_ITERATIONS,
    )
    val_split: MaybeStr = flag(
        "--val-split NAME",
        "Split of DIR to evaluate on. [default: the recipe's; val2017, val or the only other]",
        RECIPE,
    )
    score_threshold: MaybeFloat = flag(
        "--score-threshold P",
        "Class probability above which a query may become a panoptic segment in validation. [default: the recipe's]",
        RECIPE,
        **SHARE,
    )
    overlap_threshold: MaybeFloat = flag(
        "--overlap-threshold P",
        "Least share of its own mask that a query must win to become a segment in validation. [default: the recipe's]",
        RECIPE,
        **SHARE,
    )
    mask_threshold: MaybeFloat = flag(
        "--mask-threshold P",
        "Least mask probability of a panoptic segment's pixels in validation. [default: the recipe's]",
        RECIPE,
        **SHARE,
    )
    workers: int = flag("--workers N", "Number of threads that load images.", HOW, default=2, min=1, max=256)
    out: MaybePath = flag("--out DIR", "Folder of the run. [default: runs/RECIPE-BACKBONE-SCHEDULE-seedN]", KEPT)
    resume: bool = flag("--resume/--no-resume", "Continue an interrupted training, or start over.", KEPT, default=True)
    force: bool = flag("--force", "With --no-resume, remove the training that is there.", KEPT)
    tensorboard: bool = flag("--tensorboard", "Write the log also for TensorBoard.", KEPT)
    export_json: MaybePath = EXPORT_JSON

    def read(self) -> tuple[EncoderSpec, Recipe]:
        """The schedule and the recipe, checked before anything large is loaded.

        Raises:
            BenchError: a schedule, recipe, file or value is unknown or does not fit.
        """
        from proscale_bench.bench.specs import DEFAULT_SCHEDULES
        from proscale_bench.bench.train import fitting_recipe, on_folder
        from proscale_bench.config.catalogue import parse_runnable_of
        from proscale_bench.config.choices import Precision, find_shipped
        from proscale_bench.config.recipe import DetectionRecipe, read_recipe
        from proscale_bench.config.recipe_changes import RecipeChanges, with_changes
        from proscale_bench.models.checkpoints.vetting import vet
        from proscale_bench.specs.backbones import BACKBONES, get_backbone
        from proscale_bench.specs.families import MASK2FORMER, is_detector, name_of, own_model, own_name

        detects = is_detector(own_name(self.model))
        spelling = self.schedule or DEFAULT_SCHEDULES[detects]
        schedule = parse_runnable_of(self.model, spelling)
        changes = RecipeChanges(**{field.name: getattr(self, field.name) for field in fields(RecipeChanges)})
        backbone = self.backbone or (str(self.backbone_weights) if self.backbone_weights else None)
        chosen = self.recipe or fitting_recipe(
            self.coco, self.split, starts=bool(self.start), backbone=backbone, detects=detects
        )
        recipe = on_folder(with_changes(read_recipe(find_shipped("recipes", chosen)), changes), self.coco)
        get_backbone(recipe.backbone)
        if isinstance(recipe, DetectionRecipe) != detects:
            family = recipe.model if isinstance(recipe, DetectionRecipe) else MASK2FORMER
            raise BenchError(f"--model {self.model}, and the recipe {recipe.name} is a {family}'s", f"--model {family}")
        named = own_model(self.model, schedule, recipe.backbone)
        if recipe.start is not None and self.backbone is None and Path(recipe.start).exists():
            from proscale_bench.bench.specs import read_spec

            started = read_spec(Path(recipe.start))
            if name_of(started) != name_of(named):
                message = f"--model {self.model}, and {recipe.start} is of {name_of(started)}"
                raise BenchError(message, "start from a baseline of the same family")
            found = started.backbone_name  # one without a name of ours has the recipe's in the digest
            recipe = recipe.model_copy(update={"backbone": found}) if found in BACKBONES else recipe
        one_of(Precision, recipe.precision, "precision")
        self.check()
        for name in (recipe.start, recipe.backbone_weights):
            if name is not None and not Path(name).exists():
                raise BenchError(f"{name}: no such file", "give the path of a checkpoint")
            if name is not None:
                vet(Path(name))
        return schedule, recipe

    def folder(self, schedule: EncoderSpec, recipe: Recipe) -> Path:
        """The folder of the run."""
        from proscale_bench.sweeps.zoo import file_name_of

        options = "".join(f"-{option.replace(':', '')}" for option in self.model.split("+")[1:])
        name = f"{recipe.name}{options}-{recipe.backbone}-{file_name_of(schedule)}-seed{self.seed}"
        return self.out or Path("runs") / name

    def job(self, schedule: EncoderSpec, recipe: Recipe, validator: SplitValidator | None) -> TrainingJob:
        """The job that runs. Loads torch."""
        from proscale_bench.commands.progress import uninterrupted

        with uninterrupted():
            import torchvision  # noqa: F401

        from proscale_bench.training.job import TrainingJob

        return TrainingJob(
            recipe,
            schedule,
            seed=self.seed,
            coco=self.coco,
            device=self.chosen_device(),
            threads=self.threads,
            workers=self.workers,
            sampling=self.sampling,
            tensorboard=self.tensorboard,
            validator=validator,
            model=self.model,
        )


@takes(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train a model by a recipe, on your own images or the embedded data. Run it again to go on where it stopped.

    Example: proscale-bench train --schedule 3,3,3 --iterations 500

    On a folder of your own, by a recipe that fits: proscale-bench train --coco DIR

    On several GPUs or processes: torchrun --nproc-per-node 2 -m proscale_bench train ...
    """
    from proscale_bench.bench.train import validator_of
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.commands.progress import Bars
    from proscale_bench.config.recipe import CocoData
    from proscale_bench.models.processes import join_processes
    from proscale_bench.render.console import detail, note, settings, warn

    schedule, recipe = options.read()
    exports = Exports(options.export_json, force=options.force)
    folder = options.folder(schedule, recipe)
    with join_processes("train") as processes:
        if not processes.is_first:
            settings.quiet = True
        if options.recipe is None and isinstance(recipe.data, CocoData):
            note(f"by the recipe {recipe.name}, on {recipe.data.split}; 'proscale-bench recipes list' has others")
        validator = validator_of(recipe, options.coco)
        if validator is None and recipe.validation is not None:
            hint = "the last weights are kept, not the best; --val-split names a split"
            warn(f"{options.coco} has no split to validate on beside the one to learn from", hint)
        job = options.job(schedule, recipe, validator)
        from proscale_bench.training.folder import START_OVER, is_begun
        from proscale_bench.training.job import run_training

        if processes.is_first and not options.resume and is_begun(folder) and not options.force:
            raise BenchError(f"{folder} holds a training already", START_OVER)
        detail(f"training {schedule.compact} by {recipe.name} ({recipe.digest[:12]}) in {folder}")
        if isinstance(recipe.data, CocoData) and recipe.start is None and recipe.backbone_weights is None:
            warn("the backbone starts untrained", "--backbone-weights names ImageNet's weights, --start a baseline")
        try:
            with Bars() as bars:
                display = TrainingDisplay(bars, recipe, f"{schedule.compact} on {recipe.backbone}")
                trained = run_training(job, folder, processes, display, start_over=not options.resume)
        except KeyboardInterrupt:
            if processes.is_first:
                raise
            raise typer.Exit(ExitCode.INTERRUPTED) from None  # the first one has said it
    if trained is not None:
        best = trained.weights if trained.record.best is None else folder / trained.record.best.weights
        show(exports.console, trained.record, best, options, recipe)
        exports.write([trained.record.row()], str)


class TrainingDisplay(Watcher):
    """Shows images being made, then iterations: losses, images/s and time left."""

    def __init__(self, bars: Bars, recipe: Recipe, what: str) -> None:
        self.iterations, self.batch_size, self.what = recipe.iterations, recipe.batch_size, what
        self.bar = bars.add("loading", None)
        self.iteration_s: float | None = None

    def making(self, done: int, total: int) -> None:
        self.bar.show("making the embedded data", done, total)

    def begins(self, iteration: int) -> None:
        from proscale_bench.render.console import note

        self.bar.restart(self.what, iteration, self.iterations)
        if iteration:
            where = "nothing is left to do" if iteration == self.iterations else "going on"
            note(f"{iteration:,} of {self.iterations:,} iterations are done: {where}")

    def step(self, step: TrainingStep) -> None:
        from proscale_bench.render.training import line, losses

        last = step.seconds if self.iteration_s is None else self.iteration_s
        pace_s = self.iteration_s = STEADY * last + (1 - STEADY) * step.seconds
        images_per_second = self.batch_size / pace_s
        self.bar.show(
            f"{images_per_second:.1f} images/s, {losses(step)}",
            step.iteration,
            line=lambda: line(step, self.iterations, images_per_second, (self.iterations - step.iteration) * pace_s),
        )

    def started(self, start: InitialWeights) -> None:
        from proscale_bench.render.console import note, warn
        from proscale_bench.render.training import left_out

        for line in left_out(start.file, start.warm_start):
            note(line)
        for caution in start.cautions:
            warn(caution, "'models inspect' lists what is unexpected")

    def validating(self, done: int, total: int) -> None:
        self.bar.show(f"validating, image {done} of {total}")

    def validated(self, iteration: int, scores: ValidationScores, is_best: bool) -> None:
        from proscale_bench.render.console import note
        from proscale_bench.render.training import validated

        note(validated(iteration, scores, is_best))


def show(console: Console, record: TrainingRecord, weights: Path, options: TrainOptions, recipe: Recipe) -> None:
    """Say what was trained, and what to do next."""
    from proscale_bench.commands.exporting import print_lines
    from proscale_bench.render.training import next_step, summary

    print_lines(console, [summary(record)], style="", soft_wrap=True)
    thresholds = recipe.validation.thresholds if recipe.validation else OFFICIAL_THRESHOLDS
    print_lines(console, [next_step(weights, options.coco, recipe.evaluation_resize, thresholds)], soft_wrap=True)
