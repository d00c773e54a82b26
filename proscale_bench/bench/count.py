"""Counts one configuration on paper: its record, or one that says why there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from proscale_bench.config.catalogue import catalogue
from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import Convention, get_rules
from proscale_bench.errors import BenchError, ExitCode, of_import
from proscale_bench.results.export import environment, now
from proscale_bench.results.published import accuracy_of, published_of, references_of
from proscale_bench.results.record import COCO_CLASSES, Cost, Failure, Identity, Input, Origin, Record, digest
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import EncoderSpec, ModelSpec, model_words
from proscale_bench.version import __version__


@dataclass(frozen=True)
class Configuration:
    """One thing to count: a model at a size, under rules."""

    spec: ModelSpec
    size: InputSize
    rules: str = "fvcore"
    convention: Convention = "mac"

    @property
    def identity(self) -> Identity:
        return identity_of(self.spec)

    @property
    def input(self) -> Input:
        return Input.model_validate(self.size.row())

    @cached_property
    def digest(self) -> str:
        """The digest that names its record."""
        return digest(self.identity, self.input, self.convention, self.rules)

    def __str__(self) -> str:
        return f"{label_of(self.spec.encoder)} on {backbone_of(self.spec)} at {self.size}"


def identity_of(spec: ModelSpec, weights: str | None = None, class_order: tuple[int, ...] | None = None) -> Identity:
    """Give a model the identity of its record.

    Args:
        weights: the digest of its weights, where it has any.
        class_order: see `Identity`.
    """
    return Identity(
        model=spec.family,
        backbone=spec.backbone_name,
        schedule=spec.variant,
        encoder=spec.encoder.encoder,
        label=label_of(spec.encoder),
        classes=spec.classes or (COCO_CLASSES if weights and spec.family != CUSTOM else None),
        dimensions=spec.dimensions(),
        weights=weights,
        class_order=class_order,
    )


def label_of(encoder: EncoderSpec) -> str:
    """Name an encoder for a reader: the catalogue's, else its file's, else its compact spelling."""
    named = next((known.name for known, _ in catalogue() if known == encoder), None)
    return named or encoder.name or encoder.compact


def backbone_of(spec: ModelSpec) -> str:
    """Name a model's backbone, with the head's dimensions that its name does not stand for: "tiny, 20 queries"."""
    return model_words(spec.backbone_name, spec.dimensions())


CostFunction = Callable[[Configuration], Cost]


def measure(configuration: Configuration, count: CostFunction) -> Record:
    """Make the record of one configuration: its cost, or why it has none, and what others know of it."""
    cost, failure = None, None
    try:
        cost = count(configuration)
    except Exception as error:
        failure = failure_of(error)
    identity, given = configuration.identity, configuration.input
    published = published_of(identity)
    return Record(
        identity=identity,
        input=given,
        convention=configuration.convention,
        rules=configuration.rules,
        cost=cost,
        accuracy=accuracy_of(published) if published else None,
        references=references_of(identity, given),
        error=failure,
        provenance=Origin(tool_version=__version__, created=now()),
        environment=environment(),
    )


def closed_form_cost(configuration: Configuration) -> Cost:
    """Count on paper, without torch."""
    one = configuration
    return cost_of(count_model(one.spec, one.size, get_rules(one.rules), one.convention))


def cost_of(count: FlopCount) -> Cost:
    """Turn a count into the section that a record keeps."""
    row = count.row()
    return Cost.model_validate_json(json.dumps({key: row[key] for key in Cost.model_fields if key in row}))


def failure_of(error: Exception) -> Failure:
    """Turn an error into the section that a record keeps. One that nobody foresaw does not stop the others either."""
    if isinstance(error, BenchError):
        return Failure(message=error.message, hint=error.hint, exit_code=int(error.exit_code))
    if isinstance(error, ImportError):
        return failure_of(of_import(error))
    return Failure(
        message=f"{type(error).__name__}: {error}"[:1000],
        hint="this is a fault of the tool: please report it",
        exit_code=ExitCode.UNTRUSTED.value,
    )


def failure_record(identity: Identity, given: Input, failure: Failure, **fields: Any) -> Record:
    """Make a record that says why there is no other."""
    return Record(
        identity=identity,
        input=given,
        convention="mac",
        rules="fvcore",
        error=failure,
        provenance=Origin(tool_version=__version__, created=now()),
        environment=environment(),
        **fields,
    )
