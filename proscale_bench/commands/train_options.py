"""The flags of `train` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import HOW, seed_in_range

WHAT, FROM, RECIPE, KEPT = "What is trained", "What it starts from", "What changes the recipe", "What is kept"
MOST = 100_000_000

ScheduleOption = Annotated[
    str,
    typer.Option(
        "--schedule",
        "-s",
        metavar="SCHEDULE",
        autocompletion=completion.schedules,
        help="YAML file, catalogue name, or compact as 3,3,3+conv.",
        rich_help_panel=WHAT,
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        metavar="NAME",
        autocompletion=completion.recipes,
        help="YAML file, or shapes, coco-50ep, coco-finetune, shapes-trunk or shapes-branch.",
        rich_help_panel=WHAT,
    ),
]
CocoOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option("--coco", metavar="DIR", help="A folder as COCO's, if the recipe asks.", rich_help_panel=WHAT),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", callback=seed_in_range, help="Of weights, images and chance.", rich_help_panel=WHAT
    ),
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
    typer.Option(
        "--backbone",
        "-b",
        metavar="NAME",
        autocompletion=completion.backbones,
        help="As models list has it. \\[default: the recipe's]",
        rich_help_panel=RECIPE,
    ),
]
IterationsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--iterations",
        metavar="N",
        min=1,
        max=MOST,
        help="Stretches milestones too. \\[default: the recipe's]",
        rich_help_panel=RECIPE,
    ),
]
BatchSizeOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--batch-size",
        "-n",
        metavar="N",
        min=1,
        max=65_536,
        help="Images of an iteration. \\[default: the recipe's]",
        rich_help_panel=RECIPE,
    ),
]
AccumulateOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--accumulate",
        metavar="N",
        min=1,
        max=65_536,
        help="Passes of one. \\[default: the recipe's]",
        rich_help_panel=RECIPE,
    ),
]
PrecisionOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--precision",
        metavar="NAME",
        autocompletion=completion.precisions,
        help="fp32, or bf16 and fp16 mixed. \\[default: the recipe's]",
        rich_help_panel=RECIPE,
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
