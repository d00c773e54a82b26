"""`proscale-bench data check`: what is there, what is missing and what is broken, before an hour is spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from proscale_bench.commands.options import ExportJsonOption, ForceOption
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.results.data_check import DataCheck

DirArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Holds annotations/ and the folders of images, as COCO's archives unpack.")
]
SplitOption = Annotated[
    Optional[str],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option("--split", metavar="NAME", help="Such as val2017. \\[default: val2017, val, or the only one]"),
]


def check(
    folder: DirArgument,
    split: SplitOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read headers alone; decode no pixel.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List every finding, not the first of a kind.")] = False,
    export_json: ExportJsonOption = None,
    force: ForceOption = False,
) -> None:
    """Look through a data set: every annotation, image and map. Errors would stop an evaluation; warnings would not.

    Example: proscale-bench data check ~/coco --quick
    """
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.errors import BenchError

    exports = Exports(json=export_json, force=force)
    found = check_with_progress(folder, split, quick)
    show(found, exports.console, everything)
    exports.write([found.row()], lambda: "")
    if found.errors:
        raise BenchError(
            f"{folder}: {found.errors:,} problem{'' if found.errors == 1 else 's'} would stop an evaluation",
            None if everything else "--all lists every one, --export-json writes them to a file",
        )


def check_with_progress(folder: Path, split: str | None, quick: bool) -> DataCheck:
    """Check with a bar on stderr, where stderr is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from proscale_bench.data.check import check_dataset
    from proscale_bench.render.console import shows_progress, stderr_console

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=stderr_console(), transient=True, disable=not shows_progress())
    task = bar.add_task("", total=None, speed="")

    def show(done: int, total: int) -> None:
        speed = bar.tasks[task].speed
        bar.update(task, completed=done, total=total, speed=f"{speed:,.0f}/s" if speed else "")

    with bar:
        return check_dataset(folder, split, quick=quick, progress=show)


def show(found: DataCheck, console: Console, everything: bool) -> None:
    """The facts, then every kind of problem with examples, its meaning and what to do."""
    from rich.padding import Padding
    from rich.text import Text

    from proscale_bench.render import data_check as render

    console.print(Text(printable(found.folder), style="bold"))
    for what, how in render.facts(found):
        console.print(Text(printable(f"{what:17} {how}")), soft_wrap=True)
    for kind, findings in found.by_kind():
        console.print()
        style = "bold red" if kind.severity == "error" else "bold yellow"
        console.print(Text(render.heading(kind, findings), style=style))
        for line in render.example_lines(findings, everything):
            console.print(Padding(Text(printable(line)), (0, 0, 0, 2), expand=False))
        console.print(Padding(Text(kind.meaning, style="dim"), (0, 0, 0, 2), expand=False))
    console.print()
    console.print(Text(render.verdict(found), style="bold"))
