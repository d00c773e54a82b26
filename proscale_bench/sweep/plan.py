"""From a sweep's file to the list of configurations that it stands for, in order."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

from proscale_bench.config.catalogue import catalogue
from proscale_bench.config.sweep import SweepSpec, WeightsFile, read_sweep, shipped_sweeps
from proscale_bench.cost.geometry import InputSize, parse_size
from proscale_bench.cost.rules import Convention
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.infer import Inferred, infer
from proscale_bench.results.record import Identity, Input, digest
from proscale_bench.specs.encoders.staged import Schedule


@dataclass(frozen=True)
class Configuration:
    """One thing to count: a schedule on a backbone at a size, under rules; `classes` None: the backbone's own."""

    backbone: str
    schedule: Schedule
    size: InputSize
    rules: str
    convention: Convention
    classes: int | None = None

    @property
    def identity(self) -> Identity:
        return Identity(
            backbone=self.backbone,
            schedule=self.schedule.compact,
            encoder=self.schedule.encoder,
            label=label_of(self.schedule),
            classes=self.classes,
        )

    @property
    def input(self) -> Input:
        return Input.model_validate(self.size.row())

    @cached_property
    def digest(self) -> str:
        """The name of its record."""
        return digest(self.identity, self.input, self.convention, self.rules)

    def __str__(self) -> str:
        return f"{label_of(self.schedule)} on {self.backbone} at {self.size}"


def label_of(schedule: Schedule) -> str:
    """What a reader calls a schedule: its name in the catalogue, else its file's, else its compact spelling."""
    named = next((known.name for known, _ in catalogue() if known == schedule), None)
    return named or schedule.name or schedule.compact


def plan(spec: SweepSpec) -> list[Configuration]:
    """The configurations of a sweep: by size, then backbone, then schedule. One that is named twice is there once.

    Raises:
        BenchError: a size is unknown; at its `file:line:column`.
    """
    configurations = {configuration.digest: configuration for configuration in _product(spec)}
    return list(configurations.values())


def shipped_sweep_of(digests: Set[str], measures: bool = False) -> str | None:
    """The name of the shipped sweep that counts exactly these configurations, or None.

    Args:
        measures: whether it profiles or evaluates too.
    """
    for name, path in shipped_sweeps().items():
        try:
            spec = read_sweep(path)
        except BenchError:  # it needs weights, and none were installed
            continue
        file = spec.file.value
        if measures == (file.profile is not None or file.evaluate is not None) and digests == {
            configuration.digest for configuration in plan(spec)
        }:
            return name
    return None


def classes_of(spec: SweepSpec) -> int | None:
    """The number of classes that all weights of a sweep know: models without weights are then of as many."""
    told = {model.head.num_classes for file in spec.weights if (model := told_model(file))}
    return told.pop() if len(told) == 1 else None


def told_model(file: WeightsFile) -> Inferred | None:
    """The dimensions behind the shapes that a weights file tells of, without torch; None where it does not."""
    try:
        return infer(file.told.shapes, file.told.schedule) if file.told else None
    except BenchError:  # loading will say it
        return None


def _product(spec: SweepSpec) -> Iterator[Configuration]:
    file, classes = spec.file.value, classes_of(spec)
    for size in list(_sizes(spec)):
        for backbone in file.backbones:
            for schedule in spec.schedules:
                yield Configuration(backbone, schedule, size, file.rules, file.convention, classes)


def _sizes(spec: SweepSpec) -> Iterator[InputSize]:
    for index, word in enumerate(spec.file.value.sizes):
        try:
            yield parse_size(word)
        except BenchError as error:
            raise BenchError(f"{spec.file.where('sizes', index)}: {error.message}", error.hint) from error
