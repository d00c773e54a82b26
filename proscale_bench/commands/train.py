"""`proscale-bench train`: a schedule, from scratch or from a baseline's checkpoint."""

from __future__ import annotations

from proscale_bench.commands.options import DeviceOption, ExportJsonOption, SamplingOption, ThreadsOption
from proscale_bench.commands.train_options import (
    AccumulateOption,
    BackboneOption,
    BackboneWeightsOption,
    BatchSizeOption,
    CocoOption,
    ForceOption,
    IterationsOption,
    OutOption,
    PrecisionOption,
    RecipeOption,
    ResumeOption,
    ScheduleOption,
    SeedOption,
    StartOption,
    TensorboardOption,
    WorkersOption,
)


def train(
    schedule: ScheduleOption = "3,3,3",
    recipe: RecipeOption = "shapes",
    coco: CocoOption = None,
    seed: SeedOption = 0,
    start: StartOption = None,
    backbone_weights: BackboneWeightsOption = None,
    backbone: BackboneOption = None,
    iterations: IterationsOption = None,
    batch_size: BatchSizeOption = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    sampling: SamplingOption = "auto",
    workers: WorkersOption = 2,
    out: OutOption = None,
    resume: ResumeOption = True,
    force: ForceOption = False,
    tensorboard: TensorboardOption = False,
    export_json: ExportJsonOption = None,
) -> None:
    """Train a schedule by a recipe. What was interrupted goes on with the same command.

    Example: proscale-bench train --schedule 3,3,3 --iterations 500

    On several GPUs or processes: torchrun --nproc-per-node 2 -m proscale_bench train ...
    """
    from proscale_bench.commands.training import Asked, run
    from proscale_bench.config.recipe import RecipeChanges

    run(
        Asked(
            schedule=schedule,
            recipe=recipe,
            changes=RecipeChanges(backbone, iterations, batch_size, accumulate, precision, start, backbone_weights),
            coco=coco,
            seed=seed,
            device=device,
            threads=threads,
            sampling=sampling,
            workers=workers,
            out=out,
            resume=resume,
            force=force,
            tensorboard=tensorboard,
            export_json=export_json,
        )
    )
