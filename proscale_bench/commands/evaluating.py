"""What `eval` does between its flags and its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.commands.loading import uninterrupted
from proscale_bench.errors import BenchError
from proscale_bench.render.console import detail, note, shows_progress, stderr_console, warn
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from proscale_bench.bench.evaluate import EvaluationOutcome, EvaluationRequest
    from proscale_bench.commands.eval_asked import Asked
    from proscale_bench.data.dataset import Dataset
    from proscale_bench.evaluation.runner import BatchDone
    from proscale_bench.models.processes import Processes


def run(asked: Asked) -> None:
    """Evaluate, keep records, and show them; in the other processes of a torchrun, evaluate."""
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.evaluation.saved import refuse_saved
    from proscale_bench.models.processes import join_processes
    from proscale_bench.render.console import settings as console_settings

    asked.check()
    exports = Exports(asked.export_json, asked.export_csv, asked.export_markdown, asked.force)
    with join_processes() as processes:
        if processes.is_first and asked.save_predictions:
            refuse_saved(asked.save_predictions, asked.force)
        if not processes.is_first:
            console_settings.quiet = True
        request = asked.request(dataset_of(asked))
        folder = asked.out or Path("reports") / f"eval-{request.dataset.name}"
        found = _score(asked, request) if asked.from_predictions else _evaluate(asked, request, folder, processes)
        outcomes: list[EvaluationOutcome] = []
        try:
            outcomes.extend(found)  # one by one: of those that come before one that fails, something is to be seen
        finally:
            if outcomes:
                show(asked, outcomes, folder, exports.console)
        if processes.is_first:
            exports.write([eval_row(outcome) for outcome in outcomes], lambda: markdown(outcomes))


def dataset_of(asked: Asked) -> Dataset:
    """The data: a folder's, or the embedded ones, which are made where they are missing."""
    from proscale_bench.config.sweep import EMBEDDED
    from proscale_bench.data.coco import open_dataset

    if asked.coco is not None:
        images_needed = asked.from_predictions is None or asked.visuals > 0
        return open_dataset(asked.coco, asked.split, images_needed)
    from proscale_bench.data.embedded import embedded_validation

    with _bar("making the embedded data") as (bar, task):
        folder = embedded_validation(lambda done, total: bar.update(task, completed=done, total=total))
    return replace(open_dataset(folder), name=EMBEDDED)


def _evaluate(
    asked: Asked, request: EvaluationRequest, folder: Path, processes: Processes
) -> Iterator[EvaluationOutcome]:
    from proscale_bench.bench.evaluate import evaluate_weights
    from proscale_bench.evaluation.saved import PredictionWriter
    from proscale_bench.files import locked

    writer = PredictionWriter(asked.save_predictions, asked.force) if asked.save_predictions else None
    with _bar("loading torch") as (bar, task), locked(folder, "evaluation") if processes.is_first else nullcontext():
        with uninterrupted():
            import torchvision  # noqa: F401
        settings = asked.settings()
        try:
            for weights in asked.models(request):
                name = f"{weights.schedule.compact} {weights.source}"
                detail(f"evaluating {name} on {request.name}")
                outcome = evaluate_weights(
                    request,
                    settings,
                    weights,
                    folder,
                    processes,
                    resume=asked.resume,
                    writer=writer,
                    on_batch=_shower(bar, task, name),
                    on_stage=partial(_show_stage, bar, task),
                )
                if outcome is None:
                    continue
                if asked.visuals and outcome.record is not None:
                    bar.update(task, description="drawing the worst images")
                    draw(outcome, folder / "visuals" / outcome.record.digest[:12], asked.visuals)
                yield outcome
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what is evaluated is kept in {folder}; the same command goes on") from None


def _score(asked: Asked, request: EvaluationRequest) -> Iterator[EvaluationOutcome]:
    from proscale_bench.bench.evaluate import score_files
    from proscale_bench.evaluation.file_predictor import tasks_in

    folder = asked.from_predictions
    assert folder is not None
    if asked.tasks is None and folder.is_dir():
        there = tuple(task for task in request.tasks if task in tasks_in(folder))
        if not there:
            raise BenchError(
                f"{folder}: no predictions for {', '.join(request.tasks)}",
                "it holds panoptic.json and panoptic/, instances.json or semantic/, as --save-predictions writes them",
            )
        request = replace(request, tasks=there)
    with _bar("reading the predictions") as (bar, task):
        outcome = score_files(
            request,
            folder,
            on_batch=_shower(bar, task, str(folder)),
            on_stage=partial(_show_stage, bar, task),
        )
        if asked.visuals:
            draw(outcome, (asked.out or Path("reports/eval-predictions")) / "visuals", asked.visuals)
        yield outcome


def draw(outcome: EvaluationOutcome, folder: Path, number: int) -> None:
    from proscale_bench.commands.visuals import draw_worst

    paths = draw_worst(outcome, folder, number)
    note(f"pictures: {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}" if paths else "no pictures")


def _show_stage(bar: Progress, task: TaskID, what: str, done: int, total: int) -> None:
    bar.update(task, description=what, completed=done, total=total)


def _shower(bar: Progress, task: TaskID, name: str) -> Callable[[BatchDone], None]:
    def show_step(done: BatchDone) -> None:
        pq = "" if done.pq is None else f", PQ {done.pq:.1f} so far"
        description = f"{done.images_per_second:.1f} images/s{pq}: {name}"
        bar.update(task, total=done.total, completed=done.done, description=description)

    return show_step


@contextmanager
def _bar(what: str) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=stderr_console(), transient=True, disable=not shows_progress()) as bar:
        yield bar, bar.add_task(what, total=None)


def eval_row(outcome: EvaluationOutcome) -> dict[str, Any]:
    """The row of the contract: what was found, and of a model the keys of a `flops` row."""
    from proscale_bench.results.accuracy import ACCURACIES

    accuracy, record = outcome.accuracy, outcome.record
    known = record.row() if record else {"backbone": None, "schedule": None, "gflops": None, "accuracy": accuracy.row()}
    found = accuracy.evaluated
    return {
        **known,
        "weights": accuracy.source if record else None,
        "weights_digest": record.identity.weights if record else None,
        "images": found.images if found else None,
        **{name: getattr(accuracy, name) for name in ACCURACIES},
    }


def show(asked: Asked, outcomes: Sequence[EvaluationOutcome], folder: Path, console: Console) -> None:
    """The tables and sentences; what to beware of on stderr."""
    from rich.text import Text

    from proscale_bench.render import evaluation as render
    from proscale_bench.render.table import rich_table

    evaluations = [render.EvaluatedModel(outcome.accuracy, outcome.record) for outcome in outcomes]
    for table in render.tables(evaluations, asked.per_class):
        console.print(rich_table(table, break_labels=True))
        console.print()
    for line in render.footer(evaluations):
        console.print(Text(line, style="dim"))
    if not asked.from_predictions:
        where = printable(f"records: {folder} (a page: proscale-bench report {folder})")
        console.print(Text(where, style="dim"), soft_wrap=True)
    for outcome in outcomes:
        for message in outcome.accuracy.evaluated.warnings if outcome.accuracy.evaluated else ():
            warn(message)


def markdown(outcomes: Sequence[EvaluationOutcome]) -> str:
    from proscale_bench.render.evaluation import EvaluatedModel, tables
    from proscale_bench.render.table import markdown_table

    evaluations = [EvaluatedModel(outcome.accuracy, outcome.record) for outcome in outcomes]
    return "\n".join(
        line for table in tables(evaluations) for line in (f"### {table.title}", "", *markdown_table(table), "")
    )
