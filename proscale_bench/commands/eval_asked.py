"""What the flags of `eval` ask for, checked before anything large is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from proscale_bench.errors import BenchError, look_up, one_of

if TYPE_CHECKING:
    from proscale_bench.bench.evaluate import EvaluationRequest, ExecutionSettings, Resize
    from proscale_bench.bench.weights import Weights
    from proscale_bench.data.dataset import Dataset
    from proscale_bench.results.accuracy import Task

MAX_SIDE_PX = 8192


@dataclass(frozen=True)
class Asked:
    """The flags, as they were given."""

    weights: tuple[Path, ...]
    random_weights: int | None
    from_predictions: Path | None
    training_seed: int | None
    schedule: str | None
    backbone: str
    coco: Path | None
    split: str | None
    tasks: str | None
    limit: int | None
    resize: str | None
    batch_size: int
    device: str | None
    dtype: str
    compiled: bool
    sampling: str
    optimizations: bool
    threads: int | None
    bootstrap: int
    seed: int
    reference: bool
    per_class: bool
    visuals: int
    save_predictions: Path | None
    resume: bool
    out: Path | None
    export_json: Path | None
    export_csv: Path | None
    export_markdown: Path | None
    force: bool

    def check(self) -> None:
        """What can be found wrong before anything large is loaded.

        Raises:
            BenchError: nothing to evaluate, flags that exclude each other, or a value that is unknown.
        """
        from proscale_bench.config import choices
        from proscale_bench.config.architecture import get_architecture
        from proscale_bench.config.catalogue import parse_schedule
        from proscale_bench.results.profile import DeviceType, DType

        sources = {
            "--weights": bool(self.weights),
            "--random-weights": self.random_weights is not None,
            "--from-predictions": self.from_predictions is not None,
        }
        given = [flag for flag, there in sources.items() if there]
        if len(given) > 1:
            raise BenchError(f"{' and '.join(given)} exclude each other", "choose one")
        if given and self.training_seed is not None:
            raise BenchError(f"--training-seed chooses among the weights that ship, and {given[0]} is given")
        if self.from_predictions and self.save_predictions:
            raise BenchError("--save-predictions has nothing to save with --from-predictions", "leave it out")
        if self.save_predictions and len(self.files()) > 1:
            raise BenchError("--save-predictions is for one --weights", "evaluate them one by one")
        if self.coco is None and self.split is not None:
            raise BenchError("--split goes with --coco", "the embedded data have one split")
        if self.schedule is not None:
            parse_schedule(self.schedule)
        get_architecture(self.backbone)
        self.wanted_tasks()
        self.sides()
        one_of(DType, self.dtype, "dtype")
        one_of(choices.Sampling, self.sampling, "sampling")
        if self.device is not None:
            one_of(DeviceType, self.device, "device")
        for path in self.files():
            if not path.exists():
                raise BenchError(f"{path}: no such file or folder", "give the path of a checkpoint")

    def files(self) -> tuple[Path, ...]:
        """The weights: those given, else those that ship, unless something else is evaluated.

        Raises:
            BenchError: none are given, and none that are asked for ship.
        """
        from proscale_bench.config.catalogue import parse_schedule
        from proscale_bench.config.weights import require_shipped_weights

        if self.weights or self.random_weights is not None or self.from_predictions:
            return self.weights
        schedule = None if self.schedule is None else parse_schedule(self.schedule)
        return tuple(require_shipped_weights(schedule, self.training_seed).values())

    def wanted_tasks(self) -> tuple[Task, ...] | None:
        """Of `--tasks`, in the usual order; None: what the data have."""
        from proscale_bench.results.accuracy import Task

        if self.tasks is None:
            return None
        known = {name: name for name in get_args(Task)}
        asked = {look_up(known, word.strip(), "task") for word in self.tasks.split(",")}
        return tuple(task for task in get_args(Task) if task in asked)

    def sides(self) -> Resize | str | None:
        """Of `--resize`: two sides, None for `none`, or `default`."""
        if self.resize is None:
            return "default"
        if self.resize.strip().lower() == "none":
            return None
        parts = self.resize.split(",")
        if len(parts) != 2 or not all(part.strip().isdecimal() and len(part.strip()) < 7 for part in parts):
            raise BenchError(f"--resize {self.resize}: not two sides", "as in --resize 800,1333, or --resize none")
        short, longest = (int(part) for part in parts)
        if not 1 <= short <= longest <= MAX_SIDE_PX:
            raise BenchError(
                f"--resize {self.resize}: the short side comes first, and both are 1 to {MAX_SIDE_PX:,} pixels",
                "as in --resize 800,1333",
            )
        return short, longest

    def request(self, dataset: Dataset) -> EvaluationRequest:
        """What to evaluate, as far as the data go.

        Raises:
            BenchError: a task that the data have no truth for.
        """
        from proscale_bench.bench.evaluate import EvaluationRequest, default_resize, tasks_on

        tasks = tasks_on(dataset, self.wanted_tasks())
        if self.visuals and "panoptic" not in tasks:
            raise BenchError("--visuals shows panoptic maps", "add panoptic to --tasks")
        sides = self.sides()
        return EvaluationRequest(
            dataset,
            tasks,
            default_resize(dataset) if isinstance(sides, str) else sides,
            self.limit,
            self.batch_size,
            self.bootstrap,
            self.seed,
            self.reference,
        )

    def settings(self) -> ExecutionSettings:
        """How to run. Loads torch.

        Raises:
            BenchError: no such device.
        """
        import torch

        from proscale_bench.bench.evaluate import ExecutionSettings
        from proscale_bench.results.profile import DeviceType, DType

        device: DeviceType = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device is not None:
            device = one_of(DeviceType, self.device, "device")
        return ExecutionSettings(
            device=device,
            dtype=one_of(DType, self.dtype, "dtype"),
            compiled=self.compiled,
            sampling=self.sampling,
            optimizations=self.optimizations,
            threads=self.threads,
        )

    def models(self, request: EvaluationRequest) -> Iterator[Weights]:
        """The models, loaded one by one."""
        from proscale_bench.bench.weights import random_weights, read_weights
        from proscale_bench.config.catalogue import parse_schedule

        schedule = None if self.schedule is None else parse_schedule(self.schedule)
        if self.random_weights is not None:
            classes = len(request.dataset.categories)
            yield random_weights(schedule or parse_schedule("3,3,3"), self.backbone, classes, self.random_weights)
        for path in self.files():
            yield read_weights(path, schedule)
