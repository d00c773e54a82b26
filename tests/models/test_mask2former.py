"""Properties of the whole model: batches, sizes, padding, training."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from proscale_bench.models.backbones import FrozenBatchNorm2d, build_backbone
from proscale_bench.models.images import PIXEL_MEAN, PIXEL_STD
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.masked_decoder import attention_mask
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.staged import baseline, parse_compact
from tests.built import build_model


@pytest.fixture(scope="module")
def model() -> Mask2Former:
    torch.manual_seed(0)
    return build_model(parse_compact("2,1,1"), "tiny", num_classes=5, num_queries=8)


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator) * 255 for size in sizes]


@torch.no_grad()
def test_an_image_gives_the_same_alone_and_in_a_batch(model: Mask2Former) -> None:
    batch = images((96, 128), (96, 128), (96, 128))
    together = model(torch.stack(batch), auxiliary=True)
    for index, image in enumerate(batch):
        alone = model(image[None], auxiliary=True)
        assert torch.allclose(together.pred_logits[index], alone.pred_logits[0], atol=1e-5)
        assert torch.allclose(together.pred_masks[index], alone.pred_masks[0], atol=1e-4)
        for ours, theirs in zip(together.auxiliary, alone.auxiliary, strict=True):
            assert torch.allclose(ours.pred_masks[index], theirs.pred_masks[0], atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (1, 1), (33, 64), (70, 101), (97, 31), (224, 20)])
@torch.no_grad()
def test_any_size_is_padded(model: Mask2Former, size: tuple[int, int]) -> None:
    predictions = model(images(size)[0][None])
    height, width = (-(-side // 32) * 8 for side in size)
    assert predictions.pred_masks.shape == (1, 8, height, width)
    assert predictions.pred_masks.isfinite().all()
    assert predictions.pred_logits.isfinite().all()


def test_images_are_normalised_then_padded_with_zeros(model: Mask2Former) -> None:
    first, second = images((40, 100), (70, 50))
    prepared = model.prepare([first, second])
    assert prepared.shape == (2, 3, 96, 128)
    mean, std = torch.tensor(PIXEL_MEAN)[:, None, None], torch.tensor(PIXEL_STD)[:, None, None]
    assert torch.equal(prepared[0, :, :40, :100], (first - mean) / std)
    assert torch.equal(prepared[1, :, :70, :50], (second - mean) / std)
    assert not prepared[0, :, 40:].any()
    assert not prepared[0, :, :, 100:].any()
    assert not prepared[1, :, 70:].any()
    assert torch.equal(model.prepare(first[None]), model.prepare([first]))


@torch.no_grad()
def test_a_list_of_equal_images_is_a_batch(model: Mask2Former) -> None:
    batch = images((64, 96), (64, 96))
    assert torch.equal(model(batch).pred_masks, model(torch.stack(batch)).pred_masks)


@pytest.mark.parametrize("wrong", [torch.zeros(3, 32, 32), torch.zeros(1, 4, 32, 32), [], [torch.zeros(1, 32, 32)]])
def test_other_shapes_are_refused(model: Mask2Former, wrong: Tensor | list[Tensor]) -> None:
    with pytest.raises(ValueError, match="expected"):
        model(wrong)


@torch.no_grad()
def test_the_head_is_all_that_follows_the_backbone(model: Mask2Former) -> None:
    batch = torch.stack(images((64, 96)))
    whole = model(batch)
    head = model.head(model.backbone(model.prepare(batch)))
    assert torch.equal(whole.pred_logits, head.pred_logits)
    assert torch.equal(whole.pred_masks, head.pred_masks)
    assert whole.auxiliary == ()


@torch.no_grad()
def test_auxiliary_predictions_change_nothing_else(model: Mask2Former) -> None:
    batch = torch.stack(images((64, 96)))
    plain, asked = model(batch), model(batch, auxiliary=True)
    assert torch.equal(plain.pred_masks, asked.pred_masks)
    assert len(asked.auxiliary) == 6
    # the first comes from the learned queries alone: its classes are the same for every image
    other = model(255 - batch, auxiliary=True)
    assert torch.equal(asked.auxiliary[0].pred_logits, other.auxiliary[0].pred_logits)
    assert not torch.equal(asked.auxiliary[1].pred_logits, other.auxiliary[1].pred_logits)


def test_training_supervises_every_layer_and_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    model = build_model(parse_compact("1,1,1"), "tiny", num_classes=5, num_queries=8).train()
    predictions = model(torch.stack(images((64, 96), (64, 96))), auxiliary=True)
    assert len(predictions.auxiliary) == 6
    outputs = [predictions, *predictions.auxiliary]
    sum((out.pred_logits.square().mean() + out.pred_masks.square().mean()) for out in outputs).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_batch_norm_stays_frozen_in_training() -> None:
    backbone = build_backbone(BACKBONES["resnet50"]).eval()
    norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert len(norms) == 53
    batch = torch.randn(2, 3, 64, 64)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    with torch.no_grad():
        expected = backbone(batch)["res5"]
    actual = backbone.train()(batch)["res5"]
    assert torch.equal(actual, expected)
    actual.mean().backward()
    assert backbone.conv1.weight.grad is not None
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())
    assert not any("bn" in name for name, _ in backbone.named_parameters())


@pytest.mark.parametrize("name", ["resnet50", "swin_t"])
@torch.no_grad()
def test_backbones_take_torchvisions_weights(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name).eval()
    ours = build_backbone(BACKBONES[name]).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert all(key.startswith("norms.") for key in missing)
    assert all(key.startswith(("fc.", "head.", "norm.")) or "batches_tracked" in key for key in unexpected)
    batch = torch.randn(1, 3, 256, 256)
    last = "layer4" if name == "resnet50" else "features"
    found: list[Tensor] = []
    theirs.get_submodule(last).register_forward_hook(lambda _m, _i, output: found.append(output))
    theirs(batch)
    expected = found[0]
    if name == "swin_t":
        expected = torch.nn.functional.layer_norm(expected, expected.shape[-1:]).permute(0, 3, 1, 2)
    assert torch.allclose(ours(batch)["res5"], expected, atol=1e-4)


def test_a_query_whose_mask_is_empty_looks_everywhere() -> None:
    logits = torch.full((1, 3, 4, 4), -5.0)
    logits[0, 1, :2] = 5.0  # the upper half
    logits[0, 2] = 5.0
    allowed = attention_mask(logits, (2, 2))
    assert allowed.tolist() == [[[True] * 4, [True, True, False, False], [True] * 4]]


def test_models_are_initialised_as_in_the_papers() -> None:
    torch.manual_seed(0)
    model = build_model(baseline(), "tiny")
    layer, decoder = model.encoder.layers[0], model.decoder
    bound = (6 / (64 + 128)) ** 0.5  # Xavier
    assert 0.95 * bound < layer.linear1.weight.abs().max() <= bound
    assert not layer.attention.value_proj.bias.any()
    assert 0.9 < decoder.query_features.std() < 1.1
    assert not decoder.layers[0].self_attention.in_proj_bias.any()
    bound = (3 / 64) ** 0.5  # uniform with variance 1 / fan-in
    assert 0.95 * bound < model.encoder.mask_features.weight.abs().max() <= bound
    swin = model.backbone.features[7][0]
    assert 0.018 < swin.mlp[0].weight.std() < 0.022
    assert 0.015 < swin.attn.relative_position_bias_table.std() < 0.025
    assert not swin.attn.qkv.bias.any()
