"""Bounds on the time and memory that a hostile file may take, and files that two readers read in two ways."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from proscale_bench.config.weights import METADATA, shipped_weights
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from proscale_bench.models.checkpoints.unpickle import NUMPY, TORCH, DataUnpickler
from proscale_bench.models.checkpoints.vetting import vet

from .samples import official, small_model, write
from .test_hostile import op, text

MAX_S, MAX_BYTES = 2.0, 500 << 20
ORDERED = b"ccollections\nOrderedDict\n"
PAIRS = b"](" + b"".join(text(f"k{i}") + b"K\x01\x86" for i in range(3000)) + b"e"
BIG = b"\x8b" + struct.pack("<I", 1 << 20) + b"\x01" * (1 << 20)  # an integer of a megabyte
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R("


def array(*shape: bytes) -> bytes:
    """A dictionary with an array of these pickled sides and no bytes."""
    dtype = b"cnumpy\ndtype\n" + text("f4") + b"\x85R"
    return op(b"}", text("w"), ARRAY, b"K\x01(", *shape, b"t", dtype, b"\x89C\x00tbs")


BOMBS = {
    "one_list_again_and_again": op(PAIRS, b"q\x000", (ORDERED + b"h\x00\x85R0") * 60_000, b"N"),
    "arguments_again_and_again": op(b"(", b"K\x01" * 9_000, b"tq\x000", (b"ctorch\nSize\nh\x00R0") * 90_000, b"N"),
    "keys_of_a_megabyte": op(b"}", BIG, b"q\x00K\x01s", (b"h\x00K\x01s") * 100_000),
    "text_keys_of_a_megabyte": op(b"}", text("k" * (1 << 20)), b"K\x01s"),
    "a_number_spelt_out": op(b"I" + b"9" * 2_000_000 + b"\n"),
    "a_long_number_spelt_out": op(b"L" + b"9" * 2_000_000 + b"L\n"),
    "a_fraction_spelt_out": op(b"F" + b"9" * 20_000_000 + b"\n"),
    "a_place_spelt_out": op(b"g" + b"9" * 2_000_000 + b"\n"),
    "a_byte_array_that_claims": op(b"\x96" + struct.pack("<Q", 1 << 34)),
    "a_byte_array_beyond_memory": op(b"\x96" + struct.pack("<Q", (1 << 64) - 1)),
    "a_shape_of_huge_numbers": array(*[BIG] * 8),
    "a_shape_of_5001_digits": array(b"L" + b"9" * 5001 + b"L\n"),
    "a_shape_of_600_digits": array(b"L" + b"9" * 600 + b"L\n"),
    "nothing_by_much": array(b"K\x00", b"L1" + b"0" * 30 + b"L\n"),
    "nothing_by_much_and_much": array(b"K\x00", *[b"J\xff\xff\xff\x7f"] * 7),
    "a_reference_to_no_storage": op(b"}", text("w"), b"K\x01Qs"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", BOMBS)
def test_a_refusal_comes_soon_and_takes_little(tmp_path: Path, name: str, legacy: bool) -> None:
    path = tmp_path / ("weights.pkl" if legacy else "weights.pth")
    if legacy:
        path.write_bytes(BOMBS[name])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", BOMBS[name])
            archive.writestr("archive/version", "3\n")
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(BenchError) as raised:
            read_stored(path)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5 * MAX_S  # tracing takes five times as long
    assert len(raised.value.message) < 1000


COMMANDS = {
    "inspect": "models inspect",
    "eval": "eval --limit 1 --weights",
    "predict": "predict --out out a.png --weights",
    "train": "train --iterations 1 --start",
    "flops": "flops --weights",
}


TENSOR = op(b"}", text("w"), b"ctorch._utils\n_rebuild_tensor_v2\n(", b"(", text("storage"), b"ctorch\nFloatStorage\n")
STORED = text("0") + text("cpu") + b"K\x04tQ"
HUGE = b"L1" + b"0" * 30 + b"L\n"
NO_TENSOR = {
    "zero_by_much": (b"K\x00" + HUGE, b"K\x01K\x01"),
    "more_than_any_memory": (b"\x8a\x06\0\0\0\0\0\x01" * 20, b"K\x00" * 20),
    "less_than_nothing": (b"J\xff\xff\xff\xff", b"K\x01"),
    "a_fraction": (b"G" + struct.pack(">d", 4), b"K\x01"),
    "more_strides_than_sides": (b"K\x04", b"K\x01" * 100_000),
    "a_stride_of_31_digits": (b"K\x04", HUGE),
    "a_truth": (b"\x88", b"K\x01"),
}


@pytest.mark.parametrize("name", [*NO_TENSOR, *(name for name in BOMBS if name.startswith(("a_shape", "nothing")))])
def test_a_shape_that_is_none_is_refused_without_torch(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pkl"
    if name in BOMBS:
        path.write_bytes(BOMBS[name])
    else:
        path = tmp_path / "weights.pth"
        size, stride = NO_TENSOR[name]
        raw = TENSOR[:-1] + STORED + b"K\x00(" + size + b"t(" + stride + b"t\x89Nts."
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", raw)
            archive.writestr("archive/data/0", bytes(16))
            archive.writestr("archive/version", "3\n")
    with pytest.raises(BenchError, match=r"shape|a side of over|digits|instruction"):
        vet(path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refusal_waits_for_no_torch(tmp_path: Path, command: str) -> None:
    """Torch takes more time and memory than a refusal may."""
    (tmp_path / "weights.pkl").write_bytes(BOMBS["one_list_again_and_again"])
    arguments = [*COMMANDS[command].split(), "weights.pkl"]
    script = "import sys; sys.modules['torch'] = None; from proscale_bench.cli import main; main()"
    command_line = [sys.executable, "-c", script, *arguments]
    run = subprocess.run(command_line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "weights.pkl: refused: it asks for more than 500,000 steps" in run.stderr


def test_steps_are_counted_by_what_a_call_is_given() -> None:
    raw = pickle.dumps({"model": {f"layer.{index}": index for index in range(20_000)}}, 2)
    machine = DataUnpickler(io.BytesIO(raw), NUMPY)
    machine.load()
    assert machine.dispatch.steps < 100_000


def test_torch_storages_are_added_up(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3), "b": torch.zeros(5, dtype=torch.float64)}, tmp_path / "two.pth")
    with zipfile.ZipFile(tmp_path / "two.pth") as archive:
        machine = DataUnpickler(io.BytesIO(archive.read("two/data.pkl")), TORCH)
        machine.load()
    assert machine.storages == {"0": 12, "1": 40}


# --- Archives ---


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write(tmp_path / "plain.pth", official(small_model()))


def records(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        yield from ((name, archive.read(name)) for name in archive.namelist())


def test_two_tables_of_contents(plain: Path, tmp_path: Path) -> None:
    """Python takes the table that lies before the end record, torch the one at the place that the record says."""
    other = write(tmp_path / "other.pth", official(small_model(seed=1)))
    first, second = plain.read_bytes(), other.read_bytes()
    for one, two in ((first, second), (second, first)):
        (tmp_path / "both.pth").write_bytes(one + two)
        with pytest.raises(BenchError):
            read_stored(tmp_path / "both.pth")


def test_a_record_twice(plain: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.pth", "w") as archive:
        for name, raw in records(plain):
            archive.writestr(name, raw)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("plain/data.pkl", b"other")
    with pytest.raises(BenchError):
        read_stored(tmp_path / "twice.pth")


def test_a_record_that_is_shorter_than_its_tensor(plain: Path, tmp_path: Path) -> None:
    """Mapped into memory, the next record would be read as weights."""
    with zipfile.ZipFile(tmp_path / "short.pth", "w") as archive:
        for name, raw in records(plain):
            archive.writestr(name, raw[: len(raw) // 2] if name == "plain/data/3" else raw)
    with pytest.raises(BenchError, match=r"the record data/3 has \d+ bytes, and is shorter than its tensor"):
        read_stored(tmp_path / "short.pth")


def test_a_missing_record(plain: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "short.pth", "w") as archive:
        for name, raw in records(plain):
            if name != "plain/data/3":
                archive.writestr(name, raw)
    with pytest.raises(BenchError, match="the record data/3 has 0 bytes"):
        read_stored(tmp_path / "short.pth")


def test_a_flipped_bit_in_a_record(plain: Path) -> None:
    with zipfile.ZipFile(plain) as archive:
        raw, value = bytearray(plain.read_bytes()), archive.read("plain/data/3")
    raw[raw.index(value) + 5] ^= 1
    plain.write_bytes(raw)
    with pytest.raises(BenchError, match="another CRC"):
        read_stored(plain)


# --- The file's own digest ---


@pytest.mark.parametrize("suffix", [".safetensors", ".pkl", ".pth"])
def test_a_flipped_bit_where_the_file_says_its_digest(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ours{suffix}"
    save_checkpoint(small_model(), tmp_path / "ours.safetensors")
    if suffix != ".safetensors":
        convert_checkpoint(open_checkpoint(tmp_path / "ours.safetensors"), path, "ours")
    value = max(load_file(tmp_path / "ours.safetensors").values(), key=lambda tensor: tensor.numel())
    assert open_checkpoint(path).digest
    raw = bytearray(path.read_bytes())
    raw[raw.index(value.numpy().tobytes()) + 4] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BenchError, match=r"its weights have digest|another CRC"):
        open_checkpoint(path)


def test_what_ships_has_the_digest_that_it_says() -> None:
    for path in shipped_weights().values():
        checkpoint = open_checkpoint(path)
        told = json.loads(checkpoint.translation.stored.metadata[METADATA])["weights"]
        assert checkpoint.digest == told


# --- Conversions ---

TYPES = ["float8_e4m3fn", "float8_e5m2", "complex64", "bfloat16", "uint16", "int32", "bool"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
def test_what_is_written_can_be_read_back(tmp_path: Path, dtype: str, suffix: str) -> None:
    """An extra tensor of any type: it comes back, or nothing is written."""
    extra = torch.zeros(4).to(getattr(torch, dtype))
    source = tmp_path / "source.safetensors"
    save_file({**official(small_model()), "an.extra": extra}, source)
    out = tmp_path / f"out{suffix}"
    strange = dtype.startswith(("float8", "complex")) and suffix != ".safetensors"
    if strange or (dtype, suffix) == ("bfloat16", ".pkl"):
        with pytest.raises(BenchError, match=dtype):
            convert_checkpoint(open_checkpoint(source), out, "ours")
        assert not out.exists()
    else:
        convert_checkpoint(open_checkpoint(source), out, "ours")
        stored = open_checkpoint(out).translation.stored.tensors
        (back,) = (tensor for key, tensor in stored.items() if key.endswith("an.extra"))
        assert back.dtype is extra.dtype


@pytest.mark.parametrize("name", ["", ".", "..", "folder", "loop"])
def test_a_shard_that_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(BenchError, match=r"model\.safetensors\.index\.json: (No such file|a shard outside)"):
        read_stored(tmp_path)
