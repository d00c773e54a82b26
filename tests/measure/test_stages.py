"""A model taken apart: the stages are those of the model, on the inputs that they have in it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pytest
import torch

from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.measure.stages import bytes_of, captured, take_apart
from proscale_bench.measure.timers import CudaTimer
from proscale_bench.models.encoders.staged import StagedEncoder
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from tests.built import build_model

SIZE = (64, 96)


def model_of(schedule: str) -> Mask2Former:
    torch.manual_seed(0)
    return build_model(parse_schedule(schedule), "tiny")


def spec_of(model: Mask2Former) -> Mask2FormerSpec:
    assert isinstance(model.encoder, StagedEncoder)
    return mask2former(model.encoder.schedule, "tiny")


def no_autocast() -> AbstractContextManager[object]:
    return nullcontext()


@pytest.mark.parametrize("schedule", ["baseline", "2,1,1", "1,1,1+trc:none+conv", "0,0,1+residual"])
def test_every_stage_is_there_in_forward_order(schedule: str) -> None:
    model = model_of(schedule)
    subject = take_apart(model, spec_of(model), torch.rand(2, 3, *SIZE) * 255, SIZE, no_autocast)
    recalibration = ["encoder_recalibration"] if model.encoder.recalibration is not None else []
    layers = [f"encoder_token_layer_{number}" for number in range(1, len(model.encoder.layers) + 1)]
    assert [stage.name for stage in subject.stages] == [
        *("prepare", "backbone", "encoder", "encoder_projection", *recalibration, *layers),
        *("fpn_upsampling", "pixel_embedding", "transformer_decoder", "postprocessing"),
    ]
    for stage in (subject.whole, *subject.stages):
        stage.call()
        stage.call()  # again and again
    assert all(stage.min_bytes > 0 for stage in subject.stages)


def test_nothing_is_left_in_the_model() -> None:
    model = model_of("1,1,1")
    take_apart(model, spec_of(model), torch.rand(1, 3, *SIZE), SIZE, no_autocast)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_stage_run_by_itself_does_what_it_does_in_the_model() -> None:
    model, images = model_of("1,1,1"), torch.rand(1, 3, *SIZE) * 255
    subject = take_apart(model, spec_of(model), images, SIZE, no_autocast)
    seen: list[torch.Tensor] = []
    calls = {stage.name: stage.call for stage in subject.stages}
    hooks = [
        model.decoder.register_forward_hook(lambda m, a, output: seen.append(output.pred_masks)),
        model.encoder.layers[1].register_forward_hook(lambda m, a, output: seen.append(output)),
    ]
    subject.whole.call()
    calls["encoder_token_layer_2"]()
    calls["transformer_decoder"]()
    in_the_model, alone = seen[:2], seen[2:]
    assert len(alone) == 2
    for one, other in zip(in_the_model, alone, strict=True):
        assert torch.equal(one, other)
    for hook in hooks:
        hook.remove()


def test_autocast_reaches_every_stage() -> None:
    model, images = model_of("1,1,1"), torch.rand(1, 3, *SIZE) * 255
    for module in model.encoder.layers:
        module.attention.sampling = "grid_sample"
    types: set[torch.dtype] = set()
    model.encoder.layers[0].linear1.register_forward_hook(lambda m, a, output: types.add(output.dtype))
    subject = take_apart(model, spec_of(model), images, SIZE, lambda: torch.autocast("cpu", torch.bfloat16))
    types.clear()
    next(stage for stage in subject.stages if stage.name == "encoder_token_layer_1").call()
    assert types == {torch.bfloat16}


def test_compiled_models_are_taken_apart_too() -> None:
    model, images = model_of("0,0,1"), torch.rand(1, 3, *SIZE) * 255
    names = [stage.name for stage in take_apart(model, spec_of(model), images, SIZE, no_autocast).stages]
    model.encoder.compile(backend="eager")
    subject = take_apart(model, spec_of(model), images, SIZE, no_autocast)
    assert [stage.name for stage in subject.stages] == names
    next(stage for stage in subject.stages if stage.name == "encoder").call()


def test_bytes_are_counted_once_whatever_holds_them() -> None:
    @dataclass(frozen=True)
    class Pair:
        one: torch.Tensor
        words: str = "not a tensor"

    a, b = torch.zeros(10), torch.zeros(6, dtype=torch.float16)
    assert bytes_of(a, [a, {"b": b}], Pair(a), None, 3) == 40 + 12


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
def test_a_captured_stage_replays_and_one_that_cannot_be_says_why() -> None:
    x = torch.ones(1000, device="cuda")
    pool = torch.cuda.graph_pool_handle()
    from proscale_bench.measure.latency import TimedStage

    replayed = captured(TimedStage("good", lambda: x.add_(1)), pool)
    assert replayed.note == ""
    before = float(x[0])
    replayed.call()
    torch.cuda.synchronize()
    assert float(x[0]) == before + 1
    assert "not captured" in captured(TimedStage("bad", lambda: x.sum().item()), pool).note


@needs_gpu
def test_cuda_events_and_the_wall_clock_agree_on_long_work() -> None:
    a = torch.rand(4096, 4096, device="cuda")
    timer = CudaTimer()

    def work() -> None:
        for _ in range(20):
            a @ a

    timer.wall(work)
    (event_ms,) = timer.each_ms([work])
    wall = timer.wall(work)
    assert event_ms == pytest.approx(wall.ms, rel=0.2)
    assert wall.launch_ms < wall.ms
