"""`proscale-bench schedules`: the catalogue, one schedule drawn, files checked."""

from __future__ import annotations

from pathlib import Path

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import (
    OWN_MODEL,
    SCHEDULE_HELP,
    BackboneOptions,
    BenchCommand,
    BenchSubgroup,
    MaybeStr,
    flag,
    size_flag,
    takes,
)
from proscale_bench.commands.search import search
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

HELP = """The catalogue of schedules; draw one; check your own; search for the best.

Example: proscale-bench schedules list
"""

app = typer.Typer(cls=BenchSubgroup, help=HELP, no_args_is_help=True)
app.command("search", cls=BenchCommand)(search)


@app.command("list", cls=BenchCommand)
def list_schedules() -> None:
    """List the schedules that ship.

    Example: proscale-bench schedules list
    """
    from proscale_bench.config.catalogue import catalogue
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.schedules import catalogue_table
    from proscale_bench.render.table import rich_table

    stdout_console().print(rich_table(catalogue_table(catalogue()), justify="left"))


class ScheduleShowOptions(BackboneOptions):
    """The flags of `schedules show`."""

    schedule: MaybeStr = typer.Argument(
        None,
        metavar="SCHEDULE",
        autocompletion=completion.schedules,
        help=f"{SCHEDULE_HELP} \\[default: that of --weights]",
    )
    model: MaybeStr = OWN_MODEL
    size: str = size_flag("800x1333")
    yaml: bool = flag("--yaml", "Print it as a schedule file.")


@app.command("show", cls=BenchCommand)
@takes(ScheduleShowOptions)
def show(options: ScheduleShowOptions) -> None:
    """Draw a schedule: which levels each token layer sees, and its tokens at a size.

    Example: proscale-bench schedules show 3,3,3
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.config.catalogue import parse_staged
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.cost.rules import get_rules
    from proscale_bench.render import schedules as render
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.flops import headline, model_of
    from proscale_bench.render.notes import notes_on_models
    from proscale_bench.specs.families import is_detector, own_name
    from proscale_bench.specs.model import by_exit

    if options.schedule is None and options.weights is None:
        raise BenchError("Missing argument 'SCHEDULE'", "name a schedule, or give --weights FILE")
    models = (own_name(options.model),) if options.model else ()
    (spec,) = options.specs_of(() if options.schedule is None else (options.schedule,), options.backbone, models)
    schedule = spec.encoder
    if options.yaml:
        if options.model and is_detector(options.model):
            raise BenchError("--yaml: a detector's encoder has its spelling alone", "leave --yaml out")
        from proscale_bench.config.schedule_file import dump_schedule

        staged = parse_staged(options.schedule or schedule.compact)
        typer.echo(dump_schedule(staged, staged.name or "my-schedule"), nl=False)
        return
    console = stdout_console()
    counts = [count_model(one, parse_size(options.size), get_rules("fvcore")) for one in by_exit([spec])]
    title = f"{schedule.name}: {schedule.compact}" if schedule.name else schedule.compact
    print_lines(console, [title, ""], "bold")
    print_tables(console, [render.drawing(counts[-1], plain=not console.encoding.startswith("utf"))])
    print_lines(console, (f"{what:16} {how}" for what, how in render.options(schedule)), style="")
    print_lines(console, ["", *(f"On {model_of(spec)} at {one.input.name}: {headline(one)}" for one in counts)])
    print_lines(console, notes_on_models([spec]))


@app.command("validate", cls=BenchCommand)
def validate(
    files: list[Path] = typer.Argument(metavar="FILE", help="Schedule files to check.", show_default=False),
) -> None:
    """Check schedule files; every problem at its file, line and column.

    Example: proscale-bench schedules validate schedules/*.yaml
    """
    from proscale_bench.config.schedule_file import read_schedule_file

    problems: list[BenchError] = []
    for path in files:
        try:
            schedule, _ = read_schedule_file(path)
        except BenchError as error:
            problems.append(error)
        else:
            typer.echo(printable(f"{path}: ok, {schedule.compact}"))
    if problems:
        hints = list(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        raise BenchError([line for problem in problems for line in problem.lines], "; ".join(hints) or None)
