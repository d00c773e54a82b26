"""Exported files on images as a data set has them: padded as the model pads them, by a file that takes their size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.bench.engines import export_into, file_name
from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.data.batches import padded_size
from proscale_bench.errors import BenchError
from proscale_bench.export.engines import ENDS, LEAST_PX, ExportedModel, load_exported
from proscale_bench.export.settings import sides_divisor
from proscale_bench.units import Size

if TYPE_CHECKING:
    from proscale_bench.bench.execution import ExecutionSettings
    from proscale_bench.bench.weights import Weights
    from proscale_bench.evaluation.boxes import FoundBoxes
    from proscale_bench.evaluation.model_predictor import BatchLogits
    from proscale_bench.export.settings import ExportSettings

Picture = NDArray[np.uint8]  # [h, w, 3]
OnStage = Callable[[str, int, int], None]
PROOF_IMAGES = 4
MOST_FILES = 32  # that are exported, one for each padded size
TRACED_AT = (128, 160)  # of a file that takes all sizes
FOR_ALL = "for all sizes"  # is in what says that there can be no such file


@dataclass(frozen=True)
class ExportedRunner:
    """Runs images of one padded size through exported files.

    Args:
        files: the file of each padded size; of None the one that takes all.
        digest: SHA-256 of the files.
    """

    files: Mapping[Size | None, ExportedModel]
    digest: str

    @property
    def first(self) -> ExportedModel:
        return next(iter(self.files.values()))

    @property
    def name(self) -> str:
        """The file's name; of several the first's, and their number."""
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.first.path.name}{more}"

    @property
    def engine(self) -> EngineName:
        return self.first.engine.name

    @property
    def engine_version(self) -> str:
        return self.first.engine_version

    @property
    def sampling(self) -> str:
        return str(self.first.told["input"].get("sampling", "grid_sample"))

    @property
    def dtype(self) -> ExportPrecision:
        """The number format of its products."""
        return self.first.precision

    def __call__(self, images: Sequence[Picture]) -> BatchLogits:
        """The logits of a batch of one padded size."""
        import torch

        from proscale_bench.evaluation.model_predictor import BatchLogits

        logits, masks = map(torch.from_numpy, self._run(images))
        return BatchLogits(logits, masks, padded_size(_largest(images)))

    def detect(self, images: Sequence[Picture]) -> Iterator[FoundBoxes]:
        """The best boxes of a detector: see `evaluation.boxes.Detector`. No image is padded, so each is run by itself,
        in a file for several as often as it takes."""
        import torch

        from proscale_bench.evaluation.detector import best_of_each

        for image in images:
            logits, boxes = map(torch.from_numpy, self._run([image]))
            yield from best_of_each(logits, boxes)

    def _run(self, images: Sequence[Picture]) -> tuple[NDArray[np.float32], ...]:
        """Both outputs of images of one padded size."""
        model = self.files.get(as_taken(_largest(images), self.first.pads)) or self.files[None]
        return tuple(np.array(one[: len(images)], dtype=np.float32) for one in model.run(as_batch(model, images)))


def as_batch(model: ExportedModel, images: Sequence[Picture]) -> NDArray[Any]:
    """Images as a file takes them, [B, 3, H, W].

    Images of another size than the file's are padded with the mean of the normalisation, which it makes zero, as the
    model pads. A file of bytes has the nearest byte. A batch that is not full repeats its last image.
    """
    from proscale_bench.models.images import PIXEL_MEAN

    dtype = np.float32 if model.told["input"]["floating"] else np.uint8
    count = model.batch_size or len(images)
    own = model.size is not None and all(image.shape[:2] == model.size for image in images)
    size = model.size if own and model.size else as_taken(_largest(images), model.pads)
    mean = np.array(PIXEL_MEAN) if dtype == np.float32 else np.round(PIXEL_MEAN)
    batch = np.empty((count, *size, 3), dtype)
    batch[:] = mean
    for index in range(count):
        image = images[min(index, len(images) - 1)]
        batch[index, : image.shape[0], : image.shape[1]] = image
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def of_file(model: ExportedModel, sizes: Sequence[Size]) -> ExportedRunner:
    """A runner of one file.

    Raises:
        BenchError: it takes images of one size, and some are of another.
    """
    if model.size is None and not model.pads:
        divisor = sides_divisor(model.pads)
        if odd := next((size for size in sizes if size[0] % divisor or size[1] % divisor), None):
            what = f"takes sides that are multiples of {divisor}, and the data have an image of {odd[0]}x{odd[1]}"
            raise BenchError(f"{model.path}: {what}", "evaluate the checkpoint with --engine, or images of one size")
    if model.size is not None:
        for size in sizes:
            if size != model.size and as_taken(size, model.pads) != model.size:
                own, other = ("x".join(map(str, one)) for one in (model.size, size))
                raise BenchError(
                    f"{model.path}: takes images of {own}, and the data have one of {other}",
                    "export it with --dynamic, or evaluate the checkpoint with --engine",
                )
    return ExportedRunner({None: model}, digest_of([model.path]))


def of_weights(
    weights: Weights, settings: ExecutionSettings, sizes: Sequence[Size], stack: ExitStack, on_stage: OnStage
) -> ExportedRunner:
    """Export weights and prove them: one file of all sizes where that can be, else one for each padded size.

    Args:
        sizes: of the images, unpadded.

    Raises:
        BenchError: they cannot be exported, or the file is not the same model (exit code 3).
    """
    from proscale_bench.export.settings import ExportSettings

    folder = settings.exported
    if folder is None:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="proscale-bench-exported-")))
    sampling: Any = "gather" if settings.sampling == "gather" else "grid_sample"
    padded = list(dict.fromkeys(as_taken(size, weights.spec.pads) for size in sizes))
    precision = settings.precision

    def made(size: Size, dynamic: bool) -> ExportedModel:
        how = ExportSettings(size, dynamic=dynamic, sampling=sampling, floating=True, precision=precision)
        return _made(replace(weights, model=deepcopy(weights.model)), folder, settings, how, on_stage)

    files: dict[Size | None, ExportedModel] = {}
    if weights.spec.pads and len(padded) > 1 and min(map(min, padded)) >= LEAST_PX:
        try:
            files = {None: made(TRACED_AT, dynamic=True)}
        except BenchError as obstacle:
            if FOR_ALL not in obstacle.message:
                raise
    if not files and len(padded) > MOST_FILES:
        raise BenchError(
            f"{weights.spec}: no file takes all sizes, and the data have {len(padded)}",
            "evaluate fewer images with --limit, or at one size",
        )
    files = files or {size: made(size, dynamic=False) for size in padded}
    return ExportedRunner(files, digest_of([one.path for one in files.values()]))


def _made(
    weights: Weights, folder: Path, settings: ExecutionSettings, how: ExportSettings, on_stage: OnStage
) -> ExportedModel:
    from proscale_bench.specs.families import OwnSpec

    spec = weights.spec
    if not isinstance(spec, OwnSpec):
        raise BenchError(f"{weights.source}: only models of ours can be exported here", "use --engine torch")
    name = file_name(spec, {"weights": weights.digest, "input": how.__dict__})
    path = folder / f"{name}{ENDS[settings.engine]}"
    if is_new := not path.exists():
        export_into(weights, path, how, PROOF_IMAGES, on_stage)
    trusted = is_new or settings.trust
    found = load_exported(path, trust=trusted, threads=settings.threads or 0, engine=settings.engine)
    if found.told.get("weights") != weights.digest:
        raise BenchError(f"{path}: is of other weights", "give another --exported folder")
    return found


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of files, of the weights beside an `.xml` too."""
    hashed = hashlib.sha256()
    for path in paths:
        for one in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
            hashed.update(one.read_bytes())
    return hashed.hexdigest()


def as_taken(size: Size, pads: bool) -> Size:
    """The size of an image in a batch: padded, or of a detector its own."""
    return padded_size(size) if pads else size


def _largest(images: Sequence[Picture]) -> Size:
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    return height, width
