"""Inference: optimizations, blocks and kept constants change the output by rounding alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from proscale_bench.errors import BenchError
from proscale_bench.models.backbones import FrozenBatchNorm2d
from proscale_bench.models.build import build
from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.encoders import parts
from proscale_bench.models.inference import prepare_for_inference, use_sampling
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.masked_decoder import Predictions
from proscale_bench.models.position import sine_position
from proscale_bench.models.sampling.embedding_bag import has_compiler
from proscale_bench.specs.backbones import ResNet
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.masked_decoder import Head
from tests.built import build_model

HEAD = Head(width=64, encoder_heads=4, encoder_ffn=96, decoder_heads=4, decoder_ffn=96, queries=12, num_classes=7)
SMALL_RESNET = ResNet((1, 2, 1, 1), stem_width=8, width=8, expansion=2)
SCHEDULES = [
    "baseline",
    "3,3,3",
    "1,2,1+conv+trc:conv+residual",
    "1,1,1+spatial",
    "2,1,0+trc:none",
    "4:1,543:1",
    "0,0,0",
]


def small_model(compact: str) -> Mask2Former:
    """A narrow ResNet, whose norms are not what they were initialised to."""
    torch.manual_seed(0)
    model = build(Mask2FormerSpec(SMALL_RESNET, parse_compact(compact), HEAD))
    for norm in model.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.running_var.uniform_(0.5, 1.5)
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                tensor.add_(torch.randn_like(tensor) * 0.2)
    return model


def image(*size: int) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 255


def agree(found: Predictions, expected: Predictions) -> bool:
    return torch.allclose(found.pred_logits, expected.pred_logits, atol=1e-4) and torch.allclose(
        found.pred_masks, expected.pred_masks, atol=1e-4
    )


@pytest.mark.parametrize("compact", SCHEDULES)
@torch.inference_mode()
def test_the_rewrites_change_rounding_alone(compact: str) -> None:
    model = small_model(compact)
    rewritten = copy.deepcopy(model)
    assert prepare_for_inference(rewritten) == "embedding_bag"
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in rewritten.modules())
    for size in ((96, 128), (70, 101)):
        assert agree(rewritten(image(*size)), model(image(*size)))
    batch = torch.cat([image(64, 96), image(64, 96).flip(-1)])
    assert agree(rewritten(batch), model(batch))


@torch.inference_mode()
def test_a_transformer_backbone_is_rewritten_too() -> None:
    torch.manual_seed(0)
    model = build_model(parse_compact("2,1,1"), "tiny", num_classes=5, num_queries=8)
    rewritten = copy.deepcopy(model)
    prepare_for_inference(rewritten)
    assert agree(rewritten(image(96, 128)), model(image(96, 128)))


@torch.inference_mode()
def test_without_rewrites_nothing_but_the_sampling_is_set() -> None:
    model = small_model("1,1,1")
    untouched = copy.deepcopy(model)
    assert prepare_for_inference(untouched, optimizations=False, sampling_name="grid_sample") == "grid_sample"
    assert set(untouched.state_dict()) == set(model.state_dict())
    assert not untouched.decoder.masks_at_levels
    assert agree(untouched(image(64, 96)), model(image(64, 96)))


@torch.inference_mode()
def test_auxiliary_masks_stay_at_stride_4() -> None:
    model = small_model("1,1,1")
    expected = model(image(64, 96), auxiliary=True)
    prepare_for_inference(model)
    for found, mask in zip(model(image(64, 96), auxiliary=True).auxiliary, expected.auxiliary, strict=True):
        assert torch.allclose(found.pred_masks, mask.pred_masks, atol=1e-4)


@pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler with Python's headers")
@torch.inference_mode()
def test_compiled_inference_agrees() -> None:
    model = small_model("1,1,1")
    compiled = copy.deepcopy(model)
    assert prepare_for_inference(compiled, compiled=True) == "embedding_bag_compiled"
    for size in ((64, 96), (96, 128)):
        assert agree(compiled(image(*size)), model(image(*size)))


@pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler with Python's headers")
def test_regions_are_compiled_where_that_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def remember(module: nn.Module) -> None:
        compiled.append(module)

    monkeypatch.setattr(nn.Module, "compile", remember)
    prepare_for_inference(small_model("1,1,1"), compiled=True)
    assert not compiled
    model = small_model("1,1,1").to("meta")
    prepare_for_inference(model, compiled=True)
    assert compiled == [model.backbone, *model.encoder.layers, model.decoder]


@torch.inference_mode()
def test_blocks_of_tokens_change_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("2,1,1")
    expected = model(image(64, 96))
    monkeypatch.setattr(parts, "BLOCK", 7)
    assert agree(model(image(64, 96)), expected)


def test_constants_are_made_once_and_can_be_trained_with() -> None:
    device = torch.device("cpu")
    with torch.inference_mode():
        first = sine_position((5, 6), 32, device)
    assert sine_position((5, 6), 32, device) is first
    assert not first.is_inference()
    model = small_model("1,1,1").train()
    with torch.inference_mode():
        model(image(64, 96))
    model(image(64, 96)).pred_masks.square().mean().backward()  # on what inference left behind
    assert model.encoder.level_embedding.grad is not None


def test_the_sampling_is_set_everywhere_or_refused() -> None:
    model = small_model("2,1,1")
    assert use_sampling(model, "grid_sample") == "grid_sample"
    used = {module.sampling for module in model.modules() if isinstance(module, DeformableAttention)}
    assert used == {"grid_sample"}
    with pytest.raises(BenchError, match="unknown sampling 'grid_sampel'"):
        use_sampling(model, "grid_sampel")
