"""Small checkpoints of every format, and damage that only checkpoints can have."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
from functools import cache
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from tests.models.checkpoints.samples import official, small_model
from tests.models.checkpoints.test_hostile import MARKER, PICKLES, Calls
from tests.soak.mutations import change_tree, damage
from tests.soak.values import ESCAPE, JSON_SPELLINGS

KINDS = ("safetensors", "zip", "legacy", "pickle")
SUFFIXES = {"safetensors": ".safetensors", "zip": ".pth", "legacy": ".pth", "pickle": ".pkl"}
SCHEDULES = ("baseline:2", "baseline:1", "1,0,1", "0,1,1+trc:none+conv")
METADATA = {
    "proscale_bench": json.dumps({"schedule": "1,0,1", "encoder_heads": 4, "encoder_points": 4, "decoder_heads": 4})
}
DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int8, torch.bool, torch.complex64)


@cache
def state(schedule: str) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in official(small_model(schedule)).items()}


@cache
def whole(kind: str, schedule: str) -> bytes:
    return written(state(schedule), kind)


def written(tensors: dict[str, Any], kind: str) -> bytes:
    """Tensors, and whatever else a pickle can hold, in a format."""
    if kind == "safetensors":
        plain = {key: value for key, value in tensors.items() if isinstance(value, Tensor)}
        return save(plain, METADATA if "of_ours" in tensors else None)
    if kind == "pickle":
        document = {key: _as_array(value) for key, value in tensors.items()}
        return pickle.dumps({"model": document, "iteration": 5}, protocol=2)
    file = io.BytesIO()
    torch.save({"model": tensors, "iteration": 5}, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


def _as_array(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return (value.float() if value.dtype is torch.bfloat16 else value).numpy()


def damaged(chance: random.Random) -> tuple[str, bytes]:
    """The end of a damaged checkpoint's name, most often that of its format, and its bytes."""
    kind, schedule = chance.choice(KINDS), chance.choice(SCHEDULES)
    raw = whole(kind, schedule)
    match chance.randrange(8):
        case 0 | 1:
            raw = damage(raw, chance, within=chance.choice((100, 2_000, 20_000, len(raw))))
        case 2:
            other = whole(chance.choice(KINDS), chance.choice(SCHEDULES))
            at, there = chance.choice(((8, 8), (chance.randrange(len(raw)), chance.randrange(len(other)))))
            raw = raw[:at] + other[there:]
        case 3:
            kind, raw = "safetensors", _other_header(whole("safetensors", schedule), chance)
        case 4:
            kind, raw = chance.choice(("zip", "legacy", "pickle")), b""
            raw = written(_hostile(dict(state(schedule)), chance), kind)
        case 5 if chance.random() < 0.3:
            kind, raw = "pickle", PICKLES[chance.choice(sorted(PICKLES))]
        case _:
            raw = written(_other_tensors(dict(state(schedule)), chance), kind)
    return chance.choice((SUFFIXES[kind],) * 8 + (".bin", ".txt", "", ".safetensors", ".pth")), raw


def _other_header(raw: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose header says something else, or says that it is longer or shorter."""
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = raw[8 : 8 + length], raw[8 + length :]
    if chance.random() < 0.3:
        return (
            struct.pack("<Q", chance.choice((0, 1, length - 1, length + 1, len(raw), 2**31, 2**63, 2**64 - 1)))
            + raw[8:]
        )
    tree, spellings = change_tree(json.loads(header), JSON_SPELLINGS, chance)
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=chance.random() < 0.5)
    for mark, spelling in spellings.items():
        text = text.replace(f'"{mark}"', spelling)
    header = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + data


def _hostile(tensors: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """With a value somewhere that would write a file, were it unpickled."""
    code = f"open({MARKER!r}, 'w').close()"
    tensors[chance.choice((*tensors, "extra"))] = chance.choice(
        (Calls(exec, code), Calls(eval, code), Calls(open, MARKER, "w"), [Calls(exec, code)], {"x": Calls(exec, code)})
    )
    return tensors


def _other_tensors(tensors: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """With one to four of its tensors changed, or a part of the model gone."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        key = chance.choice(list(tensors))
        match chance.randrange(7):
            case 0:
                part = chance.choice((key, "backbone.", "sem_seg_head.", "sem_seg_head.predictor."))
                tensors = {name: one for name, one in tensors.items() if not name.startswith(part)}
                tensors = tensors or {"x": torch.zeros(2)}
            case 1:
                new = (
                    f"{key}s",
                    f"module.{key}",
                    key.replace("0", "9"),
                    ESCAPE,
                    "",
                    "k" * 600,
                    f"{key}\n{ESCAPE}",
                    "é.😀",
                )
                tensors[chance.choice(new)] = tensors.pop(key)
            case 2:
                other = chance.choice(list(tensors))
                tensors[key], tensors[other] = tensors[other], tensors[key]
            case 3:
                tensors[chance.choice((f"{key}.weight", f"{key}.0", "of_ours"))] = tensors[key].clone()
            case _:
                tensors[key] = _other_tensor(tensors[key], chance)
    return tensors


def _other_tensor(tensor: Tensor, chance: random.Random) -> Tensor:
    flat = tensor.flatten()
    spoiled = flat.clone()
    if len(flat) and flat.is_floating_point():
        spoiled[chance.randrange(len(flat))] = chance.choice((float("nan"), float("inf"), -float("inf"), 1e38))
    ways = (flat, tensor[None], flat[:1], flat[:0], torch.cat((flat, flat)), tensor[:1] if tensor.ndim else tensor)
    return chance.choice((*ways, spoiled.reshape(tensor.shape), tensor.to(chance.choice(DTYPES)))).clone()
