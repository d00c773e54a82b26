"""The detectors' encoder agrees with the code of Deformable DETR and of Lite-DETR: levels, padding, proposals."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.encoder_layouts import HUGGING_FACE_DETECTOR, of_detector
from proscale_bench.models.encoders import parts
from proscale_bench.models.encoders.interleaved import interleaved_layers
from proscale_bench.models.encoders.multiscale import (
    DEFORMABLE_DETR,
    MultiScaleEncoder,
    Proposals,
    plain_layers,
)
from proscale_bench.models.encoders.parts import TokenGrid
from proscale_bench.models.position import Sine, padded_sine_position, sine_position, valid_ratios
from proscale_bench.specs.encoders.interleaved import Interleaving
from proscale_bench.specs.masked_decoder import Head

from .golden import GoldenCase, cases


def head_of(given: dict[str, Any]) -> Head:
    return Head(given["d"], given["heads"], given["points"], given["ffn"])


def encoder_of(case: GoldenCase) -> tuple[MultiScaleEncoder, Proposals | None]:
    """The encoder of a case with its weights, read by their official names."""
    given = case.arguments
    levels, sine = given["levels"], DEFORMABLE_DETR
    if case.info["encoder"] == "lite":
        layers = interleaved_layers(interleaving_of(given), head_of(given), levels, case.info["coarse_levels"])
        sine = Sine(temperature=given["temperature"])
        assert case.info["coarse_levels"] == levels - (4 - given["enc_scale"])
    else:
        layers = plain_layers(head_of(given), levels, given["layers"])
    channels = dict(zip(("res3", "res4", "res5"), given["in_channels"], strict=True))
    encoder = MultiScaleEncoder(layers, channels, given["d"], levels=levels, sine=sine, groups=given["groups"])
    state = of_detector(case.state, given["heads"], given["points"])
    proposals = Proposals(given["d"]) if given.get("two_stage") else None
    if proposals is not None:
        names = [key for key in state if key.startswith("proposals.")]
        proposals.load_state_dict({key.removeprefix("proposals."): state.pop(key) for key in names})
    encoder.load_state_dict(state)
    return encoder.eval(), proposals


def interleaving_of(given: dict[str, Any]) -> Interleaving:
    updates, rest = divmod(given["layers"], given["num_expansion"])
    assert not rest
    return Interleaving(
        updates,
        given["num_expansion"],
        key_aware=given["key_aware"],
        project_keys=given["proj_key"] and given["key_aware"],
        same_locations=given["same_loc"],
        small_ffn=given["small_expand"],
    )


def padding_of(told: dict[str, Any]) -> Tensor | None:
    """The padding of a run's images, [B, H, W]; None where there is none."""
    height, width = told["padded_image"]
    padding = torch.ones(len(told["image_sizes"]), height, width, dtype=torch.bool)
    for one, (h, w) in zip(padding, told["image_sizes"], strict=True):
        one[:h, :w] = False
    return padding if padding.any() else None


def fine_to_coarse(tokens: Tensor, lengths: list[int]) -> Tensor:
    """Tokens [B, n, ...] of the coarsest levels in the order of the official code."""
    levels = [count for count, end in zip(lengths, accumulate(lengths), strict=True) if end <= tokens.shape[1]]
    return torch.cat(tokens.split(levels, dim=1)[::-1], dim=1)


@torch.no_grad()
def run(case: GoldenCase, name: str) -> dict[str, Tensor]:
    """The meaning of a run's golden tensors, by their names."""
    encoder, proposals = encoder_of(case)
    padding = padding_of(case.runs[name])
    features = case.inputs(name)
    maps = encoder.project(features)
    outputs: list[Tensor] = []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output))
    tokens, grid = encoder(features, padding)
    found = {f"src.{level}": one for level, one in enumerate(reversed(maps))}
    found |= position_tensors(grid, tokens.shape[-1], encoder.sine)
    for index, (output, layer) in enumerate(zip(outputs, encoder.layers, strict=True)):
        refined = sum(grid.lengths[: layer.refines])
        found[f"layer_out.{index}"] = fine_to_coarse(output[:, :refined], grid.lengths)
    found["memory"] = fine_to_coarse(tokens, grid.lengths)
    if proposals is not None:
        memory, logits = proposals(tokens, grid)
        found["proposal_memory"] = fine_to_coarse(memory, grid.lengths)
        found["proposal_logits"] = fine_to_coarse(logits, grid.lengths)
    return found


def position_tensors(grid: TokenGrid, width: int, sine: Sine) -> dict[str, Tensor]:
    found = {}
    ratios = []
    for level, size in enumerate(reversed(grid.sizes)):
        if grid.padding is None:
            position = sine_position(size, width, torch.device("cpu"), sine)[None]
        else:
            start = sum(grid.lengths[: len(grid.sizes) - 1 - level])
            padding = grid.padding[:, start : start + size[0] * size[1]].unflatten(1, size)
            found[f"mask.{level}"] = padding.to(torch.uint8)
            ratios.append(valid_ratios(padding))
            position = padded_sine_position(padding, width, sine)
        found[f"pos.{level}"] = position.transpose(1, 2).unflatten(2, size)
    return found | ({"valid_ratios": torch.stack(ratios, dim=1)} if ratios else {})


@pytest.mark.parametrize("case", [*cases("lite"), *cases("deformable_detr")])
def test_the_official_tensors(case: GoldenCase) -> None:
    for name in case.runs:
        expected, found = case.expected(name), run(case, name)
        for key in expected:
            if key.startswith("pos.") and len(found[key]) == 1:
                found[key] = found[key].expand_as(expected[key])
        case.check(found, expected)


HEADS, POINTS = 4, 4
KEY_AWARE = Interleaving(2, 1, key_aware=True, project_keys=True)


@pytest.fixture(scope="module")
def deformable_detr() -> Any:
    """A two-stage Deformable DETR of transformers: a second oracle. What starts at 0 is drawn."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 24, 32, 40],
        depths=[1, 1, 1, 1],
        layer_type="bottleneck",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.DeformableDetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=64,
        encoder_layers=3,
        decoder_layers=1,
        encoder_attention_heads=HEADS,
        encoder_n_points=POINTS,
        decoder_attention_heads=4,
        encoder_ffn_dim=96,
        num_feature_levels=4,
        dropout=0.0,
        with_box_refine=True,
        two_stage=True,
        two_stage_num_proposals=10,
    )
    model = transformers.DeformableDetrForObjectDetection(config).eval()
    for name, one in model.model.encoder.named_parameters():
        if "sampling_offsets.weight" in name or "attention_weights" in name:
            torch.nn.init.normal_(one, std=0.1)
    return model


@pytest.mark.parametrize("sizes", [((96, 128), (70, 101)), ((97, 131), (97, 131))])
@torch.no_grad()
def test_the_encoder_of_transformers(deformable_detr: Any, sizes: tuple[tuple[int, int], ...]) -> None:
    padding = padding_of({"padded_image": sizes[0], "image_sizes": sizes})
    images = torch.randn(2, 3, *sizes[0], generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, *sizes[0], dtype=torch.long) if padding is None else (~padding).long()
    official = deformable_detr.model
    theirs: dict[str, Any] = {}
    official.encoder.register_forward_hook(lambda _m, _i, output: theirs.update(memory=output[0]))
    official.enc_output_norm.register_forward_hook(lambda _m, _i, output: theirs.update(proposals=output))
    official(pixel_values=images, pixel_mask=mask)
    state = {
        key: tensor
        for key, tensor in deformable_detr.state_dict().items()
        if key.startswith(("model.input_proj.", "model.level_embed", "model.encoder.", "model.enc_output"))
    }
    ours = of_detector(state, HEADS, POINTS, HUGGING_FACE_DETECTOR)
    proposals = Proposals(64)
    proposals.load_state_dict({key[10:]: ours.pop(key) for key in [*ours] if key.startswith("proposals.")})
    head = Head(64, HEADS, POINTS, 96)
    encoder = MultiScaleEncoder(plain_layers(head, 4, 3), {"res3": 24, "res4": 32, "res5": 40}, 64)
    encoder.load_state_dict(ours)
    maps = [features for features, _ in official.backbone(images, mask)]
    tokens, grid = encoder.eval()(dict(zip(("res3", "res4", "res5"), maps, strict=True)), padding)
    found = fine_to_coarse(tokens, grid.lengths)
    torch.testing.assert_close(found, theirs["memory"], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        fine_to_coarse(proposals(tokens, grid)[0], grid.lengths), theirs["proposals"], rtol=0, atol=1e-5
    )


def test_a_tensor_without_a_place_is_refused() -> None:
    with pytest.raises(BenchError, match=r"transformer\.decoder\.norm"):
        of_detector({"transformer.decoder.norm": torch.ones(1)}, 4, 4)


@torch.no_grad()
def test_padding_that_is_none_changes_nothing() -> None:
    """The rule for padded images gives what the one for whole images does, at sizes that levels round up."""
    torch.manual_seed(0)
    head = Head(32, 4, 4, 64)
    encoder = MultiScaleEncoder(plain_layers(head, 5, 2), {"res3": 8, "res4": 16, "res5": 24}, 32, levels=5).eval()
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.3)
    features = {"res3": torch.randn(2, 8, 13, 18), "res4": torch.randn(2, 16, 7, 9), "res5": torch.randn(2, 24, 4, 5)}
    whole, grid = encoder(features)
    assert grid.sizes == ((1, 2), (2, 3), (4, 5), (7, 9), (13, 18))
    padded, _ = encoder(features, torch.zeros(2, 104, 144, dtype=torch.bool))
    torch.testing.assert_close(whole, padded, rtol=0, atol=1e-5)
    proposals = Proposals(32)
    for one, other in zip(proposals(whole, grid), proposals(padded, _), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_lies_in_the_padding_reaches_no_other_token() -> None:
    torch.manual_seed(0)
    for layers in (plain_layers(Head(32, 4, 4, 64), 4, 2), interleaved_layers(KEY_AWARE, Head(32, 4, 4, 64), 4, 3)):
        channels = {"res3": 8, "res4": 16, "res5": 24}
        encoder = MultiScaleEncoder(layers, channels, 32).eval()
        padding = torch.ones(1, 96, 128, dtype=torch.bool)
        padding[:, :64, :64] = False
        sides = {"res3": (12, 16), "res4": (6, 8), "res5": (3, 4)}
        features = {level: torch.randn(1, channels[level], *size) for level, size in sides.items()}
        tokens = parts.join_levels(encoder.project(features), encoder.level_embedding, encoder.sine, padding)
        other = tokens[0].clone()
        assert tokens[1].padding is not None
        other[tokens[1].padding] = torch.randn(32)
        found = []
        for start in (tokens[0], other):
            for layer in encoder.layers:
                start = layer(start, tokens[1])  # noqa: PLW2901
            found.append(start[~tokens[1].padding])
        assert torch.equal(*found)
