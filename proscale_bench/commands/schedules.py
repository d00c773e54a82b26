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


class ScheduleListOptions(BackboneOptions):
    """The flags of `schedules list`."""

    size: str = size_flag("800x1333")


@app.command("list", cls=BenchCommand)
@takes(ScheduleListOptions)
def list_schedules(options: ScheduleListOptions) -> None:
    """List the schedules and sibling encoders that ship, and what they cost and save.

    Example: proscale-bench schedules list --backbone swin_t
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.config.catalogue import catalogue
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.cost.rules import get_rules
    from proscale_bench.render import schedules as render
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.flops import footer
    from proscale_bench.specs.model import by_exit

    size, rules = parse_size(options.size), get_rules("fvcore")
    names = [encoder.name or encoder.compact for encoder, _ in catalogue()]
    specs = options.specs_of(names, options.backbone)
    counts = [[count_model(one, size, rules) for one in by_exit([spec])] for spec in specs]
    console = stdout_console()
    print_tables(console, [render.catalogue_table(catalogue())], justify="left")
    print_tables(console, [render.cost_table(names, counts)])
    print_lines(console, footer(counts[0][0])[:1])


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

        typer.echo(dump_schedule(schedule, schedule.name or "my-schedule"), nl=False)
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
