"""Accuracies of a model on a data set, in percent: found here, with intervals, or published by others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from proscale_bench.config import choices
from proscale_bench.results.section import Amount, Count, Draws, Interval, Line, Percent, Section, Word

Task = choices.Task

# The names of the contract, in its order; any of them may have an interval.
ACCURACIES = ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap_bbox", "miou")
EXTRAS = ("ap50", "ap75", "ap_small", "ap_medium", "ap_large", "fwiou", "macc", "pacc")


class ClassAccuracy(Section):
    """One class. Null where it is not judged, or where nothing of it was there."""

    name: Word
    is_thing: bool
    pq: Percent = None
    sq: Percent = None
    rq: Percent = None
    true_positives: int | None = None
    false_positives: int | None = None
    false_negatives: int | None = None
    ap: Percent = None
    ap_bbox: Percent = None
    iou: Percent = None


class Evaluated(Section):
    """The details of an accuracy that was found here.

    `replicates` are the metrics of data sets drawn from the images with replacement, the same draws wherever seed and
    images are the same: two models are compared draw by draw.
    """

    tasks: tuple[Task, ...]
    images: Count
    dataset_digest: Word  # of the annotations
    images_digest: Word  # of the images' ids in order
    resize: Word  # `800,1333`, or `none`
    engine: Word  # of AP
    processes: Count
    seconds: Amount
    resamples: int = 0
    seed: int = 0
    training_seed: int | None = None  # of the weights, where they tell; so are the recipe and the start
    training_recipe: Word | None = None  # SHA-256 of all that decides what is learnt
    training_start: Word | None = None  # `fresh`, `backbone` or `baseline`
    classes_by: choices.ClassesBy | None = None  # where the weights' names and the data's differ; left out elsewhere
    data_folder: Word | None = None  # the name of the folder that the data lay in; null for the embedded data
    intervals: dict[Word, Interval] = Field(default_factory=dict)
    replicates: dict[Word, Draws] = Field(default_factory=dict)
    classes: tuple[ClassAccuracy, ...] = ()
    warnings: tuple[Line, ...] = ()
    different_maps: Annotated[int, Field(ge=0)] | None = None  # panoptic maps that are not torch's, of an exported file

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        for optional in ("classes_by", "different_maps"):
            if getattr(self, optional) is None:
                fields.pop(optional, None)
        return fields


class Accuracy(Section):
    """Accuracies in percent: `published` by others, where `source` says, or `measured` here, of these weights."""

    dataset: Word
    pq: Percent = None
    sq: Percent = None
    rq: Percent = None
    pq_things: Percent = None
    pq_stuff: Percent = None
    ap: Percent = None
    ap_bbox: Percent = None
    miou: Percent = None
    ap50: Percent = None
    ap75: Percent = None
    ap_small: Percent = None
    ap_medium: Percent = None
    ap_large: Percent = None
    fwiou: Percent = None
    macc: Percent = None
    pacc: Percent = None
    provenance: Literal["measured", "published"]
    source: Word
    note: Line = ""
    evaluated: Evaluated | None = None  # null where it is published

    def row(self) -> dict[str, Any]:
        """The accuracy as a row of `--export-json`: what only we measure is left out where there is nothing of it."""
        row = self.model_dump(mode="json")
        return {key: value for key, value in row.items() if value is not None or key not in (*EXTRAS, "evaluated")}
