"""`proscale-bench data`: data sets to evaluate on and to train with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proscale_bench.commands.data_check import check
from proscale_bench.commands.help import BenchCommand, BenchSubgroup
from proscale_bench.units import printable

if TYPE_CHECKING:
    from proscale_bench.data.shapes.writing import Written

PATIENCE_S = 2  # what takes no longer has no bar

HELP = """Data sets: look through one, make the embedded one.

Example: proscale-bench data check ~/coco
"""

app = typer.Typer(cls=BenchSubgroup, help=HELP, no_args_is_help=True)
app.command("check", cls=BenchCommand)(check)


@app.command("make-shapes", cls=BenchCommand)
def make_shapes(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made where it is missing.")],
    images: Annotated[int, typer.Option("--images", "-n", metavar="N", help="How many.")] = 256,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="The same seed gives the same pixels, everywhere.")
    ] = 0,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="The split's name, as in COCO's folders.")
    ] = "val",
    force: Annotated[bool, typer.Option("--force", help="Replace a split of Shapes that is there.")] = False,
) -> None:
    """Write Shapes, a made-up data set of things, stuff, crowds and void, in COCO's formats.

    Example: proscale-bench data make-shapes shapes --images 2000 --seed 1 --split train
    """
    from rich.text import Text

    from proscale_bench.render.console import stdout_console

    written = _write_with_progress(folder, images, seed, split, force)
    console = stdout_console()
    for line in _said(written, folder, split, seed):
        console.print(Text(printable(line)), soft_wrap=True)
    console.print(Text(printable(f"check it: proscale-bench data check {folder}"), style="dim"), soft_wrap=True)


def _write_with_progress(folder: Path, images: int, seed: int, split: str, force: bool) -> Written:
    """Write, with a bar on stderr where stderr is a terminal and it takes long enough to wonder."""
    from time import monotonic

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from proscale_bench.commands.progress import uninterrupted
    from proscale_bench.render.console import shows_progress, stderr_console

    with uninterrupted():
        from proscale_bench.data.shapes.writing import write_shapes

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns, console=stderr_console(), transient=True, disable=not shows_progress())
    task = bar.add_task("images", total=images)
    started = monotonic()

    def show(done: int, _: int) -> None:
        if monotonic() - started > PATIENCE_S:
            bar.start()
        bar.update(task, completed=done)

    try:
        return write_shapes(folder, images, seed, split, force=force, progress=show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"nothing is left in {folder}") from None
    finally:
        bar.stop()


def _said(written: Written, folder: Path, split: str, seed: int) -> list[str]:
    large = written.things - written.small - written.medium
    return [
        f"Shapes, seed {seed}: {_counted(written.images, 'image')} in {folder / split}",
        f"{_counted(written.things, 'thing')} ({written.small:,} small, {written.medium:,} medium, {large:,} large), "
        f"{_counted(written.stuff, 'region')} of stuff, {_counted(written.crowds, 'crowd')}, "
        f"{_counted(written.voids, 'image')} with void",
        f"annotations: {folder / 'annotations' / f'panoptic_{split}.json'} and instances_{split}.json",
    ]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
