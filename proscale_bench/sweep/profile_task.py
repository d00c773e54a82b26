"""One sitting as a task: the schedules of a backbone at a size, in turns with the baseline, alone on the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proscale_bench.config.sweep import ProfileStep
from proscale_bench.cost.geometry import parse_size
from proscale_bench.machine import cpu_name, usable_cores
from proscale_bench.results.profile import DeviceType, Execution, Mode
from proscale_bench.results.record import Failure, Record
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.sweep.executors import Needs
from proscale_bench.sweep.profile_record import Request, records
from proscale_bench.sweep.tasks import StepName, digest_of, failure_record, tell


@dataclass(frozen=True)
class ProfileTask:
    """What to profile, and how: see `config.sweep.ProfileStep`."""

    backbone: str
    schedules: tuple[Schedule, ...]
    size: str
    batch_size: int
    device: DeviceType
    how: ProfileStep
    classes: int | None = None

    step: StepName = "profile"

    def __str__(self) -> str:
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        return f"{self.backbone} at {self.size} on {self.device}{batch}"

    @property
    def slot(self) -> str:
        """A sitting of other schedules takes the place of this one: their times are of one session, or of none."""
        return digest_of(**self._about)

    @property
    def key(self) -> str:
        return digest_of(**self._about, schedules=[schedule.compact for schedule in self._request.in_turns])

    @property
    def _about(self) -> dict[str, Any]:
        fields = {key: value for key, value in asdict(self).items() if key not in ("schedules", "how")}
        return fields | {"how": self.how.model_dump(mode="json", exclude={"batch_sizes"})}

    @property
    def needs(self) -> Needs:
        return Needs(gpus=1) if self.device == "cuda" else Needs(alone=True)

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    @property
    def scratch(self) -> Path | None:
        return None

    def moved(self, places: Mapping[Path, Path]) -> ProfileTask:
        return self

    def run(self) -> list[dict[str, Any]]:
        """A record a schedule, of one session. Loads torch.

        Raises:
            BenchError: no such device, or the models do not fit into memory.
        """
        from proscale_bench.measure.ceilings import cached_ceilings
        from proscale_bench.measure.latency import Limits
        from proscale_bench.measure.profile import Session, Settings

        how = self.how
        settings = Settings(
            device=self.device,
            dtype=how.dtype,
            compiled=how.compiled,
            cuda_graphs=how.cuda_graphs,
            sampling=how.sampling,
            optimizations=how.optimizations,
            threads=how.threads,
            seed=how.seed,
            limits=Limits(how.max_seconds, how.repeats),
        )
        request = self._request
        tell("building the models")
        with Session(settings, request.in_turns, self.backbone, self.classes) as session:
            found = session.measure(self.batch_size, request.sides, request.output_sides, tell)
            ceilings = cached_ceilings(session.execution(self.batch_size))
            return [record.model_dump(mode="json") for record in records(request, found, session.environment, ceilings)]

    def failed(self, failure: Failure) -> list[Record]:
        execution = Execution(
            device=self.device,
            device_name=cpu_name() if self.device == "cpu" else "GPU",
            dtype=self.how.dtype,
            batch_size=self.batch_size,
            mode=self._mode,
            sampling=self.how.sampling,
            optimizations=self.how.optimizations,
            threads=self.how.threads or usable_cores(),
        )
        request = self._request
        return [
            failure_record(one.identity, one.input, failure, execution=execution)
            for one in map(request.configuration, request.in_turns)
        ]

    @property
    def _mode(self) -> Mode:
        if self.how.cuda_graphs:
            return "compiled_cuda_graphs" if self.how.compiled else "cuda_graphs"
        return "compiled" if self.how.compiled else "eager"

    @property
    def _request(self) -> Request:
        return Request(self.schedules, self.backbone, parse_size(self.size), (self.batch_size,), classes=self.classes)
