"""`proscale-bench models`: the backbones, what is published of them, and (see `checkpoints`) their weights."""

from __future__ import annotations

from typing import Annotated

import typer

from proscale_bench.commands import checkpoints, completion, warm_start
from proscale_bench.commands.help import BenchCommand, BenchSubgroup

HELP = """Backbones, parameters, published results, and checkpoints.

Example: proscale-bench models list
"""

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


@app.command("show", cls=BenchCommand)
def show(
    backbone: Annotated[
        str, typer.Argument(metavar="BACKBONE", autocompletion=completion.backbones, help="As models list has it.")
    ],
) -> None:
    """Show one backbone: dimensions, parameters by part, published results with their sources.

    Example: proscale-bench models show swin_t
    """
    from rich.text import Text

    from proscale_bench.render import models as render
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.table import rich_table
    from proscale_bench.results.published import published_results
    from proscale_bench.specs.encoders.staged import baseline
    from proscale_bench.specs.mask2former import mask2former

    console = stdout_console()
    spec = mask2former(baseline(), backbone)
    console.print(Text(backbone, style="bold"))
    for what, how in render.dimensions(spec):
        console.print(Text(f"{what:22} {how}"))
    console.print()
    console.print(rich_table(render.parameter_table(spec)))
    console.print()
    published = published_results(backbone)
    if published:
        console.print(rich_table(render.published_table(published)))
        for line in render.sources(published):
            console.print(Text(line, style="dim"))
    else:
        console.print(Text("no published results", style="dim"))


app.command("inspect", cls=BenchCommand)(checkpoints.inspect)
app.command("convert", cls=BenchCommand)(checkpoints.convert)
app.command("warm-start", cls=BenchCommand)(warm_start.warm_start)
