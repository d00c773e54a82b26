"""`proscale-bench models`: the backbones, what is published of them, and checkpoints of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.export import export
from proscale_bench.commands.options import (
    EXPORT_JSON,
    FORCE,
    SCHEDULE_HELP,
    BenchCommand,
    BenchSubgroup,
    DimensionOptions,
    MaybePath,
    MaybeStr,
    flag,
    takes,
)
from proscale_bench.commands.published import published, recount
from proscale_bench.commands.train_gate import train_gate
from proscale_bench.errors import BenchError, one_of
from proscale_bench.units import printable

if TYPE_CHECKING:
    from proscale_bench.models.checkpoints.checkpoint import Checkpoint

HELP = """Backbones, parameters, published results, and checkpoints.

Example: proscale-bench models list
"""

FILE = typer.Argument(metavar="FILE", help="Checkpoint: .pth, .pkl, .safetensors, or a Hugging Face folder.")
TOLD_SCHEDULE = flag(
    "--schedule, -s SCHEDULE", "Schedule that the checkpoint was trained with. [default: read off the file]"
)

app = typer.Typer(cls=BenchSubgroup, help=HELP, no_args_is_help=True)


@app.command("list", cls=BenchCommand)
def list_models() -> None:
    """List the backbones with parameters and cost of the baseline and of (3,3,3), and the weights that ship.

    Example: proscale-bench models list
    """
    from proscale_bench.config.weights import read_header, shipped_weights
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.models import list_table, weights_table
    from proscale_bench.render.table import rich_table

    console = stdout_console()
    console.print(rich_table(list_table()))
    console.print("GFLOPs: rules fvcore, 1 MAC = 1 FLOP, mean over the first 100 images of COCO val2017", style="dim")
    if shipped := {name: read_header(path) for name, path in shipped_weights().items()}:
        console.print()
        console.print(rich_table(weights_table(shipped), justify="left"))
        console.print("of the embedded data: 'proscale-bench eval' says what they are worth", style="dim")


app.command("published", cls=BenchCommand)(published)
app.command("train-gate", cls=BenchCommand)(train_gate)
app.command("recount", cls=BenchCommand)(recount)


class ModelShowOptions(DimensionOptions):
    """The flags of `models show`."""

    backbone: MaybeStr = typer.Argument(
        None,
        metavar="BACKBONE",
        autocompletion=completion.backbones,
        help="Backbone, as models list names it. \\[default: that of --weights]",
    )


@app.command("show", cls=BenchCommand)
@takes(ModelShowOptions)
def show(options: ModelShowOptions) -> None:
    """Show one model: dimensions, parameters by part, published results with their sources.

    Example: proscale-bench models show swin_t
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render import models as render
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.flops import model_of
    from proscale_bench.render.table import rich_table
    from proscale_bench.results.published import published_results

    if options.backbone is None and options.weights is None:
        raise BenchError("Missing argument 'BACKBONE'", "name a backbone, or give --weights FILE")
    (spec,) = options.specs_of((), options.backbone)
    console = stdout_console()
    print_lines(console, [model_of(spec)], "bold")
    print_lines(console, (f"{what:22} {how}" for what, how in render.dimensions(spec)), style="")
    console.print()
    print_tables(console, [render.parameter_table(spec)])
    as_published = spec.classes is None and not spec.dimensions()
    if known := published_results(spec.backbone_name) if as_published else ():
        console.print(rich_table(render.published_table(known)))
        print_lines(console, render.sources(known))
    else:
        print_lines(console, ["no published results"])


@app.command("inspect", cls=BenchCommand)
def inspect(
    file: Path = FILE,
    schedule: MaybeStr = TOLD_SCHEDULE,
    brief: bool = flag("--brief", "Leave out the account of every tensor."),
    export_json: MaybePath = EXPORT_JSON,
    force: bool = FORCE,
) -> None:
    """Show what a checkpoint holds: model, schedule, and what becomes of every tensor. Nothing in it is executed.

    Example: proscale-bench models inspect weights.pth
    """
    from proscale_bench.commands.exporting import Exports, print_lines
    from proscale_bench.render import models as render
    from proscale_bench.render.table import rich_table

    exports = Exports(json=export_json, force=force)
    checkpoint = open_told(file, schedule)
    inspection = checkpoint.inspect()
    console = exports.console
    print_lines(console, [inspection.file], "bold")
    facts = (f"{what:22} {how}" for what, how in render.facts(inspection))
    print_lines(console, facts, style="", soft_wrap=True)
    console.print()
    console.print(rich_table(render.account_table(inspection)))
    if not brief:
        console.print()
        for entry in inspection.entries:
            print_lines(console, render.entry_lines(entry, console.width), style="", soft_wrap=True)
    exports.write([inspection.row()], lambda: "")
    checkpoint.require_complete()


@app.command("convert", cls=BenchCommand)
def convert(
    file: Path = FILE,
    out: Path = typer.Argument(
        metavar="OUT", help="File to write; its end says which format: .safetensors, .pth, .pkl."
    ),
    layout: str = flag(
        "--layout NAME", "Layout: official, ours, or huggingface, for which OUT is a folder.", default="official"
    ),
    schedule: MaybeStr = TOLD_SCHEDULE,
    force: bool = FORCE,
) -> None:
    """Write a checkpoint in another layout or format; every value, type and shape as it is stored.

    Example: proscale-bench models convert weights.pth weights.safetensors --layout ours
    """
    from proscale_bench.config.choices import Layout
    from proscale_bench.files import refuse_overwrite
    from proscale_bench.render.console import note

    one_of(Layout, layout, "layout")
    for path in (out / "config.json", out / "model.safetensors") if layout == "huggingface" else (out,):
        refuse_overwrite(path, force)
    checkpoint = open_told(file, schedule)
    checkpoint.require_complete()
    from proscale_bench.models.checkpoints.save import convert_checkpoint

    say_cautions(checkpoint)
    written = convert_checkpoint(checkpoint, out, layout, overwrite=force)
    what = f"{written.layout} layout, {written.tensors} tensors, schedule {checkpoint.inferred.schedule.compact}"
    typer.echo(printable(f"{out}: {what}"))
    if written.left_out:
        note(f"left out: {', '.join(written.left_out)}")


app.command("export", cls=BenchCommand)(export)


@app.command("warm-start", cls=BenchCommand)
def warm_start(
    baseline: Path = typer.Argument(metavar="BASELINE", help="Checkpoint of a model whose layers see all levels."),
    out: Path = typer.Argument(metavar="OUT", help="File to write, .safetensors."),
    schedule: str = flag("--schedule, -s SCHEDULE", SCHEDULE_HELP, default="3,3,3"),
    force: bool = FORCE,
    seed: int = flag("--seed N", "Seed of the tensors that keep their initial values.", default=0),
) -> None:
    """Start a PRO-SCALE model from a baseline: copy the weights that correspond, and slice them to a layer's levels.

    Example: proscale-bench models warm-start mask2former.pkl start.safetensors --schedule 3,3,3
    """
    from proscale_bench.config.catalogue import parse_runnable
    from proscale_bench.files import refuse_overwrite
    from proscale_bench.render.models import warm_start_lines

    refuse_overwrite(out, force)
    target = parse_runnable(schedule)
    checkpoint = open_told(baseline, None)
    from proscale_bench.models.checkpoints.warm_start import start_from

    say_cautions(checkpoint)
    for line in warm_start_lines(start_from(checkpoint, target, out, seed, overwrite=force)):
        typer.echo(printable(line))


def say_cautions(checkpoint: Checkpoint) -> None:
    """Warn of what a file has that its model has no place for."""
    from proscale_bench.render.console import warn

    for caution in checkpoint.cautions:
        warn(caution, "'models inspect' lists what is unexpected")


def open_told(file: Path, schedule: str | None) -> Checkpoint:
    """Read a checkpoint, held against a schedule where one is given."""
    from proscale_bench.commands.progress import uninterrupted
    from proscale_bench.config.catalogue import parse_runnable
    from proscale_bench.models.checkpoints.vetting import vet

    told = None if schedule is None else parse_runnable(schedule)
    vet(file)
    with uninterrupted():
        from proscale_bench.models.checkpoints.load import open_checkpoint
    return open_checkpoint(file, told)
