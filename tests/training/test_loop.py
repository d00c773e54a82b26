"""Iterations: parts add up, chance follows from seed and iteration, and what is no number is not learnt from."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.models.masked_decoder import Predictions
from proscale_bench.models.processes import Processes
from proscale_bench.results.training import TrainingStep
from proscale_bench.training import criterion as criterion_module
from proscale_bench.training import loop as loop_module
from proscale_bench.training.loop import NonFiniteError, Trainer
from proscale_bench.training.samples import Sample
from tests.training.made import Blocks, trainer


def state(of: Trainer) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in of.model.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def losses(steps: list[TrainingStep]) -> list[tuple[float, ...]]:
    return [(step.total, step.class_loss, step.mask_loss, step.dice_loss, step.gradient_norm or 0.0) for step in steps]


def batch(size: tuple[int, int] = (64, 64)) -> list[Sample]:
    return [Blocks(8, size).sample(index, np.random.default_rng(index)) for index in range(4)]


def fixed(rows: int, points: int) -> Tensor:
    return torch.rand(1, points, 2, generator=torch.Generator().manual_seed(points)).expand(rows, -1, -1)


@pytest.fixture
def fixed_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """All masks are looked at in the same places."""
    monkeypatch.setattr(criterion_module, "uniform_on", lambda device: fixed)


def gradients(of: Trainer, samples: list[Sample]) -> tuple[dict[str, Tensor], TrainingStep]:
    """Return the gradients of one iteration, before clipping."""
    kept: dict[str, Tensor] = {}
    update = of._update

    def spy(samples: Any) -> float:
        kept.update({name: one.grad.clone() for name, one in of.model.named_parameters() if one.grad is not None})
        return update(samples)

    of._update = spy  # type: ignore[method-assign]
    return kept, of.step(samples)


@pytest.mark.usefixtures("fixed_points")
@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_equals_one_pass(accumulate: int) -> None:
    once, step = gradients(trainer(), batch())
    parts, step_of_parts = gradients(trainer(accumulate=accumulate), batch())
    assert once.keys() == parts.keys()
    for name, gradient in once.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-5 * step.gradient_norm, msg=name)
    for one, other in zip(losses([step])[0], losses([step_of_parts])[0], strict=True):
        assert other == pytest.approx(one, rel=1e-4)


def test_a_training_follows_from_its_seed() -> None:
    first, again = (trainer(drop_path=0.3) for _ in range(2))
    steps = [list(one.run(Blocks(), workers)) for one, workers in ((first, 1), (again, 3))]
    assert losses(steps[0]) == losses(steps[1])
    assert same(state(first), state(again))
    assert [step.iteration for step in steps[0]] == [1, 2, 3, 4]
    other = trainer(drop_path=0.3)
    other.seed = 4
    assert losses(list(other.run(Blocks()))) != losses(steps[0])


def test_what_was_drawn_before_changes_nothing() -> None:
    one, other = trainer(), trainer()
    first = one.step(batch())
    torch.manual_seed(123)
    assert losses([other.step(batch())]) == losses([first])


def test_the_gradient_is_clipped_normalizer() -> None:
    made = trainer(optimizer={"learning_rate": 1e-3, "clip_norm": 0.01}, ema=None)
    kept, step = gradients(made, batch())
    norm = math.sqrt(sum(float(gradient.double().pow(2).sum()) for gradient in kept.values()))
    assert step.gradient_norm == pytest.approx(norm, rel=1e-4)
    assert norm > 0.01
    moments = [made.optimizer.state[parameter]["exp_avg"] for parameter in made.model.parameters()]
    clipped = math.sqrt(sum(float(moment.double().pow(2).sum()) for moment in moments)) / 0.1
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_crops_that_the_model_pads_have_their_masks_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    original = loop_module.criterion

    def spy(predictions: Predictions, targets: Any, *rest: Any, **named: Any) -> Any:
        seen.extend(target.masks for target in targets)
        assert predictions.pred_masks.shape[-2:] == predictions.mask_factors[1].shape[-2:] == (16, 24)
        return original(predictions, targets, *rest, **named)

    monkeypatch.setattr(loop_module, "criterion", spy)
    samples = batch((50, 70))
    trainer().step(samples)
    for masks, sample in zip(seen, samples, strict=True):
        assert masks.shape[-2:] == (64, 96)
        assert np.array_equal(masks[:, :50, :70].numpy(), sample.masks)
        assert masks.sum() == sample.masks.sum()


@pytest.mark.parametrize("schedule", ["0,0,0", "2,1,1+conv", "1,1,1+trc:none", "baseline:1"])
def test_every_parameter_that_can_have_a_gradient_has_one(schedule: str) -> None:
    kept, _ = gradients(trainer(schedule), batch())
    missing = {name for name, _ in trainer(schedule).model.named_parameters()} - kept.keys()
    assert missing == ({"encoder.level_embedding"} if schedule == "0,0,0" else set())


@pytest.mark.parametrize(("processes", "accumulate"), [(3, 1), (2, 4), (1, 3)])
def test_a_batch_is_shared_evenly(processes: int, accumulate: int) -> None:
    with pytest.raises(BenchError, match=f"4 images an iteration in {processes * accumulate} equal parts"):
        trainer(processes=Processes(0, processes), accumulate=accumulate)


# --- Number formats ---


def test_bf16_is_fp32_but_for_rounding() -> None:
    exact, rough = (trainer(precision=precision).step(batch()) for precision in ("fp32", "bf16"))
    assert rough.total != exact.total
    assert rough.total == pytest.approx(exact.total, rel=0.05)


def test_weights_and_their_moments_stay_fp32() -> None:
    made = trainer(precision="bf16")
    made.step(batch())
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}
    assert {value.dtype for moments in made.optimizer.state.values() for value in moments.values()} == {torch.float32}


# --- What is no number ---


def break_(made: Trainer, name: str = "decoder.mask_head.4.bias", value: float = math.nan) -> None:
    with torch.no_grad():
        made.model.get_parameter(name).fill_(value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("decoder.class_head.bias", math.nan, "the class loss is not finite"),
        ("decoder.mask_head.4.bias", math.nan, "the dice and mask loss is not finite"),
        ("decoder.mask_head.4.bias", 1e38, "loss is not finite"),
    ],
)
def test_a_loss_that_is_no_number_stops(name: str, value: float, said: str) -> None:
    made = trainer()
    made.step(batch())
    break_(made, name, value)
    before, average = state(made), copy.deepcopy(made.average)
    assert average is not None
    samples = batch()
    with pytest.raises(NonFiniteError, match=f"iteration 2: .*{said}") as caught:
        made.step(samples)
    assert caught.value.exit_code == ExitCode.UNTRUSTED
    assert caught.value.samples is samples
    assert (made.iteration, caught.value.iteration) == (1, 1)
    after = state(made)
    assert all(torch.equal(after[key], before[key]) or key == name for key in before)
    assert same(average.tensors, made.average.tensors if made.average else {})


def test_a_gradient_that_is_no_number_stops() -> None:
    made = trainer()
    made.model.decoder.class_head.weight.register_hook(lambda gradient: gradient * math.inf)
    before = state(made)
    with pytest.raises(NonFiniteError, match="iteration 1: the gradient is not finite"):
        made.step(batch())
    assert same(state(made), before)


def test_in_fp16_a_gradient_that_overflows_costs_a_step_and_then_all_hope() -> None:
    made = trainer(precision="fp16", iterations=100, loss={"points": 8})
    made.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    hook = made.model.decoder.class_head.weight.register_hook(lambda gradient: gradient * math.inf)
    before, scale = state(made), made.scaler.get_scale()
    step = made.step(batch())
    assert step.gradient_norm is None
    assert made.scaler.get_scale() == scale / 2
    assert same(state(made), before)
    hook.remove()
    assert made.step(batch()).gradient_norm is not None
    assert not same(state(made), before)
    made.model.decoder.class_head.weight.register_hook(lambda gradient: gradient * math.inf)
    made.scaler.update(2.0)
    assert made.step(batch()).gradient_norm is None
    with pytest.raises(NonFiniteError, match="however the losses are scaled for fp16"):
        made.step(batch())
