"""The staged encoder does what its schedule says, for any nested stages and all options."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.models.encoders.parts import TokenRecalibration, to_tokens
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.levels import LEVELS, STRIDES
from tests.built import build_model

SIZE = (96, 160)


def build(schedule: str) -> Mask2Former:
    torch.manual_seed(0)
    return build_model(parse_compact(schedule), "tiny", num_classes=5, num_queries=6)


def features(batch: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"res{stage}": torch.randn(batch, 4 * 2**stage, SIZE[0] // 2**stage, SIZE[1] // 2**stage, generator=generator)
        for stage in (2, 3, 4, 5)
    }


@torch.no_grad()
def run(model: Mask2Former, given: dict[str, Tensor]) -> tuple[EncoderOutput, dict[str, list[Tensor]]]:
    """The output, and what each kind of module took and gave, call by call."""
    calls: dict[str, list[Tensor]] = {"projected": [], "gated": [], "in": [], "out": []}
    hooks = [
        projection.register_forward_hook(lambda _m, _i, output: calls["projected"].append(to_tokens(output)))
        for projection in model.encoder.projections
    ]
    for layer in model.encoder.layers:
        hooks.append(layer.register_forward_pre_hook(lambda _m, inputs: calls["in"].append(inputs[0])))
        hooks.append(layer.register_forward_hook(lambda _m, _i, output: calls["out"].append(output)))
    if model.encoder.recalibration is not None:
        hooks.append(
            model.encoder.recalibration.register_forward_hook(lambda _m, _i, output: calls["gated"].append(output))
        )
    output = model.encoder(given)
    for hook in hooks:
        hook.remove()
    return output, calls


SCHEDULES = [
    "baseline",
    "baseline:0",
    "3,3,3",
    "0,0,0",
    "0,2,0",
    "2,0,1",
    "5:2",
    "4:2",
    "3:1",
    "53:1",
    "43:2",
]
SCHEDULES += [
    "2,1,1,2",
    "0,0,0,1+trc:none",
    "5:1,5432:1",
    "1,0,2+keep:0.5",
    "6:1,65432:1",
    "52:1+residual+trc:conv+spatial",
]
SCHEDULES += ["4:2,54:1,543:1", "5:1,53:2,543:1", "4:1,543:1+residual"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_layers_see_the_tokens_that_the_schedule_says(schedule: str) -> None:
    model = build(schedule)
    output, calls = run(model, features())
    lengths = [tokens.shape[1] for tokens in calls["in"]]

    def tokens_of(level: str) -> int:
        height, width = (-(-side // STRIDES[level]) for side in SIZE)
        return height * width

    assert lengths == [sum(map(tokens_of, layer.levels)) for layer in parse_compact(schedule).layers]
    assert [tuple(level.shape[-2:]) for level in output.pyramid] == [(3, 5), (6, 10), (12, 20)]
    assert output.mask_features.shape == (1, 64, 24, 40)

    # every stage starts from each level's last state; at first that is the projection, gated but for the finest
    levels = parse_compact(schedule).levels
    state = dict(zip(levels, [*(calls["gated"] or calls["projected"][:-1]), calls["projected"][-1]], strict=True))
    if calls["gated"]:
        assert not torch.equal(calls["gated"][0], calls["projected"][0])
    previous = None
    for index, (stage, levels, *_) in enumerate(parse_compact(schedule).layers):
        if stage != previous:
            assert torch.equal(calls["in"][index], torch.cat([state[level] for level in levels], dim=1))
        state |= zip(levels, calls["out"][index].split([state[level].shape[1] for level in levels], dim=1), strict=True)
        previous = stage
        if parse_compact(schedule).residual and stage == 1:
            return  # the state also has the residual: see below
    for level, tokens in zip(output.pyramid, (state[level] for level in LEVELS), strict=True):
        assert torch.equal(to_tokens(level), tokens)


@pytest.mark.parametrize("gate", ["linear", "none"])
def test_the_residual_adds_a_stages_inputs_until_res3_arrives(gate: str) -> None:
    _, calls = run(build(f"2,2,2+residual+trc:{gate}"), features())
    res5, res4 = calls["gated"] or calls["projected"][:2]
    both = torch.cat((res5, res4), dim=1)
    took, gave = calls["in"], calls["out"]
    assert torch.equal(took[1], gave[0] + res5)
    assert torch.equal(took[2], torch.cat((gave[1] + res5, res4), dim=1))
    assert torch.equal(took[3], gave[2] + both)
    assert torch.equal(took[4], torch.cat((gave[3] + both, calls["projected"][2]), dim=1))
    assert torch.equal(took[5], gave[4])


OPTIONS = ["+trc:none", "+trc:conv", "+spatial", "+conv", "+dw", "+temp:1.0", "+residual"]


@torch.no_grad()
def test_every_option_changes_the_output() -> None:
    """On the same weights as far as there are any."""
    given = features()
    weights = build("1,1,1").state_dict()
    found = [build("1,1,1").head(given).pred_logits]
    for option in OPTIONS:
        model = build(f"1,1,1{option}")
        shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
        same = {key: tensor.view(shapes[key]) for key, tensor in weights.items() if key in shapes}
        model.load_state_dict(same, strict=False)
        found.append(model.head(given).pred_logits)
    for index, one in enumerate(found):
        for other in found[:index]:
            assert (one - other).abs().max() > 1e-4


@torch.no_grad()
def test_linear_and_conv_gates_differ_only_on_the_official_layout() -> None:
    torch.manual_seed(0)
    tokens, finest = torch.randn(2, 15, 64), torch.randn(2, 240, 64)
    for layout, alike in (("spatial", True), ("official", False)):
        linear = TokenRecalibration(64, convolution=False, layout=layout, temperature=1.0)
        conv = TokenRecalibration(64, convolution=True, layout=layout, temperature=1.0)
        conv.score.weight.copy_(linear.score.weight[:, :, None, None])
        conv.score.bias.copy_(linear.score.bias)
        gated = [gate(tokens, (3, 5), finest, (12, 20)) for gate in (linear, conv)]
        assert torch.allclose(*gated, atol=1e-6) is alike


@pytest.mark.parametrize("convolution", [False, True])
@torch.no_grad()
def test_the_official_gate_reads_memory_untransposed(convolution: bool) -> None:
    """The gate equals a plain dot product over the same memory."""
    torch.manual_seed(0)
    gate = TokenRecalibration(32, convolution=convolution, layout="official", temperature=0.5)
    tokens, finest = torch.randn(2, 15, 32), torch.randn(2, 240, 32)
    weight, bias = gate.score.weight.flatten(), gate.score.bias
    source = functional.interpolate(finest.view(2, 32, 12, 20), size=(3, 5), mode="bilinear")
    if convolution:
        scores = (source * weight[:, None, None]).sum(dim=1) + bias  # [2, 3, 5]
        expected = (tokens.view(2, 32, 3, 5) * torch.sigmoid(0.5 * scores)[:, None]).view(2, 15, 32)
    else:
        scores = source.view(2, 15, 32) @ weight + bias  # [2, 15]
        expected = tokens * torch.sigmoid(0.5 * scores)[..., None]
    assert torch.allclose(gate(tokens, (3, 5), finest, (12, 20)), expected, atol=1e-6)


@torch.no_grad()
def test_the_spatial_gate_looks_at_its_own_place() -> None:
    torch.manual_seed(0)
    gate = TokenRecalibration(64, convolution=False, layout="spatial", temperature=1.0)
    tokens, finest = torch.ones(1, 4, 64), torch.zeros(1, 16, 64)
    finest[:, [0, 1, 4, 5]] = torch.randn(64)  # the upper left quarter of 4x4
    gated = gate(tokens, (2, 2), finest, (4, 4))[0, :, 0]
    assert gated[0] != gated[1]
    assert torch.equal(gated[1:], gated[1].expand(3))
