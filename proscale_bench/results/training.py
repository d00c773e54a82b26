"""Records of a training: a line of its log every few iterations, and at its end a summary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file
from proscale_bench.results.profile import DeviceType
from proscale_bench.results.section import Amount, Count, Section, Word, first_problem, written_as

MAX_LOG_BYTES = 1 << 28
MAX_RECORD_BYTES = 1 << 24

Place = Annotated[int, Field(ge=0)]
Loss = Annotated[float, Field(allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100)] | None


class _OfOneKind(Section):
    """Losses of masks or of boxes: those that nothing is learnt from are not written."""

    @model_serializer(mode="wrap")
    def _without_the_other_kind(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        return {key: value for key, value in written.items() if value is not None or "loss" not in key}


class TrainingStep(_OfOneKind):
    """Results of one iteration, in the mean over its images.

    Args:
        iteration: how many are done.
        total: what was minimised. The others are the last layer's, without weights: `class_loss`, then `mask_loss` and
            `dice_loss` of masks, or `box_loss` (L1) and `giou_loss` of boxes.
        gradient_norm: before clipping; None where it was infinite and in fp16 the step not taken.
        learning_rate: of the head.
        seconds: since the iteration before, loading included.
    """

    iteration: Count
    total: Loss
    class_loss: Annotated[Loss, written_as("of_class", "class_loss")]
    mask_loss: Annotated[Loss | None, written_as("of_mask", "mask_loss")] = None
    dice_loss: Annotated[Loss | None, written_as("of_dice", "dice_loss")] = None
    box_loss: Loss | None = None
    giou_loss: Loss | None = None
    gradient_norm: Amount | None
    learning_rate: Amount
    seconds: Amount


class ValidationScores(Section):
    """Accuracies of a model during its training, in percent; None where a task was not asked for or nothing is defined.

    Args:
        split: name of the split, as `val2017`.
        images: number of images.
    """

    split: Word
    images: Count
    pq: Percent = None
    sq: Percent = None
    rq: Percent = None
    pq_things: Percent = None
    pq_stuff: Percent = None
    ap: Percent = None
    ap_bbox: Percent = None

    @property
    def decisive(self) -> tuple[str, float]:
        """The metric that tells the best weights, and its value: PQ; without panoptic truth the mask AP, and of
        boxes alone theirs."""
        found = (("PQ", self.pq), ("AP", self.ap), ("box AP", self.ap_bbox))
        name, value = next((one for one in found if one[1] is not None), ("AP", None))
        return name, -1.0 if value is None else value

    def is_no_worse_than(self, other: ValidationScores | None) -> bool:
        """True if the weights of these scores take the place of those of the others, which are older."""
        return other is None or self.decisive[1] >= other.decisive[1]


class LogLine(_OfOneKind):
    """A line of `log.jsonl`: the mean of the iterations since the line before.

    Args:
        iteration: the last of them; how many are done.
        loss, loss_class, loss_mask, loss_dice, loss_box, loss_giou, gradient_norm, learning_rate: see `TrainingStep`;
            None, and not in the file, where nothing of the kind is learnt.
        images_per_second: over these iterations.
        seconds: since the training began, pauses aside.
        validation: scores after the last of them; None, and not in the file, where there was no validation.
    """

    iteration: Count
    loss: Loss
    loss_class: Loss
    loss_mask: Loss | None = None
    loss_dice: Loss | None = None
    loss_box: Loss | None = None
    loss_giou: Loss | None = None
    gradient_norm: Amount | None
    learning_rate: Amount
    images_per_second: Amount
    seconds: Amount
    validation: ValidationScores | None = None

    def text(self) -> str:
        """The line as the file has it."""
        return self.model_dump_json(exclude=set() if self.validation else {"validation"}) + "\n"


class TrainingSession(Section):
    """A stretch of a training without a pause, and what it ran on."""

    first_iteration: Place
    iterations: Place
    seconds: Amount
    processes: Count
    threads: Count
    device: DeviceType
    device_name: Word
    sampling: Word
    torch: Word


class StartedFrom(Section):
    """The start of a training: nothing, a backbone's weights, or a baseline; and the digest of what was taken."""

    kind: Literal["fresh", "backbone", "baseline"]
    file: str = ""
    digest: str = ""


class BestWeights(Section):
    """The weights of the best validation: their file, the iteration that they are of, and what was found."""

    weights: Word
    iteration: Count
    validation: ValidationScores


class TrainingRecord(Section):
    """The record of a finished training: `training.json`.

    Args:
        recipe: as it was followed, without what it started from; `recipe_digest` is of what decides what is learnt.
        data, data_digest: the data set; what its images follow from.
        weights: the file, `weights_digest` of the tensors in it.
        averaged: whether they are the moving average.
        last: the end of the log.
        best: weights of the best validation; None where there was none.
    """

    schema_version: Literal[1] = 1
    name: Word
    recipe: dict[str, Any]
    recipe_digest: Word
    schedule: Word
    backbone: Word
    seed: Place
    data: Word
    data_digest: Word
    images: Count
    classes: Count
    start: StartedFrom
    iterations: Count
    seconds: Amount
    sessions: Annotated[tuple[TrainingSession, ...], written_as("sittings", "sessions")]
    weights: Word
    weights_digest: Word
    averaged: bool
    last: LogLine | None
    best: BestWeights | None = None
    tool_version: Word
    created: Word
    environment: dict[str, str]

    def row(self) -> dict[str, Any]:
        """For `--export-json`."""
        return self.model_dump(mode="json", exclude={"schema_version", "tool_version", "created", "environment"})

    def provenance(self, best: BestWeights | None = None) -> dict[str, Any]:
        """The provenance that the file of weights carries; `best`: of the best ones, not the last."""
        last = self.sessions[-1]
        found = {} if best is None else best.model_dump(mode="json", include={"validation"})
        return found | {
            "recipe": self.name,
            **{name: getattr(self, name) for name in ("recipe_digest", "schedule", "seed", "data", "iterations")},
            "seconds": round(self.seconds, 1),
            "averaged": self.averaged,
            "start": self.start.model_dump(mode="json"),
            "sittings": len(self.sessions),
            "processes": last.processes,
            "threads": last.threads,
            "device": last.device_name,
            "sampling": last.sampling,
            "torch": last.torch,
        }


def read_record(path: Path) -> TrainingRecord:
    """The record of a finished training.

    Raises:
        BenchError: the file cannot be read, or is none.
    """
    try:
        return TrainingRecord.model_validate_json(read_regular_file(path, MAX_RECORD_BYTES))
    except ValidationError as error:
        raise BenchError(f"{path}: not a training's record: {first_problem(error)}", "remove the file") from error


def read_log(path: Path) -> tuple[LogLine, ...]:
    """The lines of a training's log, none where there is no file; a last one that is being written is left out.

    Raises:
        BenchError: something that is no log.
    """
    if not path.exists():
        return ()
    *whole, _ = read_regular_file(path, MAX_LOG_BYTES).split(b"\n")
    lines = []
    for number, line in enumerate(whole, start=1):
        try:
            lines.append(LogLine.model_validate_json(line))
        except ValidationError as error:
            raise BenchError(f"{path}:{number}: not a line of a training's log", "remove the file") from error
    return tuple(lines)
