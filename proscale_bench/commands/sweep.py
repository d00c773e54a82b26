"""`proscale-bench sweep`: many configurations, resumable, then their report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proscale_bench.commands.options import (
    ExportCsvOption,
    ExportJsonOption,
    ExportMarkdownOption,
    ForceOption,
    OutOption,
)

if TYPE_CHECKING:
    from proscale_bench.sweep.plan import Configuration
    from proscale_bench.sweep.runner import Outcome


def sweep(
    spec: Annotated[str, typer.Argument(metavar="[SPEC]", help="YAML file, or the name of a shipped sweep.")] = "paper",
    out: OutOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Go on where a run in the folder stopped, or start it over."),
    ] = True,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Count many configurations and report on them. Run it again to go on where it stopped.

    Example: proscale-bench sweep paper --out reports/paper
    """
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.commands.reporting import refuse_reports, reproduce, show_run, write_report
    from proscale_bench.config.sweep import find_sweep, read_sweep
    from proscale_bench.errors import BenchError, ExitCode
    from proscale_bench.render.console import warn
    from proscale_bench.render.markdown import report as markdown
    from proscale_bench.results.store import has_records
    from proscale_bench.sweep.plan import plan

    exports = Exports(export_json, export_csv, export_markdown, force)
    read = read_sweep(find_sweep(spec))
    configurations = plan(read)
    run = out or Path("reports") / read.name
    if has_records(run):
        if not resume and not force:
            raise BenchError(f"{run} holds a run already", "go on with --resume, or remove its records with --force")
    else:
        refuse_reports(run, force)

    outcome = run_with_progress(configurations, run, start_over=force and not resume)
    for problem in outcome.problems:
        warn(f"{problem.message}; not used")
    path = write_report(outcome.records, run)
    show_run(outcome.records, path, exports.console)
    exports.write(
        [record.row() for record in outcome.records], lambda: markdown(outcome.records, reproduce(outcome.records))
    )
    if outcome.lost:
        raise BenchError(
            f"{len(outcome.lost)} records could not be kept, the first: {outcome.lost[0].message}",
            "make room for them, and run the sweep again",
        )
    if outcome.failed:
        worst = max(record.error.exit_code for record in outcome.failed if record.error)
        raise BenchError(
            f"{len(outcome.failed)} of {len(configurations)} configurations failed, the first: "
            f"{outcome.failed[0].error and outcome.failed[0].error.message}",
            "the report names them all; run the sweep again to try them again",
            ExitCode(worst),
        )


def run_with_progress(configurations: list[Configuration], run: Path, start_over: bool) -> Outcome:
    """Run the sweep with a bar on stderr, where stderr is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from proscale_bench.render.console import detail, shows_progress, stderr_console
    from proscale_bench.sweep.runner import Progress as Step
    from proscale_bench.sweep.runner import run_sweep

    def show(step: Step) -> None:
        bar.update(task, completed=step.done, description=str(step.configuration))
        detail(f"{step.configuration}: {step.outcome}")

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns, console=stderr_console(), transient=True, disable=not shows_progress())
    task = bar.add_task("", total=len(configurations))
    try:
        with bar:
            return run_sweep(configurations, run, start_over=start_over, on_progress=show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {run}; run the same command to go on") from None
