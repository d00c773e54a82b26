"""A training in words: its progress and its result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from proscale_bench.config.choices import OFFICIAL_THRESHOLDS, PostprocessingThresholds
from proscale_bench.config.recipe import Recipe
from proscale_bench.render.table import Row, Table
from proscale_bench.results.inspection import WarmStart
from proscale_bench.results.training import TrainingRecord, TrainingStep, ValidationScores
from proscale_bench.units import show_duration


def losses(step: TrainingStep) -> str:
    """The losses of a step: `loss 23.1 (class 0.41, mask 0.12, dice 0.33)`, the sum, then the last layer's terms."""
    terms = ((name, getattr(step, f"{name}_loss")) for name in ("class", "mask", "dice", "box", "giou"))
    return f"loss {step.total:.1f} ({', '.join(f'{name} {value:.2f}' for name, value in terms if value is not None)})"


def line(step: TrainingStep, iterations: int, images_per_second: float, left_s: float) -> str:
    """The progress of a training in one line."""
    return (
        f"{step.iteration:,} of {iterations:,}: {losses(step)}, {images_per_second:.1f} images/s, "
        f"{show_duration(left_s)} left"
    )


def validated(iteration: int, scores: ValidationScores, is_best: bool) -> str:
    """A validation in one line: `iteration 500: PQ 43.21 on 100 images of val2017, the best so far`"""
    name, value = scores.decisive
    shown = f"{value:.2f}" if value >= 0 else "undefined"
    best = ", the best so far" if is_best else ""
    return f"iteration {iteration:,}: {name} {shown} on {scores.images:,} images of {scores.split}{best}"


def summary(record: TrainingRecord) -> str:
    """A finished training: `3,3,3 on tiny: 6,000 iterations in 52 min; the loss was 23.1 at the end`"""
    start = f", from {record.start.file}" if record.start.kind != "fresh" else ""
    best = ""
    if record.best is not None:
        name, value = record.best.validation.decisive
        best = f"; the best {name} was {value:.2f} at iteration {record.best.iteration:,}"
    loss = f"; the loss was {record.last.loss:.1f} at the end" if record.last else ""
    return (
        f"{record.schedule} on {record.backbone}: {record.iterations:,} iterations by {record.name}{start} "
        f"in {show_duration(record.seconds)}{loss}{best}"
    )


def next_step(
    weights: Path,
    coco: Path | None,
    resize: tuple[int, int] | None = None,
    thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
) -> str:
    """The command that evaluates the weights, at the scale (short side, longest side) at which they were trained, by
    the thresholds by which they were validated."""
    data = f" --coco {shlex.quote(str(coco))}" if coco else ""
    scale = f" --resize {resize[0]},{resize[1]}" if resize else ""
    named = {name: getattr(thresholds, name) for name in ("score", "overlap", "mask")}
    others = {name: value for name, value in named.items() if value != getattr(OFFICIAL_THRESHOLDS, name)}
    flags = "".join(f" --{name}-threshold {value:g}" for name, value in others.items())
    return f"next: proscale-bench eval --weights {shlex.quote(str(weights))}{data}{scale}{flags}"


def left_out(file: str, started: WarmStart | None) -> list[str]:
    """The parts of a model that a checkpoint to start from did not give, or not as they lie there: a line a reason."""
    reasons: dict[str, list[str]] = {}
    for key, reason in (started.left if started else {}).items():
        part = ".".join(key.split(".")[:2])
        if part not in reasons.setdefault(reason, []):
            reasons[reason].append(part)
    lines = [f"not taken from {file}, {reason}: {', '.join(parts)}" for reason, parts in reasons.items()]
    if started and started.reordered:
        lines.append(f"taken from {file} in another order: the rows of the class head, each by its class's name")
    if started and started.by_place:
        why = "since the file does not name its classes"
        lines.append(f"taken from {file} by their place: the rows of the class head, {why}")
    return lines


def recipes_table(recipes: Sequence[Recipe]) -> Table:
    """One line for each recipe: its data, backbone, length (`6,000 × 4`, batches of so many images) and purpose."""
    rows = (
        Row(one.name, (_data(one), one.backbone, f"{one.iterations:,} × {one.batch_size}", one.description))
        for one in recipes
    )
    return Table("", ("recipe", "--coco", "backbone", "batches", "what it is"), tuple(rows))


def _data(recipe: Recipe) -> str:
    data = recipe.data
    return "embedded" if data.source == "shapes" else f"{data.split} of DIR" if data.split else "DIR"


class Trained(Protocol):
    """The state of a training, as `zoo_table` shows it."""

    @property
    def title(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def iteration(self) -> int: ...
    @property
    def iterations(self) -> int: ...
    @property
    def is_done(self) -> bool: ...


def zoo_table(plan: Sequence[Trained]) -> Table:
    """One line for each training, with its progress."""
    rows = (Row(each.title, (str(each.seed), _standing(each))) for each in plan)
    return Table("", ("training", "seed", ""), tuple(rows))


def _standing(training: Trained) -> str:
    if training.is_done:
        return f"done ({training.iterations:,} iterations)"
    return f"{training.iteration:,} of {training.iterations:,}" if training.iteration else "missing"
