"""`proscale-bench eval`: what weights are worth on COCO, on data in its formats, or on the embedded data."""

from __future__ import annotations

from typing import Any

from proscale_bench.commands.eval_options import (
    BackboneOption,
    BatchSizeOption,
    BootstrapOption,
    CocoOption,
    FromPredictionsOption,
    LimitOption,
    OutOption,
    PerClassOption,
    RandomWeightsOption,
    ReferenceOption,
    ResizeOption,
    ResumeOption,
    SavePredictionsOption,
    ScheduleOption,
    SeedOption,
    SplitOption,
    TasksOption,
    TrainingSeedOption,
    VisualsOption,
    WeightsOption,
)
from proscale_bench.commands.help import BenchCommand
from proscale_bench.commands.options import (
    CompileOption,
    DeviceOption,
    DtypeOption,
    ExportCsvOption,
    ExportJsonOption,
    ExportMarkdownOption,
    ForceOption,
    OptimizationsOption,
    SamplingOption,
    ThreadsOption,
)


class BootstrapCommand(BenchCommand):
    """Reads `--bootstrap` without a number: an option with an optional value, which Typer does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        read = []
        for place, arg in enumerate(args):
            bare = arg == "--bootstrap" and not (args[place + 1 : place + 2] or ["-"])[0].isdecimal()
            read.append(f"--bootstrap={RESAMPLES}" if bare else arg)
        return super().parse_args(ctx, read)


RESAMPLES = 1000


def evaluate(
    weights: WeightsOption = None,
    random_weights: RandomWeightsOption = None,
    from_predictions: FromPredictionsOption = None,
    training_seed: TrainingSeedOption = None,
    schedule: ScheduleOption = None,
    backbone: BackboneOption = "tiny",
    coco: CocoOption = None,
    split: SplitOption = None,
    tasks: TasksOption = None,
    limit: LimitOption = None,
    resize: ResizeOption = None,
    batch_size: BatchSizeOption = 1,
    device: DeviceOption = None,
    dtype: DtypeOption = "fp32",
    compiled: CompileOption = False,
    sampling: SamplingOption = "auto",
    optimizations: OptimizationsOption = True,
    threads: ThreadsOption = None,
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    reference: ReferenceOption = False,
    per_class: PerClassOption = False,
    visuals: VisualsOption = 0,
    save_predictions: SavePredictionsOption = None,
    resume: ResumeOption = True,
    out: OutOption = None,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Evaluate weights: PQ, AP and mIoU with intervals, next to what the schedule costs.

    Without --weights: those that ship; --schedule chooses among them.

    Example: proscale-bench eval --schedule 3,3,3

    On several GPUs or processes: torchrun --nproc-per-node 2 -m proscale_bench eval ...
    """
    from proscale_bench.commands.eval_asked import Asked
    from proscale_bench.commands.evaluating import run

    run(
        Asked(
            weights=tuple(weights or ()),
            random_weights=random_weights,
            from_predictions=from_predictions,
            training_seed=training_seed,
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
            optimizations=optimizations,
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
