"""The flags of `train` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from proscale_bench.commands.options import HOW

WHAT, FROM, RECIPE, KEPT = "What is trained", "What it starts from", "What changes the recipe", "What is kept"
MOST = 100_000_000

ScheduleOption = Annotated[
    str,
    typer.Option(
        "--schedule",
        "-s",
        metavar="SCHEDULE",
        help="YAML file, catalogue name, or compact as 3,3,3+conv.",
        rich_help_panel=WHAT,
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        metavar="RECIPE",
        help="YAML file, or one of shapes, coco-50ep, coco-finetune, shapes-trunk, shapes-branch.",
        rich_help_panel=WHAT,
    ),
]
CocoOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option("--coco", metavar="DIR", help="A folder as COCO's, if the recipe asks.", rich_help_panel=WHAT),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of weights, images and chance.", rich_help_panel=WHAT)
]
StartOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--start", metavar="FILE", help="A baseline's checkpoint: fine-tune.", rich_help_panel=FROM),
]
BackboneWeightsOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--backbone-weights", metavar="FILE", help="ImageNet weights as torchvision's.", rich_help_panel=FROM),
]
BackboneOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--backbone", "-b", metavar="NAME", help="\\[default: the recipe's]", rich_help_panel=RECIPE),
]
IterationsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--iterations", metavar="N", min=1, max=MOST, help="Stretches the schedule too.", rich_help_panel=RECIPE
    ),
]
BatchSizeOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--batch-size", "-n", min=1, max=65_536, help="Images of an iteration, in all.", rich_help_panel=RECIPE
    ),
]
AccumulateOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--accumulate", metavar="N", min=1, max=65_536, help="Passes of one.", rich_help_panel=RECIPE),
]
PrecisionOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--precision", metavar="NAME", help="fp32, or bf16 and fp16 mixed.", rich_help_panel=RECIPE),
]
SamplingOption = Annotated[
    str,
    typer.Option(
        "--sampling",
        metavar="NAME",
        help="auto, grid_sample, embedding_bag, dense, triton, deformops.",
        rich_help_panel=HOW,
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, max=256, help="Threads that load images.", rich_help_panel=HOW)
]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--out",
        metavar="DIR",
        help="The run's folder. \\[default: runs/RECIPE-BACKBONE-SCHEDULE-seedN]",
        rich_help_panel=KEPT,
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume/--no-resume", help="Go on where it stopped, or start over.", rich_help_panel=KEPT),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="With --no-resume, remove what is there.", rich_help_panel=KEPT)
]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Write the log for TensorBoard too.", rich_help_panel=KEPT)
]
