"""A detector's training is what every training is: it goes on to the bit, alone or together, and its weights say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proscale_bench.config.recipe import DetectionRecipe, DetectorOptimizerSettings
from proscale_bench.config.trained_on import trained_on
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.detector import detector_of
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.specs.encoders.multiscale import MultiScale
from proscale_bench.specs.families import own_model
from proscale_bench.training.box_samples import ShapesBoxes
from proscale_bench.training.box_trainer import BoxTrainer
from proscale_bench.training.dropout import add_dropout
from proscale_bench.training.folder import LOG
from proscale_bench.training.job import FinishedTraining
from proscale_bench.training.optimizer import build_optimizer
from tests.data.made import make_dataset
from tests.training.made import recipe
from tests.training.runs import KILLED, At, assert_same, interrupt, killed, tensors, together, train

DETECTOR: dict[str, Any] = {"model": "deformable-detr", "iterations": 3, "augmentation": {"crop": [64, 64]}}


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("coco"), 5).root


@pytest.fixture(scope="module")
def whole(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedTraining:
    return train(coco, tmp_path_factory.mktemp("whole"), **DETECTOR)


def test_the_log_and_the_weights_are_a_detectors(whole: FinishedTraining) -> None:
    (line,) = (json.loads(line) for line in (whole.weights.parent / LOG).read_text().splitlines())
    assert {key for key in line if key.startswith("loss")} == {"loss", "loss_class", "loss_box", "loss_giou"}
    assert whole.record.schedule == "1,1,0,1"
    assert whole.record.classes == 2  # the things
    checkpoint = open_checkpoint(whole.weights)
    spec = checkpoint.inferred.spec
    assert spec is not None
    assert (spec.family, spec.variant, spec.tasks) == ("Deformable DETR", "1,1,0,1", {"boxes"})
    assert trained_on(checkpoint.translation.stored.metadata).names == ("person", "dog")


def test_it_goes_on_to_the_bit(coco: Path, whole: FinishedTraining, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(coco, tmp_path, At(1, interrupt), **DETECTOR)
    train(coco, tmp_path, **DETECTOR)
    assert_same(tmp_path, whole.weights.parent)


def test_a_killed_one_goes_on_to_the_bit(coco: Path, whole: FinishedTraining, tmp_path: Path) -> None:
    assert killed("half a state", coco, tmp_path, **DETECTOR) == KILLED
    train(coco, tmp_path, **DETECTOR)
    assert_same(tmp_path, whole.weights.parent)


def test_processes_and_passes_give_the_same(coco: Path, tmp_path: Path) -> None:
    assert together(coco, tmp_path / "together", **DETECTOR) == [0, 0]
    train(coco, tmp_path / "passes", **DETECTOR, accumulate=2)
    one, two = tensors(tmp_path / "together"), tensors(tmp_path / "passes")
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("model", ["deformable-detr+refine", "deformable-detr+two-stage"])
def test_every_kind_trains(coco: Path, tmp_path: Path, model: str) -> None:
    changes = {"iterations": 2, "augmentation": {"crop": [96, 128], "resize": [1.0, 1.5]}}
    trained = train(coco, tmp_path, model=model, **changes)
    assert trained.record.last is not None
    assert np.isfinite(trained.record.last.loss)


@pytest.mark.slow
def test_four_images_are_learnt_by_heart(tmp_path: Path) -> None:
    """All objects are found with their classes and places, and nothing else is."""
    settings: dict[str, Any] = {"iterations": 150, "augmentation": {"crop": [96, 96], "flip": False}, "dropout": 0.0}
    made = recipe(model="deformable-detr", **settings)
    torch.manual_seed(0)
    spec = own_model("deformable-detr+two-stage", MultiScale(), "tiny", classes=8, queries=30)
    trainer = BoxTrainer(build(spec), made, 0, {})
    data = ShapesBoxes(4, 1, made.augmentation)
    samples = [data.sample(index, np.random.default_rng(0)) for index in range(4)]
    for _ in range(made.iterations):
        trainer.step(samples)
    for sample, found in zip(samples, detector_of(trainer.model.eval())([one.image for one in samples]), strict=True):
        number = len(sample.labels)
        assert sorted(found.classes[:number].tolist()) == sorted(sample.labels.tolist())
        assert found.scores[number - 1] > 0.5 > found.scores[number]
        corners = np.concatenate([sample.boxes[:, :2] - sample.boxes[:, 2:] / 2, sample.boxes[:, :2]], axis=1)
        nearest = np.abs(found.boxes[:number, None, :2] - corners[:, :2]).max(-1).min(0)
        assert nearest.max() < 0.05


def test_detrs_scales_train(coco: Path, tmp_path: Path) -> None:
    scales = {"short_sides": [64, 96], "longest_side": 128, "crop_short_sides": [64], "crop_sides": [40, 64]}
    train(coco, tmp_path, **DETECTOR | {"augmentation": scales, "iterations": 2})


def test_projections_of_places_learn_slower_and_all_decays() -> None:
    model = build(own_model("deformable-detr", MultiScale((0, 0, 0, 1)), "tiny"))
    settings = DetectorOptimizerSettings(learning_rate=1.0, weight_decay=0.5, backbone_multiplier=0.25)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in build_optimizer(model, settings).param_groups
        for parameter in group["params"]
    }
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, (rate, decay) in found.items():
        slow = "sampling_offsets" in name or "decoder.points." in name
        assert rate == (0.25 if name.startswith("backbone.") else 0.1 if slow else 1.0), name
        assert decay == 0.5


def test_dropout_is_in_training_alone() -> None:
    torch.manual_seed(0)
    model = build(own_model("deformable-detr", MultiScale((0, 0, 0, 1)), "tiny"))
    image = torch.rand(1, 3, 64, 64) * 255
    before = model(image).boxes
    add_dropout(model, 0.5)
    torch.testing.assert_close(model(image).boxes, before, rtol=0, atol=0)
    model.train()
    assert not torch.equal(model(image).class_logits, model(image).class_logits)


def test_a_recipe_says_what_it_is_for() -> None:
    assert isinstance(recipe(model="deformable-detr"), DetectionRecipe)


def test_it_starts_from_a_baseline_of_its_kind(coco: Path, tmp_path: Path) -> None:
    """Every token layer begins with the rows of the levels that it sees; other classes begin anew."""
    spec = own_model("deformable-detr", MultiScale(), "tiny", classes=5)
    torch.manual_seed(3)
    baseline = build(spec)
    save_checkpoint(baseline, tmp_path / "baseline.safetensors")
    found = train(coco, tmp_path / "run", **DETECTOR | {"start": str(tmp_path / "baseline.safetensors")})
    assert found.record.start.kind == "baseline"
    refined = own_model("deformable-detr+refine", MultiScale(), "tiny", classes=5)
    save_checkpoint(build(refined), tmp_path / "refined.safetensors")
    with pytest.raises(BenchError, match=r"is of deformable-detr\+refine, and the model is deformable-detr"):
        train(coco, tmp_path / "other", **DETECTOR | {"start": str(tmp_path / "refined.safetensors")})
