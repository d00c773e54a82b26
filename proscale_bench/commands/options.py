"""The flags that several commands share, each with one meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from proscale_bench.commands import completion

EXPORT, HOW, HOW_LONG = "Export", "How it is run", "How long it is measured"
MAX_SEED = 2**32 - 1


def seed_in_range(seed: int) -> int:
    """A callback, since help shows `max=` with all its ten digits."""
    if not 0 <= seed <= MAX_SEED:
        raise typer.BadParameter(f"{seed} is not in the range 0<=x<={MAX_SEED}.")
    return seed


ScheduleOption = Annotated[
    list[str],
    typer.Option(
        "--schedule",
        "-s",
        metavar="SCHEDULE",
        autocompletion=completion.schedules,
        help="YAML file, catalogue name, or compact as 3,3,3+conv. Repeat to compare.",
    ),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        "-b",
        metavar="NAME",
        autocompletion=completion.backbones,
        help="resnet50, resnet101, swin_t, swin_s, swin_b, swin_l or tiny.",
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="SIZE",
        autocompletion=completion.sizes,
        help="Height x width as 800x1333, or coco-first100, or coco-val.",
    ),
]
OneSizeOption = Annotated[
    Optional[str],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option(
        "--size",
        metavar="HxW",
        autocompletion=completion.single_sizes,
        help="Of the images. \\[default: 800x1333 on a GPU, 640x640 on a CPU]",
    ),
]
OutputSizeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--output-size",
        metavar="HxW",
        autocompletion=completion.single_sizes,
        help="Size of the final masks. \\[default: the input's]",
    ),
]
RulesOption = Annotated[
    str,
    typer.Option("--rules", metavar="NAME", autocompletion=completion.rules, help="fvcore, published or complete."),
]
ConventionOption = Annotated[
    str,
    typer.Option(
        "--convention",
        metavar="NAME",
        autocompletion=completion.conventions,
        help="mac: 1 MAC is 1 FLOP; flop: it is 2.",
    ),
]
ExportJsonOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--export-json", metavar="PATH", help="Write JSON; - for stdout.", rich_help_panel=EXPORT),
]
ExportCsvOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--export-csv", metavar="PATH", help="Write CSV; - for stdout.", rich_help_panel=EXPORT),
]
ExportMarkdownOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--export-markdown", metavar="PATH", help="Write Markdown; - for stdout.", rich_help_panel=EXPORT),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.", rich_help_panel=EXPORT)]
# --- How a model is run ---

BatchSizeOption = Annotated[
    list[int],
    typer.Option(
        "--batch-size",
        "-n",
        metavar="N",
        min=1,
        max=4096,
        help="Images at once; repeat to compare.",
        rich_help_panel=HOW,
    ),
]
DeviceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--device",
        metavar="NAME",
        autocompletion=completion.devices,
        help="cuda or cpu. \\[default: cuda if there is one]",
        rich_help_panel=HOW,
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="NAME",
        autocompletion=completion.dtypes,
        help="fp32, tf32, or bf16 and fp16 by autocast.",
        rich_help_panel=HOW,
    ),
]
CompileOption = Annotated[bool, typer.Option("--compile", help="With torch.compile.", rich_help_panel=HOW)]
CudaGraphsOption = Annotated[
    bool, typer.Option("--cuda-graphs", help="Replay CUDA graphs of the model and its stages.", rich_help_panel=HOW)
]
SamplingOption = Annotated[
    str,
    typer.Option(
        "--sampling",
        metavar="NAME",
        autocompletion=completion.samplings,
        help="auto, grid_sample, embedding_bag, embedding_bag_compiled, dense, triton or deformops.",
        rich_help_panel=HOW,
    ),
]
OptimizationsOption = Annotated[
    bool, typer.Option("--rewrites/--no-rewrites", help="Run its exact optimizations.", rich_help_panel=HOW)
]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--threads", metavar="N", min=1, max=1024, help="Of the CPU. \\[default: PyTorch's]", rich_help_panel=HOW
    ),
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", metavar="N", callback=seed_in_range, help="Of images and weights.", rich_help_panel=HOW),
]

# --- How long it is measured ---

MaxSecondsOption = Annotated[
    float,
    typer.Option(
        "--max-seconds", metavar="S", min=0.1, help="At most, a schedule and batch size.", rich_help_panel=HOW_LONG
    ),
]
RepeatsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--repeats",
        metavar="N",
        min=1,
        help="Exactly so many rounds. \\[default: until stable]",
        rich_help_panel=HOW_LONG,
    ),
]
