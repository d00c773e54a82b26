"""Export loaded weights, with what their file says of them; needs torch."""

from __future__ import annotations

from pathlib import Path

from proscale_bench.bench.weights import Weights
from proscale_bench.config.trained_on import trained_on
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.export import Exported, OnStep, export_model
from proscale_bench.export.module import ExportSettings
from proscale_bench.specs.mask2former import Mask2FormerSpec


def export_weights(
    weights: Weights,
    path: Path,
    settings: ExportSettings,
    *,
    images: int = 8,
    overwrite: bool = False,
    progress: OnStep = lambda what, done, total: None,
) -> Exported:
    """Write a model to a file and prove it; see `export_model`. The model serves for nothing else afterwards.

    Raises:
        BenchError: the model cannot be exported so; or the file is not the same model (exit code 3).
    """
    spec = weights.spec
    if not isinstance(spec, Mask2FormerSpec):
        raise BenchError(f"{weights.source}: only Mask2Formers can be exported")
    told = {"weights": weights.digest, "source": weights.source, **trained_on(weights.metadata).fields()}
    found = export_model(
        weights.segmenter, spec, path, settings, told=told, images=images, overwrite=overwrite, progress=progress
    )
    if not (proof := found.proof).holds:
        raise BenchError(
            f"{path}: differs from torch by {proof.largest_difference:.2g}, first in: {proof.differs_first}",
            "the file is kept for a look, not for use; try the other --sampling, or another version of the engine",
            ExitCode.UNTRUSTED,
        )
    return found
