"""What `train` does between its flags and its last line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.progress import uninterrupted
from proscale_bench.errors import BenchError, ExitCode, one_of
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.config.recipe import Recipe, RecipeChanges
    from proscale_bench.results.training import TrainingRecord
    from proscale_bench.specs.model import EncoderSpec
    from proscale_bench.training.job import TrainingJob

RUNS = Path("runs")


@dataclass(frozen=True)
class Asked:
    """The flags, as they were given."""

    schedule: str
    recipe: str
    changes: RecipeChanges
    coco: Path | None
    seed: int
    device: str | None
    threads: int | None
    sampling: str
    workers: int
    out: Path | None
    resume: bool
    force: bool
    tensorboard: bool
    export_json: Path | None

    def read(self) -> tuple[EncoderSpec, Recipe]:
        """What is trained and how, checked before anything large is loaded.

        Raises:
            BenchError: a schedule, recipe, file or value that is unknown or does not fit.
        """
        from proscale_bench.config import choices
        from proscale_bench.config.catalogue import parse_schedule
        from proscale_bench.config.recipe import Precision, find_recipe, read_recipe, with_changes
        from proscale_bench.results.profile import DeviceType
        from proscale_bench.specs.backbones import get_backbone

        schedule = parse_schedule(self.schedule)
        recipe = with_changes(read_recipe(find_recipe(self.recipe)), self.changes)
        get_backbone(recipe.backbone)
        one_of(Precision, recipe.precision, "precision")
        one_of(choices.Sampling, self.sampling, "sampling")
        if self.device is not None:
            one_of(DeviceType, self.device, "device")
        for name in (recipe.start, recipe.backbone_weights):
            if name is not None and not Path(name).exists():
                raise BenchError(f"{name}: no such file", "give the path of a checkpoint")
        return schedule, recipe

    def folder(self, schedule: EncoderSpec, recipe: Recipe) -> Path:
        """Where the run lies."""
        word = schedule.compact
        for separator in ",+:":
            word = word.replace(separator, "-")
        return self.out or RUNS / f"{recipe.name}-{recipe.backbone}-{word}-seed{self.seed}"

    def job(self, schedule: EncoderSpec, recipe: Recipe) -> TrainingJob:
        """Loads torch."""
        with uninterrupted():
            import torch
            import torchvision  # noqa: F401

        from proscale_bench.results.profile import DeviceType
        from proscale_bench.training.job import TrainingJob

        device: DeviceType = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device is not None:
            device = one_of(DeviceType, self.device, "device")
        return TrainingJob(
            recipe, schedule, self.seed, self.coco, device, self.threads, self.workers, self.sampling, self.tensorboard
        )


def run(asked: Asked) -> None:
    """Train, and say what to do with it; in the other processes of a torchrun, train."""
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.config.recipe import CocoData
    from proscale_bench.models.processes import join_processes
    from proscale_bench.render.console import detail, settings, warn

    schedule, recipe = asked.read()
    exports = Exports(asked.export_json, force=asked.force)
    folder = asked.folder(schedule, recipe)
    with join_processes("train") as processes:
        if not processes.is_first:
            settings.quiet = True
        job = asked.job(schedule, recipe)
        from proscale_bench.commands.training_progress import Progress
        from proscale_bench.training.folder import START_OVER, is_begun
        from proscale_bench.training.job import run_training

        if processes.is_first and not asked.resume and is_begun(folder) and not asked.force:
            raise BenchError(f"{folder} holds a training already", START_OVER)
        detail(f"training {schedule.compact} by {recipe.name} ({recipe.digest[:12]}) in {folder}")
        if isinstance(recipe.data, CocoData) and recipe.start is None and recipe.backbone_weights is None:
            warn("the backbone starts untrained", "--backbone-weights names ImageNet's weights, --start a baseline")
        try:
            with Progress(recipe, f"{schedule.compact} on {recipe.backbone}") as progress:
                trained = run_training(job, folder, processes, progress, start_over=not asked.resume)
        except KeyboardInterrupt:
            if processes.is_first:
                raise
            raise typer.Exit(ExitCode.INTERRUPTED) from None  # the first one has said it
    if trained is not None:
        show(exports.console, trained.record, trained.weights, asked.coco)
        exports.write([trained.record.row()], str)


def show(console: Console, record: TrainingRecord, weights: Path, coco: Path | None) -> None:
    """What was trained, and what to do next."""
    from rich.text import Text

    from proscale_bench.render.training import next_step, summary

    console.print(Text(printable(summary(record))), soft_wrap=True)
    console.print(Text(printable(next_step(weights, coco)), style="dim"), soft_wrap=True)
