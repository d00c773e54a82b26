"""Named tensors from a file's bytes, whatever wrote it; recognised by content, not by its name.

Every size that a file declares is held against the bytes it has before memory is taken for it, and nothing in a file
is executed: see `unpickle`.
"""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from proscale_bench.config.trained_on import ID2LABEL
from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file
from proscale_bench.models.checkpoints.same_file import SameFile, open_same
from proscale_bench.models.checkpoints.state import MAX_EXPANSION, checked_array, place_of_weights
from proscale_bench.models.checkpoints.unpickle import MAX_KEY, NUMPY, Array, DataUnpickler
from proscale_bench.models.checkpoints.vetting import (
    SUPPORTED,
    first_line,
    format_of,
    refusals,
    vet_archive,
    vet_legacy,
    whole,
)

MAX_TENSORS = 20_000  # Swin-L with its optimizer has 3,000
MAX_JSON_BYTES = 16 * 2**20
SLACK_BYTES = 2**20


@dataclass(frozen=True)
class Stored:
    """The contents of a file, before its layout is known.

    Args:
        path: path of the file or folder.
        format: name that a person knows.
        tensors: under the file's own keys, of its own types; read when they are used where the format allows it.
        metadata: metadata of a safetensors header, and the `config` of a Hugging Face folder.
        entry: entry of the file that the tensors came from, dotted; empty where they lie at the top.
        left_behind: other entries: optimizer states, iteration counts, weights that are not averaged.
    """

    path: Path
    format: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    entry: str = ""
    left_behind: tuple[str, ...] = ()


def read_stored(path: Path) -> Stored:
    """Read a checkpoint file or a Hugging Face folder.

    Raises:
        BenchError: unreadable, of no known format, damaged, or more than data.
    """
    if path.is_dir():
        return _read_folder(path)
    with open_same(path) as source:
        stored = _read_file(source)
        _check_sizes(stored, source.size)
    return stored


def _read_file(source: SameFile) -> Stored:
    with refusals(source.path):
        match format_of(source):
            case "zip":
                return _read_torch(source, legacy=False)
            case "legacy":
                return _read_torch(source, legacy=True)
            case "safetensors":
                return _read_safetensors(source)
            case "pickle":
                return _read_pickle(source)


def _check_sizes(stored: Stored, file_bytes: int) -> None:
    """Every tensor lies in memory that the file fills: no expanded, sparse, quantised or imaginary ones."""
    if len(stored.tensors) > MAX_TENSORS:
        raise BenchError(f"{stored.path}: {len(stored.tensors):,} tensors, more than {MAX_TENSORS:,}")
    total = 0
    for key, tensor in stored.tensors.items():
        if len(key) > MAX_KEY:
            raise BenchError(f"{stored.path}: a name of {len(key):,} characters")
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain:
            raise BenchError(f"{stored.path}: {key}: not a plain tensor", "save dense tensors on the CPU")
        size = tensor.numel() * tensor.element_size()
        if size > tensor.untyped_storage().nbytes():
            raise BenchError(f"{stored.path}: {key}: claims {size:,} bytes, more than are stored for it")
        total += size
    if total > MAX_EXPANSION * file_bytes + SLACK_BYTES:
        raise BenchError(f"{stored.path}: claims {total:,} bytes of tensors, and is a file of {file_bytes:,}")


# --- safetensors ---


def _read_safetensors(source: SameFile) -> Stored:
    path = source.path
    with whole(path, "safetensors file"), safe_open(source.name, framework="pt") as file:
        keys = list(file.keys())
        if len(keys) > MAX_TENSORS:
            raise BenchError(f"{path}: {len(keys):,} tensors, more than {MAX_TENSORS:,}")
        return Stored(path, "safetensors", {key: file.get_tensor(key) for key in keys}, dict(file.metadata() or {}))


# --- torch ---


def _read_torch(source: SameFile, *, legacy: bool) -> Stored:
    """`torch.save`'s two containers. A dry run first: see `unpickle`."""
    path = source.path
    with whole(path, "torch file"):
        if legacy:
            vet_legacy(source)
        else:
            _require_one_reading(source, vet_archive(source))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other protocols than its own
            document = torch.load(source.name, map_location="cpu", weights_only=True, mmap=not legacy)
    return _find_state(path, "torch, legacy" if legacy else "torch", document)


def _require_one_reading(source: SameFile, records: Mapping[str, zipfile.ZipInfo]) -> None:
    """Refuse an archive in which torch's reader, which loads, finds other records than Python's, which vetted it; and a
    record that is damaged."""
    path = source.path
    reader: Any = torch._C.PyTorchFileReader(source.name)
    with zipfile.ZipFile(source.file) as archive:
        same = set(records) == set(reader.get_all_records())
        if not same or reader.get_record("data.pkl") != archive.read(records["data.pkl"]):
            raise BenchError(f"{path}: its table of contents can be read in two ways", "save its weights anew")
        damaged = archive.testzip()
        if damaged is not None:
            raise BenchError(
                f"{path}: the record {damaged} is damaged: another CRC than the file says", "download it again"
            )
    with source.mapped() as file:
        for name, entry in records.items():
            file.seek(entry.header_offset + 26)  # the lengths of its own name and of what follows that
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
            if start != reader.get_record_offset(name):
                raise BenchError(f"{path}: its record {name} can be read in two ways", "save its weights anew")


# --- detectron2's pickles ---


def _read_pickle(source: SameFile) -> Stored:
    with whole(source.path, "pickle"), source.mapped() as file:
        document = DataUnpickler(file, NUMPY).load()
        return _find_state(source.path, "detectron2 pickle", document, MAX_EXPANSION * source.size)


def _from_numpy(path: Path, key: str, array: Array) -> Tensor:
    """The tensor of a described array, in this machine's byte order."""
    dtype, shape, data = checked_array(path, key, array)
    flat = np.frombuffer(bytearray(data), dtype).astype(dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(flat.reshape(shape, order="F" if array.column_major else "C"))


# --- Where in the document the weights are ---


def _find_state(path: Path, format_: str, document: Any, max_array_bytes: int = 0) -> Stored:
    """Go down to the mapping of names to tensors; arrays become tensors, in so many bytes altogether."""
    entry = place_of_weights(path, document, (Tensor, Array))
    left_behind: list[str] = []
    node = document
    for depth, name in enumerate(entry):
        left_behind += [".".join([*entry[:depth], str(key)]) for key in node if key != name]
        node = node[name]
    metadata = {}
    if isinstance(told := document.get(METADATA), str):
        metadata[METADATA] = told
        left_behind = [name for name in left_behind if name != METADATA]
    if isinstance(labels := document.get(ID2LABEL), Mapping):
        metadata[ID2LABEL] = json.dumps({str(key): str(value) for key, value in labels.items()})
    tensors = {}
    for key, value in node.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            tensors[key] = value.detach()
        elif isinstance(key, str) and isinstance(value, Array):
            tensors[key] = _from_numpy(path, key, value)
            max_array_bytes -= tensors[key].nbytes
            if max_array_bytes < 0:
                raise BenchError(f"{path}: claims many times the bytes that it has, at {key}")
        else:
            left_behind.append(".".join([*entry, str(key)]))
    return Stored(path, format_, tensors, metadata, ".".join(entry), tuple(left_behind))


# --- Hugging Face folders ---


def _read_folder(path: Path) -> Stored:
    """`config.json` beside one file of weights, or an index of several."""
    if not (path / "config.json").is_file():
        raise BenchError(f"{path}: a folder without config.json", SUPPORTED)
    config = _read_json(path / "config.json")
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return _of_folder(path, config, [read_stored(path / name)])
        if (path / f"{name}.index.json").is_file():
            return _of_folder(path, config, _read_shards(path / f"{name}.index.json"))
    raise BenchError(f"{path}: no model.safetensors or pytorch_model.bin in it", SUPPORTED)


def _read_shards(index: Path) -> list[Stored]:
    where = _read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise BenchError(f"{index}: no 'weight_map' of tensors to files")
    names = sorted(set(where.values()))
    if any(Path(name).name != name for name in names):
        raise BenchError(f"{index}: a shard outside its folder")
    if (absent := next((name for name in names if not (index.parent / name).is_file()), None)) is not None:
        raise BenchError(f"{index}: No such file beside it: {absent[:100]!r}", "download the whole folder again")
    shards = [read_stored(index.parent / name) for name in names]
    missing = set(where) - {key for shard in shards for key in shard.tensors}
    if missing:
        raise BenchError(f"{index}: {len(missing)} tensors are in no shard; the first is {min(missing)}")
    return shards


def _of_folder(path: Path, config: dict[str, Any], parts: list[Stored]) -> Stored:
    tensors = {key: tensor for part in parts for key, tensor in part.tensors.items()}
    container = f"Hugging Face folder, {parts[0].format}" + (f" in {len(parts)} shards" if len(parts) > 1 else "")
    return Stored(path, container, tensors, {"config": json.dumps(config)})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_regular_file(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not valid JSON: {first_line(error)}") from error
    if not isinstance(document, dict):
        raise BenchError(f"{path}: not a JSON object")
    return document
