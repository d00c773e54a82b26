"""PEM's pixel decoder agrees with the official code, before and after its norms are folded."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from proscale_bench.models.build import build, build_encoder
from proscale_bench.models.checkpoints.encoder_layouts import PEM, rename
from proscale_bench.models.encoders.pem import COARSE_TO_FINE, DeformableConvolution, PemEncoder
from proscale_bench.models.inference import fold_batch_norms, prepare_for_inference, use_sampling
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head

from .golden import GoldenCase, cases

CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 32}


def encoder_of(case: GoldenCase) -> PemEncoder:
    """Our module of a case's arguments, with its weights, read by their official names."""
    channels = dict(zip(FEATURE_STRIDES, case.arguments["in_channels"], strict=True))
    head = Head(width=case.arguments["mask_dim"])
    encoder = build_encoder(Pem(case.arguments["conv_dim"]), head, channels)
    assert isinstance(encoder, PemEncoder)
    encoder.load_state_dict(rename(case.state, PEM))
    return encoder.eval()


@torch.no_grad()
def stages(encoder: PemEncoder, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of the encoder's modules and of itself, by the goldens' names."""
    modules: dict[str, nn.Module] = {"global_context": encoder.context}
    for index, level in enumerate(COARSE_TO_FINE):
        modules |= {f"proj.{level}": encoder.projections[index], f"csm.{level}": encoder.modulations[index]}
    for index, level in enumerate(LEVELS):
        deformable = encoder.deformable[index].get_submodule("0")
        assert isinstance(deformable, DeformableConvolution)
        modules |= {f"deform.{level}.offset_raw": deformable.offset, f"deform.{level}.up": encoder.upsampling[index]}
    found: dict[str, Tensor] = {}
    hooks = []
    for name, module in modules.items():

        def keep(module: nn.Module, _: object, output: Tensor, name: str = name) -> None:
            found[name] = output.clone()  # before anything is added to it

        hooks.append(module.register_forward_hook(keep))
    output = encoder(features)
    for hook in hooks:
        hook.remove()
    pyramid = {f"multi_scale.{index}": level for index, level in enumerate(output.pyramid)}
    return found | pyramid | {"mask_features": output.mask_features}


@pytest.mark.parametrize("case", cases("pem"))
def test_every_stage_is_the_official_one(case: GoldenCase) -> None:
    encoder = encoder_of(case)
    for run in case.runs:
        case.check(stages(encoder, case.inputs(run)), case.expected(run))


@pytest.mark.parametrize("case", cases("pem"))
@torch.no_grad()
def test_folded_it_gives_the_same(case: GoldenCase) -> None:
    """With channels last too, as inference runs it."""
    encoder = encoder_of(case)
    fold_batch_norms(encoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    encoder.to(memory_format=torch.channels_last)
    for run in case.runs:
        features = {name: x.to(memory_format=torch.channels_last) for name, x in case.inputs(run).items()}
        output = encoder(features)
        for index, level in enumerate(output.pyramid):
            expected = case.expected(run)[f"multi_scale.{index}"]
            torch.testing.assert_close(level, expected, rtol=1e-5, atol=1e-4, check_stride=False)
        torch.testing.assert_close(
            output.mask_features, case.expected(run)["mask_features"], rtol=1e-5, atol=1e-4, check_stride=False
        )


def features_of(height: int, width: int, images: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    return {
        level: torch.randn(images, CHANNELS[level], -(-height // stride), -(-width // stride), generator=generator)
        for level, stride in FEATURE_STRIDES.items()
    }


def small_encoder() -> PemEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(Pem(16), Head(width=32), CHANNELS)
    assert isinstance(encoder, PemEncoder)
    return encoder.eval()


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_by_themselves() -> None:
    encoder, batch = small_encoder(), features_of(64, 96, images=3)
    together = encoder(batch)
    assert [x.shape[1:] for x in together.pyramid] == [(16, 2, 3), (16, 4, 6), (16, 8, 12)]
    assert together.mask_features.shape == (3, 32, 16, 24)
    assert together.mask_features.min() == 0  # after a ReLU
    for index in range(3):
        alone = encoder({level: x[index : index + 1] for level, x in batch.items()})
        for one, other in zip(
            (alone.mask_features, *alone.pyramid), (together.mask_features, *together.pyramid), strict=True
        ):
            torch.testing.assert_close(one[0], other[index], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "level"), [((100, 64), "res2"), ((64, 40), "res2"), ((72, 64), "res2")])
def test_sizes_that_do_not_double_are_refused(size: tuple[int, int], level: str) -> None:
    height, width = size
    expected = (8 * -(-height // 32), 8 * -(-width // 32))
    actual = (-(-height // 4), -(-width // 4))
    with pytest.raises(ValueError, match="multiples of 32") as caught:
        small_encoder()(features_of(*size))
    assert str(caught.value).startswith(f"{level}: expected {expected}")
    assert f"got {actual}" in str(caught.value)


def test_at_the_start_it_convolves_plainly_and_one_channel_upsamples() -> None:
    encoder = small_encoder()
    x = torch.randn(2, 16, 6, 5)
    for block in encoder.deformable:
        convolution = block.get_submodule("0")
        assert isinstance(convolution, DeformableConvolution)
        assert not any(parameter.any() for parameter in convolution.offset.parameters())
        plain = nn.functional.conv2d(x, convolution.weight, padding=1) / 2  # every weight of a cell is 0.5
        torch.testing.assert_close(convolution(x), plain, rtol=1e-4, atol=1e-5)
    for block in encoder.upsampling:
        upsampled = block.get_submodule("0")(x)[:, :1]
        summed = nn.functional.interpolate(x.sum(1, keepdim=True), scale_factor=2, mode="bilinear")
        inside = (..., slice(2, -2), slice(2, -2))  # beyond the edge there are zeros
        torch.testing.assert_close(upsampled[inside], summed[inside], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_bags_of_pixels_convolve_as_torchvision_does(bias: bool) -> None:
    """On any memory layout, also where cells look beyond the map, and in more than one block."""
    torch.manual_seed(0)
    convolution = DeformableConvolution(16)
    nn.init.normal_(convolution.offset.weight, std=0.5)
    nn.init.normal_(convolution.offset.bias, std=2.0)  # type: ignore[arg-type]
    if bias:
        convolution.bias = nn.Parameter(torch.randn(16))
    for x in (torch.randn(2, 16, 5, 7), torch.randn(2, 16, 48, 50).to(memory_format=torch.channels_last)):
        convolution.sampling = "grid_sample"
        expected = convolution(x)
        convolution.sampling = "embedding_bag"
        torch.testing.assert_close(convolution(x), expected, rtol=1e-4, atol=1e-4, check_stride=False)


@torch.no_grad()
@pytest.mark.parametrize("sampling", ["grid_sample", "embedding_bag"])
def test_in_bf16_it_is_fp32_but_for_rounding(sampling: str) -> None:
    encoder, features = small_encoder(), features_of(64, 96, images=2)
    expected = encoder(features).mask_features
    use_sampling(encoder, sampling)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(features).mask_features.float()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()), check_stride=False)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_parameters_are_the_formulas(backbone: str) -> None:
    spec = mask2former(Pem(), backbone)
    model = build(spec, device="meta")
    for part, expected in spec.parameters().items():
        module = model.get_submodule(part.removeprefix("transformer_"))
        assert sum(parameter.numel() for parameter in module.parameters()) == expected, part


@torch.no_grad()
def test_a_model_prepared_for_inference_predicts_the_same() -> None:
    torch.manual_seed(0)
    model = build(mask2former(Pem(), "tiny"))
    for module in model.modules():  # statistics and offsets of a trained model, so that folding shows
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, DeformableConvolution):
            nn.init.normal_(module.offset.weight, std=0.02)
    images = torch.rand(2, 3, 96, 128) * 255
    prepared = copy.deepcopy(model)
    prepare_for_inference(prepared)
    before, after = model.encoder(model.backbone(model.prepare(images))), prepared(images)
    of_prepared = prepared.encoder(prepared.backbone(prepared.prepare(images)))
    torch.testing.assert_close(
        of_prepared.mask_features, before.mask_features, rtol=1e-4, atol=1e-4, check_stride=False
    )
    assert model.decoder(before).pred_masks.shape == after.pred_masks.shape


def test_the_transformer_decoder_lifts_the_pyramid_as_mask2former_does() -> None:
    decoder = build(mask2former(Pem(), "tiny")).decoder
    bound = (3 / 32) ** 0.5  # Kaiming uniform with a = 1, of 32 channels
    assert len(decoder.input_projections) == len(LEVELS)
    for projection in decoder.input_projections:
        assert isinstance(projection, nn.Conv2d)
        assert projection.weight.shape == (64, 32, 1, 1)
        assert 0.9 * bound < projection.weight.abs().max() <= bound
        assert projection.bias is not None
        assert not projection.bias.any()
    assert not build(mask2former(Pem(64), "tiny"), device="meta").decoder.input_projections
