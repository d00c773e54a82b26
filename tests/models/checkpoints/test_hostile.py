"""No file can run code, take the machine's memory or end in a traceback: each is a clear error and exit 2."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from proscale_bench.models.checkpoints.unpickle import NUMPY, DataUnpickler
from tests.cli import run

from .samples import official, small_model, write

MARKER = "executed"  # a file that must not appear


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def op(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def doubled(kind: bytes, times: int) -> bytes:
    """A tuple or list that holds itself twice, again and again: 2 ** times leaves in a few bytes."""
    start = b")" if kind == b"\x86" else b"]"
    body = start + b"q\x00"
    for index in range(times):
        twice = b"h" + bytes([index]) + b"h" + bytes([index])
        body += (twice + b"\x86" if kind == b"\x86" else b"](" + twice + b"e") + b"q" + bytes([index + 1])
    return body


NUMPY_GLOBAL = b"cnumpy.core.multiarray\n_reconstruct\n"
TOUCH = f"open({MARKER!r}, 'w').close()"

# What each pickle does is in its name.
PICKLES: dict[str, bytes] = {
    "os_system": pickle.dumps({"model": Calls(os.system, f"touch {MARKER}")}),
    "os_system_protocol_0": pickle.dumps({"model": Calls(os.system, f"touch {MARKER}")}, protocol=0),
    "eval": pickle.dumps({"model": Calls(eval, TOUCH)}),
    "exec": pickle.dumps([Calls(exec, TOUCH)]),
    "open": pickle.dumps(Calls(open, MARKER, "w")),
    "subprocess": pickle.dumps(Calls(subprocess.Popen, ["touch", MARKER])),
    "nested_reduce": pickle.dumps({"model": {"w": Calls(getattr, Calls(__import__, "os"), "system")}}),
    "getattr": op(b"cbuiltins\ngetattr\n"),
    "numpy_loads_within": op(b"cnumpy.core.multiarray\n_reconstruct.__globals__\n"),
    "dotted_name": b"\x80\x04" + text("numpy") + text("ndarray.__class__") + b"\x93.",
    "numpy_load": op(b"cnumpy\nload\n", text("x"), b"\x85R"),
    "inst": b"(S'touch executed'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch executed'\no.",
    "newobj": op(b"cnumpy\nndarray\n", b")\x81"),
    "extension": op(b"\x82\x01"),
    "build_on_a_function": op(NUMPY_GLOBAL, b"}", text("__code__"), text("x"), b"s", b"b"),
    "build_on_the_admitted": op(b"ccollections\nOrderedDict\n", b"N}", text("a"), b"Ns\x86b"),
    "call_of_text": op(text("x"), b")R"),
    "object_array": pickle.dumps({"model": {"w": np.array([Calls(os.system, f"touch {MARKER}")], dtype=object)}}),
    "object_array_of_numbers": pickle.dumps({"model": {"w": np.array([1, "a"], dtype=object)}}),
    "text_array": pickle.dumps({"model": {"w": np.array(["a"])}}),
    "record_array": pickle.dumps({"model": {"w": np.zeros(2, dtype=[("a", "f4")])}}),
    "set_of_tuples": op(b"\x8f", doubled(b"\x86", 60), b"\x90"),
    "key_whose_hash_takes_forever": op(b"}", doubled(b"\x86", 60), b"Ns"),
    "nested_lists": op(b"}", text("model"), doubled(b"]", 60), b"s"),
    "text_of_nested_lists_as_dtype": op(b"cnumpy\ndtype\n", doubled(b"]", 60), b"\x85R"),
    "huge_text": op(b"X\xff\xff\xff\xff"),
    "huge_bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**50) + b".",
    "huge_frame": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b".",
    "many_steps": op(b"]0" * 260_000),
    "unknown_protocol": b"\x80\xff.",
    "nothing_on_the_stack": b"\x80\x02.",
    "no_end": b"\x80\x02}",
    "a_number": pickle.dumps(3),
    "no_tensors": pickle.dumps({"model": {"a": 1}}),
    "deep": pickle.dumps(None)[:-1] + b"(" * 100_000 + b".",
    "itself": op(b"}q\x00", text("model"), b"h\x00s"),
}


def array(shape: Any, dtype: str = "f4", data: bytes = b"\0" * 16) -> bytes:
    """A pickled array that claims this shape."""
    described = {"shape": shape, "data": data}
    return op(
        b"}" + text("model") + b"}" + text("w"),
        NUMPY_GLOBAL + b"cnumpy\nndarray\n" + b"K\x00\x85" + b"U\x01b\x87R",
        b"(K\x01" + pickle.dumps(described["shape"], 2)[2:-1] + b"cnumpy\ndtype\n" + text(dtype) + b"K\x00K\x01\x87R",
        b"\x89" + b"T" + struct.pack("<i", len(data)) + data + b"tb",
        b"ss",
    )


def same_bytes(index: int) -> bytes:
    """A pickled array of a megabyte; every one but the first takes its bytes from the machine's memory."""
    data = b"B" + struct.pack("<I", 2**20) + bytes(2**20) + b"q\x63" if index == 0 else b"h\x63"
    start = NUMPY_GLOBAL + b"cnumpy\nndarray\n" + b"K\x00\x85" + b"U\x01b\x87R"
    return (
        start
        + b"(K\x01J"
        + struct.pack("<i", 2**18)
        + b"\x85cnumpy\ndtype\n"
        + text("f4")
        + b"\x85R\x89"
        + data
        + b"tb"
    )


PICKLES |= {
    "huge_array": array((2**40, 2**20)),
    "array_larger_than_its_bytes": array((5,)),
    "array_smaller_than_its_bytes": array((3,)),
    "array_of_negative_shape": array((-4, -1)),
    "array_of_fractions": array((4.0,)),
    "array_of_many_dimensions": array((1,) * 40 + (4,)),
    "array_of_unknown_type": array((4,), "f3"),
    "many_arrays_of_the_same_bytes": op(
        b"}" + text("model") + b"}",
        *(text(f"w{index}") + same_bytes(index) + b"s" for index in range(40)),
        b"s",
    ),
    "array_of_pointers": array((2,), "O8"),
}


def inspect(path: Path) -> str:
    """Return what `models inspect` says of a bad file."""
    result = run("models", "inspect", str(path))
    assert result.exit_code == 2, result.stdout[-2000:]
    assert "Traceback" not in result.stderr
    assert str(path.name) in result.stderr
    assert len(result.stderr) < 2000
    return result.stderr


@pytest.fixture(autouse=True)
def _nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickles(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(PICKLES[name])
    inspect(path)


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickles_inside_torch_archives(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLES[name])
        archive.writestr("archive/version", "3\n")
    inspect(path)


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(PICKLES["os_system"])
    assert "posix.system" in inspect(path) or "nt.system" in inspect(path)
    torch.save({"model": Calls(os.system, f"touch {MARKER}")}, tmp_path / "weights.pth")
    assert "system" in inspect(tmp_path / "weights.pth")
    assert "nothing was executed" in inspect(tmp_path / "weights.pth")


def test_nothing_of_a_file_outlives_it() -> None:
    """No file can change what the next one meets."""
    before = dict(NUMPY)
    for raw in PICKLES.values():
        with contextlib.suppress(Exception):  # what matters is what follows
            DataUnpickler(io.BytesIO(raw), NUMPY).load()
    assert before == NUMPY
    model = small_model()
    arrays = {key: value.numpy() for key, value in official(model).items()}
    assert len(DataUnpickler(io.BytesIO(pickle.dumps(arrays)), NUMPY).load()) == len(arrays)


# --- Torch files that claim more than they have ---


def state_with(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**official(small_model()), "sem_seg_head.predictor.class_embed.bias": tensor}


@pytest.mark.filterwarnings("ignore")  # torch's, of what is made here
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("expanded", lambda: torch.zeros(1).expand(10**12)),
        ("overlapping", lambda: torch.zeros(2048).as_strided((1024, 1024), (1, 1))),
        ("sparse", lambda: torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**12,))),
        ("imaginary", lambda: torch.empty(10**12, device="meta")),
        ("quantised", lambda: torch.quantize_per_tensor(torch.zeros(8), 0.1, 0, torch.qint8)),
    ],
)
def test_tensors_without_the_bytes_for_them(
    tmp_path: Path, name: str, make: Callable[[], torch.Tensor], legacy: bool
) -> None:
    path = tmp_path / f"{name}.pth"
    torch.save({"model": state_with(make())}, path, _use_new_zipfile_serialization=not legacy)
    inspect(path)


def test_many_names_for_one_tensor(tmp_path: Path) -> None:
    shared = torch.zeros(2**20)
    torch.save({"model": state_with(shared) | {f"x.{i}": shared for i in range(100)}}, tmp_path / "weights.pth")
    assert "claims" in inspect(tmp_path / "weights.pth")


def test_a_compressed_archive(tmp_path: Path) -> None:
    torch.save({"model": official(small_model())}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as source,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in source.namelist():
            bomb.writestr(name, source.read(name))
        bomb.writestr("archive/data/999", bytes(50_000_000))
    assert "compressed" in inspect(tmp_path / "bomb.pth")


def test_a_storage_that_claims_more_than_its_record(tmp_path: Path) -> None:
    torch.save({"model": state_with(torch.zeros(8))}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as source,
        zipfile.ZipFile(tmp_path / "claims.pth", "w") as claims,
    ):
        for name in source.namelist():
            raw = source.read(name)
            if name.endswith("data.pkl"):  # eight elements, of the storage and of the tensor, become 2 ** 31 - 1
                raw = raw.replace(b"K\x08t", b"J\xff\xff\xff\x7ft").replace(b"K\x08\x85", b"J\xff\xff\xff\x7f\x85")
            claims.writestr(name, raw)
    inspect(tmp_path / "claims.pth")


def test_a_program_of_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"program/{name}", pickle.dumps({}, 2))
    assert "TorchScript" in inspect(tmp_path / "program.pt")


# --- Files that are damaged ---


@pytest.fixture(scope="module", params=["safetensors", "pth", "legacy", "pkl"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    state = official(small_model())
    if request.param == "legacy":
        torch.save({"model": state}, folder / "w", _use_new_zipfile_serialization=False)
        return (folder / "w").read_bytes()
    return write(folder / f"w.{request.param}", state).read_bytes()


@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.01, 0.3, 0.9, 0.9999])
def test_truncated_files(tmp_path: Path, whole: bytes, kept: float) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(whole[: int(kept * len(whole))])
    inspect(path)


def test_swapped_bytes_of_values(tmp_path: Path) -> None:
    """A safetensors file is little-endian; the values of one that is not are no weights."""
    state = {}
    for key, tensor in official(small_model()).items():
        array = tensor.numpy()
        state[key] = torch.from_numpy(array.byteswap()) if tensor.is_floating_point() else tensor
    assert "not finite" in inspect(write(tmp_path / "swapped.safetensors", state))


def test_swapped_bytes_of_the_header(tmp_path: Path) -> None:
    raw = save(official(small_model()))
    (tmp_path / "swapped.safetensors").write_bytes(raw[:8][::-1] + raw[8:])
    assert "safetensors" in inspect(tmp_path / "swapped.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(tmp_path: Path, suffix: str, value: float) -> None:
    every = {
        key: torch.full_like(tensor, value) if tensor.is_floating_point() else tensor
        for key, tensor in official(small_model()).items()
    }
    path = write(tmp_path / f"nan{suffix}", every)
    said = inspect(path)
    assert "backbone.patch_embed.proj.weight: 384 of 384 values are not finite" in said
    one = official(small_model())
    one["sem_seg_head.predictor.class_embed.bias"] = torch.tensor([0.0, value, 0, 0, 0, 0, 0, 0])
    assert "class_embed.bias: 1 of 8 values are not finite" in inspect(write(tmp_path / f"one{suffix}", one))


def test_values_beyond_float32(tmp_path: Path) -> None:
    state = {
        key: value.double() if value.is_floating_point() else value for key, value in official(small_model()).items()
    }
    state["sem_seg_head.predictor.class_embed.bias"] = torch.full((8,), 1e300, dtype=torch.float64)
    assert "not finite" in inspect(write(tmp_path / "large.pth", state))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("sem_seg_head.predictor.class_embed.bias", (9,)),
        ("sem_seg_head.pixel_decoder.transformer.encoder.layers.1.norm2.weight", (31,)),
        ("sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.sampling_offsets.weight", (7, 32)),
        ("sem_seg_head.pixel_decoder.input_proj.1.0.weight", (32, 31, 1, 1)),
        ("sem_seg_head.pixel_decoder.mask_features.weight", (32, 32)),
        ("backbone.layers.2.blocks.0.attn.qkv.weight", (32, 96)),
        ("backbone.layers.0.blocks.0.attn.relative_position_bias_table", (48, 1)),
        ("backbone.norm3.weight", ()),
    ],
)
def test_tensors_of_the_wrong_shape_are_named(tmp_path: Path, suffix: str, key: str, shape: tuple[int, ...]) -> None:
    state = {**official(small_model()), key: torch.zeros(shape)}
    assert key in inspect(write(tmp_path / f"shape{suffix}", state))


def test_tensors_of_the_wrong_type_are_named(tmp_path: Path) -> None:
    key = "sem_seg_head.predictor.class_embed.weight"
    state = official(small_model())
    assert f"{key}: torch.int32" in inspect(write(tmp_path / "type.pth", {**state, key: state[key].int()}))


def test_indices_that_lead_out_of_the_table(tmp_path: Path) -> None:
    key = "backbone.layers.0.blocks.0.attn.relative_position_index"
    state = official(small_model())
    assert key in inspect(write(tmp_path / "index.pth", {**state, key: state[key] + 10**6}))


# --- Files that are something else ---


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\x80",
        b"hello, this is text",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        struct.pack("<Q", 2**63) + b"{",
        struct.pack("<Q", 10) + b'{"a": 1}  ',
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 90)
        + b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'.ljust(90),
        struct.pack("<Q", 80) + b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}'.ljust(80) + bytes(8),
        (b'{"a":' * 50_000).rjust(8),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "thing").write_bytes(raw)
    inspect(tmp_path / "thing")


def test_a_zip_that_is_not_of_torch(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme", "hello")
    assert "not a checkpoint of torch" in inspect(tmp_path / "a.zip")


def test_a_model_of_something_else(tmp_path: Path) -> None:
    state = torch.nn.Linear(2, 2).state_dict()
    assert "no Mask2Former in it" in inspect(write(tmp_path / "linear.pth", dict(state)))


def test_devices_pipes_folders_and_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert "not a regular file" in inspect(tmp_path / "pipe")
    assert "without config.json" in inspect(tmp_path / "folder")
    assert "No such file" in inspect(tmp_path / "absent")
    assert run("models", "inspect", "/dev/zero").exit_code == 2
    assert run("models", "inspect", "").exit_code == 2


@pytest.mark.parametrize(
    ("config", "index", "said"),
    [
        ("{", None, "JSON"),
        ("[]", None, "not a JSON object"),
        ("\0{", None, "JSON"),
        ("[" * 100_000, None, "JSON"),
        ("{}", None, "no model.safetensors"),
        ("{}", {}, "weight_map"),
        ("{}", {"weight_map": {"a": "../outside.safetensors"}}, "outside its folder"),
        ("{}", {"weight_map": {"a": "/etc/passwd"}}, "outside its folder"),
        ("{}", {"weight_map": {"a": "absent.safetensors"}}, "No such file"),
        ("{}", {"weight_map": {"a": 3}}, "weight_map"),
    ],
)
def test_folders_that_lie(tmp_path: Path, config: str, index: object, said: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(config)
    if index is not None:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert said in run("models", "inspect", str(folder)).stderr
    assert run("models", "inspect", str(folder)).exit_code == 2


@pytest.mark.parametrize(
    "told",
    [
        "{",
        "[]",
        '{"schedule": 3}',
        '{"schedule": "9,9"}',
        '{"schedule": "3,3,3", "encoder_heads": -1}',
        "{}",
        "[" * 9999,
    ],
)
def test_metadata_that_lie(tmp_path: Path, told: str) -> None:
    (tmp_path / "weights.safetensors").write_bytes(save(official(small_model()), {"proscale_bench": told}))
    assert "metadata" in inspect(tmp_path / "weights.safetensors")
