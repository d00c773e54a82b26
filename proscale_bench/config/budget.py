"""The YAML form of budgets: limits on metrics, by schedule, backbone, size and device.

schema_version: 1
defaults: {backbone: resnet50, size: coco-first100, rules: fvcore}
budgets:
  - schedule: proscale-3-3-3      # a name, a file (seen from this file) or a compact spelling
    encoder_gflops: {max: 63.5}
    total_gflops: {max_increase_pct: 1, against: reports/paper}
    latency_median_ms: {max: 40.0, size: 800x1333, device: NVIDIA H200, mode: eager, level: warn}
    pq: {min: 51.4, published: true}                 # on all of COCO val2017, the schedule's own data
  - weights: mine.safetensors     # or schedule and backbone, with `classes`, `queries` or `width` of one's own
    pq: {min: 40, dataset: my_data, images: 500}
  - model: my_file.py:Net         # or any model, whose code is run; with `model_args`, `inputs`, `depth`, `allow`,
    total_gflops: {max: 12}       # `training`, and `baseline`, a model that `against: baseline` is

`min_change: 0.1`, at a limit, a budget or in `defaults`: an excess below 0.1 % does not count.
What a limit leaves open is as its budget has it, then as `defaults` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from proscale_bench.config import choices
from proscale_bench.config.catalogue import parse_schedule_of
from proscale_bench.config.limit import Bound, Level, Limit, LimitedWeights
from proscale_bench.config.model_request import AnyModelFields
from proscale_bench.config.yaml_file import Document, SchemaVersion, StrictModel, as_tuple, load_yaml, seen_from
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import BackboneName
from proscale_bench.specs.custom import CUSTOM, ModelRequest
from proscale_bench.specs.families import MASK2FORMER, is_own, own_model
from proscale_bench.specs.model import EncoderSpec, ModelSpec

# YAML reads the bare word off as false.
LevelWord = Annotated[Level, BeforeValidator(lambda word: "off" if word is False else word)]
BOUNDS: tuple[Bound, ...] = ("max", "min", "max_increase_pct", "max_decrease_pct")
AGAINST = ("baseline", "record")  # or the path of a run
OF_OTHERS = ("model_args", "inputs", "depth", "allow", "baseline")  # keys of models of somebody else's
OF_PARTS = {"encoder_gflops": "encoder", "token_layers_gflops": "encoder_token_layers"}


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=-100, le=1e6, allow_inf_nan=False)]
MinChange = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Number = Annotated[int, Field(ge=1)]
Tasks = Annotated[tuple[choices.Task, ...], Field(min_length=1), BeforeValidator(as_tuple)]


class BudgetSection(StrictModel):
    """A part of the file, which is never read by itself: its own reader is not built."""

    model_config = ConfigDict(defer_build=True)


class _Limit(BudgetSection):
    """Bounds that a metric must keep within; a percentage is of what the limit is held `against`."""

    max: Amount | None = None
    min: Amount | None = None
    max_increase_pct: Percent | None = None
    max_decrease_pct: Percent | None = None
    against: Name | None = None
    level: LevelWord | None = None
    min_change: MinChange | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_limit(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("a limit is written {max: 1.0} or {min: 1.0}")
        if not value.keys() & set(BOUNDS):
            raise ValueError(f"a limit has at least one of {', '.join(BOUNDS)}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> _Limit:
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if self.against and self.max_increase_pct is None and self.max_decrease_pct is None:
            raise ValueError("'against' goes with max_increase_pct or max_decrease_pct")
        return self


class RunScope(BudgetSection):
    """The device, number format and engine of what was run."""

    device: Name | None = None
    engine: choices.EngineName | None = None
    dtype: choices.ExecutedDType | None = None


class ProfileScope(RunScope):
    """The execution of what was profiled."""

    batch_size: Number | None = None
    mode: choices.Mode | None = None
    threads: Number | None = None
    sampling: Name | None = None
    optimizations: bool | None = None


class AccuracyScope(RunScope):
    """The data and tasks of what was evaluated: the model's own data where none are named, and all of their images."""

    dataset: Name | None = None
    split: Name | None = None
    images: Number | None = None
    tasks: Tasks | None = None


class CostLimit(_Limit):
    """A limit on what is counted on paper."""

    size: Name | None = None


class ProfileLimit(_Limit, ProfileScope):
    """A limit on what was measured on a device; every record that fits must keep it."""

    size: Name | None = None


class AccuracyLimit(_Limit, AccuracyScope):
    """A limit on an accuracy in percent; `published` lets what others found stand in where nothing was measured."""

    published: bool | None = None


class Defaults(ProfileScope, AccuracyScope):
    """The model, and the scope of limits that leave it open."""

    backbone: BackboneName | None = None
    classes: Number | None = None
    queries: Number | None = None
    width: Number | None = None
    size: Name | None = None
    rules: Literal["fvcore", "published", "complete", "products"] | None = None
    convention: Literal["mac", "flop"] | None = None
    level: LevelWord | None = None
    min_change: MinChange | None = None


class Budget(Defaults, AnyModelFields):
    """Limits on the metrics of one configuration: of a schedule on a backbone, of the model of weights, or of any."""

    schedule: Name | None = None
    weights: Name | None = None
    encoder_gflops: CostLimit | None = None
    token_layers_gflops: CostLimit | None = None
    total_gflops: CostLimit | None = None
    params_m: CostLimit | None = None
    activation_mib: CostLimit | None = None
    latency_median_ms: ProfileLimit | None = None
    throughput_ips: ProfileLimit | None = None
    latency_saving_pct: ProfileLimit | None = None
    encoder_latency_saving_pct: ProfileLimit | None = None
    peak_memory_mib: ProfileLimit | None = None
    energy_j: ProfileLimit | None = None
    pq: AccuracyLimit | None = None
    sq: AccuracyLimit | None = None
    rq: AccuracyLimit | None = None
    pq_things: AccuracyLimit | None = None
    pq_stuff: AccuracyLimit | None = None
    ap: AccuracyLimit | None = None
    ap_bbox: AccuracyLimit | None = None
    miou: AccuracyLimit | None = None


NAMES = {*Defaults.model_fields, *AnyModelFields.model_fields, "schedule", "weights"}
BUDGET_METRICS = tuple(name for name in Budget.model_fields if name not in NAMES)
MODEL = ("backbone", "classes", "queries", "width")
SCOPE = set(Defaults.model_fields) - set(MODEL)
BUILT_IN: dict[str, Any] = dict.fromkeys(SCOPE)
BUILT_IN |= {"size": "coco-first100", "rules": "fvcore", "convention": "mac", "level": "error", "min_change": 0.0}


class BudgetFile(StrictModel):
    schema_version: SchemaVersion
    defaults: Defaults = Field(default_factory=Defaults)
    budgets: Annotated[list[Budget], Field(min_length=1, max_length=5_000)]


WeightsReader = Callable[[Path], LimitedWeights]
ModelReader = Callable[[ModelRequest, str, "ModelRequest | None"], ModelSpec]  # of a model, a size, and its baseline
PassReader = Callable[[ModelSpec, bool, bool], ModelSpec]  # of a model of ours, its training, and its memory


def read_budgets(
    path: Path,
    read_weights: WeightsReader | None = None,
    read_model: ModelReader | None = None,
    read_pass: PassReader | None = None,
) -> list[Limit]:
    """Every limit of a file, in its order.

    Args:
        read_weights: reads the weights that a budget names; None where none can be read.
        read_model: loads and traces the model that a budget names; None where nobody's code is to be run.
        read_pass: makes a model of ours one whose training or memory is traced.

    Raises:
        BenchError: each problem at its `file:line:column`; unknown schedules, backbones and metrics among them.
    """
    document = load_yaml(path, BudgetFile)
    read_schedule = cache(lambda model, word: parse_schedule_of(model, seen_from(path.parent, word)))
    limits: list[Limit] = []
    read = cache(read_weights) if read_weights else None
    for index, budget in enumerate(document.value.budgets):
        named = None if is_own(budget.model or MASK2FORMER) else (_any_model(document, index, read_model), None)
        found = list(_limits(document, index, *(named or _model(document, index, read_schedule, read)), read_pass))
        if not found:
            message = f"no limit on {budget.schedule or budget.weights or budget.model}"
            raise document.error(("budgets", index), message, "as in encoder_gflops: {max: 63.5}")
        limits += found
    return limits


def _model(
    document: Document[BudgetFile],
    index: int,
    read_schedule: Callable[[str, str], EncoderSpec],
    read_weights: WeightsReader | None,
) -> tuple[ModelSpec, LimitedWeights | None]:
    """The model of a budget, and its weights."""
    budget, defaults = document.value.budgets[index], document.value.defaults
    for name in (name for name in OF_OTHERS if getattr(budget, name)):
        message = f"{name}: is of a model of somebody else's, which `model` names"
        raise document.error(("budgets", index, name), message, "leave it out")
    with document.at("budgets", index, "weights" if budget.weights else "schedule"):
        if budget.weights is None:
            if budget.schedule is None:
                raise BenchError("no schedule and no weights", "say `schedule: 3,3,3`, or `weights: FILE`")
            named = {name: getattr(budget, name) or getattr(defaults, name) for name in MODEL}
            named["backbone"] = named["backbone"] or "resnet50"
            return own_model(model := budget.model or MASK2FORMER, read_schedule(model, budget.schedule), **named), None
        if said := [name for name in ("schedule", *MODEL) if getattr(budget, name) is not None]:
            raise BenchError(f"weights say their {' and '.join(said)} themselves", f"leave out {', '.join(said)}")
        if read_weights is None:
            raise BenchError("weights cannot be read here", "give schedule and backbone")
        weights = read_weights(Path(document.path).parent / budget.weights)
    return weights.spec, weights


def _any_model(document: Document[BudgetFile], index: int, read_model: ModelReader | None) -> ModelSpec:
    """The model of somebody else's that a budget names, traced at its size."""
    budget, folder = document.value.budgets[index], Path(document.path).parent
    with document.at("budgets", index, "model"):
        if said := [name for name in ("schedule", "weights", *MODEL) if getattr(budget, name) is not None]:
            raise BenchError(f"a model and {' and '.join(said)}", "leave out one of them")
        size = budget.size or document.value.defaults.size
        if size is None or size.startswith("coco-") or read_model is None:
            raise BenchError(f"{budget.model}: a trace is of one size", "say size: 640x640")
        weighed = replace(budget.request(folder), memory=budget.activation_mib is not None)
        spec = read_model(weighed, size, budget.base_request(folder))
    for metric, part in OF_PARTS.items():
        if getattr(budget, metric) is not None and part not in {one.name for one in spec.parts}:
            message = f"{metric}: {budget.model} has no part '{part}'"
            raise document.error(("budgets", index, metric), message, "limit total_gflops")
    return spec


def _limits(
    document: Document[BudgetFile],
    index: int,
    spec: ModelSpec,
    weights: LimitedWeights | None,
    read_pass: PassReader | None,
) -> Iterator[Limit]:
    budget, defaults, folder = document.value.budgets[index], document.value.defaults, Path(document.path).parent
    of_budget = BUILT_IN | _given(defaults) | _given(budget)
    for metric in BUDGET_METRICS:
        limit: _Limit | None = getattr(budget, metric)
        if limit is None:
            continue
        key = ("budgets", index, metric)
        line, column = document.place(*key)
        scope = of_budget | _given(limit)
        limited = spec
        if spec.family != CUSTOM and isinstance(limit, CostLimit) and (budget.training or metric == "activation_mib"):
            if read_pass is None or scope["size"].startswith("coco-"):
                raise document.error(key, f"{metric}: a trace is of one size", "say size: 640x640")
            limited = read_pass(spec, budget.training, metric == "activation_mib")
        if isinstance(limit, ProfileLimit) and scope["device"] is None:
            raise document.error(key, f"{metric}: no device", "what is measured is compared on one device: name it")
        for bound in BOUNDS:
            value = getattr(limit, bound)
            if value is not None:
                yield Limit(
                    file=document.path,
                    line=line,
                    column=column,
                    key=(*key, bound),
                    metric=metric,
                    bound=bound,
                    value=value,
                    spec=limited,
                    weights=weights,
                    classes=spec.classes if weights else budget.classes or defaults.classes,
                    written=budget.schedule or budget.weights or str(spec),
                    size_at=_size_at(document, index, metric),
                    published=getattr(limit, "published", None) or False,
                    against=_against(document, limit, key, folder) if bound.endswith("_pct") else None,
                    **scope,
                )


def _given(part: Defaults | _Limit) -> dict[str, Any]:
    """The scope and level of limits that a part of the file names."""
    return {name: value for name in part.model_fields_set & SCOPE if (value := getattr(part, name)) is not None}


def _size_at(document: Document[BudgetFile], index: int, metric: str) -> str:
    places = (("budgets", index, metric, "size"), ("budgets", index, "size"), ("defaults", "size"))
    return document.where(*next((loc for loc in places if loc in document.places), ("budgets", index)))


def _against(document: Document[BudgetFile], limit: _Limit, key: tuple[str | int, ...], folder: Path) -> str:
    if limit.against in (None, "record") and not isinstance(limit, CostLimit):
        raise document.error(key, f"{key[-1]}: a percentage of what?", "say against: baseline, or the path of a run")
    against = limit.against or "record"
    return against if against in AGAINST else str(folder / against)
