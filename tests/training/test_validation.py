"""Validation during a training: the curve is in the log, the best weights are kept, and nothing learnt changes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from proscale_bench.bench.train import SplitValidator
from proscale_bench.config.choices import PostprocessingThresholds
from proscale_bench.config.recipe import ValidationSettings
from proscale_bench.data.dataset import Category
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.model_predictor import ModelPredictor
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.results.training import ValidationScores, read_log
from proscale_bench.training import job as job_module
from proscale_bench.training.folder import BEST, LOG, STATE
from proscale_bench.training.job import FinishedTraining, TrainingJob, run_training
from tests.data.made import CATEGORIES, SPLIT, make_dataset
from tests.models.checkpoints.samples import same
from tests.training.runs import ITERATIONS, KILLED, At, assert_same, die, in_another_process, interrupt, job, lines

torch.set_num_threads(1)
EVERY = 2


class OfTheWeights:
    """Scores that follow from the weights: another number for every iteration, the same for the same bits."""

    split = SPLIT

    def open(self, classes: Sequence[Category]) -> str:
        return "digest"

    def scores(self, model: Mask2Former, on_image: Callable[[int, int], None]) -> ValidationScores:
        on_image(1, 1)
        with torch.no_grad():
            pq = float(sum(parameter.double().abs().sum() for parameter in model.parameters()) * 1e4 % 100)
            for parameter in model.parameters():  # a validator may use the model up
                parameter.zero_()
        return ValidationScores(split=self.split, images=1, pq=pq)


def validated_job(coco: Path, **changes: Any) -> TrainingJob:
    made = job(coco, validation={"every": EVERY}, **{"checkpoint_every": 3} | changes)
    return replace(made, validator=OfTheWeights())


def train(coco: Path, run: Path, watcher: Any = None, **changes: Any) -> FinishedTraining:
    trained = run_training(validated_job(coco, **changes), run, watcher=watcher)
    assert trained is not None
    return trained


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("coco"), 5).root


@pytest.fixture(scope="module")
def whole(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing stopped."""
    return train(coco, tmp_path_factory.mktemp("whole")).weights.parent


def test_thresholds_of_validation_are_used_and_tell_trainings_apart(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[PostprocessingThresholds] = []

    class Noted(ModelPredictor):
        def __init__(self, *given: Any, thresholds: PostprocessingThresholds, **how: Any) -> None:
            used.append(thresholds)
            super().__init__(*given, thresholds=thresholds, **how)

    monkeypatch.setattr("proscale_bench.evaluation.model_predictor.ModelPredictor", Noted)
    lowered = {"score_threshold": 0.0, "overlap_threshold": 0.0, "mask_threshold": 0.25}
    records, told = [], []
    for settings in ({}, lowered):
        made = job(coco, iterations=1, batch_size=1, validation={"every": 1, "images": 2, **settings})
        assert made.recipe.validation is not None
        validator = SplitValidator(coco, SPLIT, 2, (32, 32), made.recipe.validation.thresholds)
        validated = replace(made, validator=validator)
        trained = run_training(validated, tmp_path / str(len(records)))
        assert trained is not None
        records.append(trained.record)
        told.append(job_module._identity(validated)["validation"])
    assert used == [PostprocessingThresholds(), PostprocessingThresholds(0.0, 0.25, 0.0)]
    assert records[0].weights_digest == records[1].weights_digest
    assert told[0] == {"every": 1, "split": SPLIT, "images": 2}  # as before there was a choice
    assert told[1]["thresholds"] == {"score": 0.0, "mask": 0.25, "overlap": 0.0, "instances": 100}


def test_the_curve_is_in_the_log_and_the_record_names_the_best(whole: Path) -> None:
    log = read_log(whole / LOG)
    assert [line.iteration for line in log if line.validation] == [2, 4, ITERATIONS]
    raw = [json.loads(line) for line in (whole / LOG).read_text().splitlines()]
    assert [line["validation"]["pq"] for line in raw if "validation" in line] == [
        line.validation.pq for line in log if line.validation
    ]
    record = json.loads((whole / "training.json").read_text())
    best = max((line for line in log if line.validation), key=lambda line: line.validation.pq or 0)  # type: ignore[union-attr]
    assert (record["best"]["weights"], record["best"]["iteration"]) == (BEST, best.iteration)
    provenance = open_checkpoint(whole / BEST).inspect().metadata["provenance"]
    assert (provenance["iterations"], provenance["validation"]["pq"]) == (best.iteration, best.validation.pq)  # type: ignore[union-attr]
    assert "validation" not in open_checkpoint(whole / "model.safetensors").inspect().metadata["provenance"]


def test_the_best_weights_are_those_of_their_iteration(coco: Path, whole: Path, tmp_path: Path) -> None:
    best = json.loads((whole / "training.json").read_text())["best"]["iteration"]
    with suppress(KeyboardInterrupt):  # the last iteration ends by itself
        train(coco, tmp_path, At(best - 1, interrupt))
    state = load_file(tmp_path / STATE)
    averages = {key.removeprefix("average."): value for key, value in state.items() if key.startswith("average.")}
    found = load_file(whole / BEST)
    assert averages
    assert same({name: found[name] for name in averages}, averages)


def test_nothing_that_is_learnt_changes(coco: Path, whole: Path, tmp_path: Path) -> None:
    plain = run_training(job(coco, checkpoint_every=3), tmp_path)
    assert plain is not None
    assert plain.record.best is None
    assert not (tmp_path / BEST).exists()
    assert same(load_file(plain.weights), load_file(whole / "model.safetensors"))
    assert "validation" not in (tmp_path / LOG).read_text()


def assert_same_validated(run: Path, other: Path) -> None:
    assert_same(run, other)
    assert same(load_file(run / BEST), load_file(other / BEST))
    assert [line.validation for line in lines(run)] == [line.validation for line in lines(other)]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_interrupted_one_goes_on_with_the_same_bits(coco: Path, whole: Path, tmp_path: Path, stop: int) -> None:
    """Where it stops at an iteration that is to be validated, it is validated when it goes on."""
    with pytest.raises(KeyboardInterrupt, match="is kept in"):
        train(coco, tmp_path, At(stop, interrupt))
    train(coco, tmp_path)
    assert_same_validated(tmp_path, whole)


def train_until_killed(moment: str, coco: str, run: str, number: int) -> None:
    """Train, and die at the `number`th moment of its kind."""
    torch.set_num_threads(1)
    made, left = validated_job(Path(coco)), number

    def dies_before(original: Any, when: Callable[..., bool] = lambda *_: True, after: bool = False) -> Any:
        def run_or_die(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= when(*arguments)
            found = original(*arguments, **more) if left or after else None
            return found if left else die()

        return run_or_die

    if moment == "while it is validated":
        made.validator.scores = dies_before(made.validator.scores)  # type: ignore[union-attr, method-assign]
    elif moment == "when the best is written":
        is_best = lambda _, path, *more: path.name == BEST  # noqa: E731
        job_module.save_checkpoint = dies_before(job_module.save_checkpoint, is_best, after=True)
    elif moment == "when the line is written":
        writer = job_module.LogWriter
        writer.write = dies_before(writer.write, lambda *given: len(given) > 1, after=True)  # type: ignore[method-assign]
    run_training(made, Path(run))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are POSIX's here")
def test_one_killed_around_every_validation_ends_with_the_same_bits(coco: Path, whole: Path, tmp_path: Path) -> None:
    for moment in ("while it is validated", "when the best is written", "when the line is written"):
        run = tmp_path / moment
        for number in (1, 2):
            code = in_another_process(train_until_killed, moment, str(coco), str(run), number)
            assert code == KILLED or (number == 2 and code == 0), moment  # there may be one best alone
        train(coco, run)
        assert_same_validated(run, whole)
        assert not list(run.glob(f".{BEST}.*"))


def test_another_validation_is_another_training(coco: Path, whole: Path) -> None:
    made = validated_job(coco)
    other = made.recipe.model_copy(update={"validation": ValidationSettings(every=3)})
    with pytest.raises(BenchError, match=r"another training: validation\.every is 2, not 3"):
        run_training(replace(made, recipe=other), whole)
    with pytest.raises(BenchError, match=r"another training: validation\.every is 2, not nothing"):
        run_training(replace(made, validator=None), whole)


# --- What validates ---


def validator(root: Path) -> SplitValidator:
    return SplitValidator(root, SPLIT, 2, (32, 32))


def categories() -> tuple[Category, ...]:
    return tuple(Category(one["id"], one["name"], bool(one["isthing"]), tuple(one["color"])) for one in CATEGORIES)


def scores(found: SplitValidator, classes: int) -> ValidationScores:
    from proscale_bench.specs.encoders.staged import parse_compact
    from tests.built import build_model

    torch.manual_seed(0)
    return found.scores(build_model(parse_compact("1,1,1"), "tiny", classes), lambda done, total: None)


def test_panoptic_truth_gives_pq_and_instances_alone_ap(coco: Path, tmp_path: Path) -> None:
    found = validator(coco)
    found.open(categories())
    panoptic = scores(found, len(CATEGORIES))
    assert (panoptic.images, panoptic.ap, panoptic.decisive) == (2, None, ("PQ", panoptic.pq))
    assert panoptic.pq is not None
    things = validator(make_dataset(tmp_path, 3, panoptic=False).root)
    things.open(categories()[:2])
    instances = scores(things, 2)
    assert instances.pq is None
    assert instances.decisive == ("AP", instances.ap)


def test_categories_in_another_order_are_the_same_and_others_are_refused(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, 3)
    found = validator(made.root)
    ours = categories()
    found.open(ours[::-1])
    assert found._dataset is not None
    assert found._dataset.categories == ours[::-1]
    assert found._dataset.class_of[ours[0].id] == len(ours) - 1
    renamed = (replace(ours[0], name="cat"), *ours[1:])
    with pytest.raises(BenchError, match="val2017 has other categories than the split to learn from, the first: cat"):
        validator(made.root).open(renamed)
    shutil.rmtree(made.images)
    with pytest.raises(BenchError):
        validator(made.root).open(ours)
