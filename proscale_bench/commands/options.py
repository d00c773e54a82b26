"""The flags that several commands share, each with one meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXPORT, HOW = "Export", "How it is run"

ScheduleOption = Annotated[
    list[str],
    typer.Option(
        "--schedule",
        "-s",
        metavar="SCHEDULE",
        help="YAML file, catalogue name, or compact as 3,3,3+conv. Repeat to compare.",
    ),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        "-b",
        metavar="NAME",
        help="resnet50, resnet101, swin_t, swin_s, swin_b, swin_l or tiny.",
    ),
]
SizeOption = Annotated[
    str,
    typer.Option("--size", metavar="SIZE", help="Height x width as 800x1333, or coco-first100, or coco-val."),
]
OneSizeOption = Annotated[
    Optional[str],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
    typer.Option("--size", metavar="HxW", help="Of the images. \\[default: 800x1333 on a GPU, 640x640 on a CPU]"),
]
OutputSizeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--output-size", metavar="HxW", help="Size of the final masks. \\[default: the input's]"),
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
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", metavar="DIR", help="The run's folder. \\[default: reports/NAME]", show_default=False),
]

# --- How a model is run ---

BatchSizeOption = Annotated[
    list[int],
    typer.Option("--batch-size", "-n", min=1, max=4096, help="Images at once; repeat to compare.", rich_help_panel=HOW),
]
DeviceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--device", metavar="NAME", help="cuda or cpu. \\[default: cuda if there is one]", rich_help_panel=HOW
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option("--dtype", metavar="NAME", help="fp32, tf32, or bf16 and fp16 by autocast.", rich_help_panel=HOW),
]
CompileOption = Annotated[bool, typer.Option("--compile", help="With torch.compile.", rich_help_panel=HOW)]
CudaGraphsOption = Annotated[
    bool, typer.Option("--cuda-graphs", help="Replay CUDA graphs of the model and its stages.", rich_help_panel=HOW)
]
SamplingOption = Annotated[
    str,
    typer.Option(
        "--sampling", metavar="NAME", help="auto, grid_sample, embedding_bag, triton, deformops.", rich_help_panel=HOW
    ),
]
RewritesOption = Annotated[
    bool, typer.Option("--rewrites/--no-rewrites", help="Run exact rewrites of the model.", rich_help_panel=HOW)
]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--threads", min=1, max=1024, help="Of the CPU. \\[default: PyTorch's]", rich_help_panel=HOW),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of images and weights.", rich_help_panel=HOW)
]
