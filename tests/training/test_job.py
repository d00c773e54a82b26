"""A training is what its files say, and ends with the same bits however often it was stopped."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from proscale_bench.config.trained_on import trained_on
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import locked
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.render.training import left_out
from proscale_bench.results.training import TrainingRecord, TrainingStep, read_log
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.training import job as job_module
from proscale_bench.training.folder import LOG, RECORD, STATE, WEIGHTS
from proscale_bench.training.job import FinishedTraining, Watcher, run_training
from proscale_bench.training.loop import Trainer
from proscale_bench.training.setup import InitialWeights, sampling_for
from tests.data.made import CATEGORIES, make_dataset
from tests.models.checkpoints.samples import same
from tests.training.runs import (
    ITERATIONS,
    KILLED,
    At,
    assert_same,
    interrupt,
    job,
    killed,
    lines,
    tensors,
    together,
    train,
)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("coco"), 5).root


@pytest.fixture(scope="module")
def whole(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedTraining:
    """A training that nothing stopped."""
    return train(coco, tmp_path_factory.mktemp("whole"))


def folder(trained: FinishedTraining) -> Path:
    return trained.weights.parent


# --- What it leaves ---


def test_the_record_says_what_was_trained(coco: Path, whole: FinishedTraining) -> None:
    record, asked = whole.record, job(coco)
    assert TrainingRecord.model_validate_json((folder(whole) / RECORD).read_text()) == record
    assert (record.name, record.recipe_digest) == ("small", asked.recipe.digest)
    assert (record.schedule, record.backbone, record.seed) == ("1,1,1", "tiny", 1)
    assert (record.data, record.images, record.classes) == ("val2017", 5, len(CATEGORIES))
    assert (record.start.kind, record.iterations, record.averaged) == ("fresh", ITERATIONS, True)
    (session,) = record.sessions
    assert json.loads(record.model_dump_json())["sittings"] == [session.model_dump()]  # as files have called them
    assert (session.first_iteration, session.iterations, session.processes, session.threads) == (0, ITERATIONS, 1, 1)
    sampling = sampling_for("auto", torch.device("cpu"), (64, 64), parse_compact("1,1,1"))
    assert (session.device, session.sampling, session.torch) == ("cpu", sampling, torch.__version__)
    assert record.seconds == pytest.approx(session.seconds)
    assert record.last == read_log(folder(whole) / LOG)[-1]
    assert "start" not in record.recipe


def test_the_weights_are_the_averages_and_say_where_they_are_from(whole: FinishedTraining) -> None:
    checkpoint = open_checkpoint(whole.weights)
    assert checkpoint.digest == whole.record.weights_digest
    state, found = load_file(folder(whole) / STATE), load_file(whole.weights)
    averages = {key.removeprefix("average."): value for key, value in state.items() if key.startswith("average.")}
    assert averages
    assert same({name: found[name] for name in averages}, averages)
    assert not same({name: state[f"model.{name}"] for name in averages}, averages)
    told = checkpoint.inspect().metadata["provenance"]
    assert told == whole.record.provenance()
    assert {"recipe", "recipe_digest", "schedule", "seed", "iterations", "processes", "threads", "torch"} <= told.keys()


def test_without_an_average_the_weights_are_the_last(coco: Path, tmp_path: Path) -> None:
    trained = train(coco, tmp_path, iterations=1, ema=None)
    state, found = load_file(tmp_path / STATE), load_file(trained.weights)
    assert not trained.record.averaged
    assert all(torch.equal(value, state[f"model.{name}"]) for name, value in found.items() if f"model.{name}" in state)
    assert not any(key.startswith("average.") for key in state)


def test_a_baseline_starts_a_schedule(coco: Path, whole: FinishedTraining, tmp_path: Path) -> None:
    baseline = train(coco, tmp_path / "baseline", schedule="baseline:1", iterations=1)
    trained = train(coco, tmp_path / "tuned", iterations=1, start=str(baseline.weights))
    assert (trained.record.start.kind, trained.record.start.file) == ("baseline", WEIGHTS)
    assert trained.record.start.digest == baseline.record.weights_digest
    assert trained.record.weights_digest != whole.record.weights_digest


def test_a_baseline_keeps_its_own_width_and_queries(coco: Path, tmp_path: Path) -> None:
    spec = mask2former(parse_compact("baseline:1"), "tiny", classes=9, queries=7, width=32)
    save_checkpoint(build(spec), tmp_path / "start.safetensors")
    started: list[InitialWeights] = []

    class Listener(Watcher):
        def started(self, start: InitialWeights) -> None:
            started.append(start)

    trained = train(coco, tmp_path / "run", Listener(), iterations=1, start=str(tmp_path / "start.safetensors"))
    head = open_checkpoint(trained.weights).inferred.head
    assert head == replace(spec.head, num_classes=len(CATEGORIES))
    (start,) = started
    assert left_out(start.file, start.warm_start) == [
        "not taken from start.safetensors, no counterpart in the baseline: encoder.recalibration",
        "not taken from start.safetensors, another number of classes: decoder.class_head",
    ]


def test_a_baseline_of_another_backbone_is_refused(coco: Path, tmp_path: Path) -> None:
    save_checkpoint(build(mask2former(parse_compact("baseline:1"), "swin_t")), tmp_path / "start.safetensors")
    with pytest.raises(BenchError, match="its backbone is swin_t, and the recipe's tiny") as caught:
        train(coco, tmp_path / "run", iterations=1, start=str(tmp_path / "start.safetensors"))
    assert caught.value.hint == "--backbone swin_t"


def test_weights_say_their_classes_and_the_scale_of_training(whole: FinishedTraining) -> None:
    seen = trained_on(open_checkpoint(whole.weights).translation.stored.metadata)
    assert [(one.id, one.name, one.isthing) for one in seen.classes] == [
        (one["id"], one["name"], bool(one["isthing"])) for one in CATEGORIES
    ]
    assert seen.resize == (32, 32)


def test_bf16_trains(coco: Path, whole: FinishedTraining, tmp_path: Path) -> None:
    trained = train(coco, tmp_path, iterations=1, precision="bf16")
    assert trained.record.recipe["precision"] == "bf16"
    assert {value.dtype for value in load_file(trained.weights).values() if value.is_floating_point()} == {
        torch.float32
    }


# --- Going on ---


@pytest.mark.parametrize("stop", [2, 3])
def test_an_interrupted_training_goes_on_with_the_same_bits(
    coco: Path, whole: FinishedTraining, tmp_path: Path, stop: int
) -> None:
    with pytest.raises(KeyboardInterrupt, match=f"iteration {stop} of {ITERATIONS} is kept in .*the same command"):
        train(coco, tmp_path, At(stop - 1, interrupt))
    assert not (tmp_path / WEIGHTS).exists()
    watcher = At(0, None)
    trained = train(coco, tmp_path, watcher)
    assert (watcher.began, len(watcher.steps)) == (stop, ITERATIONS - stop)
    assert_same(tmp_path, folder(whole))
    assert [(one.first_iteration, one.iterations) for one in trained.record.sessions] == [
        (0, stop),
        (stop, ITERATIONS - stop),
    ]
    assert trained.record.weights_digest == whole.record.weights_digest


def test_a_sigterm_is_as_a_ctrl_c(coco: Path, tmp_path: Path) -> None:
    """Also where a shell has Ctrl-C ignored, as of what runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt, match="iteration 2 of"):
            train(coco, tmp_path / "background", At(1, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="iteration 2 of"):
        train(coco, tmp_path / "foreground", At(1, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stop_in_the_last_iteration_is_none(coco: Path, whole: FinishedTraining, tmp_path: Path) -> None:
    train(coco, tmp_path, At(ITERATIONS - 1, interrupt))
    assert_same(tmp_path, folder(whole))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are POSIX's here")
def test_a_training_killed_at_every_moment_ends_with_the_same_bits(
    coco: Path, whole: FinishedTraining, tmp_path: Path
) -> None:
    assert killed("iteration", coco, tmp_path, 1) == KILLED
    assert not (tmp_path / STATE).exists()
    assert killed("half a state", coco, tmp_path) == KILLED
    assert not (tmp_path / STATE).exists()
    assert list(tmp_path.glob(f".{STATE}.*"))
    assert killed("a whole state", coco, tmp_path) == KILLED
    assert state(tmp_path)["iteration"] == 2
    assert killed("iteration", coco, tmp_path, 3) == KILLED
    assert killed("before the state takes its place", coco, tmp_path, 2) == KILLED
    assert state(tmp_path)["iteration"] == 2
    assert killed("half a state", coco, tmp_path, 2) == KILLED
    assert state(tmp_path)["iteration"] == 4
    assert killed("the weights", coco, tmp_path) == KILLED
    assert state(tmp_path)["iteration"] == ITERATIONS
    assert not (tmp_path / WEIGHTS).exists()
    trained = train(coco, tmp_path)
    assert_same(tmp_path, folder(whole))
    assert sum(one.iterations for one in trained.record.sessions) == ITERATIONS
    assert not list(tmp_path.glob(".training*"))


def state(run: Path) -> dict[str, Any]:
    with safe_open(run / STATE, framework="pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["standing"])
    return found


def test_what_is_finished_is_left_alone(coco: Path, whole: FinishedTraining) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder(whole).iterdir()}
    watcher = At(0, None)
    again = train(coco, folder(whole), watcher)
    assert (watcher.began, watcher.steps) == (ITERATIONS, [])
    assert again.record == whole.record
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed <= {".lock"}


def test_starting_over_removes_what_was_there(coco: Path, whole: FinishedTraining, tmp_path: Path) -> None:
    train(coco, tmp_path, iterations=1)
    run_training(job(coco), tmp_path, start_over=True)
    assert_same(tmp_path, folder(whole))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "2,1,1"}, "schedule is 1,1,1, not 2,1,1"),
        ({"iterations": 9}, "recipe.iterations is 5, not 9"),
        ({"optimizer": {"learning_rate": 2e-3}}, "recipe.optimizer.learning_rate is 0.001, not 0.002"),
        ({"ema": None}, "recipe.ema is 0.9, not None"),
        ({"schedule_of_rates": {"kind": "step", "milestones": [2]}}, "recipe.schedule"),
    ],
)
def test_another_training_is_refused_with_the_first_difference(
    coco: Path, whole: FinishedTraining, changes: dict[str, Any], said: str
) -> None:
    if rates := changes.pop("schedule_of_rates", None):
        asked = job(coco)
        asked = job_module.TrainingJob(
            asked.recipe.model_copy(update={"schedule": recipe_of(rates)}), asked.schedule, 1, coco
        )
    else:
        asked = job(coco, **changes)
    with pytest.raises(BenchError, match=said) as caught:
        run_training(asked, folder(whole))
    assert "--no-resume --force" in str(caught.value.hint)


def recipe_of(rates: dict[str, Any]) -> Any:
    from tests.training.made import recipe

    return recipe(schedule=rates).schedule


def test_other_images_and_another_start_are_another_training(
    coco: Path, whole: FinishedTraining, tmp_path: Path
) -> None:
    other = make_dataset(tmp_path / "other", 5, seed=1)
    other.edit_both(lambda document: document.update(info={"description": "others"}))
    with pytest.raises(BenchError, match="another training: data is"):
        train(other.root, folder(whole))
    path = tmp_path / "baseline.safetensors"
    from proscale_bench.specs.encoders.staged import parse_compact
    from tests.built import build_model

    save_checkpoint(build_model(parse_compact("baseline:1"), "tiny", len(CATEGORIES)), path)
    with pytest.raises(BenchError, match="another training: start is"):
        train(coco, folder(whole), start=str(path))


def test_weights_that_nothing_leads_to_are_not_overwritten(coco: Path, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"precious")
    with pytest.raises(BenchError, match="holds weights, and no training"):
        train(coco, tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() == b"precious"


def test_one_training_a_folder(coco: Path, tmp_path: Path) -> None:
    with locked(tmp_path, "training"), pytest.raises(BenchError, match="another training is running"):
        train(coco, tmp_path)


# --- What stops it ---


def test_a_number_that_is_none_names_the_images_and_keeps_them(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer.step

    def break_third(self: Trainer, samples: Any) -> TrainingStep:
        if self.iteration == 2:
            with torch.no_grad():
                self.model.decoder.class_head.bias.fill_(math.nan)
        return original(self, samples)

    monkeypatch.setattr(Trainer, "step", break_third)
    with pytest.raises(BenchError, match="iteration 3: the class loss is not finite; its images: ") as caught:
        train(coco, tmp_path)
    assert caught.value.exit_code == ExitCode.UNTRUSTED
    path = tmp_path / "not-finite-3-0.npz"
    assert str(path) in str(caught.value.hint)
    with np.load(path, allow_pickle=False) as batch:
        assert batch["images"].shape == (2, 32, 32, 3)
        assert all(name in caught.value.message for name in batch["names"])
        assert len(batch["labels"]) == len(batch["masks"]) == len(batch["image"]) > 0
        assert batch["masks"].any((1, 2)).all()
    assert state(tmp_path)["iteration"] == 2
    monkeypatch.undo()
    train(coco, tmp_path)  # nothing of it was kept


def test_data_and_recipe_belong_together(coco: Path, tmp_path: Path) -> None:
    shapes = {"source": "shapes", "images": 3}
    with pytest.raises(BenchError, match="trains on the embedded data, not on"):
        train(coco, tmp_path, data=shapes)
    asked = job(coco)
    with pytest.raises(BenchError, match="trains on val2017 of a folder as COCO's") as caught:
        run_training(job_module.TrainingJob(asked.recipe, asked.schedule), tmp_path)
    assert "--coco" in str(caught.value.hint)


# --- Together ---


def test_processes_stop_after_the_same_iteration_and_go_on_alone(coco: Path, tmp_path: Path) -> None:
    """An interruption of one is one of all. Parts are the same whoever has them, so one process can take over."""
    assert together(coco, tmp_path / "two", stop=2) == [1, 1]
    assert state(tmp_path / "two")["iteration"] == 3
    assert state(tmp_path / "two")["sittings"][0]["processes"] == 2
    assert together(coco, tmp_path / "two") == [0, 0]
    alone = train(coco, tmp_path / "one", accumulate=2)
    assert alone.record.sessions[0].processes == 1
    assert_close(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize("schedule", ["0,0,0", "pem+width:16"])
def test_what_leaves_parameters_out_and_what_has_batch_norms_trains_together(
    coco: Path, tmp_path: Path, schedule: str
) -> None:
    settings: dict[str, Any] = {"schedule": schedule, "iterations": 2, "batch_size": 4}
    assert together(coco, tmp_path / "two", **settings) == [0, 0]
    train(coco, tmp_path / "one", accumulate=2, **settings)
    assert_close(tmp_path / "two", tmp_path / "one")


def assert_close(run: Path, other: Path) -> None:
    """The same but for rounding: what is summed in another order has other last digits, and AdamW divides by them."""
    one, two = tensors(run), tensors(other)
    assert one.keys() == two.keys()
    for key, value in one.items():
        if value.is_floating_point():
            assert (value - two[key]).abs().mean() <= 1e-4 * value.abs().mean() + 1e-6, key
    for line, other_line in zip(lines(run), lines(other), strict=True):
        assert line.loss == pytest.approx(other_line.loss, rel=1e-4)
