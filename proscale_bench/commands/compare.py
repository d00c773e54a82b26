"""`proscale-bench compare`: what changed between two runs, and whether it is more than chance."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.options import ExportOptions, MaybeStr, MaybeStrs, flag, takes
from proscale_bench.errors import BenchError, ExitCode

if TYPE_CHECKING:
    from proscale_bench.results.record import Record


class CompareOptions(ExportOptions):
    """The flags of `compare`."""

    old: Path = typer.Argument(metavar="OLD", help="Folder of a run, or a file that --export-json wrote.")
    new: Path = typer.Argument(metavar="NEW", help="Run or file to compare it with; it may be the same one.")
    old_schedule: MaybeStr = flag("--old SCHEDULE", "Only this schedule of OLD.")
    new_schedule: MaybeStr = flag("--new SCHEDULE", "Only this schedule of NEW.")
    fail: MaybeStrs = flag(
        "--fail METRIC:PERCENT",
        "Exit with 1 if this metric got worse by more (accuracies: in points), and not by chance. Repeat for several.",
    )
    min_change: float = flag(
        "--min-change PERCENT",
        "Least change that counts (accuracies: in points): what changed by less is shown as the same, and never fails.",
        default=0.0,
        min=0,
    )
    everything: bool = flag("--all", "Show what did not change, too.")
    convert: bool = flag("--convert", "Count OLD in the convention of NEW, where theirs differ.")


@takes(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Compare two runs: every metric that both have, with intervals.

    Example: proscale-bench compare reports/eval-val reports/eval-val --old baseline --new 3,3,3 --fail pq:0.5
    """
    from proscale_bench.analysis.changes import select
    from proscale_bench.analysis.compare import compare as compare_records
    from proscale_bench.analysis.compare import parse_gate, regressions
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render import compare as render
    from proscale_bench.render.notes import notes_on_records
    from proscale_bench.render.table import markdown_tables, markdown_text
    from proscale_bench.units import printable

    if not isfinite(options.min_change):
        raise BenchError(f"--min-change {options.min_change}: not a number from 0", "as in --min-change 0.5")
    exports = options.exports()
    gates = [parse_gate(text) for text in options.fail or []]
    old, new = records_of(options.old, options.old_schedule), records_of(options.new, options.new_schedule)
    comparison = compare_records(converted(old, new) if options.convert else old, new)
    regressed = regressions(
        comparison, [replace(gate, percent=max(gate.percent, options.min_change)) for gate in gates]
    )
    selection = select(comparison, options.min_change, options.everything)
    tables = render.tables(comparison, selection)
    lines = [*render.others(comparison), *render.open_questions(comparison), *map(render.regression, regressed)]
    lines += render.gaps(comparison, gates)
    lines += notes_on_records(record for pair in comparison.pairs for record in (pair.old, pair.new))
    lines += render.summary(comparison, selection)
    print_tables(exports.console, tables, fold_labels=True, styles=render.STYLES)
    print_lines(exports.console, map(printable, lines), style="", soft_wrap=True)
    rows = [render.row(pair) for pair in comparison.pairs]
    exports.write(
        rows,
        lambda: "\n".join(
            [*markdown_tables(tables, markdown_text), *(f"- {markdown_text(line)}" for line in lines), ""]
        ),
        lambda: list(map(render.flat, rows)),
    )
    if regressed:
        raise typer.Exit(ExitCode.EXCEEDED)


def converted(old: list[Record], new: list[Record]) -> list[Record]:
    """The old records in the convention of the new ones.

    Raises:
        BenchError: the new ones have two, or a record cannot be converted.
    """
    from proscale_bench.bench.convention import in_convention

    conventions = {record.convention for record in new if record.cost}
    if len(conventions) > 1:
        raise BenchError("--convert: NEW has counts of both conventions", "give a run that was counted in one")
    return [in_convention(record, to) for to in conventions for record in old] or old


def records_of(run: Path, schedule: str | None) -> list[Record]:
    """The records of a run or an exported file, of one schedule where that is asked for.

    Raises:
        BenchError: neither of them, an unknown schedule, or one that the run does not hold.
    """
    from proscale_bench.commands.exporting import warn_of_gaps
    from proscale_bench.config.catalogue import parse_schedule
    from proscale_bench.results.collect import read_export
    from proscale_bench.results.store import load

    records, problems = (read_export(run), []) if run.is_file() else load(run)
    warn_of_gaps(problems, records)
    if schedule is None:
        return records
    wanted = parse_schedule(schedule).compact
    chosen = [record for record in records if record.identity.schedule == wanted]
    if not chosen:
        held = sorted({record.identity.schedule for record in records})
        raise BenchError(f"{run}: nothing of {wanted}", f"it holds {', '.join(held)}")
    return chosen
