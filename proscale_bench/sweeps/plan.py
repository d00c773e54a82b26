"""Plans a sweep: reads its file and its weights, and lists what is counted and then measured, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from proscale_bench.bench.count import Configuration, identity_of
from proscale_bench.bench.evaluate import JOURNALS
from proscale_bench.bench.predictors import judged_by
from proscale_bench.bench.profile import refuse_expectations
from proscale_bench.bench.specs import read_spec
from proscale_bench.config.catalogue import catalogue
from proscale_bench.config.choices import EMBEDDED, shipped
from proscale_bench.config.model_request import AnyModelFields
from proscale_bench.config.sweep import SweepFile, SweepSpec, read_sweep_file
from proscale_bench.config.weights import read_header
from proscale_bench.config.yaml_file import Document
from proscale_bench.cost.count import as_given
from proscale_bench.cost.geometry import COCO_SIZES, parse_size
from proscale_bench.data.layout import find_layout
from proscale_bench.data.shapes.scene import VERSION
from proscale_bench.errors import BenchError
from proscale_bench.results.record import UNKNOWN, Identity
from proscale_bench.specs.encoders.multiscale import MultiScale
from proscale_bench.specs.families import MASK2FORMER, OwnSpec, as_encoder_of, is_detector, is_own, own_model
from proscale_bench.specs.model import EncoderSpec, ModelSpec, by_exit
from proscale_bench.sweeps.measurements import UNKNOWN_MODEL, EvaluateTask, ProfileTask, sha256_of
from proscale_bench.sweeps.tasks import Measurement
from proscale_bench.units import printable

MAX_NAME = 200
DIMENSIONS = {"classes": "num_classes", "queries": "queries", "width": "width"}  # keys of the file, fields of a head


@dataclass(frozen=True)
class SweptWeights:
    """A file of weights of a sweep; loading it will say why what is None could not be read.

    Args:
        schedule: the schedule that it was trained with.
        spec: the model that it holds.
        digest: the digest of its weights, as far as its header says.
    """

    path: Path
    schedule: EncoderSpec | None
    spec: OwnSpec | None
    digest: str | None


@dataclass(frozen=True)
class Sweep:
    """A sweep as read: its file, and what its weights hold.

    Args:
        models: the models that it counts and profiles. Those of one tuple differ in their schedule alone, or are all
            that `models` names.
        weights: the weights that it evaluates.
        left_out: weights of schedules or backbones that the file does not name.
    """

    file: Document[SweepFile]
    models: tuple[tuple[ModelSpec, ...], ...]
    weights: tuple[SweptWeights, ...]
    left_out: tuple[SweptWeights, ...]

    @property
    def name(self) -> str:
        """The sweep's name, and that of its run's folder."""
        return self.file.value.name

    @property
    def counts(self) -> bool:
        """True where costs on paper are asked for: by name, or by naming no step at all."""
        file = self.file.value
        return file.count is not None or (file.profile is None and file.evaluate is None)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file, and from its weights which models they are. Torch reads what has no header for that.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    spec = read_sweep_file(path)
    weights = [_read_weights(path) for path in spec.weights]
    asked = tuple(one for one in weights if _is_asked_for(one, spec))
    file = spec.file.value
    if file.evaluate is not None and not asked:
        message = "weights: none are of the schedules and backbones that the sweep names"
        hint = "name theirs too, or leave out `schedules` and `backbones`: they are then those of the weights"
        raise spec.file.error(("weights",), message, hint)
    others = len(file.models or ()) > len(file.own_models)
    if file.backbones is None and not others and not any(one.spec for one in asked):
        hint = "name `backbones`; 'proscale-bench models inspect FILE' says what a file holds"
        raise spec.file.error(("weights",), "weights: none of them tells its backbone", hint)
    _require_dimensions(spec.file, asked)
    models = (*_models(spec, asked), *_any_models(spec.file))
    return Sweep(spec.file, models, asked, tuple(one for one in weights if one not in asked))


def plan(sweep: Sweep) -> list[Configuration]:
    """List what a sweep counts: by size, then backbone, then schedule. What is named twice is there once.

    Raises:
        BenchError: a size is unknown; at its `file:line:column`.
    """
    file, found = sweep.file.value, {}
    for index, word in enumerate(file.sizes):
        with sweep.file.at("sizes", index):
            size = parse_size(word)
        for spec in by_exit(spec for models in sweep.models for spec in models):
            configuration = Configuration(spec, as_given(spec, size), file.rules, file.convention)
            found[configuration.digest] = configuration
    return list(found.values())


def shipped_sweep_of(digests: Set[str], measures: bool = False) -> str | None:
    """The name of the shipped sweep that counts exactly these configurations, or None.

    Args:
        measures: whether it profiles or evaluates too.
    """
    for name, path in shipped("sweeps").items():
        try:
            sweep = read_sweep(path)
        except BenchError:  # it needs weights, and none were installed
            continue
        file = sweep.file.value
        if measures == (file.profile is not None or file.evaluate is not None) and digests == {
            configuration.digest for configuration in plan(sweep)
        }:
            return name
    return None


# --- Models ---


def _read_weights(path: Path) -> SweptWeights:
    try:
        header = read_header(path)
    except BenchError:
        header = None
    try:
        spec = read_spec(path, cut_short=True)
    except BenchError:
        spec = None
    schedule = spec.encoder if spec else header.schedule if header else None
    return SweptWeights(path, schedule, spec, header.digest if header else None)


def _is_asked_for(weights: SweptWeights, spec: SweepSpec) -> bool:
    """Tell whether the file asks for these weights; those that cannot be read it does, so that somebody says why."""
    named = None if spec.schedules is None else {schedule.compact for schedule in spec.schedules}
    if named is not None and weights.schedule is not None and weights.schedule.compact not in named:
        return False
    backbones = spec.file.value.backbones
    return backbones is None or weights.spec is None or weights.spec.backbone_name in backbones


def _require_dimensions(file: Document[SweepFile], weights: tuple[SweptWeights, ...]) -> None:
    """Refuse weights of other dimensions than the file names, at the `file:line:column` of the dimension."""
    for key, field in DIMENSIONS.items():
        named = getattr(file.value, key)
        for one in weights:
            found = getattr(one.spec.head, field) if one.spec else named
            if named is not None and found != named:
                message = f"{key}: {named}, and {printable(one.path.name)} has {found}"
                raise file.error((key,), message, f"leave out `{key}`: the models are then as the weights")


def _models(spec: SweepSpec, weights: tuple[SweptWeights, ...]) -> Iterator[tuple[OwnSpec, ...]]:
    """The models of each backbone: with the dimensions of its weights, where it has any."""
    file = spec.file.value
    known = [one.spec for one in weights if one.spec]
    of_weights = dict.fromkeys(one.schedule for one in weights if one.schedule)
    families = file.own_models or [MASK2FORMER]
    known_schedules = (MultiScale(),) if is_detector(families[0]) else tuple(schedule for schedule, _ in catalogue())
    schedules = spec.schedules or tuple(of_weights) or known_schedules
    classes = {one.head.num_classes for one in known}
    dimensions = {key: getattr(file, key) for key in DIMENSIONS}
    if dimensions["classes"] is None and len(classes) == 1:
        (dimensions["classes"],) = classes
    names: Iterable[str] = file.backbones or (one.backbone_name for one in known)
    for name in dict.fromkeys(names):
        own = [one for one in known if one.backbone_name == name]
        for base in dict.fromkeys(one.own_baseline for one in own):
            theirs = dict.fromkeys(one.encoder for one in own if one.own_baseline == base)
            yield tuple(replace(base, encoder=as_encoder_of(base, one)) for one in spec.schedules or theirs)
        if not own:
            with spec.file.at("width"):  # which heads and norms divide, or not
                found = [
                    tuple(own_model(family, schedule, name, **dimensions) for schedule in schedules)
                    for family in families
                ]
            yield from found


def _any_models(file: Document[SweepFile]) -> Iterator[tuple[ModelSpec, ...]]:
    """All models of somebody else's that a file names, as one group: they take turns. Executes the code that they are
    of, and loads torch."""
    from proscale_bench.bench.any_model import find_model
    from proscale_bench.render.console import note

    folder, found = Path(file.path).parent, []
    for index, entry in enumerate(file.value.models or ()):
        if isinstance(entry, str) and is_own(entry):
            continue
        with file.at("models", index):
            named = AnyModelFields(model=entry) if isinstance(entry, str) else entry
            base = named.base_request(folder)
            against = replace(find_model(base, file.value.sizes[0]).spec, is_base=True) if base else None
            one = find_model(named.request(folder), file.value.sizes[0], against=against)
            for said in one.notes:
                note(f"{one.spec}: {said}")
            found.append(one.spec)
    if found:
        yield tuple(found)


# --- Measurements ---


def measurements(sweep: Sweep, run: Path) -> tuple[Measurement, ...]:
    """List what a sweep measures: latencies first, since they want a quiet machine. Reads weights' bytes, no torch.

    Raises:
        BenchError: a size that no latency can be of, or data that is not there; at its `file:line:column`.
    """
    found: list[Measurement] = [*_profiles(sweep), *_evaluations(sweep, run)]
    return tuple({one.key: one for one in found}.values())  # the same weights in two files are there once


def _profiles(sweep: Sweep) -> Iterator[ProfileTask]:
    file, how = sweep.file.value, sweep.file.value.profile
    if how is None:
        return
    for device in file.devices:
        for index, size in enumerate(file.sizes):
            if size in COCO_SIZES:
                message = f"{size}: a latency is of one size, and this is many"
                hint = "give a size as in 800x1333, or leave out `profile`"
                raise sweep.file.error(("sizes", index), message, hint)
            for models in sweep.models:
                with sweep.file.at("profile"):
                    refuse_expectations(models)
                for batch_size in how.batch_sizes:
                    yield ProfileTask(models, size, batch_size, device, how)


def _evaluations(sweep: Sweep, run: Path) -> Iterator[EvaluateTask]:
    file, how = sweep.file.value, sweep.file.value.evaluate
    if how is None:
        return
    data = None if how.data == EMBEDDED else (Path(sweep.file.path).parent / how.data).resolve()
    data_sha256 = _data_digest(sweep.file, data)
    for weights in sweep.weights:
        with sweep.file.at("evaluate", "tasks"):
            if weights.spec is not None and how.tasks is not None:
                judged_by(weights.spec, how.tasks, None, weights.path.name)
    for device in file.devices:
        for weights in sweep.weights:
            path = weights.path.resolve()
            found = sha256_of(path)
            yield EvaluateTask(
                path,
                data,
                device,
                how,
                weights_sha256=found,
                data_sha256=data_sha256,
                identity=_identity(weights, found),
                journals=run.resolve() / JOURNALS,
            )


def _identity(weights: SweptWeights, digest: str | None) -> Identity:
    """The identity of an evaluation that failed, as far as the weights tell."""
    if weights.spec is None:
        name = printable(weights.path.name).replace("\n", " ")[:MAX_NAME] or UNKNOWN
        return UNKNOWN_MODEL.model_copy(update={"label": name, "weights": digest})
    return identity_of(weights.spec, weights.digest or digest)


def _data_digest(file: Document[SweepFile], data: Path | None) -> str:
    """The digest of the annotations; of the embedded data, which are the same everywhere, that of their version."""
    if data is None:
        return hashlib.sha256(f"{EMBEDDED} {VERSION}".encode()).hexdigest()
    evaluate = file.value.evaluate
    with file.at("evaluate", "data"):
        layout = find_layout(data, evaluate.split if evaluate else None)
    found = [sha256_of(path) for path in (layout.panoptic_json, layout.instances_json) if path]
    return hashlib.sha256(f"{layout.split} {found}".encode()).hexdigest()
