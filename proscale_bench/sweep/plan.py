"""From a sweep's file to what it stands for, in order: what is counted, then its sittings and evaluations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Set
from pathlib import Path

from proscale_bench.bench.count import Configuration, identity_of
from proscale_bench.bench.evaluate import JOURNALS
from proscale_bench.config.sweep import EMBEDDED, SweepSpec, WeightsFile, read_sweep, shipped_sweeps
from proscale_bench.cost.geometry import COCO_SIZES, InputSize, parse_size
from proscale_bench.data.layout import find_layout
from proscale_bench.data.shapes.scene import VERSION
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.infer import Inferred, infer
from proscale_bench.results.record import UNKNOWN, Identity
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.sweep.measurements import EvaluateTask, ProfileTask, sha256_of
from proscale_bench.sweep.tasks import Measurement
from proscale_bench.units import printable


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
    told = {model.head.num_classes for file in spec.weights if (model := model_told(file))}
    return told.pop() if len(told) == 1 else None


def model_told(file: WeightsFile) -> Inferred | None:
    """The dimensions behind the shapes that a weights file tells of, without torch; None where it does not."""
    try:
        return infer(file.header.shapes, file.header.schedule) if file.header else None
    except BenchError:  # loading will say it
        return None


def _product(spec: SweepSpec) -> Iterator[Configuration]:
    file, classes = spec.file.value, classes_of(spec)
    for size in list(_sizes(spec)):
        for backbone in file.backbones:
            for schedule in spec.schedules:
                yield Configuration(mask2former(schedule, backbone, classes=classes), size, file.rules, file.convention)


def _sizes(spec: SweepSpec) -> Iterator[InputSize]:
    for index, word in enumerate(spec.file.value.sizes):
        try:
            yield parse_size(word)
        except BenchError as error:
            raise BenchError(f"{spec.file.where('sizes', index)}: {error.message}", error.hint) from error


MAX_NAME = 200


def measurements(spec: SweepSpec, run: Path) -> tuple[Measurement, ...]:
    """All that a sweep measures: latencies first, since they want a quiet machine. Reads weights' bytes, no torch.

    Raises:
        BenchError: a size that no latency can be of, or data that is not there; at its `file:line:column`.
    """
    found: list[Measurement] = [*_profiles(spec), *_evaluations(spec, run)]
    return tuple({one.key: one for one in found}.values())  # the same weights in two files are there once


def _profiles(spec: SweepSpec) -> Iterator[ProfileTask]:
    file, how, classes = spec.file.value, spec.file.value.profile, classes_of(spec)
    if how is None:
        return
    for device in file.devices:
        for index, size in enumerate(file.sizes):
            if size in COCO_SIZES:
                raise BenchError(
                    f"{spec.file.where('sizes', index)}: {size}: a latency is of one size, and this is many",
                    "give a size as in 800x1333, or leave out `profile`",
                )
            for backbone in file.backbones:
                for batch_size in how.batch_sizes:
                    yield ProfileTask(backbone, spec.schedules, size, batch_size, device, how, classes)


def _evaluations(spec: SweepSpec, run: Path) -> Iterator[EvaluateTask]:
    file, how = spec.file.value, spec.file.value.evaluate
    if how is None:
        return
    data = None if how.data == EMBEDDED else (Path(spec.file.path).parent / how.data).resolve()
    data_sha256 = _data_digest(spec, data)
    for device in file.devices:
        for weights in spec.weights:
            path = weights.path.resolve()
            found = sha256_of(path)
            identity = _identity(weights, found)
            yield EvaluateTask(path, found, data, data_sha256, device, how, identity, run.resolve() / JOURNALS)


def _identity(weights: WeightsFile, digest: str | None) -> Identity:
    """As far as the header tells."""
    told, model = weights.header, model_told(weights)
    if told is None or model is None or model.spec is None:
        name = printable(weights.path.name).replace("\n", " ")[:MAX_NAME] or UNKNOWN
        return Identity(backbone=UNKNOWN, schedule=UNKNOWN, encoder=UNKNOWN, label=name, weights=digest)
    return identity_of(model.spec, told.digest or digest)


def _data_digest(spec: SweepSpec, data: Path | None) -> str:
    """Of the annotations; of the embedded data, which are the same everywhere, their version."""
    if data is None:
        return hashlib.sha256(f"{EMBEDDED} {VERSION}".encode()).hexdigest()
    evaluate = spec.file.value.evaluate
    try:
        layout = find_layout(data, evaluate.split if evaluate else None)
    except BenchError as error:
        raise BenchError(f"{spec.file.where('evaluate', 'data')}: {error.message}", error.hint) from error
    found = [sha256_of(path) for path in (layout.panoptic_json, layout.instances_json) if path]
    return hashlib.sha256(f"{layout.split} {found}".encode()).hexdigest()
