"""The measurements of a sweep, as tasks: a session of models in turns with their baseline; weights on a data set."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.count import backbone_of, failure_record, identity_of
from proscale_bench.bench.profile import ProfileRequest, measured_here
from proscale_bench.bench.sessions import measured_in_sessions
from proscale_bench.config.choices import EMBEDDED
from proscale_bench.config.sweep import EvaluateStep, ProfileStep
from proscale_bench.cost.count import as_given
from proscale_bench.cost.geometry import parse_size
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.machine import cpu_name, usable_cores
from proscale_bench.results.profile import DeviceType, EngineName, Execution, Mode
from proscale_bench.results.record import UNKNOWN, Failure, Identity, Input, Record
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import ModelSpec
from proscale_bench.sweeps.tasks import Measurement, Needs, StepName, digest_of, tell

if TYPE_CHECKING:
    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.data.dataset import Dataset


THRESHOLDS = ("score_threshold", "overlap_threshold", "mask_threshold")
UNKNOWN_MODEL = Identity(backbone=UNKNOWN, schedule=UNKNOWN, encoder=UNKNOWN, label=UNKNOWN)


@dataclass(frozen=True)
class ProfileTask(Measurement):
    """One session: models that differ in their schedule alone, in turns with their baseline, alone on the machine.

    Args:
        models: the models; the baseline is profiled whether it is among them or not.
        size: the size of the image, as a sweep's file spells it.
        how: see `config.sweep.ProfileStep`.
    """

    models: tuple[ModelSpec, ...]
    size: str
    batch_size: int
    device: DeviceType
    how: ProfileStep

    step: StepName = "profile"

    def __str__(self) -> str:
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        return f"{backbone_of(self.models[0])} at {self.size} on {self.device}{batch}"

    @property
    def group(self) -> str:
        """A session of other schedules takes the place of this one: their times are of one session, or of none."""
        return digest_of(**self._about)

    @property
    def key(self) -> str:
        return digest_of(**self._about, schedules=[spec.variant for spec in self._request.in_turns])

    @property
    def _about(self) -> dict[str, Any]:
        """All that decides what is found but the schedules. A named model's is as it was before others had one."""
        first = self.models[0]
        unsaid = {"batch_sizes", *(["sessions"] if self.how.sessions == 1 else [])}  # before there were sessions
        unsaid |= {"engines"} if self.how.engines == ("torch",) else set()  # or engines
        return {
            "backbone": first.backbone_name,
            "classes": first.classes,
            **({"dimensions": first.dimensions()} if first.dimensions() else {}),
            **({"sources": [spec.dimensions() for spec in self.models]} if first.family == CUSTOM else {}),
            "size": self.size,
            "batch_size": self.batch_size,
            "device": self.device,
            "step": self.step,
            "how": self.how.model_dump(mode="json", exclude=unsaid),
        }

    @property
    def needs(self) -> Needs:
        return Needs(gpus=1) if self.device == "cuda" else Needs(alone=True)

    def run(self) -> list[dict[str, Any]]:
        """Find a record for each model, of one session. Loads torch.

        Raises:
            BenchError: no such device, or the models do not fit into memory.
        """
        from proscale_bench.export.extras import require_engines
        from proscale_bench.measure.engines import EngineChoice
        from proscale_bench.measure.latency import Limits
        from proscale_bench.measure.profile import ProfileSettings

        how = self.how
        require_engines(how.engines)
        own = {"batch_sizes", "max_seconds", "repeats", "sessions", "engines"}
        settings = ProfileSettings(
            device=self.device,
            limits=Limits(how.max_seconds, how.repeats),
            engines=EngineChoice(how.engines),
            **how.model_dump(by_alias=False, exclude=own),
        )
        if how.sessions > 1:
            *_, found = measured_in_sessions(self._request, settings, how.sessions, tell)
        else:
            (found,) = measured_here(self._request, settings, tell)
        return [record.model_dump(mode="json") for record in found]

    def failed(self, failure: Failure) -> list[Record]:
        execution = Execution(
            device=self.device,
            device_name=cpu_name() if self.device == "cpu" else "GPU",
            batch_size=self.batch_size,
            mode=self._mode,
            **{**_execution(self.how), "threads": self.how.threads or usable_cores()},
        )
        request, given = self._request, Input.model_validate(self._request.size.row())
        return [
            failure_record(identity_of(spec), given, failure, execution=in_engine(execution, engine))
            for engine in self.how.engines
            for spec in request.in_turns
        ]

    @property
    def _mode(self) -> Mode:
        if self.how.cuda_graphs:
            return "compiled_cuda_graphs" if self.how.compiled else "cuda_graphs"
        return "compiled" if self.how.compiled else "eager"

    @property
    def _request(self) -> ProfileRequest:
        return ProfileRequest(self.models, as_given(self.models[0], parse_size(self.size)), (self.batch_size,))


@dataclass(frozen=True)
class EvaluateTask(Measurement):
    """One evaluation: a file of weights on a data set.

    Args:
        data: a folder as COCO's; None: the embedded data.
        how: see `config.sweep.EvaluateStep`.
        weights_sha256: the digest of the file's bytes; None: it cannot be read.
        data_sha256: the digest of the annotations.
        identity: the model, as far as the file tells before it is loaded; for the record of a failure.
        journals: the folder in which interrupted evaluations are kept; None: nowhere.
    """

    weights: Path
    data: Path | None
    device: DeviceType
    how: EvaluateStep
    weights_sha256: str | None = None
    data_sha256: str = ""
    identity: Identity = UNKNOWN_MODEL
    journals: Path | None = None

    step: StepName = "evaluate"

    def __str__(self) -> str:
        return f"{self.weights.stem} on {self._data_name}"

    @cached_property
    def key(self) -> str:
        return digest_of(
            weights=self.weights_sha256 or str(self.weights),
            data=self.data_sha256,
            device=self.device,
            how=self._about,
        )

    @property
    def _about(self) -> dict[str, Any]:
        """The step as its key has it: thresholds as the papers' are left out, as before there were others."""
        official = {name for name in THRESHOLDS if getattr(self.how, name) == EvaluateStep.model_fields[name].default}
        official |= {"engine"} if self.how.engine == "torch" else set()
        return self.how.model_dump(mode="json", exclude={"data", *official})

    @property
    def needs(self) -> Needs:
        return Needs(gpus=1) if self.device == "cuda" else Needs()

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.weights,)

    def moved(self, places: Mapping[Path, Path]) -> EvaluateTask:
        """The same evaluation on another machine, which keeps no journals of ours."""
        return replace(self, weights=places.get(self.weights, self.weights), journals=None)

    def run(self) -> list[dict[str, Any]]:
        """Find the record. Loads torch.

        Raises:
            BenchError: weights or data that cannot be read or do not fit each other, or no such device.
        """
        from proscale_bench.bench.evaluate import evaluate_model
        from proscale_bench.bench.execution import ExecutionSettings
        from proscale_bench.bench.predictors import suited
        from proscale_bench.bench.weights import read_weights
        from proscale_bench.evaluation.runner import BatchDone
        from proscale_bench.export.extras import require_engines
        from proscale_bench.models.processes import Processes

        def show(step: BatchDone) -> None:
            tell(f"{step.images_per_second:.1f} images/s", step.done / step.total)

        require_engines([self.how.engine])
        tell("reading the data")
        request = self._request(self._dataset())
        weights = read_weights(self.weights)
        request = suited(request, weights, None, rescaled=self.how.resize == "default")
        settings = ExecutionSettings(device=self.device, engine=self.how.engine, **_execution(self.how))
        with tempfile.TemporaryDirectory(prefix="proscale-bench-") as nowhere:
            outcome = evaluate_model(
                request,
                settings,
                weights,
                self.scratch or Path(nowhere),
                Processes(),
                on_batch=show,
                on_stage=lambda what, done, total: tell(what),
            )
        if outcome is None or outcome.record is None:
            raise BenchError(f"{self}: nothing was found", exit_code=ExitCode.UNTRUSTED)
        return [outcome.record.model_dump(mode="json")]

    def failed(self, failure: Failure) -> list[Record]:
        execution = Execution(
            device=self.device,
            device_name=self.device,
            batch_size=self.how.batch_size,
            mode="eager",
            **_execution(self.how),
        )
        execution = in_engine(execution, self.how.engine)
        known = {"size": self._data_name, "images": self.how.limit or 1, "dataset": self.key}  # as it was asked for
        given = Input.model_validate(dict.fromkeys(Input.model_fields) | known)
        return [failure_record(self.identity, given, failure, execution=execution)]

    @property
    def scratch(self) -> Path | None:
        """The folder of its journal of images."""
        return self.journals / self.key[:16] if self.journals else None

    @property
    def _data_name(self) -> str:
        return EMBEDDED if self.data is None else self.how.split or self.data.name or str(self.data)

    def _dataset(self) -> Dataset:
        from proscale_bench.data.coco import open_dataset
        from proscale_bench.data.embedded import embedded_validation

        if self.data is None:
            return replace(open_dataset(embedded_validation()), name=EMBEDDED)
        return open_dataset(self.data, self.how.split, tasks=self.how.tasks)

    def _request(self, dataset: Dataset) -> EvaluationRequest:
        from proscale_bench.bench.evaluate import EvaluationRequest, default_resize, tasks_on

        how = self.how
        sides = default_resize(dataset) if how.resize == "default" else None
        if "," in how.resize:
            short, longest = map(int, how.resize.split(","))
            sides = short, longest
        tasks = tasks_on(dataset, how.tasks)
        return EvaluationRequest(
            dataset,
            tasks,
            sides,
            how.limit,
            how.batch_size,
            how.bootstrap,
            how.seed,
            thresholds=how.thresholds,
            classes_by=how.classes_by,
        )


def in_engine(execution: Execution, engine: EngineName) -> Execution:
    """The execution of a failure in an engine, whose version is not known."""
    if engine == "torch":
        return execution
    return execution.model_copy(update={"mode": "exported", "inference_engine": engine})


def _execution(how: ProfileStep | EvaluateStep) -> dict[str, Any]:
    """The fields of an execution that both steps have."""
    return how.model_dump(by_alias=False, include={"dtype", "sampling", "optimizations", "threads"})


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read."""
    hashed = hashlib.sha256()
    if not path.is_file():  # opening a pipe would wait for a writer
        return None
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                hashed.update(chunk)
    except OSError:
        return None
    return hashed.hexdigest()
