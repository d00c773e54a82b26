"""The detectors' encoder agrees with the code of Deformable DETR and of Lite-DETR: levels, padding, proposals."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor

from proscale_bench.models.checkpoints.encoder_layouts import of_detector
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
    """What the golden tensors of a run are, by their names."""
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
