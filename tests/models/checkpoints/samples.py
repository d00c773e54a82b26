"""Small models and the files they are kept in."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.layouts import LAYOUTS, OFFICIAL
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.encoders.staged import FOUR_PREFIXES, PREFIXES, Schedule, Stage, parse_compact
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.masked_decoder import Head

SWIN = Swin(8, (1, 2, 1, 1), (1, 2, 4, 8), window=4)
RESNET = ResNet((1, 2, 1, 1), stem_width=8, width=8, expansion=2)
HEAD = Head(
    width=32,
    encoder_heads=4,
    encoder_ffn=16,
    decoder_heads=4,
    decoder_ffn=24,
    decoder_layers=2,
    queries=5,
    num_classes=7,
)


def small_model(schedule: str | Schedule = "2,1,1", backbone: ResNet | Swin = SWIN, seed: int = 0) -> Mask2Former:
    """A model with every tensor random, so that no two can be confused."""
    torch.manual_seed(seed)
    parsed = parse_compact(schedule) if isinstance(schedule, str) else schedule
    model = build(Mask2FormerSpec(backbone, parsed, HEAD))
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if key.endswith("running_var") else torch.randn_like(tensor) / 4
                )
    return model


def official(model: Mask2Former) -> dict[str, Tensor]:
    """The model's state as the official code would save it, criterion and square indices too."""
    state: dict[str, Tensor] = {}
    for key, tensor in model.state_dict().items():
        (name,) = OFFICIAL.to_theirs(key)
        side = round(tensor.numel() ** 0.5)
        state[name] = tensor.reshape(side, side) if name.endswith("relative_position_index") else tensor
    return state | {"criterion.empty_weight": torch.linspace(0.1, 1, HEAD.num_classes + 1)}


def hugging_face(model: Mask2Former) -> dict[str, Tensor]:
    """The model's state as `transformers` keeps it in files."""
    state: dict[str, Tensor] = {}
    for key, tensor in model.state_dict().items():
        names = LAYOUTS["huggingface"].to_theirs(key)
        if not key.endswith("relative_position_index"):
            state |= {name: part.clone() for name, part in zip(names, tensor.chunk(len(names)), strict=True)}
    return state


def write(path: Path, state: dict[str, Tensor], **beside: Any) -> Path:
    """Save a state dict in the format of the path's end."""
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": {key: value.numpy() for key, value in state.items()}, **beside}))
    else:
        torch.save({"model": state, **beside}, path)
    return path


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """The same keys, types, shapes and bits."""
    return found.keys() == expected.keys() and all(
        found[key].dtype == tensor.dtype and found[key].shape == tensor.shape and torch.equal(found[key], tensor)
        for key, tensor in expected.items()
    )


# --- Strategies ---


@st.composite
def swins(draw: st.DrawFn) -> Swin:
    heads = draw(st.sampled_from([(1, 1, 1, 1), (1, 2, 4, 8), (2, 2, 4, 4)]))
    depths = draw(st.tuples(*[st.integers(1, 3)] * 4))
    return Swin(8 * draw(st.integers(1, 3)), depths, heads, draw(st.integers(2, 12)))


@st.composite
def resnets(draw: st.DrawFn) -> ResNet:
    depths = draw(st.tuples(*[st.integers(1, 3)] * 4))
    return ResNet(
        depths, draw(st.sampled_from([8, 16])), draw(st.sampled_from([4, 8])), draw(st.sampled_from([1, 2, 4]))
    )


@st.composite
def heads(draw: st.DrawFn) -> Head:
    number = draw(st.sampled_from([1, 2, 4, 8, 16]))
    return Head(
        width=draw(st.sampled_from([32, 64])),
        encoder_heads=number,
        encoder_ffn=draw(st.integers(1, 40)),
        decoder_heads=number,
        decoder_ffn=draw(st.integers(1, 40)),
        decoder_layers=draw(st.integers(1, 4)),
        queries=draw(st.integers(1, 30)),
        num_classes=draw(st.integers(1, 40)),
    )


@st.composite
def schedules(draw: st.DrawFn, last: int = 1) -> Schedule:
    """Schedules whose last stage has at least `last` layers over all levels."""
    prefixes = draw(st.sampled_from([PREFIXES, FOUR_PREFIXES, (*PREFIXES, (*LEVELS, "res2"))]))
    layers = (*(draw(st.integers(0, 3)) for _ in prefixes[1:]), draw(st.integers(last, 3)))
    recalibration = draw(st.sampled_from(["none", "linear", "conv"]))
    embedding = draw(st.sampled_from(["maxpool", "conv", "depthwise"]))
    stages = tuple(Stage(levels, number) for levels, number in zip(prefixes, layers, strict=True))
    return Schedule(stages, recalibration=recalibration, pixel_embedding=embedding)
