"""`proscale-bench predict`: what weights see in pictures of which no truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.evaluate import EvalOptions
from proscale_bench.commands.options import HOW, MAX_BATCH_SIZE, ExecutionOptions, MaybePath, MaybeStr, flag, takes
from proscale_bench.commands.protocol import classes_by_flag, classes_by_of, sides_of, tasks_of, thresholds_of
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

if TYPE_CHECKING:
    pass

WHAT, KEPT = "What is predicted", "What is kept"


class PredictOptions(ExecutionOptions):
    """The flags of `predict`."""

    images: list[str] = typer.Argument(
        metavar="IMAGES", help="Pictures: files, folders, or patterns as in 'photos/*.jpg'."
    )
    weights: Path = flag("--weights, -w FILE", "Checkpoint to predict with.", WHAT, default=...)
    schedule: MaybeStr = flag("--schedule, -s SCHEDULE", "Schedule of a checkpoint whose tensors do not tell it.", WHAT)
    categories: MaybePath = flag(
        "--categories FILE",
        "JSON with COCO's list of categories, the weights' classes in order; the ids of its images are used too. "
        "[default: what the weights say]",
        WHAT,
    )
    tasks: MaybeStr = flag(
        "--tasks LIST",
        "Tasks, as in panoptic,instance,semantic; a detector's is boxes. [default: all that the model predicts]",
        WHAT,
    )
    resize: MaybeStr = flag(
        "--resize SIDES",
        "Resize pictures to SHORT,LONGEST sides in pixels, or none. [default: what the weights say, else 800,1333]",
        WHAT,
    )
    classes_by: str = classes_by_flag(WHAT)
    score_threshold: float = EvalOptions.score_threshold
    overlap_threshold: float = EvalOptions.overlap_threshold
    mask_threshold: float = EvalOptions.mask_threshold
    batch_size: int = flag(
        "--batch-size, -n N", "Number of pictures in a batch.", HOW, default=1, min=1, max=MAX_BATCH_SIZE
    )
    out: Path = flag("--out DIR", "Folder to write to.", KEPT, default=...)
    pictures: bool = flag("--pictures/--no-pictures", "Draw pictures with their segments.", KEPT, default=True)
    force: bool = flag("--force", "Replace a folder that predict wrote.", KEPT)

    def check(self) -> None:
        """Refuse also what cannot be written or read; see `DeviceOptions.check`."""
        from proscale_bench.bench.predict import COMMAND
        from proscale_bench.config.catalogue import parse_runnable
        from proscale_bench.data.whole_folder import refuse_folder

        super().check()
        thresholds_of(self)
        classes_by_of(self.classes_by)
        if self.schedule is not None:
            parse_runnable(self.schedule)
        if self.tasks is not None:
            tasks_of(self.tasks)
        if self.resize is not None:
            sides_of(self.resize)
        if not self.weights.exists():
            raise BenchError(f"{self.weights}: no such file or folder", "give the path of a checkpoint")
        refuse_folder(self.out, COMMAND, self.force)


@takes(PredictOptions)
def predict(options: PredictOptions) -> None:
    """Predict pictures without annotations: drawn, and as COCO's panoptic, instance, semantic or box results.

    Example: proscale-bench predict --weights model.pth --categories panoptic_val2017.json photos/ --out predictions
    """
    from proscale_bench.bench.predict import ALL_TASKS, COMMAND, PredictionRequest, predictions, write_predictions
    from proscale_bench.bench.predictors import judged_by
    from proscale_bench.bench.vocabulary import read_categories, vocabulary_of
    from proscale_bench.bench.weights import read_weights
    from proscale_bench.commands.exporting import print_lines
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.config.catalogue import parse_runnable
    from proscale_bench.data.image_files import find_pictures, look_at
    from proscale_bench.data.whole_folder import whole_folder
    from proscale_bench.models.checkpoints.vetting import vet
    from proscale_bench.render.console import note, stdout_console, warn

    options.check()
    vet(options.weights)
    told = None if options.categories is None else read_categories(options.categories)
    with progress_bar("looking at the pictures") as bar:
        root, paths = find_pictures(options.images)
        files = look_at(root, paths, told.image_ids if told else {}, lambda done, total: bar.show(None, done, total))
        bar.restart("loading torch", 0, len(paths))
        with uninterrupted():
            import torchvision  # noqa: F401
        weights = read_weights(options.weights, None if options.schedule is None else parse_runnable(options.schedule))
        words = vocabulary_of(weights, options.weights, told)
        wanted = tasks_of(options.tasks) if options.tasks else None
        asked = PredictionRequest(
            files,
            words.categories,
            judged_by(weights.spec, wanted or ALL_TASKS, wanted, weights.source),
            words.resize if options.resize is None else sides_of(options.resize),
            options.batch_size,
            thresholds_of(options),
            classes_by_of(options.classes_by),
        )
        if words.note:
            note(printable(f"{words.note}; --categories FILE says others"))
        name = f"{weights.spec.variant} {weights.source}"
        bar.restart(name, 0, len(paths))

        def show(done: int, total: int) -> None:
            pace = f"{bar.per_second:.1f} images/s: " if bar.per_second else ""
            bar.show(f"{pace}{name}", done, total, line=lambda: f"{done}/{total} pictures: {name}")

        try:
            with whole_folder(options.out, COMMAND, options.force) as folder:
                found = predictions(asked, options.execution_settings(), weights)
                nothing = write_predictions(folder, asked, found, pictures=options.pictures, on_image=show)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"nothing is left in {options.out}") from None
    count = "1 picture" if len(paths) == 1 else f"{len(paths):,} pictures"
    said = f"{count} predicted by {name}: {options.out}"
    print_lines(stdout_console(), [printable(said)], style="", soft_wrap=True)
    if nothing:
        warn(nothing)
