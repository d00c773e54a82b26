"""The model that a record is about, as tables tell it from others."""

from __future__ import annotations

from typing import Any, NamedTuple

from proscale_bench.results.record import COCO_CLASSES, Record
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import TRACED


class ModelKey(NamedTuple):
    """A model as tables tell it from others. Weights are not in it: several trainings are of one model.

    Args:
        schedule: or, of a model that could not be read, its label.
        classes: None where an older record does not say, which is no number: such models are alike among themselves.
        dimensions: see `Identity`, by name.
    """

    family: str
    backbone: str
    schedule: str
    classes: int | None
    dimensions: tuple[tuple[str, Any], ...]

    @property
    def architecture(self) -> ModelKey:
        """All but the schedule, and what a traced model was read from: what a model shares with its baseline."""
        return self._replace(schedule="", dimensions=tuple(one for one in self.dimensions if one[0] not in TRACED))


def model_of(record: Record) -> ModelKey:
    """The model that a record is about."""
    one = record.identity
    dimensions = tuple(sorted((one.dimensions or {}).items()))
    return ModelKey(one.model, one.backbone, one.name, classes_of(record), dimensions)


def classes_of(record: Record) -> int | None:
    """The number of classes of a record's model. An older record of weights says it by listing their accuracies."""
    if record.identity.classes is not None or record.identity.model == CUSTOM:
        return record.identity.classes
    if record.identity.weights is None:
        return COCO_CLASSES
    return len(record.evaluated.classes) or None if record.evaluated else None
