"""Trains what a zoo's folder does not hold yet, and makes the weights that ship of it.

    ZOO/seed0/trunk/            the baseline that all of this seed start from, where they do
    ZOO/seed0/tiny-3-3-3/       a schedule, trained on from there, or from scratch
    ZOO/weights/*.safetensors   final weights in half precision; with its `training.json`, all that a training must keep
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
from functools import cached_property, lru_cache
from pathlib import Path

from proscale_bench.bench.train import on_folder, validator_of
from proscale_bench.children import start
from proscale_bench.config.catalogue import parse_schedule_of
from proscale_bench.config.recipe import CocoData, Recipe, ShapesData
from proscale_bench.config.trained_on import trained_on
from proscale_bench.config.weights import METADATA, read_shapes
from proscale_bench.config.zoo import NamedRecipe, Zoo
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.embedded import identity_of_images
from proscale_bench.data.layout import validation_split
from proscale_bench.errors import BenchError
from proscale_bench.files import write_atomic
from proscale_bench.results.training import TrainingRecord, read_log, read_record
from proscale_bench.specs.families import MASK2FORMER
from proscale_bench.specs.model import EncoderSpec

MODEL, RECORD, LOG, ERRORS = "model.safetensors", "training.json", "log.jsonl", "errors.txt"
WEIGHTS = "weights"  # the folder of what ships
POLL_S = 1.0
TO_KEEP_S = 60.0  # that a training has to keep its state when it is interrupted


@dataclass(frozen=True)
class Training:
    """One training of a zoo.

    Args:
        name: the name of its folder and of its weights.
        model: the words of `--model` that name its family.
        recipe_word: the word that names its recipe.
        coco: the folder of its data; None for the embedded data.
        start: the training that it goes on from; None for a trunk, and where all are trained from scratch.
        is_trunk: True if others start from it, and its own weights are not wanted.
    """

    name: str
    schedule: EncoderSpec
    seed: int
    recipe: Recipe
    recipe_word: str
    model: str
    backbone: str
    folder: Path
    coco: Path | None = None
    start: Training | None = None
    is_trunk: bool = False

    @property
    def title(self) -> str:
        return "trunk" if self.is_trunk else self.schedule.compact

    @property
    def iterations(self) -> int:
        return self.recipe.iterations

    @property
    def is_done(self) -> bool:
        return (self.folder / MODEL).is_file() or self.is_packed

    @property
    def is_packed(self) -> bool:
        """Its weights as they ship are there, and what says how they were made: all that is kept of a training on which
        no other starts."""
        return not self.is_trunk and self.packed.is_file() and (self.folder / RECORD).is_file()

    @property
    def packed(self) -> Path:
        """The final weights in half precision, beside the folders of all seeds."""
        return self.folder.parent.parent / WEIGHTS / self.weights_name

    @property
    def record(self) -> TrainingRecord:
        """The record of the training, once it is done.

        Raises:
            BenchError: there is no such record.
        """
        return read_record(self.folder / RECORD)

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
        coco = ("--coco", str(self.coco)) if self.coco else ()
        model = ("--model", self.model) if self.model != MASK2FORMER else ()
        return (*model, *flags, *coco, "--seed", str(self.seed), *start, "--out", str(self.folder))


def plan_zoo(zoo: Zoo, folder: Path, seeds: Sequence[int] = (), coco: Path | None = None) -> tuple[Training, ...]:
    """List all trainings in their order, each after the one that it starts from.

    Args:
        seeds: of every schedule, in the place of the zoo's own.
        coco: the folder of data that recipes of COCO's learn from.

    Raises:
        BenchError: a recipe on a folder's data without a folder, a folder that no recipe asks for, or no such split.
    """
    family = "" if zoo.model == MASK2FORMER else f"{_for_files(zoo.model)}-"
    named = [one for one in (zoo.trunk, zoo.branch) if one is not None]
    if coco is not None and all(isinstance(one.recipe.data, ShapesData) for one in named):
        raise BenchError(f"the zoo {zoo.name} trains on the embedded data, not on {coco}", "leave --coco out")
    data = {one.word: _with_data(one.recipe, coco) for one in named}
    trunks: dict[int, Training] = {}
    plan: list[Training] = []

    def add(
        name: str, schedule: EncoderSpec, seed: int, by: NamedRecipe, start: Training | None, *, is_trunk: bool = False
    ) -> Training:
        recipe, of_recipe = data[by.word]
        into = folder / f"seed{seed}" / name
        plan.append(
            Training(name, schedule, seed, recipe, by.word, zoo.model, zoo.backbone, into, of_recipe, start, is_trunk)
        )
        return plan[-1]

    members = zoo.members if not seeds else [(schedule, seed) for seed in seeds for schedule in zoo.schedules]
    for schedule, seed in dict.fromkeys(members):
        if zoo.trunk is not None and seed not in trunks:
            trunks[seed] = add("trunk", parse_schedule_of(zoo.model, "baseline"), seed, zoo.trunk, None, is_trunk=True)
        add(f"{family}{zoo.backbone}-{file_name_of(schedule)}", schedule, seed, zoo.branch, trunks.get(seed))
    return tuple(plan)


def _with_data(recipe: Recipe, coco: Path | None) -> tuple[Recipe, Path | None]:
    """A recipe with its split, and the folder that it learns from; None for the embedded data."""
    folder = None if isinstance(recipe.data, ShapesData) else coco
    found = on_folder(recipe, folder)
    validator_of(found, folder)  # says what is wrong with its split
    return found, folder


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
        found, recipe = training.record, training.recipe
        differs = {"another recipe": found.recipe_digest != recipe.digest}
        differs["other data"] = found.data_digest != _data_digest(recipe.data, training.coco)
        if training.start and training.start.is_done:
            differs["another start"] = found.start.digest != training.start.record.weights_digest
        for what, is_other in differs.items():
            if is_other:
                raise BenchError(f"{training.folder}: trained with {what} than {recipe.name} has now", anew)
        if (training.folder / MODEL).is_file():  # packed anew where it is newer
            continue
        if training.is_packed and _provenance(training.packed).get("seconds") != round(found.seconds, 1):
            raise BenchError(f"{training.packed}: of another training than {training.folder / RECORD} tells of", anew)


@lru_cache(maxsize=4)  # a folder's annotations are read for it
def _data_digest(data: ShapesData | CocoData, coco: Path | None) -> str:
    """The digest of what a training's images follow from."""
    if isinstance(data, ShapesData):
        return identity_of_images(data.seed, data.images)
    assert coco is not None
    return open_dataset(coco, data.split).digest


def file_name_of(schedule: EncoderSpec) -> str:
    """Spell a schedule for a file's name: 3-3-3-trc-none, lite-2-1-x3."""
    return _for_files(schedule.compact)


def _for_files(words: str) -> str:
    return re.sub("[^A-Za-z0-9.]+", "-", words)


@dataclass(frozen=True)
class FailedTraining:
    """A training that ended without weights, and what it said."""

    training: Training
    exit_code: int
    said: str  # lines


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
    path = training.folder / ERRORS
    if path.exists() and not path.is_file():  # one that waits for a reader would never be opened
        raise BenchError(f"{path}: not a regular file", "remove it: what a training says goes there")
    with path.open("wb") as errors:
        return start(
            "proscale_bench",
            "train",
            *training.flags,
            *where,
            ends_with_parent=True,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def _last_words(training: Training) -> str:
    """The last lines that a failed training printed."""
    lines = (training.folder / ERRORS).read_text(errors="replace").strip().splitlines()
    return "\n".join(lines[-3:]) or "it said nothing"


def pack(training: Training) -> Path:
    """The final weights in half precision, with what they came from; written where they are missing or older.

    Raises:
        BenchError: the training's weights cannot be read, or these not be written.
    """
    source, path = training.folder / MODEL, training.packed
    if path.is_file() and (not source.is_file() or path.stat().st_mtime >= source.stat().st_mtime):
        return path
    from proscale_bench.models.checkpoints.load import model_of, open_checkpoint
    from proscale_bench.models.checkpoints.save import save_checkpoint

    checkpoint = open_checkpoint(source)
    _, metadata = read_shapes(source)
    save_checkpoint(model_of(checkpoint).half(), path, _provenance(source), seen=trained_on(metadata))
    return path


def _provenance(path: Path) -> dict[str, object]:
    """What a file of weights says of where they come from."""
    _, metadata = read_shapes(path)
    found: dict[str, object] = json.loads(metadata[METADATA]).get("provenance", {})
    return found


def write_sweep(zoo: Zoo, folder: Path, weights: Sequence[Path], coco: Path | None = None) -> Path:
    """The sweep that measures all weights of a zoo: at 160x160 and on the embedded data, or on a folder's own.

    Args:
        coco: the folder; images are then resized to fit the branch's crop, as in training.

    Raises:
        BenchError: it cannot be written.
    """
    listed = "".join(f"  - weights/{path.name}\n" for path in sorted(weights))
    size, evaluated = "160x160", "evaluate:\n  data: shapes-val\n"
    branch, of_branch = _with_data(zoo.branch.recipe, coco)
    if of_branch is not None and isinstance(branch.data, CocoData) and branch.data.split is not None:
        crop = branch.augmentation.crop
        size, split = f"{crop[0]}x{crop[1]}", validation_split(of_branch, branch.data.split)
        data = f"  data: {json.dumps(str(of_branch.resolve()))}\n  split: {split}\n"
        evaluated = f'evaluate:\n{data}  resize: "{min(crop)},{max(crop)}"\n' if split else ""
    text = (
        f"schema_version: 1\nname: {zoo.name}\ndescription: {json.dumps(zoo.description)}\n"
        f"weights:\n{listed}backbones: {zoo.backbone}\nsizes: {size}\n"
        f"count:\nprofile:\n  threads: 1\n  repeats: 20\n{evaluated}"
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
