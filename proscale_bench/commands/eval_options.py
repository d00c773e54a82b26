"""The flags of `eval` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import HOW, seed_in_range

WHAT, ON, KEPT = "What is evaluated", "On what", "What is kept"

WeightsOption = Annotated[
    Optional[list[Path]],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option(
        "--weights",
        "-w",
        metavar="FILE",
        help="A checkpoint; repeat to compare. \\[default: those that ship]",
        rich_help_panel=WHAT,
    ),
]
RandomWeightsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--random-weights", metavar="SEED", min=0, help="Untrained, to try the pipeline.", rich_help_panel=WHAT
    ),
]
FromPredictionsOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--from-predictions", metavar="DIR", help="Score files instead.", rich_help_panel=WHAT),
]
TrainingSeedOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--training-seed", metavar="SEED", min=0, help="Of the weights that ship, this training.", rich_help_panel=WHAT
    ),
]
ScheduleOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--schedule",
        "-s",
        metavar="SCHEDULE",
        autocompletion=completion.schedules,
        help="Of random weights, of those that ship, or what a file cannot tell. \\[default: 3,3,3, or all]",
        rich_help_panel=WHAT,
    ),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        "-b",
        metavar="NAME",
        autocompletion=completion.backbones,
        help="Of random weights.",
        rich_help_panel=WHAT,
    ),
]
CocoOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--coco", metavar="DIR", help="A folder as COCO's. \\[default: the embedded data]", rich_help_panel=ON
    ),
]
SplitOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--split", metavar="NAME", help="Of that folder. \\[default: val2017, val, or the only one]", rich_help_panel=ON
    ),
]
TasksOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--tasks",
        metavar="LIST",
        autocompletion=completion.tasks,
        help="Of panoptic,instance,semantic. \\[default: all that the data have]",
        rich_help_panel=ON,
    ),
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--limit", metavar="N", min=1, help="The first N images.", rich_help_panel=ON),
]
ResizeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--resize",
        metavar="SIDES",
        autocompletion=completion.resizes,
        help="SHORT,LONGEST in pixels, or none. \\[default: 800,1333; none for the embedded data]",
        rich_help_panel=ON,
    ),
]
BatchSizeOption = Annotated[
    int,
    typer.Option("--batch-size", "-n", metavar="N", min=1, max=4096, help="Images at once.", rich_help_panel=HOW),
]
BootstrapOption = Annotated[
    int,
    typer.Option(
        "--bootstrap",
        metavar="N",
        min=0,
        max=100_000,
        help="Draws behind the intervals; 0: none.",
    ),
]
ReferenceOption = Annotated[bool, typer.Option("--reference", help="AP by pycocotools itself: slow.")]
PerClassOption = Annotated[bool, typer.Option("--per-class", help="Show a table by class too.")]
VisualsOption = Annotated[
    int,
    typer.Option("--visuals", metavar="N", min=0, help="Draw the N worst images.", rich_help_panel=KEPT),
]
SavePredictionsOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--save-predictions", metavar="DIR", help="Keep them in COCO's formats.", rich_help_panel=KEPT),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume/--no-resume", help="Go on where it stopped, or start over.", rich_help_panel=KEPT),
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", callback=seed_in_range, help="Of the draws.")]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--out", metavar="DIR", help="The run's folder. \\[default: reports/eval-SPLIT]", rich_help_panel=KEPT
    ),
]
