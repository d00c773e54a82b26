"""`proscale-bench models train-gate`: the gate of an early exit, once its parent is trained."""

from __future__ import annotations

from pathlib import Path

import typer

from proscale_bench.commands.options import FORCE, ExecutionOptions, MaybeInt, MaybeStr, flag, takes
from proscale_bench.errors import BenchError

DEFAULT_BETA = 0.003  # of the published gate for Cityscapes that keeps the most accuracy


class TrainGateOptions(ExecutionOptions):
    """The flags of `models train-gate`."""

    file: Path = typer.Argument(metavar="FILE", help="Checkpoint of a parent, trained with --schedule early-exit.")
    out: Path = typer.Argument(metavar="OUT", help="File to write, .safetensors.")
    coco: Path = flag("--coco DIR", "Folder of the images to learn from, with panoptic truth, laid out as COCO.")
    split: MaybeStr = flag("--split NAME", "Split of that data set. [default: train2017, train or the only one]")
    beta: float = flag(
        "--beta N", "Least gain in PQ (0 to 1) that makes one more layer worthwhile.", default=DEFAULT_BETA
    )
    limit: MaybeInt = flag("--limit N", "Use only the first N images. [default: all]", min=1)
    batch_size: int = flag("--batch-size N", "Number of images in a batch.", default=1, min=1)
    force: bool = FORCE


@takes(TrainGateOptions)
def train_gate(options: TrainGateOptions) -> None:
    """Train the gate of an early exit: PQ of every image at every exit, then the gate that chooses the best.

    Example: proscale-bench models train-gate parent.safetensors gated.safetensors --coco my-data
    """
    from math import isfinite

    from proscale_bench.bench.evaluate import EvaluationRequest, default_resize, tasks_on
    from proscale_bench.bench.gate import train_gate as train
    from proscale_bench.bench.predictors import at_scale_of
    from proscale_bench.bench.weights import read_weights
    from proscale_bench.commands.evaluate import shower
    from proscale_bench.commands.exporting import print_lines
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.config.choices import Task
    from proscale_bench.data.coco import open_dataset
    from proscale_bench.data.layout import training_split
    from proscale_bench.files import refuse_overwrite
    from proscale_bench.render.console import stdout_console

    options.check()
    if not (isfinite(options.beta) and options.beta >= 0):
        raise BenchError(f"--beta {options.beta}: not a number from 0", "as in --beta 0.003")
    refuse_overwrite(options.out, options.force)
    tasks: tuple[Task, ...] = ("panoptic",)
    dataset = open_dataset(options.coco, training_split(options.coco, options.split), True, tasks)
    tasks, resize = tasks_on(dataset, tasks), default_resize(dataset)
    request = EvaluationRequest(dataset, tasks, resize, options.limit, options.batch_size)
    with progress_bar("loading torch") as bar:
        with uninterrupted():
            weights = read_weights(options.file)
        found = train(
            weights,
            at_scale_of(request, weights),
            options.execution_settings(),
            options.beta,
            options.out,
            overwrite=options.force,
            on_batch=lambda exit_, done: shower(bar, exit_)(done),
        )
    lines = [
        f"{name}: PQ {pq:.2f} of an image, the best for {best} of {found.images} images, taken by {taken}"
        for name, pq, best, taken in zip(found.exits, found.pq, found.best, found.taken, strict=True)
    ]
    lines.append(f"{options.out}: what it is worth on other images says 'proscale-bench eval --weights {options.out}'")
    print_lines(stdout_console(), lines, style="", soft_wrap=True)
