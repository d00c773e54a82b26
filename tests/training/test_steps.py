"""The parts of an iteration besides its losses: rates, groups of parameters, the average."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import OptimizerSettings, Recipe, read_recipe
from proscale_bench.training.optimizer import WeightAverage, build_optimizer, rate_factor
from tests.models.checkpoints.samples import RESNET, small_model
from tests.training.made import recipe, small


def stepped(**changes: object) -> Recipe:
    schedule = {"kind": "step", "milestones": [60, 80], "factor": 0.1} | changes
    return recipe(iterations=100, schedule=schedule)


# --- Learning rates ---


def test_a_step_schedule_falls_at_its_milestones() -> None:
    found = [rate_factor(stepped(), iteration) for iteration in (0, 59, 60, 79, 80, 99)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_polynomial_schedule_falls_to_nothing() -> None:
    poly = recipe(iterations=100, schedule={"kind": "polynomial", "power": 0.9})
    found = [rate_factor(poly, iteration) for iteration in range(100)]
    assert found == pytest.approx([(1 - iteration / 100) ** 0.9 for iteration in range(100)])
    assert all(one > other for one, other in pairwise(found))


def test_a_trapezoid_stays_up_then_falls_in_a_line() -> None:
    plan = recipe(iterations=100, schedule={"kind": "trapezoid", "cooldown_iterations": 20})
    found = [rate_factor(plan, iteration) for iteration in (0, 50, 79, 80, 81, 90, 99)]
    assert found == pytest.approx([1, 1, 1, 1, 0.95, 0.5, 0.05])


@pytest.mark.parametrize(
    ("kind", "rest"), [("step", {"milestones": [60]}), ("polynomial", {}), ("trapezoid", {"cooldown_iterations": 90})]
)
def test_the_warm_up_is_linear(kind: str, rest: dict[str, Any]) -> None:
    warm = recipe(iterations=100, schedule={"kind": kind, "warmup_iterations": 10, "warmup_factor": 0.2, **rest})
    plain = recipe(iterations=100, schedule={"kind": kind, **rest})
    ratios = [rate_factor(warm, iteration) / rate_factor(plain, iteration) for iteration in range(12)]
    assert ratios == pytest.approx([0.2 + 0.8 * step / 10 for step in range(10)] + [1, 1])


def test_the_published_rate_falls_twice() -> None:
    """To a tenth at 8/9 of the iterations and to a hundredth at 26/27: Cheng et al. 2022, section 4.1."""
    published = read_recipe(find_shipped("recipes", "coco-50ep"))
    marks = (0, 327_777, 327_778, 355_091, 355_092, 368_749)
    assert [rate_factor(published, mark) for mark in marks] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


# --- Parameters ---


@pytest.mark.parametrize("backbone", ["swin", "resnet"])
def test_every_parameter_is_in_its_group(backbone: str) -> None:
    model = small() if backbone == "swin" else small_model("2,1,1", RESNET)
    settings = OptimizerSettings(learning_rate=1e-3, weight_decay=0.05, backbone_multiplier=0.1)
    optimizer = build_optimizer(model, settings)
    found = {
        parameter: (group["initial_lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(found) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert found.keys() == set(model.parameters())
    norms = {
        parameter
        for module in model.modules()
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm))
        for parameter in module.parameters()
    }
    assert norms
    for name, parameter in model.named_parameters():
        embedding = any(word in name for word in ("query_", "level_embedding", "relative_position_bias_table"))
        rate = 1e-4 if name.startswith("backbone.") else 1e-3
        assert found[parameter] == pytest.approx((rate, 0.0 if parameter in norms or embedding else 0.05)), name


def test_weights_without_gradient_decay_and_embeddings_do_not() -> None:
    model = small()
    optimizer = build_optimizer(model, OptimizerSettings(learning_rate=0.1, weight_decay=0.5, backbone_multiplier=1))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    weight, embedding = model.decoder.class_head.weight, model.decoder.query_features
    torch.testing.assert_close(weight, before["decoder.class_head.weight"] * 0.95)
    assert torch.equal(embedding, before["decoder.query_features"])


# --- The average ---


def test_the_average_is_the_formula() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = WeightAverage(model, 0.5)
    expected = 0.0
    for update in range(1, 30):
        nn.init.constant_(model.weight, float(update))
        average.update()
        decay = min(0.5, update / (9 + update))
        expected = decay * expected + (1 - decay) * update
        assert average.tensors["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert average.updates == 29


def test_the_average_shares_nothing_with_the_model() -> None:
    model = small()
    average = WeightAverage(model, 0.9)
    before = average.tensors["decoder.class_head.weight"].clone()
    nn.init.zeros_(model.decoder.class_head.weight)
    assert torch.equal(average.tensors["decoder.class_head.weight"], before)
