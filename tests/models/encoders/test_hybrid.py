"""The hybrid encoder's module: RT-DETR's tensors, transformers' module, folding."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import RTDetrConfig
from transformers.models.rt_detr.modeling_rt_detr import RTDetrHybridEncoder

from proscale_bench.errors import BenchError
from proscale_bench.models.build import build, build_encoder
from proscale_bench.models.checkpoints.encoder_layouts import HYBRID, rename
from proscale_bench.models.checkpoints.load import load_checkpoint, open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from proscale_bench.models.checkpoints.warm_start import start_from
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.hybrid import HybridEncoder, RepVGGBlock
from proscale_bench.models.inference import fold_batch_norms
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.position import grid_position
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.hybrid import BLOCKS, Hybrid
from proscale_bench.specs.levels import FEATURE_STRIDES
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.spelling import parse_encoder

from .golden import GoldenCase, cases

OURS = ("lateral.", "pixel_embedding.", "mask_features.")  # the step to stride 4, which RT-DETR does not have
CPU = torch.device("cpu")


def encoder_of(case: GoldenCase, spec: Hybrid) -> HybridEncoder:
    """Our module with a case's weights."""
    arguments = case.arguments
    channels = dict(zip(("res2", "res3", "res4", "res5"), (8, *arguments["in_channels"]), strict=True))
    head = Head(width=arguments["d"], encoder_heads=arguments["heads"], encoder_ffn=arguments["ffn"])
    with pytest.MonkeyPatch.context() as patch:  # the step to stride 4 is not what is compared
        patch.setattr(parts, "NORM_GROUPS", math.gcd(parts.NORM_GROUPS, head.width))
        encoder = build_encoder(spec, head, channels).eval()
    assert isinstance(encoder, HybridEncoder)
    missing, unexpected = encoder.load_state_dict(rename(case.state, HYBRID), strict=False)
    assert not unexpected
    assert all(key.startswith(OURS) for key in missing)
    return encoder


def spec_of(case: GoldenCase) -> Hybrid:
    """The encoder of a case's arguments."""
    assert case.arguments["eval_spatial_size"] is None  # else the released code keeps the positions of one size
    return Hybrid(expansion=case.arguments["expansion"], blocks=round(3 * case.arguments["depth_mult"]))


@contextmanager
def recorded(encoder: HybridEncoder) -> Iterator[dict[str, Tensor]]:
    """Outputs of the encoder's modules, by the goldens' names."""
    modules = {
        **{f"proj.{level}": encoder.projections[index] for index, level in enumerate(("res5", "res4", "res3"))},
        "aifi_tokens": encoder.layers[0],
        **{f"lateral.{level}": encoder.top_down.laterals[index] for index, level in enumerate(("res5", "res4"))},
        **{f"top_down.{level}": encoder.top_down.fusions[index] for index, level in enumerate(("res4", "res3"))},
        **{f"down.{level}": encoder.bottom_up.downsampling[index] for index, level in enumerate(("res3", "res4"))},
        "pos": encoder.layers[0].position,
    }
    found: dict[str, Tensor] = {}

    def record(module: nn.Module, name: str) -> torch.utils.hooks.RemovableHandle:
        # what is activated in place later is another tensor by then
        return module.register_forward_hook(lambda _m, _i, output: found.update({name: output.clone()}))

    hooks = [record(module, name) for name, module in modules.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def run(encoder: HybridEncoder, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of the encoder on the way and at the end, by the goldens' names."""
    batch, _, height, width = features["res3"].shape
    res2 = torch.zeros(batch, 8, 2 * height, 2 * width)
    with recorded(encoder) as found:
        output = encoder({"res2": res2, **features})
    return {
        **found,
        "pos": found["pos"][None],
        **{f"out.{level}": one for level, one in zip(("res5", "res4", "res3"), output.pyramid, strict=True)},
    }


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("order", ["official", "token"])
@pytest.mark.parametrize("case", cases("hybrid"))
def test_every_tensor_of_the_official_code_agrees(case: GoldenCase, order: str, folded: bool) -> None:
    encoder = encoder_of(case, replace(spec_of(case), position_order=order, folded=folded))
    for name in case.runs:
        expected = case.expected(name)
        if order == "token":
            mark = "tokenorder."
            expected = {key.removeprefix(mark): one for key, one in expected.items() if key.startswith(mark)}
        else:
            expected = {key: one for key, one in expected.items() if not key.startswith("tokenorder.")}
        case.check(run(encoder, case.inputs(name)), expected)


@pytest.mark.parametrize("case", cases("hybrid"))
def test_a_folded_kernel_agrees(case: GoldenCase) -> None:
    encoder = encoder_of(case, replace(spec_of(case), folded=True))
    expected = {key: one for key, one in case.tensors.items() if key.startswith("folded.")}
    actual = {f"folded.{theirs}": encoder.state_dict()[ours] for theirs, ours in official_names(expected).items()}
    if expected:
        case.check(actual, expected)


def official_names(expected: dict[str, Tensor]) -> dict[str, str]:
    names = {}
    for key, tensor in expected.items():
        *block, last = key.removeprefix("folded.").split(".")
        official = ".".join((*block, "conv", last))
        (ours,) = rename({official: tensor}, HYBRID)
        names[".".join((*block, last))] = ours
    return names


@pytest.mark.parametrize("case", cases("hybrid"))
@torch.no_grad()
def test_transformers_computes_the_same(case: GoldenCase) -> None:
    """An independent module, which takes the projected maps, always has three blocks, and the token order."""
    arguments = case.arguments
    if round(3 * arguments["depth_mult"]) != BLOCKS:
        pytest.skip("transformers has three blocks a layer")
    config = RTDetrConfig(
        encoder_hidden_dim=arguments["d"],
        encoder_in_channels=[arguments["d"]] * 3,
        encoder_ffn_dim=arguments["ffn"],
        encoder_attention_heads=arguments["heads"],
        hidden_expansion=arguments["expansion"],
        eval_size=None,
    )
    theirs = RTDetrHybridEncoder(config).eval()
    theirs.load_state_dict(under_their_keys(case.state))
    encoder = encoder_of(case, spec_of(case))
    for name in case.runs:
        actual = run(encoder, case.inputs(name))
        output = theirs([actual[f"proj.{level}"].clone() for level in ("res3", "res4", "res5")]).last_hidden_state
        case.check(actual, {f"out.{level}": one for level, one in zip(("res3", "res4", "res5"), output, strict=True)})


def under_their_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    ours, theirs = "encoder.0.layers.0.", "aifi.0.layers.0."
    names = {"linear1": "mlp.fc1", "linear2": "mlp.fc2", "self_attn.out_proj": "self_attn.o_proj"}
    names |= {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}
    found = {}
    for key, tensor in state.items():
        module, _, last = key.removeprefix(ours).rpartition(".")
        if key.startswith("input_proj."):
            continue
        if module == "self_attn" and last.startswith("in_proj_"):
            for third, part in zip("qkv", tensor.chunk(3), strict=True):
                found[f"{theirs}self_attn.{third}_proj.{last.removeprefix('in_proj_')}"] = part
        else:
            found[f"{theirs}{names[module]}.{last}" if key.startswith(ours) else key] = tensor
    return found


@pytest.mark.parametrize("expansion", [0.5, 1.0, 1.5])
@torch.no_grad()
def test_transformers_computes_the_same_of_other_widths(expansion: float) -> None:
    """From their weights to ours, which no golden case is needed for."""
    torch.manual_seed(3)
    width, levels = 32, ("res3", "res4", "res5")
    config = RTDetrConfig(
        encoder_hidden_dim=width,
        encoder_in_channels=[width] * 3,
        encoder_ffn_dim=24,
        encoder_attention_heads=2,
        hidden_expansion=expansion,
        eval_size=None,
    )
    theirs = RTDetrHybridEncoder(config).eval()
    for name, tensor in theirs.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5 if name.endswith("var") else 0.1 * torch.randn_like(tensor))
    spec = Hybrid(expansion=expansion)
    head = Head(width=width, encoder_heads=2, encoder_ffn=24)
    ours = build_encoder(spec, head, dict.fromkeys(FEATURE_STRIDES, width)).eval()
    assert isinstance(ours, HybridEncoder)
    missing, unexpected = ours.load_state_dict(rename(under_official_keys(theirs.state_dict()), HYBRID), strict=False)
    assert not unexpected
    assert all(key.startswith((*OURS, "projections.")) for key in missing)
    ours.projections = nn.ModuleList(nn.Identity() for _ in levels)  # they are given the projected maps
    features = {level: torch.randn(2, width, 160 // stride, 96 // stride) for level, stride in FEATURE_STRIDES.items()}
    expected = theirs([features[level].clone() for level in levels]).last_hidden_state
    for actual, wanted in zip(reversed(ours(features).pyramid), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-5)


def under_official_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `under_their_keys`."""
    theirs, ours = "aifi.0.layers.0.", "encoder.0.layers.0."
    names = {"mlp.fc1": "linear1", "mlp.fc2": "linear2", "self_attn.o_proj": "self_attn.out_proj"}
    names |= {"self_attn_layer_norm": "norm1", "final_layer_norm": "norm2"}
    found = {key: tensor for key, tensor in state.items() if not key.startswith(theirs)}
    for last in ("weight", "bias"):
        found |= {f"{ours}{name}.{last}": state[f"{theirs}{key}.{last}"] for key, name in names.items()}
        thirds = [state[f"{theirs}self_attn.{third}_proj.{last}"] for third in "qkv"]
        found[f"{ours}self_attn.in_proj_{last}"] = torch.cat(thirds)
    return found


def test_places_go_down_columns_in_the_official_order() -> None:
    """The vector of token t has a = t // h, b = t % h: another place's, where the map is not square."""
    height, width, channels = 3, 5, 8
    token, official = (grid_position((height, width), channels, CPU, down_columns=down) for down in (False, True))
    for index in range(height * width):
        for table, (a, b) in ((token, divmod(index, width)), (official, divmod(index, height))):
            angles = [place * 10_000 ** (-k / 2) for place in (a, b) for k in range(2)]
            expected = [
                *(*map(math.sin, angles[:2]), *map(math.cos, angles[:2])),
                *(*map(math.sin, angles[2:]), *map(math.cos, angles[2:])),
            ]
            assert table[index].tolist() == pytest.approx(expected, abs=1e-6)
    square = [grid_position((4, 4), channels, CPU, down_columns=down) for down in (False, True)]
    assert torch.equal(*square)


HEAD = Head(width=64, encoder_heads=4, encoder_ffn=128)
CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 40}
FEATURES = {
    level: torch.randn(2, channels, 4 * side, 6 * side, generator=torch.Generator().manual_seed(side))
    for (level, channels), side in zip(CHANNELS.items(), (8, 4, 2, 1), strict=True)
}


def trained(spec: Hybrid) -> HybridEncoder:
    """An encoder whose batch norms have seen data and whose parameters are none of their first values."""
    torch.manual_seed(0)
    encoder = build_encoder(spec, HEAD, CHANNELS).train()
    for _ in range(3):
        encoder({level: one + torch.randn_like(one) for level, one in FEATURES.items()})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert isinstance(encoder, HybridEncoder)
    return encoder.eval()


@pytest.mark.parametrize("expansion", [1.0, 0.5])
@torch.no_grad()
def test_the_weights_of_an_unfolded_model_load_into_a_folded_one(expansion: float) -> None:
    spec = Hybrid(expansion=expansion)
    encoder = trained(spec)
    other = build_encoder(replace(spec, folded=True), HEAD, CHANNELS).eval()
    state = encoder.state_dict()
    keys = set(state)
    other.load_state_dict(state)
    assert set(state) == keys  # what was given is as it was
    assert_equal(other, encoder)
    again = build_encoder(replace(spec, folded=True), HEAD, CHANNELS).eval()
    again.load_state_dict(other.state_dict())  # a folded one's as they are
    for one, two in zip(again(FEATURES).pyramid, other(FEATURES).pyramid, strict=True):
        assert torch.equal(one, two)


def test_a_block_without_one_of_its_branches_is_missing_as_ever() -> None:
    state = trained(Hybrid()).state_dict()
    del state["top_down.fusions.0.blocks.1.narrow.0.weight"]
    with pytest.raises(RuntimeError, match=r"top_down\.fusions\.0\.blocks\.1"):
        build_encoder(Hybrid(folded=True), HEAD, CHANNELS).load_state_dict(state)


@pytest.mark.parametrize("folded", [False, True])
@torch.no_grad()
def test_inference_folds_and_gives_the_same(folded: bool) -> None:
    encoder = trained(Hybrid(folded=folded, expansion=0.5))
    optimized = copy.deepcopy(encoder)
    optimized.optimize()
    fold_batch_norms(optimized)
    assert not [one for one in optimized.modules() if isinstance(one, (nn.BatchNorm2d, RepVGGBlock))]
    assert_equal(optimized, encoder)
    position = optimized.layers[0].position
    assert position((3, 5), 64, CPU) is position((3, 5), 64, CPU)  # kept


def assert_equal(actual: HybridEncoder, expected: HybridEncoder) -> None:
    one, two = actual(FEATURES), expected(FEATURES)
    for ours, theirs in zip((*one.pyramid, one.mask_features), (*two.pyramid, two.mask_features), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@torch.no_grad()
def test_a_batch_is_its_images() -> None:
    encoder = trained(Hybrid())
    both = encoder(FEATURES)
    for index in range(2):
        one = encoder({level: maps[index : index + 1] for level, maps in FEATURES.items()})
        for alone, together in zip((*one.pyramid, one.mask_features), (*both.pyramid, both.mask_features), strict=True):
            torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5 * float(together.abs().max()))


def test_official_names_that_have_no_place_are_named() -> None:
    with pytest.raises(BenchError, match=r"decoder\.x"):
        rename({"decoder.x": torch.zeros(1)}, HYBRID)


def saved(tmp_path: Path, spec: Hybrid) -> Path:
    """A file of a small whole model whose batch norms have seen data."""
    model = build(mask2former(spec, "tiny"))
    model.encoder.load_state_dict(trained_like(model).state_dict())
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    return path


def trained_like(model: Mask2Former) -> nn.Module:
    encoder = copy.deepcopy(model.encoder).train()
    channels = dict(zip(FEATURE_STRIDES, BACKBONES["tiny"].channels, strict=True))
    encoder({level: torch.randn(2, channels[level], 128 // s, 192 // s) for level, s in FEATURE_STRIDES.items()})
    return encoder


@torch.no_grad()
def test_a_file_of_an_unfolded_model_is_one_of_a_folded_one_if_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, Hybrid(pixel_embedding="maxpool"))
    unfolded, folded = load_checkpoint(path), load_checkpoint(path, Hybrid(True, pixel_embedding="maxpool"))
    assert unfolded.encoder.spec.compact == "hybrid+maxpool"
    assert folded.encoder.spec.compact == "hybrid+folded+maxpool"
    image = torch.rand(1, 3, 64, 96) * 255
    for ours, theirs in zip(folded(image)[:2], unfolded(image)[:2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    checkpoint = open_checkpoint(path, folded.encoder.spec)
    statuses = {entry.status for entry in checkpoint.entries}
    assert statuses == {"matched", "converted"}
    assert checkpoint.parameters == sum(checkpoint.inferred.spec.parameters().values())
    written = convert_checkpoint(checkpoint, tmp_path / "folded.safetensors", "ours")
    again = open_checkpoint(written.path)
    assert again.inferred.schedule == folded.encoder.spec
    assert again.digest == checkpoint.digest
    with pytest.raises(BenchError, match="contradicts"):
        open_checkpoint(path, Hybrid(True))  # of another pixel embedding


def test_a_count_of_batches_is_a_number_of_batches(tmp_path: Path) -> None:
    path = saved(tmp_path, Hybrid())
    weights = [key for key in load_file(path) if not key.endswith(("num_batches_tracked", "relative_position_index"))]
    assert open_checkpoint(path).dtypes == {"float32": len(weights)}
    key = "encoder.projections.0.1.num_batches_tracked"
    for wrong in (torch.tensor(-1), torch.tensor(1.5)):
        save_file(load_file(path) | {key: wrong}, tmp_path / "wrong.safetensors", metadata_of(path))
        with pytest.raises(BenchError, match=r"num_batches_tracked: not a number of batches"):
            open_checkpoint(tmp_path / "wrong.safetensors")


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        found: dict[str, str] = file.metadata()
    return found


def test_a_baseline_gives_what_is_the_same_thing(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.safetensors"
    save_checkpoint(build(mask2former(parse_encoder("baseline"), "tiny")), baseline)
    started = start_from(open_checkpoint(baseline), Hybrid(), tmp_path / "start.safetensors")
    weights, source = load_file(tmp_path / "start.safetensors"), load_file(baseline)
    for key in ("mask_features.weight", "lateral.0.weight", "pixel_embedding.0.weight", "projections.1.0.weight"):
        assert torch.equal(weights[f"encoder.{key}"], source[f"encoder.{key}"])
    assert started.layers == ()  # the one layer is of another kind
    assert not [key for key in started.taken if key.startswith("encoder.layers.")]
