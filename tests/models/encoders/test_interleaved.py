"""The interleaved encoder agrees with the official code, and every layer does what the spec says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from proscale_bench.models import sampling
from proscale_bench.models.build import build_encoder
from proscale_bench.models.checkpoints.encoder_layouts import of_detector
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interleaved import InterleavedEncoder
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.models.key_aware_attention import KeyAwareAttention
from proscale_bench.specs.encoders.interleaved import Lite
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.spelling import parse_encoder
from tests.built import build_model

from .golden import GoldenCase, cases
from .test_multiscale import head_of, interleaving_of

CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 32}
HEAD = Head(width=32, encoder_heads=4, encoder_ffn=64)
SIDES = {"res2": (24, 40), "res3": (12, 20), "res4": (6, 10), "res5": (3, 5)}
STEP = ("lateral.", "pixel_embedding.", "mask_features.")  # to stride 4, which the official code has not


def features(images: int = 2, sides: dict[str, tuple[int, int]] | None = None) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {level: torch.randn(images, CHANNELS[level], *size) for level, size in (sides or SIDES).items()}


def encoder(spelling: str) -> InterleavedEncoder:
    """One whose offsets and weights are not what they are before training."""
    torch.manual_seed(1)
    made = build_encoder(parse_encoder(spelling), HEAD, CHANNELS).eval()
    assert isinstance(made, InterleavedEncoder)
    for name, one in made.named_parameters():
        if "sampling_offsets" in name or "attention_weights" in name:
            torch.nn.init.normal_(one, std=0.3)
    return made


def of_lite_m2f(given: dict[str, Any]) -> bool:
    """The case has the settings of Lite-M2F: three levels, the coarser two coarse, Mask2Former's position and norms."""
    return (given["levels"], given["enc_scale"], given["temperature"], given["groups"]) == (3, 3, 10000, 32)


M2F_CASES = [case for case in cases("lite") if of_lite_m2f(case.values[0].arguments)]


@pytest.mark.parametrize("case", M2F_CASES)
@torch.no_grad()
def test_the_pyramid_is_the_official_memory(case: GoldenCase) -> None:
    given = case.arguments
    channels = {"res2": 8, **dict(zip(("res3", "res4", "res5"), given["in_channels"], strict=True))}
    made = build_encoder(Lite(interleaving_of(given)), head_of(given), channels).eval()
    missing, unexpected = made.load_state_dict(of_detector(case.state, given["heads"], given["points"]), strict=False)
    assert not unexpected
    assert all(key.startswith(STEP) for key in missing)
    for name in case.runs:
        inputs = case.inputs(name)
        batch, _, height, width = inputs["res3"].shape
        output = made({"res2": torch.randn(batch, 8, 2 * height, 2 * width), **inputs})
        memory = torch.cat([parts.to_tokens(level) for level in reversed(output.pyramid)], dim=1)
        case.check({"memory": memory}, {"memory": case.expected(name)["memory"]})


ALL = ("lite:(2+1)x2", "lite:(3+1)x1+same-loc+full-ffn", "lite:(2+1)x2+kda", "lite:(2+1)x2+kda+proj-key+same-loc")


@pytest.mark.parametrize("spelling", ALL)
@torch.no_grad()
def test_a_layer_refines_what_the_spec_says_and_leaves_the_rest(spelling: str) -> None:
    made = encoder(spelling)
    calls: list[tuple[Tensor, Tensor]] = []
    for layer in made.layers:
        layer.register_forward_hook(lambda _layer, inputs, output: calls.append((inputs[0], output)))
    made(features())
    assert len(calls) == len(made.spec.layers)
    for layer, (before, after) in zip(made.spec.layers, calls, strict=True):
        refined = sum(SIDES[level][0] * SIDES[level][1] for level in layer.levels)
        assert torch.equal(before[:, refined:], after[:, refined:])
        assert ((before - after)[:, :refined].abs().amax(-1) > 1e-3).all()


@pytest.mark.parametrize("spelling", ALL)
def test_coarse_tokens_read_the_fine_ones(spelling: str) -> None:
    """The fine level matters to a cheap layer's output, and blocks of tokens to nobody."""
    made = encoder(spelling)
    layer = made.layers[0]
    maps = [torch.randn(1, 32, *SIDES[level], requires_grad=True) for level in ("res5", "res4", "res3")]
    tokens, grid = parts.join_levels(maps, made.level_embedding)
    whole = layer(tokens, grid)
    (slope,) = torch.autograd.grad(whole[:, :75].sum() + whole[:, 0, 0].sum() * 7, maps[2])
    assert slope.abs().max() > 1e-6


@pytest.mark.parametrize("spelling", [*ALL, "lite:(1+1)x1+kda"])
@torch.no_grad()
def test_blocks_and_batches_change_nothing(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boundary between coarse and fine tokens lies within a block, at its end, and beyond it."""
    made, given = encoder(spelling), features()
    expected = made(given)
    for block in (7, 25, 75, 100):
        monkeypatch.setattr(parts, "BLOCK", block)
        found = made(given)
        for one, other in zip(found.pyramid, expected.pyramid, strict=True):
            assert (one - other).abs().max() < 2e-6
    for index in range(2):
        alone = made({level: one[index : index + 1] for level, one in given.items()})
        assert (alone.mask_features - expected.mask_features[index : index + 1]).abs().max() < 1e-5


@pytest.mark.parametrize("spelling", ["lite:(2+1)x1+kda", "lite:(2+1)x1+kda+proj-key"])
def test_every_way_to_sample_gives_the_same(spelling: str) -> None:
    """Also where gradients flow, and where keys that are the values are sampled once or twice."""
    made, given = encoder(spelling), features()
    found: list[Tensor] = []
    for name in ("grid_sample", "embedding_bag"):
        for once in (False, True):
            for module in made.modules():
                if isinstance(module, KeyAwareAttention):
                    module.sampling, module.samples_once = name, once
            found.append(made(given).mask_features)
    assert found[0].requires_grad
    for other in found[1:]:
        assert (other - found[0]).abs().max() < 1e-5
    slopes = [torch.autograd.grad(one.sum(), made.level_embedding)[0] for one in (found[0], found[-1])]
    assert slopes[0].abs().max() > 1e-4
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("own_keys", [False, True])
def test_every_core_weighs_by_keys_alike(own_keys: bool) -> None:
    """Also some that lie outside: their key is zero, and they take weight. Without queries all weights are the same."""
    torch.manual_seed(0)
    sizes = ((3, 5), (6, 10))
    query, value, places = torch.randn(2, 9, 4, 8), torch.randn(2, 75, 4, 8), torch.rand(2, 9, 4, 2, 3, 2) * 1.4 - 0.2
    key = torch.randn(2, 75, 4, 8) if own_keys else None
    cpu = torch.device("cpu")
    cores = [sampling.key_aware_sampler(name, cpu) for name in ("grid_sample", "embedding_bag", "dense")]
    reference, *others = (core(query, value, key, sizes, places) for core in cores)
    assert reference.shape == (2, 9, 32)
    for other in others:
        assert (reference - other).abs().max() < 1e-5
    weights = torch.full((2, 9, 4, 2, 3), 1 / 6)
    whole = sampling.sampler("grid_sample", cpu)(value, sizes, places, weights)
    for core in cores:
        assert (core(torch.zeros_like(query), value, key, sizes, places) - whole).abs().max() < 1e-5


@pytest.mark.parametrize("spelling", ["lite:(2+1)x1", "lite:(2+1)x1+kda+maxpool"])
@torch.no_grad()
def test_what_is_prepared_for_inference_gives_the_same(spelling: str) -> None:
    torch.manual_seed(0)
    model = build_model(parse_encoder(spelling), "tiny")
    images = torch.rand(1, 3, 64, 96) * 255
    before = model(images)
    prepare_for_inference(model)
    assert all(one.samples_once for one in model.modules() if isinstance(one, KeyAwareAttention))
    after = model(images)
    assert (before.pred_logits - after.pred_logits).abs().max() < 1e-4


def test_every_parameter_learns_but_for_the_projection_that_official_weights_have_and_nothing_reads() -> None:
    for spelling in ALL:
        made = encoder(spelling).train()
        output = made(features())
        (output.mask_features.square().sum() + sum(level.square().sum() for level in output.pyramid)).backward()
        idle = {name.split(".", 2)[2] for name, one in made.named_parameters() if one.grad is None}
        unused = {"attention.query_proj.weight", "attention.query_proj.bias"}
        assert idle == (set() if "kda" in spelling else unused)
