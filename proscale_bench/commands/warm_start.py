"""`proscale-bench models warm-start`: PRO-SCALE from a trained baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.checkpoints import open_told
from proscale_bench.commands.options import ForceOption


def warm_start(
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="A checkpoint whose layers see all levels.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, .safetensors.")],
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule",
            "-s",
            metavar="SCHEDULE",
            autocompletion=completion.schedules,
            help="Of the model to start.",
        ),
    ] = "3,3,3",
    force: ForceOption = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of what stays as initialised.")] = 0,
) -> None:
    """Start a PRO-SCALE model from a baseline's weights: what corresponds is copied, the levels it sees are sliced.

    Example: proscale-bench models warm-start mask2former.pkl start.safetensors --schedule 3,3,3
    """
    from proscale_bench.config.catalogue import parse_staged
    from proscale_bench.files import refuse_overwrite
    from proscale_bench.render.checkpoints import warm_start_lines

    refuse_overwrite(out, force)
    target = parse_staged(schedule)
    checkpoint = open_told(baseline, None)
    from proscale_bench.models.checkpoints.warm_start import start_from

    for line in warm_start_lines(start_from(checkpoint, target, out, seed)):
        typer.echo(line)
