"""Trains what a zoo's folder does not hold yet, and makes the weights that ship of it.

    ZOO/seed0/trunk/            the baseline that all of this seed start from
    ZOO/seed0/tiny-3-3-3/       a schedule, trained on from there
    ZOO/weights/*.safetensors   final weights in half precision
    ZOO/sweep.yaml              measures them all

Every training is a `proscale-bench train` in a process of its own, so that one that fails or is killed takes no other
with it, and each can be repeated by hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from proscale_bench.children import start
from proscale_bench.config.recipe import Recipe, ShapesData
from proscale_bench.config.weights import METADATA, read_shapes
from proscale_bench.config.zoo import Zoo
from proscale_bench.data.embedded import identity_of_images
from proscale_bench.errors import BenchError
from proscale_bench.files import write_atomic
from proscale_bench.results.training import TrainingRecord, read_log, read_record
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.model import EncoderSpec

MODEL, RECORD, LOG, ERRORS = "model.safetensors", "training.json", "log.jsonl", "errors.txt"
POLL_S = 1.0
TO_KEEP_S = 60.0  # that a training has to keep its state when it is interrupted


@dataclass(frozen=True)
class Training:
    """One training of a zoo.

    Args:
        name: the name of its folder and of its weights.
        recipe_word: the word that names its recipe.
        start: the training that it goes on from; None for a trunk.
    """

    name: str
    schedule: EncoderSpec
    seed: int
    recipe: Recipe
    recipe_word: str
    backbone: str
    folder: Path
    start: Training | None = None

    @property
    def title(self) -> str:
        return "trunk" if self.is_trunk else self.schedule.compact

    @property
    def iterations(self) -> int:
        return self.recipe.iterations

    @property
    def is_done(self) -> bool:
        return (self.folder / MODEL).is_file()

    @property
    def record(self) -> TrainingRecord:
        """The record of the training, once it is done.

        Raises:
            BenchError: there is no such record.
        """
        return read_record(self.folder / RECORD)

    @property
    def is_trunk(self) -> bool:
        return self.start is None

    @property
    def weights_name(self) -> str:
        """Name of the file that ships: those of seed 0 go by the schedule alone."""
        return f"{self.name}.safetensors" if self.seed == 0 else f"{self.name}-seed{self.seed}.safetensors"

    @property
    def iteration(self) -> int:
        """Number of iterations that its log tells of; all where it is done."""
        if self.is_done:
            return self.iterations
        lines = read_log(self.folder / LOG)
        return lines[-1].iteration if lines else 0

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """Flags of `train` that repeat it by hand."""
        flags = ("--schedule", self.schedule.compact, "--recipe", self.recipe_word, "--backbone", self.backbone)
        start = ("--start", str(self.start.folder / MODEL)) if self.start else ()
        return (*flags, "--seed", str(self.seed), *start, "--out", str(self.folder))


def plan_zoo(zoo: Zoo, folder: Path, seeds: Sequence[int] = ()) -> tuple[Training, ...]:
    """List all trainings, seed by seed, each after the one that it starts from. `seeds` replace the zoo's own."""
    plan: list[Training] = []
    for seed in seeds or zoo.seeds:
        of_seed = folder / f"seed{seed}"
        trunk = Training("trunk", baseline(), seed, zoo.trunk, zoo.trunk_word, zoo.backbone, of_seed / "trunk")
        plan.append(trunk)
        for schedule in zoo.schedules:
            name = f"{zoo.backbone}-{file_name_of(schedule)}"
            plan.append(
                Training(name, schedule, seed, zoo.branch, zoo.branch_word, zoo.backbone, of_seed / name, trunk)
            )
    return tuple(plan)


def require_own(plan: Sequence[Training]) -> None:
    """Refuse trainings that are done by another recipe, on other data or from another start than now asked for.

    Raises:
        BenchError: a training is another, or does not say what it is.
    """
    anew = "choose another folder with --out, or remove this one to have it trained anew"
    for training in plan:
        if not training.is_done:
            continue
        if not (training.folder / RECORD).is_file():
            raise BenchError(f"{training.folder}: a {MODEL} without the {RECORD} that says what it is", anew)
        found, recipe, data = training.record, training.recipe, training.recipe.data
        differs = {"another recipe": found.recipe_digest != recipe.digest}
        if isinstance(data, ShapesData):
            differs["other data"] = found.data_digest != identity_of_images(data.seed, data.images)
        if training.start and training.start.is_done:
            differs["another start"] = found.start.digest != training.start.record.weights_digest
        for what, is_other in differs.items():
            if is_other:
                raise BenchError(f"{training.folder}: trained with {what} than {recipe.name} has now", anew)


def file_name_of(schedule: EncoderSpec) -> str:
    """Spell a schedule for a file's name: 3-3-3-trc-none."""
    return re.sub("[,+:]", "-", schedule.compact)


@dataclass(frozen=True)
class FailedTraining:
    """A training that ended without weights, and what it said."""

    training: Training
    exit_code: int
    said: list[str]  # lines


def train_missing(
    plan: Sequence[Training],
    jobs: int,
    device: str | None = None,
    on_progress: Callable[[Sequence[Training]], None] = lambda running: None,
) -> list[FailedTraining]:
    """Run the trainings that are not done, so many at a time, each after the one that it starts from.

    Args:
        on_progress: called once a second with the trainings that run.

    Returns:
        Those that failed; what starts from them was not begun.

    Raises:
        KeyboardInterrupt: after all that run have kept where they are.
    """
    failed: list[FailedTraining] = []
    waiting = [training for training in plan if not training.is_done]
    running: list[tuple[Training, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            for training in list(waiting):
                if training.start is not None and any(failure.training is training.start for failure in failed):
                    waiting.remove(training)
                elif len(running) < jobs and (training.start is None or training.start.is_done):
                    waiting.remove(training)
                    running.append((training, _begin(training, device)))
            on_progress([training for training, _ in running])
            time.sleep(POLL_S)
            for training, process in list(running):
                if (code := process.poll()) is not None:
                    running.remove((training, process))
                    if not training.is_done:
                        failed.append(FailedTraining(training, code, _last_words(training)))
    except KeyboardInterrupt:  # a terminal has told them too, `kill` has not; they keep what they have, and end
        for _, process in running:
            process.terminate()
        for _, process in running:
            try:
                process.wait(TO_KEEP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        raise
    return failed


def _begin(training: Training, device: str | None) -> subprocess.Popen[bytes]:
    where = ["--device", device] if device else ["--threads", "1"]
    training.folder.mkdir(parents=True, exist_ok=True)
    with (training.folder / ERRORS).open("wb") as errors:
        return start(
            "proscale_bench",
            "train",
            *training.flags,
            *where,
            ends_with_parent=True,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def _last_words(training: Training) -> list[str]:
    """The last lines that a failed training printed."""
    lines = (training.folder / ERRORS).read_text(errors="replace").strip().splitlines()
    return lines[-3:] or ["it said nothing"]


def pack(training: Training, folder: Path) -> Path:
    """The final weights in half precision, with what they came from; written where they are missing or older.

    Raises:
        BenchError: the training's weights cannot be read, or these not be written.
    """
    source, path = training.folder / MODEL, folder / training.weights_name
    if path.is_file() and path.stat().st_mtime >= source.stat().st_mtime:
        return path
    from proscale_bench.models.checkpoints.load import model_of, open_checkpoint
    from proscale_bench.models.checkpoints.save import save_checkpoint

    checkpoint = open_checkpoint(source)
    _, metadata = read_shapes(source)
    save_checkpoint(model_of(checkpoint).half(), path, json.loads(metadata[METADATA]).get("provenance", {}))
    return path


def write_sweep(zoo: Zoo, folder: Path, weights: Sequence[Path]) -> Path:
    """The sweep that measures all weights of a zoo.

    Raises:
        BenchError: it cannot be written.
    """
    listed = "".join(f"  - weights/{path.name}\n" for path in sorted(weights))
    text = (
        f"schema_version: 1\nname: {zoo.name}\ndescription: {json.dumps(zoo.description)}\n"
        f"weights:\n{listed}backbones: {zoo.backbone}\nsizes: 160x160\n"
        "count:\nprofile:\n  threads: 1\n  repeats: 20\nevaluate:\n  data: shapes-val\n"
    )
    path = folder / "sweep.yaml"
    write_atomic(path, text)
    return path


def require_weights(plan: Sequence[Training]) -> list[Training]:
    """The trainings whose weights are wanted and there.

    Raises:
        BenchError: there are none.
    """
    done = [training for training in plan if training.is_done and not training.is_trunk]
    if not done:
        raise BenchError("no training of the zoo is done", "run the same command again to go on")
    return done
