"""Export loaded weights, with what their file says of them; needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from proscale_bench.bench.any_model import input_of
from proscale_bench.bench.loader import faults_of, load, talking_to_stderr
from proscale_bench.bench.weights import Weights
from proscale_bench.config.trained_on import trained_on
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.any_model import ExportedAny, export_any
from proscale_bench.export.export import Exported, OnStep, export_model
from proscale_bench.export.settings import ExportSettings
from proscale_bench.specs.custom import ModelRequest
from proscale_bench.specs.families import OwnSpec


def export_request(
    request: ModelRequest,
    path: Path,
    size: str,
    batch_size: int,
    *,
    overwrite: bool = False,
    progress: OnStep = lambda what, done, total: None,
) -> ExportedAny:
    """Export a model of somebody else's, with random weights. Executes the code that it is of.

    Raises:
        BenchError: it cannot be built, called or exported, or the file is not the same model (exit code 3).
    """
    progress("building", 0, 1)
    loaded = load(request)
    given = input_of(loaded, size, batch_size)
    with talking_to_stderr(), faults_of(str(request)):
        torch.manual_seed(0)
        model = loaded.build()
        inputs = loaded.inputs(model, (given.height_px or 0, given.width_px or 0), batch_size)
    return export_any(model, str(request), inputs.args, inputs.kwargs, path, overwrite=overwrite, progress=progress)


def export_weights(
    weights: Weights,
    path: Path,
    settings: ExportSettings,
    *,
    images: int = 8,
    calibration: Sequence[Path] | None = None,
    overwrite: bool = False,
    progress: OnStep = lambda what, done, total: None,
) -> Exported:
    """Write a model to a file and prove it; see `export_model`. The model serves for nothing else afterwards.

    Raises:
        BenchError: the model cannot be exported so; or the file is not the same model (exit code 3).
    """
    spec = weights.spec
    if not isinstance(spec, OwnSpec):
        raise BenchError(f"{weights.source}: a {spec.family} is none of our models", "models export OUT --model MODEL")
    told = {"weights": weights.digest, "source": weights.source, **trained_on(weights.metadata).fields()}
    found = export_model(
        weights.model,
        spec,
        path,
        settings,
        told=told,
        images=images,
        calibration=calibration,
        overwrite=overwrite,
        progress=progress,
    )
    if not (proof := found.proof).holds:
        raise BenchError(
            f"{path}: differs from torch by {proof.largest_difference:.2g}, first in: {proof.differs_first}",
            "the file is kept for a look, not for use; try the other --sampling, or another version of the engine",
            ExitCode.UNTRUSTED,
        )
    return found
