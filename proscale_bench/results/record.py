"""One row of what is known of one configuration: the file format of a run.

A record is named by the digest of what identifies it (model, weights, input, how it is counted, how it was run if it
was), never by what was found: a repeated measurement replaces the old one, and a resumed sweep knows what it has.
Sections that a run did not fill are null. Units are in the key names.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.profile import Execution, Profile
from proscale_bench.results.section import Amount, Count, Line, Section, Word
from proscale_bench.units import printable

SCHEMA_VERSION: Literal[1] = 1


UNKNOWN = "unknown"


class Identity(Section):
    """Which model. `schedule` is the canonical compact spelling; `label` is what a reader calls it.

    Of weights that could not be read, all but the label may be unknown.
    """

    model: Word = "Mask2Former"
    backbone: Word
    schedule: Word
    encoder: Word
    label: Word
    classes: Count | None = None  # null: as many as COCO's panoptic task, or as the weights know
    weights: Word | None = None  # digest

    @property
    def name(self) -> str:
        """The schedule, or what else there is to tell it from others."""
        return self.label if self.schedule == UNKNOWN else self.schedule


class Input(Section):
    """What the model is given. The sides are null for a set of images; `dataset` is the digest of one evaluated."""

    size: Word
    height_px: Count | None
    width_px: Count | None
    padded_height_px: Count | None
    padded_width_px: Count | None
    output_height_px: Count | None
    output_width_px: Count | None
    images: Count
    dataset: Word | None = None


class Gflops(Section):
    """GFLOPs of one image by part (a mean over images for a set)."""

    backbone: Amount
    encoder: Amount
    encoder_token_layers: Amount
    encoder_projection: Amount
    encoder_recalibration: Amount
    pixel_embedding: Amount
    fpn_upsampling: Amount
    transformer_decoder: Amount
    total: Amount
    postprocessing: Amount
    total_with_postprocessing: Amount


class ParamsM(Section):
    """Millions of parameters by part."""

    backbone: Amount
    encoder: Amount
    transformer_decoder: Amount
    total: Amount


class Layer(Section):
    """One token layer; tokens and GFLOPs of one image."""

    stage: Count
    levels: tuple[Word, ...]
    tokens: int | float
    gflops: Amount


class BaselineGflops(Section):
    encoder: Amount
    encoder_token_layers: Amount
    total: Amount
    total_with_postprocessing: Amount


class Baseline(Section):
    """Mask2Former's own encoder on the same backbone and input, counted alike."""

    schedule: Word
    gflops: BaselineGflops


class Reduction(Section):
    """Saved against the baseline, in percent of it."""

    encoder: float | None
    encoder_token_layers: float | None
    total: float | None
    total_with_postprocessing: float | None


class Cost(Section):
    """What was counted here, and by which engine."""

    engine: Word
    gflops: Gflops
    params_m: ParamsM
    layers: tuple[Layer, ...]
    baseline: Baseline
    reduction_pct: Reduction
    uncounted_ops: dict[str, float]  # giga multiply-accumulates that the rules leave out


class ReferenceGflops(Section):
    """As far as the source tells them apart."""

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
    """Why a configuration has no results."""

    message: Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(printable)]
    hint: str | None = None
    exit_code: int


class Origin(Section):
    """Which tool wrote the record, and when (UTC)."""

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
    cost: Cost | None = None
    profile: Profile | None = None
    accuracy: Accuracy | None = None
    references: tuple[Reference, ...] = ()
    error: Failure | None = None
    provenance: Origin
    environment: dict[str, str]

    @property
    def digest(self) -> str:
        return digest(self.identity, self.input, self.convention, self.rules, self.execution)

    @property
    def is_evaluated(self) -> bool:
        """Its accuracy was found here."""
        return self.accuracy is not None and self.accuracy.evaluated is not None

    @property
    def is_baseline(self) -> bool:
        """Its cost is the one that savings are held against."""
        return self.cost is not None and self.identity.schedule == self.cost.baseline.schedule

    def to_json(self) -> str:
        return self.model_dump_json(indent=1) + "\n"

    def row(self) -> dict[str, Any]:
        """The record as a row of `--export-json`: the keys of a `flops` row, and what else is known."""
        cost = self.cost.model_dump(mode="json") if self.cost else {"gflops": None}
        ran: dict[str, Any] = {}
        if self.execution:
            found = self.profile.row() if self.profile else dict.fromkeys(Profile.model_fields)
            ran = {**self.execution.model_dump(mode="json"), **found, "environment": self.environment}
        return {
            "label": self.identity.label,
            "backbone": self.identity.backbone,
            "schedule": self.identity.schedule,
            "encoder": self.identity.encoder,
            "input": self.input.model_dump(mode="json", exclude={"dataset"} if self.input.dataset is None else None),
            "convention": self.convention,
            "rules": self.rules,
            **cost,
            **ran,
            "accuracy": self.accuracy.row() if self.accuracy else None,
            "references": [reference.model_dump(mode="json") for reference in self.references],
            "error": self.error.message if self.error else None,
        }


def digest(identity: Identity, given: Input, convention: str, rules: str, execution: Execution | None = None) -> str:
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
    if execution is not None:
        key["execution"] = execution.model_dump(mode="json", exclude_none=True)
    canonical = json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
