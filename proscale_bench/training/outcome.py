"""What a training leaves at its end: the weights, and what they came from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch

from proscale_bench.files import write_atomic
from proscale_bench.models.checkpoints.checkpoint import digest
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.results.export import environment, now
from proscale_bench.results.training import LogLine, Sitting, StartedFrom, TrainingRecord
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.training.folder import RECORD, WEIGHTS
from proscale_bench.training.loop import Trainer
from proscale_bench.training.setup import Data
from proscale_bench.training.start import Start
from proscale_bench.version import __version__


def final_model(trainer: Trainer) -> Mask2Former:
    """A copy on the CPU, its weights the average's where there is one."""
    model = copy.deepcopy(trainer.model).cpu().eval()
    if trainer.average is not None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(trainer.average.parameters[name])
    return model


def write_outcome(
    run: Path,
    trainer: Trainer,
    schedule: Schedule,
    data: Data,
    start: Start,
    sittings: tuple[Sitting, ...],
    log: Sequence[LogLine],
) -> TrainingRecord:
    """Write `training.json`, then `model.safetensors`: where this is, a training is done.

    Raises:
        BenchError: they cannot be written.
    """
    recipe, model = trainer.recipe, final_model(trainer)
    record = TrainingRecord(
        name=recipe.name,
        recipe=recipe.model_dump(mode="json", exclude={"start", "backbone_weights"}),
        recipe_digest=recipe.digest,
        schedule=schedule.compact,
        backbone=recipe.backbone,
        seed=trainer.seed,
        data=data.name,
        data_digest=data.digest,
        images=len(data.images),
        classes=len(data.images.classes),
        start=StartedFrom(kind=start.kind, file=start.file, digest=start.digest),
        iterations=trainer.iteration,
        seconds=trainer.seconds,
        sittings=sittings,
        weights=WEIGHTS,
        weights_digest=digest(model.state_dict()),
        averaged=trainer.average is not None,
        last=log[-1] if log else None,
        tool_version=__version__,
        created=now(),
        environment=environment(),
    )
    write_atomic(run / RECORD, record.model_dump_json(indent=2) + "\n")
    save_checkpoint(model, run / WEIGHTS, record.provenance())
    return record
