"""`proscale-bench eval`: what weights are worth on COCO, on data in its formats, or on the embedded data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand

from proscale_bench.commands.options import (
    CompileOption,
    DeviceOption,
    DtypeOption,
    ExportCsvOption,
    ExportJsonOption,
    ExportMarkdownOption,
    ForceOption,
    OutOption,
    RewritesOption,
    SamplingOption,
    SeedOption,
    ThreadsOption,
)


class BootstrapCommand(TyperCommand):
    """Reads `--bootstrap` without a number: an option with an optional value, which Typer does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        read = []
        for place, arg in enumerate(args):
            bare = arg == "--bootstrap" and not (args[place + 1 : place + 2] or ["-"])[0].isdecimal()
            read.append(f"--bootstrap={RESAMPLES}" if bare else arg)
        return super().parse_args(ctx, read)


WHAT, ON, KEPT = "What is evaluated", "On what", "What is kept"
RESAMPLES = 1000
DEFAULT_TASKS = "panoptic,instance,semantic"


def evaluate(
    weights: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Option("--weights", "-w", metavar="FILE", help="A checkpoint; repeat to compare.", rich_help_panel=WHAT),
    ] = None,
    random_weights: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--random-weights", metavar="SEED", min=0, help="Untrained, to try the pipeline.", rich_help_panel=WHAT
        ),
    ] = None,
    from_predictions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--from-predictions", metavar="DIR", help="Score files instead.", rich_help_panel=WHAT),
    ] = None,
    schedule: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--schedule",
            "-s",
            metavar="SCHEDULE",
            help="Of random weights, or what a file cannot tell. \\[default: 3,3,3, or read off the file]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", "-b", metavar="NAME", help="Of random weights.", rich_help_panel=WHAT)
    ] = "tiny",
    coco: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--coco", metavar="DIR", help="A folder as COCO's. \\[default: the embedded data]", rich_help_panel=ON
        ),
    ] = None,
    split: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--split", metavar="NAME", help="\\[default: val2017, val, or the only one]", rich_help_panel=ON),
    ] = None,
    tasks: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--tasks",
            metavar="LIST",
            help=f"Of {DEFAULT_TASKS}. \\[default: all that the data have]",
            rich_help_panel=ON,
        ),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--limit", metavar="N", min=1, help="The first N images.", rich_help_panel=ON),
    ] = None,
    resize: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--resize",
            metavar="SHORT,LONGEST",
            help="Sides that images are resized to, or none. \\[default: 800,1333; none for the embedded data]",
            rich_help_panel=ON,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", "-n", min=1, max=4096, help="Images at once.", rich_help_panel="How it is run"),
    ] = 1,
    device: DeviceOption = None,
    dtype: DtypeOption = "fp32",
    compiled: CompileOption = False,
    sampling: SamplingOption = "auto",
    rewrites: RewritesOption = True,
    threads: ThreadsOption = None,
    bootstrap: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            metavar="N",
            min=0,
            max=100_000,
            help="Draws behind the intervals; 0: none.",
        ),
    ] = 1000,
    seed: SeedOption = 0,
    reference: Annotated[bool, typer.Option("--reference", help="AP by pycocotools itself: slow.")] = False,
    per_class: Annotated[bool, typer.Option("--per-class", help="Show a table by class too.")] = False,
    visuals: Annotated[
        int,
        typer.Option("--visuals", metavar="N", min=0, help="Pictures of the N worst images.", rich_help_panel=KEPT),
    ] = 0,
    save_predictions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--save-predictions", metavar="DIR", help="In COCO's formats.", rich_help_panel=KEPT),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Go on where it was interrupted, or start over.", rich_help_panel=KEPT
        ),
    ] = True,
    out: OutOption = None,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Evaluate weights: PQ, AP and mIoU with intervals, next to what the schedule costs.

    Example: proscale-bench eval --random-weights 0 --limit 16

    On several GPUs or processes: torchrun --nproc-per-node 2 -m proscale_bench eval ...
    """
    from proscale_bench.commands.eval_asked import Asked
    from proscale_bench.commands.evaluating import run

    run(
        Asked(
            weights=tuple(weights or ()),
            random_weights=random_weights,
            from_predictions=from_predictions,
            schedule=schedule,
            backbone=backbone,
            coco=coco,
            split=split,
            tasks=tasks,
            limit=limit,
            resize=resize,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            compiled=compiled,
            sampling=sampling,
            rewrites=rewrites,
            threads=threads,
            bootstrap=bootstrap,
            seed=seed,
            reference=reference,
            per_class=per_class,
            visuals=visuals,
            save_predictions=save_predictions,
            resume=resume,
            out=out,
            export_json=export_json,
            export_csv=export_csv,
            export_markdown=export_markdown,
            force=force,
        )
    )
