"""`proscale-bench eval`: what weights are worth on COCO, on data in its formats, or on the embedded data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.commands.engines import EngineOptions, check_evaluated, chosen_engines, is_exported, precisions
from proscale_bench.commands.evaluated_graph import EvaluatedGraphOptions
from proscale_bench.commands.options import (
    HOW,
    MAX_BATCH_SIZE,
    SHARE,
    ExecutionOptions,
    ExportOptions,
    MaybeInt,
    MaybePath,
    MaybePaths,
    MaybeStr,
    flag,
    seed_in_range,
    takes,
)
from proscale_bench.commands.protocol import classes_by_flag, classes_by_of, sides_of, tasks_of, thresholds_of
from proscale_bench.config.choices import (
    EMBEDDED,
    OFFICIAL_THRESHOLDS,
    EngineName,
    ExportPrecision,
    PostprocessingThresholds,
    Task,
)
from proscale_bench.errors import BenchError

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.bench.evaluate import EvaluationOutcome, EvaluationRequest, Resize
    from proscale_bench.bench.weights import AnyWeights, Weights
    from proscale_bench.commands.progress import Bar
    from proscale_bench.data.dataset import Dataset
    from proscale_bench.evaluation.runner import BatchDone
    from proscale_bench.models.processes import Processes

WHAT, ON, KEPT = "What is evaluated", "On what", "What is kept"
MERGE = "How queries become panoptic segments"  # defaults are the papers'


class EvalOptions(EvaluatedGraphOptions, EngineOptions, ExecutionOptions, ExportOptions):
    """The flags of `eval`."""

    weights: MaybePaths = flag(
        "--weights, -w FILE", "Checkpoint to evaluate. Repeat to compare several. [default: those that ship]", WHAT
    )
    random_weights: MaybeInt = flag(
        "--random-weights SEED", "Evaluate an untrained model of this seed, to try the pipeline.", WHAT, min=0
    )
    from_predictions: MaybePath = flag("--from-predictions DIR", "Score the predictions in a folder.", WHAT)
    training_seed: MaybeInt = flag(
        "--training-seed SEED", "Seed of the training, to choose among the weights that ship.", WHAT, min=0
    )
    schedule: MaybeStr = flag(
        "--schedule, -s SCHEDULE",
        "Schedule of random weights, of those that ship, or of a checkpoint whose tensors do not tell it. "
        "[default: 3,3,3, or all]",
        WHAT,
    )
    backbone: str = flag("--backbone, -b NAME", "Backbone of random weights.", WHAT, default="tiny")
    coco: MaybePath = flag("--coco DIR", "Folder of a data set in COCO's layout. [default: the embedded data]", ON)
    split: MaybeStr = flag("--split NAME", "Split of that data set. [default: val2017, val, or the only one]", ON)
    tasks: MaybeStr = flag(
        "--tasks LIST",
        "Tasks among panoptic, instance, semantic and boxes, which is box AP alone. [default: all that the data have]",
        ON,
    )
    limit: MaybeInt = flag("--limit N", "Evaluate only the first N images.", ON, min=1)
    resize: MaybeStr = flag(
        "--resize SIDES",
        "Resize images to SHORT,LONGEST sides in pixels, or none. [default: as the weights say, else 800,1333]",
        ON,
    )
    classes_by: str = classes_by_flag(ON)
    score_threshold: float = flag(
        "--score-threshold P",
        "Class probability above which a query may become a panoptic segment.",
        MERGE,
        default=0.8,
        **SHARE,
    )
    overlap_threshold: float = flag(
        "--overlap-threshold P",
        "Least share of its own mask that a query must win to become a segment.",
        MERGE,
        default=0.8,
        **SHARE,
    )
    mask_threshold: float = flag(
        "--mask-threshold P", "Least mask probability of a panoptic segment's pixels.", MERGE, default=0.5, **SHARE
    )
    batch_size: int = flag(
        "--batch-size, -n N", "Number of images in a batch.", HOW, default=1, min=1, max=MAX_BATCH_SIZE
    )
    bootstrap: int = flag(
        "--bootstrap N", "Number of bootstrap draws; 0 for no intervals.", default=1000, min=0, max=100_000
    )
    seed: int = flag("--seed N", "Seed of the bootstrap.", default=0, callback=seed_in_range)
    reference: bool = flag("--reference", "Compute AP with pycocotools itself, which is slow.")
    per_class: bool = flag("--per-class", "Show a table by class, too.")
    visuals: int = flag("--visuals N", "Draw the N images of the lowest PQ.", KEPT, default=0, min=0)
    save_predictions: MaybePath = flag(
        "--save-predictions DIR", "Save the predictions to this folder in COCO's formats.", KEPT
    )
    resume: bool = flag(
        "--resume/--no-resume", "Continue an interrupted evaluation, or start over.", KEPT, default=True
    )
    out: MaybePath = flag("--out DIR", "Folder of the run. [default: reports/eval-SPLIT]", KEPT)

    def check(self) -> None:
        """Refuse also what gives nothing to evaluate, and flags that exclude each other; see `DeviceOptions.check`."""
        from proscale_bench.config.catalogue import parse_runnable_of
        from proscale_bench.specs.backbones import get_backbone

        sources = {
            "--weights": bool(self.weights),
            "--random-weights": self.random_weights is not None,
            "--from-predictions": self.from_predictions is not None,
            "--graph": self.graph is not None,
        }
        given = [name for name, there in sources.items() if there]
        if len(given) > 1:
            raise BenchError(f"{' and '.join(given)} exclude each other", "choose one")
        if given and self.training_seed is not None:
            raise BenchError(f"--training-seed chooses among the weights that ship, and {given[0]} is given")
        thresholds = self.thresholds()
        if self.from_predictions and thresholds != OFFICIAL_THRESHOLDS:
            raise BenchError("thresholds make predictions, and --from-predictions has them", "leave them out")
        if classes_by_of(self.classes_by) != "name" and self.from_predictions:
            raise BenchError("--classes-by is for weights, and --from-predictions has its own ids", "leave it out")
        if self.from_predictions and self.save_predictions:
            raise BenchError("--save-predictions has nothing to save with --from-predictions", "leave it out")
        if self.save_predictions and len(self.files()) > 1:
            raise BenchError("--save-predictions is for one --weights", "evaluate them one by one")
        if self.coco is None and self.split is not None:
            raise BenchError("--split goes with --coco", "the embedded data have one split")
        if self.schedule is not None:
            parse_runnable_of(self.own_name, self.schedule)
        get_backbone(self.backbone)
        self.wanted_tasks()
        self.sides()
        super().check()
        check_evaluated(self)
        for path in self.files():
            if not path.exists():
                raise BenchError(f"{path}: no such file or folder", "give the path of a checkpoint")

    def files(self) -> Sequence[Path]:
        """The weights: those given, else those that ship, unless something else is evaluated.

        Raises:
            BenchError: none are given, and none that are asked for ship.
        """
        from proscale_bench.config.catalogue import parse_runnable
        from proscale_bench.config.weights import require_shipped_weights

        if self.weights or self.random_weights is not None or self.from_predictions or self.graph:
            return self.weights or ()
        schedule = None if self.schedule is None else parse_runnable(self.schedule)
        return tuple(require_shipped_weights(schedule, self.training_seed).values())

    def wanted_tasks(self) -> tuple[Task, ...] | None:
        """The tasks of `--tasks`, in the usual order; None: what the data have."""
        return None if self.tasks is None else tasks_of(self.tasks)

    def sides(self) -> Resize | str | None:
        """The sides of `--resize` in pixels, None for `none`, or `default`."""
        return "default" if self.resize is None else sides_of(self.resize)

    def request(self, dataset: Dataset) -> EvaluationRequest:
        """The request: the data, and how its metrics are made.

        Raises:
            BenchError: the data have no truth for a task.
        """
        from proscale_bench.bench.evaluate import EvaluationRequest, default_resize, tasks_on

        tasks = tasks_on(dataset, self.wanted_tasks())
        if self.visuals and "panoptic" not in tasks:
            raise BenchError("--visuals shows panoptic maps", "add panoptic to --tasks")
        sides = self.sides()
        return EvaluationRequest(
            dataset,
            tasks,
            resize=default_resize(dataset) if isinstance(sides, str) else sides,
            limit=self.limit,
            batch_size=self.batch_size,
            resamples=self.bootstrap,
            seed=self.seed,
            reference=self.reference,
            thresholds=self.thresholds(),
            classes_by=classes_by_of(self.classes_by),
        )

    def thresholds(self) -> PostprocessingThresholds:
        """The thresholds of the panoptic merge; see `thresholds_of`."""
        return thresholds_of(self)

    def models(self, request: EvaluationRequest) -> Iterator[tuple[AnyWeights, EngineName, ExportPrecision]]:
        """The models, loaded one by one for each engine; an untrained one has as many classes as the data."""
        yield from self.graphs(request)
        engines = chosen_engines(self.engine or (), None)
        for path in self.files() if self.random_weights is None else (None,):
            if path is not None and is_exported(path):
                from proscale_bench.bench.weights import read_exported

                (engine,) = chosen_engines(self.engine or (), path)
                found = read_exported(path, trust=self.trust, threads=self.threads, engine=engine)
                yield found, found.file.engine.name, found.file.precision
                continue
            for engine in engines:
                for precision in ("fp32",) if engine == "torch" else precisions(self.quantize):
                    yield self._weights(path, request), engine, precision

    def _weights(self, path: Path | None, request: EvaluationRequest) -> Weights:
        """A checkpoint, or the untrained model."""
        from proscale_bench.bench.weights import random_weights, read_weights, untrained
        from proscale_bench.config.catalogue import parse_runnable

        if path is None:
            spec = untrained(request.dataset, self.own_name, self.schedule, self.backbone)
            return random_weights(spec, self.random_weights or 0)
        other = self.other_weights(path, request)
        return other or read_weights(path, None if self.schedule is None else parse_runnable(self.schedule))


@takes(EvalOptions)
def evaluate(options: EvalOptions) -> None:
    """Evaluate weights: PQ, AP and mIoU with intervals, next to what the schedule costs.

    Without --weights: those that ship; --schedule chooses among them.

    Example: proscale-bench eval --schedule 3,3,3

    On several GPUs or processes: torchrun --nproc-per-node 2 -m proscale_bench eval ...
    """
    from proscale_bench.evaluation.saved import refuse_saved
    from proscale_bench.models.processes import join_processes
    from proscale_bench.render import compare, console
    from proscale_bench.render.evaluation import EvaluatedModel, markdown, rows

    options.check()
    exports = options.exports()
    with join_processes() as processes:
        if processes.is_first and options.save_predictions:
            refuse_saved(options.save_predictions, options.force)
        if not processes.is_first:
            console.settings.quiet = True
        request = options.request(open_data(options))
        for note in request.dataset.notes if processes.is_first else ():
            console.warn(note)
        folder = options.out or Path("reports") / f"eval-{request.dataset.name}"
        if options.from_predictions:
            found = score(options, request, options.from_predictions)
        else:
            found = evaluate_models(options, request, folder, processes)
        outcomes: list[EvaluationOutcome] = []
        try:
            outcomes.extend(found)  # one by one: of those that come before one that fails, something is to be seen
        finally:
            if outcomes:
                show(options, outcomes, folder, exports.console)
        if processes.is_first:
            evaluations = [EvaluatedModel(outcome.accuracy, outcome.record) for outcome in outcomes]
            table = rows(evaluations)
            exports.write(table, lambda: markdown(evaluations), lambda: list(map(compare.flat, table)))


def open_data(options: EvalOptions) -> Dataset:
    """The data of a folder, or the embedded ones, which are made where they are missing."""
    from proscale_bench.commands.progress import progress_bar
    from proscale_bench.data.coco import open_dataset
    from proscale_bench.data.embedded import embedded_validation

    if options.coco is not None:
        scored = options.from_predictions is not None
        opened = open_dataset(options.coco, options.split, not scored or options.visuals > 0, options.wanted_tasks())
        return replace(opened, instances=opened.instances and {}) if scored else opened  # files are scored by files
    with progress_bar("making the embedded data") as bar:
        folder = embedded_validation(lambda done, total: bar.show(None, done, total))
    return replace(open_dataset(folder), name=EMBEDDED)


def evaluate_models(
    options: EvalOptions, request: EvaluationRequest, folder: Path, processes: Processes
) -> Iterator[EvaluationOutcome]:
    """Evaluate one model after the other, with a bar; outcomes in the first process alone."""
    from proscale_bench.bench.evaluate import JOURNALS, evaluate_model
    from proscale_bench.bench.predictors import suited
    from proscale_bench.commands.exporting import draw_and_say
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.evaluation.saved import PredictionWriter
    from proscale_bench.files import locked
    from proscale_bench.models.checkpoints.vetting import vet
    from proscale_bench.render.console import detail

    for path in (one for one in options.files() if not is_exported(one)):
        vet(path)
    writer = PredictionWriter(options.save_predictions, options.force) if options.save_predictions else None
    with progress_bar("loading torch") as bar, locked(folder, "evaluation") if processes.is_first else nullcontext():
        with uninterrupted():
            import torchvision  # noqa: F401
        settings = replace(options.execution_settings(), exported=options.exported, trust=options.trust)
        try:
            for weights, engine, precision in options.models(request):
                asked = suited(request, weights, options.wanted_tasks(), rescaled=options.resize is None)
                if options.visuals and "panoptic" not in asked.tasks:
                    raise BenchError(f"--visuals shows panoptic maps, and a {weights.spec.family} predicts none")
                name = f"{weights.spec.variant} {weights.source}" + ("" if engine == "torch" else f" in {engine}")
                own: dict[str, Any] = {} if engine == "torch" else {"device": "cpu", "precision": precision}
                detail(f"evaluating {name} on {asked.name}")
                outcome = evaluate_model(
                    asked,
                    replace(settings, engine=engine, **own),
                    weights,
                    folder / JOURNALS,
                    processes,
                    resume=options.resume,
                    writer=writer,
                    on_batch=shower(bar, name),
                    on_stage=bar.show,
                )
                if outcome is None:
                    continue
                outcome.keep(folder)
                if options.visuals and outcome.record is not None:
                    bar.show("drawing the worst images")
                    draw_and_say(outcome, folder / "visuals" / outcome.record.digest[:12], options.visuals)
                yield outcome
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what is evaluated is kept in {folder}; the same command goes on") from None


def score(options: EvalOptions, request: EvaluationRequest, folder: Path) -> Iterator[EvaluationOutcome]:
    """Score somebody's predictions, with a bar.

    Raises:
        BenchError: the folder has nothing of the tasks, or what it has cannot be read.
    """
    from proscale_bench.bench.evaluate import score_files
    from proscale_bench.commands.exporting import draw_and_say
    from proscale_bench.commands.progress import progress_bar
    from proscale_bench.evaluation.file_predictor import tasks_in

    if options.tasks is None and folder.is_dir():
        there = tuple(task for task in request.tasks if task in tasks_in(folder))
        if not there:
            hint = (
                "it holds panoptic.json and panoptic/, instances.json or semantic/, as --save-predictions writes them"
            )
            raise BenchError(f"{folder}: no predictions for {', '.join(request.tasks)}", hint)
        request = replace(request, tasks=there)
    with progress_bar("reading the predictions") as bar:
        outcome = score_files(request, folder, on_batch=shower(bar, str(folder)), on_stage=bar.show)
        if options.visuals:
            draw_and_say(outcome, (options.out or Path("reports/eval-predictions")) / "visuals", options.visuals)
        yield outcome


def shower(bar: Bar, name: str) -> Callable[[BatchDone], None]:
    """A function that shows how far the images of a model are."""
    is_resumed = False

    def show_batch(batch: BatchDone) -> None:
        nonlocal is_resumed
        if batch.resumed and not is_resumed:
            bar.say(f"{batch.resumed:,} of {batch.total:,} images are done: going on with {name}")
            is_resumed = True
        pq = "" if batch.pq is None else f", PQ {batch.pq:.1f} so far"
        what = f"{batch.images_per_second:.1f} images/s{pq}: {name}"
        bar.show(what, batch.done, batch.total, line=lambda: f"{batch.done:,} of {batch.total:,} images, {what}")

    return show_batch


def show(options: EvalOptions, outcomes: Sequence[EvaluationOutcome], folder: Path, console: Console) -> None:
    """Print tables and sentences, and what to beware of on stderr."""
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render import evaluation as render
    from proscale_bench.render.console import warn

    evaluations = [render.EvaluatedModel(outcome.accuracy, outcome.record) for outcome in outcomes]
    print_tables(console, render.tables(evaluations, options.per_class), break_labels=True)
    print_lines(console, render.footer(evaluations))
    if not options.from_predictions:
        print_lines(console, [f"records: {folder} (a page: proscale-bench report {folder})"], soft_wrap=True)
    for outcome in outcomes:
        for message in outcome.accuracy.evaluated.warnings if outcome.accuracy.evaluated else ():
            warn(message)
