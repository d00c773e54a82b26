"""Export loaded weights, with what their file says of them; needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from proscale_bench.bench.any_model import input_of
from proscale_bench.bench.loader import faults_of, load, talking_to_stderr
from proscale_bench.bench.weights import Weights
from proscale_bench.config.trained_on import trained_on
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.any_model import ExportedAny, export_any
from proscale_bench.export.export import Exported, OnStep, export_model
from proscale_bench.export.settings import ExportSettings, refuse_unexportable_detector
from proscale_bench.models.deformable_detr import DeformableDetr
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.specs.custom import ModelRequest
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.mask2former import Mask2FormerSpec


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


class ImagesToBoxes(nn.Module):
    """A detector from images, bytes or floats, to class logits and boxes."""

    def __init__(self, model: DeformableDetr) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(images.float())
        return found.class_logits, found.boxes


def export_detector(
    weights: Weights,
    path: Path,
    settings: ExportSettings,
    *,
    overwrite: bool = False,
    progress: OnStep = lambda what, done, total: None,
) -> ExportedAny:
    """Write a detector to a file of one size, and hold it against torch. The model serves for nothing else afterwards.

    Outputs are `class_logits` [B, Q, C] and `boxes` [B, Q, 4]: centre x, y, width, height as fractions of the image.

    Raises:
        BenchError: another size in every pass, or integers; or the file is not the same model (exit code 3).
    """
    assert isinstance(weights.model, DeformableDetr)
    assert isinstance(weights.spec, DeformableDetrSpec)
    refuse_unexportable_detector(weights.spec, settings)
    prepare_for_inference(weights.model, sampling_name=settings.sampling)
    shape = (settings.batch_size, 3, *settings.size)
    images = torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    name = f"{weights.spec.family} {weights.spec}"
    told = {"weights": weights.digest, "source": weights.source, **trained_on(weights.metadata).fields()}
    return export_any(
        ImagesToBoxes(weights.model),
        name,
        (images.float() if settings.floating else images,),
        {},
        path,
        named=("class_logits", "boxes"),
        told=told,
        overwrite=overwrite,
        progress=progress,
    )


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
    if not isinstance(spec, Mask2FormerSpec):
        raise BenchError(f"{weights.source}: a {spec.family} is no model of masks")
    told = {"weights": weights.digest, "source": weights.source, **trained_on(weights.metadata).fields()}
    found = export_model(
        weights.segmenter,
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
