"""`proscale-bench schedules`: the catalogue, one schedule drawn, files checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.help import BenchCommand, BenchSubgroup
from proscale_bench.commands.options import SCHEDULE_HELP, BackboneOption, SizeOption, flag
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

HELP = """The catalogue of schedules; draw one; check your own.

Example: proscale-bench schedules list
"""

app = typer.Typer(cls=BenchSubgroup, help=HELP, no_args_is_help=True)


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


@app.command("show", cls=BenchCommand)
def show(
    schedule: Annotated[
        str, typer.Argument(metavar="SCHEDULE", autocompletion=completion.schedules, help=SCHEDULE_HELP)
    ],
    backbone: BackboneOption = "resnet50",
    size: SizeOption = "800x1333",
    yaml: Annotated[bool, flag("--yaml", "Print it as a schedule file.")] = False,
) -> None:
    """Draw a schedule: which levels each token layer sees, and its tokens at a size.

    Example: proscale-bench schedules show 3,3,3
    """
    from rich.text import Text

    from proscale_bench.bench.specs import count_flops
    from proscale_bench.config.catalogue import parse_schedule, parse_staged
    from proscale_bench.render import schedules as render
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.flops import headline
    from proscale_bench.render.table import rich_table
    from proscale_bench.specs.encoders.staged import Schedule

    console = stdout_console()
    parsed = parse_staged(schedule) if yaml else parse_schedule(schedule)
    if isinstance(parsed, Schedule) and yaml:
        from proscale_bench.config.schedule_file import dump_schedule

        typer.echo(dump_schedule(parsed, parsed.name or "my-schedule"), nl=False)
        return
    count = count_flops(parsed, backbone, size)
    console.print(Text(f"{parsed.name}: {parsed.compact}" if parsed.name else parsed.compact, style="bold"))
    console.print()
    console.print(rich_table(render.drawing(count, plain=not console.encoding.startswith("utf"))))
    console.print()
    for what, how in render.options(parsed) if isinstance(parsed, Schedule) else ():
        console.print(Text(f"{what:16} {how}"))
    console.print(Text(f"\nOn {backbone} at {count.input.name}: {headline(count)}", style="dim"))


@app.command("validate", cls=BenchCommand)
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Schedule files to check.", show_default=False)],
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
        raise BenchError("\n".join(problem.message for problem in problems), "; ".join(hints) or None)
