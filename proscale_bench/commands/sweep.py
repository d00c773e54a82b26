"""`proscale-bench sweep`: many configurations, counted and measured, resumable, then their report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import (
    ExportCsvOption,
    ExportJsonOption,
    ExportMarkdownOption,
    ForceOption,
)

if TYPE_CHECKING:
    from proscale_bench.sweep.runner import SweepOutcome

WHERE = "Where it runs"


def sweep(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", autocompletion=completion.sweeps, help="YAML file, or a shipped sweep: zoo or paper."
        ),
    ] = "zoo",
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Option("--out", metavar="DIR", help="The run's folder. \\[default: reports/NAME]"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Go on where it stopped, or start over."),
    ] = True,
    processes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            help="Evaluations at once. \\[default: one a core]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    ray: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            autocompletion=completion.clusters,
            help="A Ray cluster: local, auto, HOST:PORT, ray://HOST.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Count, profile and evaluate many configurations, and report on them. Run it again to go on where it stopped.

    Without SPEC: the models that ship, on the embedded data.

    Example: proscale-bench sweep paper --out reports/paper
    """
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.commands.reporting import refuse_reports, reproduce, show_costs, show_run, write_report
    from proscale_bench.commands.sweeping import run_with_progress
    from proscale_bench.config.sweep import find_sweep, read_sweep
    from proscale_bench.errors import BenchError
    from proscale_bench.render.console import warn
    from proscale_bench.render.markdown import report as markdown
    from proscale_bench.results.store import has_records
    from proscale_bench.sweep.plan import measurements, plan

    exports = Exports(export_json, export_csv, export_markdown, force)
    read = read_sweep(find_sweep(spec))
    run = out or Path("reports") / read.name
    configurations = plan(read) if read.counts else []
    measured = measurements(read, run)
    if read.left_out:
        names = ", ".join(one.path.name for one in read.left_out)
        warn(f"not evaluated, since `schedules` does not name theirs: {names}")
    if has_records(run):
        if not resume and not force:
            raise BenchError(f"{run} holds a run already", "go on with --resume, or remove its records with --force")
    else:
        refuse_reports(run, force)

    outcome = run_with_progress(
        configurations,
        measured,
        run,
        name=read.name,
        start_over=force and not resume,
        ray=ray,
        processes=processes,
        on_counted=lambda records: show_costs(records, exports.console),
    )
    if outcome.superseded:
        count, where = len(outcome.superseded), outcome.superseded[0].parent
        warn(f"{count} records that the sweep no longer asks for were moved to {where}")
    for problem in outcome.problems:
        warn(f"{problem.message}; not used")
    path = write_report(outcome.records, run)
    show_run(outcome.records, path, exports.console)
    exports.write(
        [record.row() for record in outcome.records], lambda: markdown(outcome.records, reproduce(outcome.records))
    )
    check(outcome)


def check(outcome: SweepOutcome) -> None:
    """What makes the command fail, after all is shown and kept.

    Raises:
        BenchError: records that could not be kept, or configurations that failed.
    """
    from proscale_bench.errors import BenchError, ExitCode

    if outcome.lost:
        raise BenchError(
            f"{len(outcome.lost)} records could not be kept, the first: {outcome.lost[0].message}",
            "make room for them, and run the sweep again",
        )
    errors = [record.error for record in outcome.failed if record.error]
    if errors:
        raise BenchError(
            f"{len(errors)} of {len(outcome.records)} configurations failed, the first: {errors[0].message}",
            "the report names them all; run the sweep again to try them again",
            ExitCode(max(error.exit_code for error in errors)),
        )
