"""`proscale-bench models inspect|convert`: what checkpoints hold, and the same in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import ExportJsonOption, ForceOption
from proscale_bench.commands.progress import uninterrupted
from proscale_bench.units import printable

if TYPE_CHECKING:
    from proscale_bench.models.checkpoints.checkpoint import Checkpoint

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help=".pth, .pkl, .safetensors, or a Hugging Face folder.")
]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="Its end says which format: .safetensors, .pth, .pkl.")
]
ToldScheduleOption = Annotated[
    Optional[str],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option(
        "--schedule",
        "-s",
        metavar="SCHEDULE",
        autocompletion=completion.schedules,
        help="What it was trained with. \\[default: read off the file]",
    ),
]


def inspect(
    file: FileArgument,
    schedule: ToldScheduleOption = None,
    brief: Annotated[bool, typer.Option("--brief", help="Leave out the account key by key.")] = False,
    export_json: ExportJsonOption = None,
    force: ForceOption = False,
) -> None:
    """Show what a checkpoint holds: model, schedule, and what becomes of every tensor. Nothing in it is executed.

    Example: proscale-bench models inspect weights.pth
    """
    from rich.text import Text

    from proscale_bench.commands.exporting import Exports
    from proscale_bench.render import checkpoints as render
    from proscale_bench.render.table import rich_table

    exports = Exports(json=export_json, force=force)
    checkpoint = open_told(file, schedule)
    inspection = checkpoint.inspect()
    console = exports.console
    console.print(Text(printable(inspection.file), style="bold"))
    for what, how in render.facts(inspection):
        console.print(Text(printable(f"{what:22} {how}")), soft_wrap=True)
    console.print()
    console.print(rich_table(render.account_table(inspection)))
    if not brief:
        console.print()
        for entry in inspection.entries:
            for line in render.entry_lines(entry, console.width):
                console.print(Text(printable(line)), soft_wrap=True)
    exports.write([inspection.row()], lambda: "")
    checkpoint.require_complete()


def convert(
    file: FileArgument,
    out: OutArgument,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="NAME",
            autocompletion=completion.layouts,
            help="official, ours, or huggingface (OUT is a folder).",
        ),
    ] = "official",
    schedule: ToldScheduleOption = None,
    force: ForceOption = False,
) -> None:
    """Write a checkpoint in another layout or format; every value, type and shape as it is stored.

    Example: proscale-bench models convert weights.pth weights.safetensors --layout ours
    """
    from proscale_bench.config.choices import Layout
    from proscale_bench.errors import one_of
    from proscale_bench.files import refuse_overwrite
    from proscale_bench.render.console import note

    one_of(Layout, layout, "layout")
    for path in (out / "config.json", out / "model.safetensors") if layout == "huggingface" else (out,):
        refuse_overwrite(path, force)
    checkpoint = open_told(file, schedule)
    checkpoint.require_complete()
    from proscale_bench.models.checkpoints.save import convert_checkpoint

    written = convert_checkpoint(checkpoint, out, layout)
    what = f"{written.layout} layout, {written.tensors} tensors, schedule {checkpoint.inferred.schedule}"
    typer.echo(printable(f"{out}: {what}"))
    if written.left_out:
        note(printable(f"left out: {', '.join(written.left_out)}"))


def open_told(file: Path, schedule: str | None) -> Checkpoint:
    """Read a checkpoint, held against a schedule where one is given."""
    from proscale_bench.config.catalogue import parse_staged

    told = None if schedule is None else parse_staged(schedule)
    with uninterrupted():
        from proscale_bench.models.checkpoints.load import open_checkpoint
    return open_checkpoint(file, told)
