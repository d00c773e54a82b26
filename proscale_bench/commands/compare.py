"""`proscale-bench compare`: what changed between two runs, and whether it is more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import ExportCsvOption, ExportJsonOption, ExportMarkdownOption, ForceOption

if TYPE_CHECKING:
    from proscale_bench.results.record import Record


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A run's folder, or a file of --export-json.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another, or the same.")],
    old_schedule: Annotated[
        Optional[str],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Option("--old", metavar="SCHEDULE", autocompletion=completion.schedules, help="Of OLD, this one alone."),
    ] = None,
    new_schedule: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--new", metavar="SCHEDULE", autocompletion=completion.schedules, help="Of NEW, this one alone."),
    ] = None,
    fail: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--fail",
            metavar="METRIC:PERCENT",
            autocompletion=completion.gates,
            help="Exit 1 where it got worse by more (accuracies: points), not by chance; repeat for several.",
        ),
    ] = None,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Hold two runs against each other: every metric that both know, with intervals.

    Example: proscale-bench compare reports/eval-val reports/eval-val --old baseline --new 3,3,3 --fail pq:0.5
    """
    from rich.text import Text

    from proscale_bench.analysis.compare import compare as compare_records
    from proscale_bench.analysis.compare import parse_gate, regressions
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.errors import ExitCode
    from proscale_bench.render import compare as render
    from proscale_bench.render.table import markdown_table, rich_table

    exports = Exports(export_json, export_csv, export_markdown, force)
    gates = [parse_gate(text) for text in fail or []]
    comparison = compare_records(records_of(old, old_schedule), records_of(new, new_schedule))
    regressed = regressions(comparison, gates)
    console = exports.console
    for pair in comparison.pairs:
        console.print(rich_table(render.table(pair)))
        console.print()
    for line in [*render.others(comparison), *map(render.regression, regressed)]:
        console.print(Text(line), soft_wrap=True)
    exports.write(
        [render.row(pair) for pair in comparison.pairs],
        lambda: "\n".join(
            line
            for pair in comparison.pairs
            for line in (f"### {render.table(pair).title}", "", *markdown_table(render.table(pair)), "")
        ),
    )
    if regressed:
        raise typer.Exit(ExitCode.EXCEEDED)


def records_of(run: Path, schedule: str | None) -> list[Record]:
    """The records of a run or an exported file, of one schedule where that is asked for.

    Raises:
        BenchError: neither of them, an unknown schedule, or one that the run does not hold.
    """
    from proscale_bench.config.catalogue import parse_schedule
    from proscale_bench.errors import BenchError
    from proscale_bench.render.console import warn
    from proscale_bench.results.collect import read_export
    from proscale_bench.results.store import load

    records, problems = (read_export(run), []) if run.is_file() else load(run)
    for problem in problems:
        warn(f"{problem.message}; left out")
    if schedule is None:
        return records
    wanted = parse_schedule(schedule).compact
    chosen = [record for record in records if record.identity.schedule == wanted]
    if not chosen:
        held = sorted({record.identity.schedule for record in records})
        raise BenchError(f"{run}: nothing of {wanted}", f"it holds {', '.join(held)}")
    return chosen
