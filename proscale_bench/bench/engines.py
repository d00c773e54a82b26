"""Models as other engines than torch run them: exported to a folder, proved there, and loaded again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.graphs import open_graph
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.export.description import spec_of
from proscale_bench.export.engines import ENDS, load_exported
from proscale_bench.measure.engines import EngineChoice, EngineModel, OnStage, Runtime
from proscale_bench.measure.profile import ProfileSettings
from proscale_bench.specs.custom import CustomSpec
from proscale_bench.specs.families import OwnSpec, name_of
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.model import ModelSpec
from proscale_bench.units import Size

if TYPE_CHECKING:
    from proscale_bench.bench.weights import Weights
    from proscale_bench.export.export import OnStep
    from proscale_bench.export.settings import ExportSettings

PROOF_IMAGES = 1  # and one of noise


@dataclass(frozen=True)
class ExportedModels:
    """Opens models in engines. What is exported stays in a folder and is taken from there the next time.

    Args:
        folder: of the files.
        choice: the engines, and a file that is given.
        threads: number of CPU threads; 0: the engine's choice.
        seed: of the weights of what is exported.
        sampling: of deformable attention, `grid_sample` or `gather`.
    """

    folder: Path
    choice: EngineChoice
    threads: int
    seed: int
    sampling: str

    @classmethod
    def of(cls, settings: ProfileSettings, folder: Path, threads: int) -> ExportedModels:
        """Those of a profile."""
        sampling = "gather" if settings.sampling == "gather" else "grid_sample"
        return cls(folder, settings.engines, threads, settings.seed, sampling)

    def open(self, spec: ModelSpec, runtime: Runtime, batch_size: int, size: Size, progress: OnStage) -> EngineModel:
        """Open a model in an engine: the file that is given where it is of that model, else one of the folder, which
        is exported and proved where it is not there. An ONNX file of somebody else's is itself.

        Raises:
            BenchError: the model cannot be exported so, or the file is not the same model (exit code 3).
        """
        from proscale_bench.export.settings import ExportSettings

        engine, precision = runtime.engine, runtime.precision
        if isinstance(spec, CustomSpec):
            return open_graph(spec, engine, size, batch_size, self.threads)
        if not isinstance(spec, OwnSpec):
            raise BenchError(f"{spec}: only models of ours can be exported here", "use --engine torch")
        if (file := self.choice.file) is not None and file.suffix == ENDS[engine]:
            given = load_exported(file, trust=self.choice.trust, threads=self.threads, engine=engine)
            if spec_of(given.told, given.path) == spec:
                return given
        sampling: Any = self.sampling
        settings = ExportSettings(size, batch_size, sampling=sampling, precision=precision)
        asked: dict[str, Any] = {"seed": self.seed, "input": settings.__dict__}
        path = self.folder / f"{file_name(spec, asked)}{ENDS[engine]}"
        is_new = not path.exists()
        if is_new:
            self.export(spec, path, settings, progress)
        trusted = self.choice.trust or is_new
        found = load_exported(path, trust=trusted, threads=self.threads, engine=engine)
        if spec_of(found.told, path) != spec or (found.size, found.batch_size) != (size, batch_size):
            raise BenchError(f"{path}: is of another model or size", "give another --exported folder")
        return found

    def export(self, spec: OwnSpec, path: Path, settings: Any, progress: OnStage) -> None:
        """Export an untrained model and prove it."""
        from proscale_bench.bench.weights import random_weights

        def show(what: str, done: int, total: int) -> None:
            progress(f"{spec.variant}: {what} for {path.suffix}", None)

        export_into(random_weights(spec, self.seed), path, settings, PROOF_IMAGES, show)


def export_into(weights: Weights, path: Path, settings: ExportSettings, images: int, progress: OnStep) -> None:
    """Export into a folder that files are taken from again: what is not proved does not stay.

    Raises:
        BenchError: the model cannot be exported so, or the file is not the same model (exit code 3).
    """
    from proscale_bench.bench.export import export_weights

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        export_weights(weights, path, settings, images=images, progress=progress)
    except BenchError as error:
        if error.exit_code == ExitCode.UNTRUSTED:
            for one in (path, path.with_suffix(".bin")):
                one.unlink(missing_ok=True)
        raise


def file_name(spec: OwnSpec, asked: dict[str, Any]) -> str:
    """A name for a model's file in a folder of many, without its end."""
    family = [name_of(spec)] if spec.family != Mask2FormerSpec.family else []
    words = [*family, spec.variant, spec.backbone_name, "x".join(map(str, asked["input"]["size"]))]
    digest = hashlib.sha256(f"{spec!r} {json.dumps(asked, sort_keys=True)}".encode()).hexdigest()[:8]
    return "-".join([*(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in words), digest])
