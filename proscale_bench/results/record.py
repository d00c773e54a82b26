"""One row of what is known of one configuration: the file format of a run.

A record is named by the digest of what identifies it (model, weights, input, how it is counted, how it was run and
evaluated if it was), never by what was found: a repeated measurement replaces the old one, and a resumed sweep knows
what it has. Sections that a run did not fill are null. Units are in the key names.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from proscale_bench.results.accuracy import Accuracy, Evaluated, Task
from proscale_bench.results.profile import Execution, Profile
from proscale_bench.results.section import Amount, Count, Line, Section, Word
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.units import printable_lines

SCHEMA_VERSION: Literal[1] = 1
UNKNOWN = "unknown"
COCO_CLASSES = 133  # of the panoptic task: what a model has of which nothing else is said


def _as_tuples(value: Any) -> Any:
    """Dimensions as the record keeps them: lists are tuples, and no dimensions are null."""
    if not isinstance(value, dict):
        return value
    return {key: tuple(one) if isinstance(one, list) else one for key, one in value.items()} or None


Dimensions = Annotated[dict[Word, int | Word | tuple[int, ...]] | None, BeforeValidator(_as_tuples)]


class Identity(Section):
    """The model. `schedule` is the canonical compact spelling; `label` is what a reader calls it.

    Of weights that could not be read, all but the label may be unknown.

    Args:
        model: the family.
        classes: null: COCO's 133, or, in records of weights by older versions, as many as the weights know.
        dimensions: those in which the model differs from what its backbone's name stands for, such as
            `{"queries": 20, "width": 128}`; null where it differs in none.
        weights: SHA-256 of the weights.
        class_order: place among the data's categories, from 0, of each class of the weights, whose names are no part of
            their digest; null, and left out, where both have one order.
    """

    model: Word = "Mask2Former"
    backbone: Word
    schedule: Word
    encoder: Word
    label: Word
    classes: Count | None = None
    dimensions: Dimensions = None
    weights: Word | None = None
    class_order: Annotated[tuple[int, ...], Field(min_length=1)] | None = None

    @property
    def name(self) -> str:
        """The schedule, or what else there is to tell it from others."""
        return self.label if self.schedule == UNKNOWN else self.schedule

    @property
    def trained(self) -> str | None:
        """The mark of these weights among others of the model: their digest, and another order of classes."""
        order = f" {','.join(map(str, self.class_order))}" if self.class_order else ""
        return self.weights and self.weights + order

    @model_serializer(mode="wrap")
    def _without_the_usual_order(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        if self.class_order is None:
            fields.pop("class_order", None)
        return fields


class Input(Section):
    """The input of a model. The sides are null for a set of images; `dataset` is the digest of one evaluated."""

    size: Word
    height_px: Count | None
    width_px: Count | None
    padded_height_px: Count | None
    padded_width_px: Count | None
    output_height_px: Count | None
    output_width_px: Count | None
    images: Count
    dataset: Word | None = None


class EvaluationProtocol(Section):
    """The protocol of an evaluation: all that decides an accuracy beside the model and how it was run.

    In a record it is complete. Read off what an older version wrote (`protocol_of`), null is what that does not say.

    Args:
        dataset: the name of the data: of the split, or of the embedded data.
        annotations: SHA-256 of the annotation files.
        split: as the files name it.
        images: how many were evaluated.
        limit: the number of the split's first images that were asked for; null: all of them.
        resize: `800,1333`, or `none`.
        thresholds: of the post-processing, by name.
    """

    dataset: Word
    annotations: Word
    split: Word | None = None
    images: Count
    limit: Count | None = None
    tasks: tuple[Task, ...]
    resize: Word
    thresholds: dict[Word, float] | None = None
    postprocessing: Literal["theirs"] | None = None  # by the image processor of somebody else's model; null: ours

    @model_serializer(mode="wrap")
    def _without_ours(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: one for key, one in dump(self).items() if key != "postprocessing" or one is not None}

    def __hash__(self) -> int:  # a dictionary has none
        return hash(self.model_dump_json())

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of what an older version did not write."""
        return tuple(name for name in ("split", "thresholds") if getattr(self, name) is None)


Gflops = dict[Word, Amount]  # of one image by part (a mean over images for a set); sums of parts included


class PartRow(Section):
    """A part of a model as tables show it: see `specs.model.Part`."""

    name: Word
    title: Word
    of: Word | None
    quoted: bool


class Layer(Section):
    """One token layer; tokens and GFLOPs of one image.

    `levels` are those whose tokens it refines, and `reads` those that these attend to, where they differ.
    """

    stage: Count
    levels: tuple[Word, ...]
    tokens: int | float
    gflops: Amount
    reads: tuple[Word, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_the_same_levels(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        if self.reads is None:
            del fields["reads"]
        return fields


class Baseline(Section):
    """The model that this one is held against, on the same input, counted alike; of the parts that papers quote."""

    schedule: Word
    gflops: Gflops


class ExitCost(Section):
    """One of the models that a cost is the expectation over: its share of the images, and what such an image costs."""

    schedule: Word
    share: Annotated[float, Field(ge=0, le=1)]
    gflops: Gflops


class Cost(Section):
    """The cost that was counted here, and by which engine.

    `exits` is there where no image costs `gflops`, which is the expectation over them.
    `parts` is the tree that `gflops` follows; it is left out where it is that of Mask2Former with token layers, as in
    all records from before there were others: `tree` is it in either case.
    """

    engine: Word
    parts: tuple[PartRow, ...] | None = None
    gflops: Gflops
    params_m: dict[Word, Amount]  # millions by top part, and their `total`
    layers: tuple[Layer, ...]
    baseline: Baseline | None
    reduction_pct: dict[Word, float | None]  # saved against the baseline, of the parts that papers quote
    uncounted_ops: dict[str, float]  # giga multiply-accumulates that the rules leave out
    exits: tuple[ExitCost, ...] | None = None
    activation_mib: Amount | None = None  # peak of a pass beyond weights and input, where it was traced for that

    @property
    def tree(self) -> tuple[PartRow, ...]:
        """The parts in forward order; numbered layers are in `layers`."""
        return self.parts or usual_tree()

    @model_validator(mode="after")
    def _knows_its_parts(self) -> Cost:
        missing = [part.name for part in self.tree if part.name not in self.gflops]
        if missing or "total" not in self.params_m:
            raise ValueError(f"gflops of {', '.join(missing)} are missing" if missing else "params_m: no total")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        for optional in ("parts", "exits", "activation_mib"):
            if fields[optional] is None:
                del fields[optional]
        return fields


@cache
def usual_tree() -> tuple[PartRow, ...]:
    """The parts of Mask2Former with token layers."""
    return tuple(
        PartRow(name=part.name, title=part.title, of=part.of, quoted=part.quoted)
        for part in mask2former(baseline()).parts
        if not part.numbered
    )


class ReferenceGflops(Section):
    """GFLOPs by part, as far as the source tells the parts apart."""

    backbone: Amount | None = None
    encoder: Amount | None = None
    encoder_token_layers: Amount | None = None
    encoder_projection: Amount | None = None
    encoder_recalibration: Amount | None = None
    pixel_embedding: Amount | None = None
    fpn_upsampling: Amount | None = None
    transformer_decoder: Amount | None = None
    total: Amount | None = None
    postprocessing: Amount | None = None
    total_with_postprocessing: Amount | None = None


class Reference(Section):
    """A cost of the same configuration found by others; shown beside ours, never in its place."""

    kind: Literal["official_code", "paper"]
    what: Line
    source: Word
    convention: Word
    rules: Word
    gflops: ReferenceGflops
    params_m: Amount | None = None


class Failure(Section):
    """The reason why a configuration has no results."""

    message: Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(printable_lines)]
    hint: str | None = None
    exit_code: int


class Origin(Section):
    """The tool that wrote the record, and when (UTC)."""

    tool_version: Word
    created: Word


class Record(Section):
    """One configuration and all that is known of it."""

    schema_version: Literal[1] = SCHEMA_VERSION
    identity: Identity
    input: Input
    convention: Literal["mac", "flop"]
    rules: Word
    execution: Execution | None = None  # null where nothing was run
    evaluation: EvaluationProtocol | None = None  # null where nothing was evaluated, and in records of older versions
    cost: Cost | None = None
    profile: Profile | None = None
    accuracy: Accuracy | None = None
    references: tuple[Reference, ...] = ()
    error: Failure | None = None
    provenance: Origin
    environment: dict[str, str]

    @property
    def digest(self) -> str:
        return digest(self.identity, self.input, self.convention, self.rules, self.execution, self.evaluation)

    @property
    def is_baseline(self) -> bool:
        """Its model is the one that others are held against."""
        cost = self.cost
        return cost is not None and cost.baseline is not None and cost.baseline.schedule == self.identity.schedule

    @property
    def evaluated(self) -> Evaluated | None:
        """The details of an accuracy that was found here; None of one that others published."""
        return self.accuracy.evaluated if self.accuracy else None

    @property
    def is_evaluated(self) -> bool:
        """True where the record's accuracy was found here."""
        return self.evaluated is not None

    def to_json(self) -> str:
        return self.model_dump_json(indent=1) + "\n"

    def row(self) -> dict[str, Any]:
        """The record as a row of `--export-json`: the keys of a `flops` row, and what else is known.

        `collect.read_export` makes the same record of it.
        """
        identity, error = self.identity, self.error
        cost = self.cost.model_dump(mode="json") if self.cost else {"gflops": None}
        ran: dict[str, Any] = {}
        if self.execution:
            found = self.profile.row() if self.profile else dict.fromkeys(Profile.model_fields)
            ran = {**self.execution.model_dump(mode="json"), **found, "environment": self.environment}
        rest = {
            "model": identity.model if identity.model != Identity.model_fields["model"].default else None,
            "classes": identity.classes,
            "dimensions": identity.model_dump(mode="json")["dimensions"],
            "weights_digest": identity.weights,
            "class_order": list(identity.class_order) if identity.class_order else None,
            "evaluation": self.evaluation.model_dump(mode="json") if self.evaluation else None,
            "hint": error.hint if error else None,
            "exit_code": error.exit_code if error else None,
        }
        return {
            **{name: getattr(identity, name) for name in ("label", "backbone", "schedule", "encoder")},
            "input": self.input.model_dump(mode="json", exclude={"dataset"} if self.input.dataset is None else None),
            "convention": self.convention,
            "rules": self.rules,
            **cost,
            **ran,
            "accuracy": self.accuracy.row() if self.accuracy else None,
            "references": [reference.model_dump(mode="json") for reference in self.references],
            "error": error.message if error else None,
            **{key: value for key, value in rest.items() if value is not None},
            "provenance": self.provenance.model_dump(mode="json"),
        }


def protocol_of(record: Record) -> EvaluationProtocol | None:
    """The protocol of a record's evaluation, as far as the record says it; None where nothing was evaluated."""
    accuracy, how = record.accuracy, record.evaluated
    if record.evaluation is not None or accuracy is None or how is None:
        return record.evaluation
    name, limit = re.fullmatch(r"(.*?)(?:\[:(\d+)\])?", accuracy.dataset).groups()  # type: ignore[union-attr]
    return EvaluationProtocol(
        dataset=name or accuracy.dataset,
        annotations=how.dataset_digest,
        images=how.images,
        limit=int(limit) if limit else None,
        tasks=how.tasks,
        resize=how.resize,
    )


def digest(
    identity: Identity,
    given: Input,
    convention: str,
    rules: str,
    execution: Execution | None = None,
    evaluation: EvaluationProtocol | None = None,
) -> str:
    """SHA-256 over the canonical JSON of what identifies a configuration.

    The label is left out, since renaming a schedule changes no number; so is what is null, so that a section may gain
    an optional key without renaming every record.
    """
    key = {
        "schema_version": SCHEMA_VERSION,
        "identity": identity.model_dump(mode="json", exclude={"label"}, exclude_none=True),
        "input": given.model_dump(mode="json", exclude_none=True),
        "convention": convention,
        "rules": rules,
    }
    for name, section in (("execution", execution), ("evaluation", evaluation)):
        if section is not None:
            key[name] = section.model_dump(mode="json", exclude_none=True)
    canonical = json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
