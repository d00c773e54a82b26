"""The YAML form of a sweep: a product of backbones, sizes, schedules, weights and devices, and what is done with it.

schema_version: 1
name: paper
backbones: [resnet50, swin_t] # without it: those of the weights
schedules: catalogue          # or a list of names, files (seen from this file) and compact spellings;
                              # without it: those of the weights, else the catalogue
models: [deformable-detr]     # ours, with the schedules and backbones above; or others': my_file.py:Net
classes: 80                   # of every model, as are `queries` and `width`;
                              # without it: as the weights have it, else as the backbone's name stands for
sizes: [coco-first100, 800x1333]
rules: fvcore
convention: mac
weights: zoo                  # those that ship; or a list of files (seen from this file)
devices: [cpu, cuda]          # cpu without it: the same everywhere
count:                        # the three steps; only count where none is named
profile: {threads: 1}
evaluate: {data: shapes-val}  # or a folder as COCO's (seen from this file)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from proscale_bench.config import choices
from proscale_bench.config.catalogue import catalogue, parse_schedule_of
from proscale_bench.config.choices import EMBEDDED
from proscale_bench.config.model_request import AnyModelFields
from proscale_bench.config.weights import require_shipped_weights
from proscale_bench.config.yaml_file import (
    Document,
    SchemaVersion,
    StrictModel,
    as_list,
    as_tuple,
    load_yaml,
    seen_from,
)
from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.backbones import BackboneName
from proscale_bench.specs.families import MASK2FORMER, is_detector, is_own
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import printable

CATALOGUE, ZOO = "catalogue", "zoo"
MAX_ENTRIES = 200
MAX_SIDE_PX = 8192


def _as_section(value: Any) -> Any:
    """A step's name alone asks for the step."""
    return {} if value is None else value


def _resize(word: str) -> str:
    sides = [int(side) for side in word.split(",") if side.strip().isdecimal() and len(side.strip()) < 7]
    two_sides = len(sides) == 2 == len(word.split(",")) and 1 <= sides[0] <= sides[1] <= MAX_SIDE_PX
    if word not in ("default", "none") and not two_sides:
        raise ValueError(f"none, or the short side and the longest, up to {MAX_SIDE_PX} pixels, as in '800,1333'")
    return word


Backbones = Annotated[list[BackboneName], Field(min_length=1, max_length=MAX_ENTRIES), BeforeValidator(as_list)]
Dimension = Annotated[int, Field(ge=1, le=65_536)]
Words = Annotated[list[str], Field(min_length=1, max_length=MAX_ENTRIES), BeforeValidator(as_list)]
Tasks = Annotated[tuple[choices.Task, ...], Field(min_length=1), BeforeValidator(as_tuple)]
Threads = Annotated[int, Field(ge=1, le=1024)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
BatchSizes = Annotated[tuple[BatchSize, ...], Field(min_length=1, max_length=MAX_ENTRIES), BeforeValidator(as_tuple)]
Threshold = Annotated[float, Field(ge=0, le=1)]
Engines = Annotated[tuple[choices.EngineName, ...], Field(min_length=1), BeforeValidator(as_tuple)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Optimizations = Annotated[
    bool,
    Field(validation_alias=AliasChoices("optimizations", "rewrites"), serialization_alias="rewrites"),  # its first name
]


Step = TypeVar("Step", bound=StrictModel)


class CountStep(StrictModel):
    """The step that counts every configuration on paper; rules and convention stand at the top of the file."""


class ProfileStep(StrictModel):
    """The step that does what `profile` does, on every backbone and size, schedules in turns with the baseline."""

    batch_sizes: BatchSizes = (1,)
    dtype: choices.DType = "fp32"
    compiled: bool = False
    cuda_graphs: bool = False
    sampling: choices.Sampling = "auto"
    optimizations: Optimizations = True
    threads: Threads | None = None  # as many as PyTorch likes
    seed: Seed = 0
    max_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0  # a schedule
    repeats: Annotated[int, Field(ge=1)] | None = None  # until stable
    sessions: Annotated[int, Field(ge=1, le=1000)] = 1  # fresh processes that share the time
    engines: Engines = ("torch",)  # in turns; all but torch run exported files, on the CPU in fp32


class EvaluateStep(StrictModel):
    """The step that does what `eval` does, on all weights. One thread each, so that any number of processes finds the
    same."""

    data: str = EMBEDDED
    split: str | None = None
    tasks: Tasks | None = None  # all that there is truth for
    limit: Annotated[int, Field(ge=1)] | None = None
    resize: Annotated[str, AfterValidator(_resize)] = "default"  # as the official pipeline; the embedded data are not
    score_threshold: Threshold = choices.OFFICIAL_THRESHOLDS.score  # of the panoptic merge, as are these
    overlap_threshold: Threshold = choices.OFFICIAL_THRESHOLDS.overlap
    mask_threshold: Threshold = choices.OFFICIAL_THRESHOLDS.mask
    classes_by: choices.ClassesBy = "name"
    batch_size: BatchSize = 1
    dtype: choices.DType = "fp32"
    sampling: choices.Sampling = "auto"
    optimizations: Optimizations = True
    threads: Threads = 1
    engine: choices.EngineName = "torch"  # all but torch run an exported file, on the CPU in fp32
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    seed: Seed = 0

    @property
    def thresholds(self) -> choices.PostprocessingThresholds:
        return choices.PostprocessingThresholds(self.score_threshold, self.mask_threshold, self.overlap_threshold)

    @model_serializer(mode="wrap")
    def _as_before_there_was_a_choice(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        if self.classes_by == "name":  # so that the keys of what was evaluated before stay
            fields.pop("classes_by", None)
        return fields


def step_of(kind: type[Step], keys: dict[str, Any]) -> Step:
    """A step from the arguments of a Python function, which are named and checked as the keys of a file.

    Raises:
        BenchError: an unknown key, or a value that it cannot have.
    """
    try:
        return kind.model_validate(keys)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise BenchError(f"{where}: {problem['msg']}", f"there are {', '.join(kind.model_fields)}") from error


class SweepFile(StrictModel):
    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=400)] = ""
    backbones: Backbones | None = None
    schedules: Words | None = None
    classes: Dimension | None = None
    queries: Dimension | None = None
    width: Dimension | None = None
    models: Annotated[list[str | AnyModelFields], Field(min_length=1, max_length=MAX_ENTRIES)] | None = None
    sizes: Words
    rules: Literal["fvcore", "published", "complete", "products"] = "fvcore"
    convention: Literal["mac", "flop"] = "mac"
    weights: Words | None = None
    devices: Annotated[list[choices.DeviceType], Field(min_length=1), BeforeValidator(as_list)] = ["cpu"]  # noqa: RUF012
    count: Annotated[CountStep | None, BeforeValidator(_as_section)] = None
    profile: Annotated[ProfileStep | None, BeforeValidator(_as_section)] = None
    evaluate: Annotated[EvaluateStep | None, BeforeValidator(_as_section)] = None

    @property
    def own_models(self) -> list[str]:
        """The families of ours that `models` names, with their options."""
        return [one for one in self.models or () if isinstance(one, str) and is_own(one)]


@dataclass(frozen=True)
class SweepSpec:
    """A sweep's file as read. What its weights hold, and so which models it is about, is for `sweep.plan` to say.

    Args:
        schedules: the schedules that it names; None: those of the weights, else the catalogue.
        weights: the files, each once.
    """

    file: Document[SweepFile]
    schedules: tuple[EncoderSpec, ...] | None
    weights: tuple[Path, ...] = ()


def read_sweep_file(path: Path) -> SweepSpec:
    """Read a sweep's file and every schedule that it names.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    document = load_yaml(path, SweepFile)
    file = document.value
    weights = tuple(dict.fromkeys(_weights(document, path.parent)))
    if file.evaluate is not None:
        if not weights:
            advice = "name files with `weights: [model.safetensors]`, or those that ship with `weights: zoo`"
            raise document.error(("evaluate",), "evaluate: there are no weights", advice)
        data = path.parent / file.evaluate.data
        if file.evaluate.data != EMBEDDED and not os.path.isdir(data):  # noqa: PTH112 - pathlib raises on what cannot be a path
            hint = did_you_mean(file.evaluate.data, (EMBEDDED,), f"a folder as COCO's, or the embedded {EMBEDDED}")
            raise document.error(("evaluate", "data"), f"data: {printable(str(data))}: no such folder", hint)
    if file.backbones is None and not weights and len(file.models or ()) == len(file.own_models):
        raise document.error((), "backbones: required key is missing", "or name `weights` to take theirs")
    if file.profile is not None and file.profile.cuda_graphs and "cpu" in file.devices:
        raise document.error(("profile", "cuda_graphs"), "cuda_graphs: not on a CPU", "devices: cuda")
    _require_one_family(document)
    _check_engines(document)
    named = None if file.schedules is None else tuple(dict.fromkeys(_schedules(document, path.parent)))
    return SweepSpec(document, named, weights)


def _require_one_family(document: Document[SweepFile]) -> None:
    """Refuse schedules of two families at once: they are spelt alike, and are not the same."""
    own = document.value.own_models
    if len({is_detector(name) for name in own}) > 1:
        message, hint = f"models: {own[0]} and {own[-1]} have no schedule in common", "give each a sweep of its own"
        raise document.error(("models",), message, hint)


def _check_engines(document: Document[SweepFile]) -> None:
    """Refuse what exported files cannot do, where an engine runs them."""
    file = document.value
    for step in ("profile", "evaluate"):
        asked = getattr(file, step)
        key = "engines" if step == "profile" else "engine"
        names = () if asked is None else (asked.engines if step == "profile" else (asked.engine,))
        others = [name for name in names if name != "torch"]
        theirs = [one for one in file.models or () if one not in file.own_models]
        if others and ("cuda" in file.devices or asked.dtype != "fp32" or not asked.optimizations or theirs):
            what = f"{key}: {others[0]} runs exported files of schedules, on the CPU in fp32, optimized"
            raise document.error((step, key), what, "leave out the others of devices, dtype, optimizations and models")


def _schedules(document: Document[SweepFile], folder: Path) -> Iterator[EncoderSpec]:
    own = document.value.own_models
    for index, word in enumerate(document.value.schedules or ()):
        if word == CATALOGUE:
            yield from (schedule for schedule, _ in catalogue())
            continue
        try:
            yield parse_schedule_of(own[0] if own else MASK2FORMER, seen_from(folder, word))
        except BenchError as error:
            hint = did_you_mean(word, (CATALOGUE,), error.hint)
            raise error.within(document.where("schedules", index), hint) from error


def _weights(document: Document[SweepFile], folder: Path) -> Iterator[Path]:
    for index, word in enumerate(document.value.weights or ()):
        with document.at("weights", index):
            paths = list(require_shipped_weights().values()) if word == ZOO else [folder / word]
        if not os.path.exists(paths[0]):  # noqa: PTH110 - pathlib raises on what cannot be a path
            otherwise = "paths are seen from the sweep's own folder; `zoo` names those that ship"
            hint = did_you_mean(word, (ZOO,), otherwise)
            raise document.error(("weights", index), f"{printable(str(paths[0]))}: no such file", hint)
        yield from paths
