"""The records that a limit is about: of its model, run as it says, evaluated on the data that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proscale_bench.config.choices import EMBEDDED
from proscale_bench.config.limit import Limit
from proscale_bench.cost.geometry import COCO_SIZES
from proscale_bench.results.metrics import METRICS

if TYPE_CHECKING:
    from proscale_bench.results.record import Record

RUN = ("batch_size", "mode", "threads", "sampling", "optimizations")  # how a latency was taken, beside the device
SHAPES, EMBEDDED_BACKBONE = "shapes", "tiny"  # what models of the embedded data were trained on, and their backbone


def is_of(limit: Limit, record: Record, *, any_convention: bool = False) -> bool:
    """A record's cost is of the limit's configuration: of its schedule, or of one that had its name.

    Args:
        any_convention: whatever a multiply-accumulate counts in it.
    """
    given = (record.input.size, record.rules, limit.convention if any_convention else record.convention)
    names = (record.identity.schedule == limit.schedule.compact, record.identity.label == limit.schedule.name)
    return given == (limit.size, limit.rules, limit.convention) and any(names) and _is_architecture(limit, record)


def own_data(limit: Limit) -> str | None:
    """The data that accuracies of a limit's model are of where it names none: what weights were trained for, what the
    embedded models are made for, COCO's for models of its classes; None for others."""
    from proscale_bench.results.published import DATASET

    embedded = limit.backbone == EMBEDDED_BACKBONE
    if limit.weights is not None:
        embedded, unknown = limit.weights.data == SHAPES, embedded
        return EMBEDDED if embedded else None if unknown or limit.spec.classes else DATASET
    return EMBEDDED if embedded else None if limit.spec.classes else DATASET


def _is_architecture(limit: Limit, record: Record, *, open_classes: bool = False) -> bool:
    """A record's model has all dimensions of the limit's; `open_classes`: it may have any number of classes."""
    from proscale_bench.results.model_key import classes_of
    from proscale_bench.results.record import COCO_CLASSES

    spec, identity = limit.spec, record.identity
    found = (identity.model, identity.backbone, identity.dimensions or {})
    same = found == (spec.family, spec.backbone_name, spec.dimensions())
    return same and (open_classes or classes_of(record) == (spec.classes or COCO_CLASSES))


def is_model(limit: Limit, record: Record) -> bool:
    """A measured record is of the limit's model: of its weights, where it names a file.

    Models of the embedded data's backbone may have its classes or COCO's, where the limit does not say.
    """
    open_classes = limit.backbone == EMBEDDED_BACKBONE and limit.classes is None and limit.weights is None
    same = _is_architecture(limit, record, open_classes=open_classes)
    if record.identity.schedule != limit.schedule.compact or not same:
        return False
    if limit.weights is None or record.accuracy is None or METRICS[limit.metric].section != "accuracy":
        return True
    told = limit.weights.digest
    return record.identity.weights == told if told else record.accuracy.source == limit.weights.file.name


def fits(limit: Limit, record: Record) -> bool:
    """A limit on something measured is about this record. What the limit leaves open may be anything.

    At COCO's sizes no latency is taken, and an accuracy is of a data set: there the size says nothing.
    """
    if not is_model(limit, record):
        return False
    how = record.execution
    wanted: list[tuple[object, object]] = [
        (limit.device, how and how.device_name),
        (limit.dtype, how and how.dtype),
        (limit.engine, how and how.engine),
    ]
    if METRICS[limit.metric].section == "accuracy":
        return all(asked is None or asked == has for asked, has in wanted) and _is_on_data(limit, record)
    wanted += [
        (None if limit.size in COCO_SIZES else limit.size, record.input.size),
        *((getattr(limit, name), getattr(how, name, None)) for name in RUN),
    ]
    return all(asked is None or asked == has for asked, has in wanted)


def _is_on_data(limit: Limit, record: Record) -> bool:
    """An accuracy is of the data that the limit names, or of all of the model's own."""
    from proscale_bench.results.published import COCO_IMAGES, DATASET, data_of
    from proscale_bench.results.record import protocol_of

    accuracy, protocol = record.accuracy, protocol_of(record)
    wanted = limit.dataset or own_data(limit)
    if accuracy is None or wanted is None:
        return False
    if protocol is None:  # published, or of a record that says no more than the name of the data
        return wanted in (accuracy.dataset, data_of(accuracy)) and not (limit.split or limit.images or limit.tasks)
    names = {accuracy.dataset, data_of(accuracy), protocol.dataset}
    names |= {accuracy.evaluated.data_folder} if accuracy.evaluated and accuracy.evaluated.data_folder else set()
    names |= {DATASET} if DATASET.endswith(f" {protocol.dataset}") else set()
    is_whole = protocol.limit is None and (wanted != DATASET or protocol.images == COCO_IMAGES)
    return (
        wanted in names
        and (is_whole if limit.images is None else limit.images == protocol.images)
        and limit.split in (None, protocol.split)
        and (limit.tasks is None or set(limit.tasks) == set(protocol.tasks))
    )


def found_alike(one: Record, other: Record, schedule: str) -> bool:
    """Another record of the same model but this schedule, whose numbers were found in the same way."""
    from proscale_bench.results.model_key import model_of
    from proscale_bench.results.record import protocol_of

    first, second = (
        (model_of(record).architecture, record.input, record.execution, protocol_of(record)) for record in (one, other)
    )
    return first == second and other.identity.schedule == schedule
