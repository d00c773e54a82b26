"""A checkpoint that was read: its tensors under our keys, the model they are of, and the account of both."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.detector_layouts import turned
from proscale_bench.models.checkpoints.formats import Stored
from proscale_bench.models.checkpoints.infer import Inferred, NoBackbone
from proscale_bench.models.checkpoints.key_map import KeyMap, map_keys
from proscale_bench.results.inspection import STATUSES, Entry, Inspection, Status
from proscale_bench.units import printable

INDEX = "relative_position_index"  # Swin's: official files have it square, torchvision flat, Hugging Face not at all
BATCHES = ".num_batches_tracked"  # that a batch norm has learnt from
NOT_TOLD = (METADATA, "config", "format")  # ours in one piece; Hugging Face's configuration; torch's mark
FIRST_LAYER = "encoder.layers.0.attention.sampling_offsets.weight"
SCHEDULED = ("encoder.recalibration.", "encoder.layers.", "encoder.pixel_embedding.")  # what PRO-SCALE's options decide


@dataclass(frozen=True)
class Translation:
    """A file's tensors, sorted by what we make of them.

    Args:
        stored: the file.
        keys: layout of its keys, and the place of each.
        tensors: under our keys, of their own types.
    """

    stored: Stored
    keys: KeyMap
    tensors: dict[str, Tensor]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}

    def spelt(self, key: str) -> str:
        """The file's name, had or to have, of a tensor of ours."""
        if key in self.keys.sources:
            return self.keys.sources[key][0]
        return self.keys.prefix + next(iter(self.keys.layout.to_theirs(key)), key)

    def entries(self, expected: dict[str, Tensor]) -> tuple[Entry, ...]:
        """The account of every tensor of the file, and of every one that the model expects."""
        found = []
        order: dict[str | None, int] = {key: index for index, key in enumerate(expected)}
        for key, sources in self.keys.sources.items():
            for part, source in enumerate(sources):
                tensor = self.stored.tensors[source]
                status: Status = "unexpected" if key not in expected else "matched" if source == key else "converted"
                how = [f"part {part + 1} of {len(sources)}"] if len(sources) > 1 else []
                if key in expected and tensor.dtype != expected[key].dtype:
                    how.append(f"{_name(tensor.dtype)} to {_name(expected[key].dtype)}")
                if key.endswith(INDEX) and tensor.ndim == 2:
                    how.append("flattened")
                found.append(_entry(status, source, key if key in expected else None, tensor, ", ".join(how)))
        found += [_entry("unused", key, None, self.stored.tensors[key]) for key in self.keys.unused]
        found += [_entry("unexpected", key, None, self.stored.tensors[key]) for key in self.keys.unexpected]
        for key in expected.keys() - self.tensors.keys():
            found.append(_entry("derived" if key.endswith(INDEX) else "missing", self.spelt(key), key, expected[key]))
        return tuple(sorted(found, key=lambda entry: (STATUSES.index(entry.status), order.get(entry.model_key, -1))))


@dataclass(frozen=True)
class Checkpoint:
    """A file that was read: its tensors under our keys, and the model they are of.

    Args:
        translation: the tensors and where they came from.
        inferred: dimensions and schedule.
        schedule_from: `given`, `metadata` or `shapes`.
        expected: the model's state on the meta device: every key with its shape.
        parameters: number that the model learns.
    """

    translation: Translation
    inferred: Inferred
    schedule_from: str
    expected: dict[str, Tensor]
    parameters: int

    @property
    def path(self) -> Path:
        return self.translation.stored.path

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The account of every tensor: see `inspection.Entry`."""
        return self.translation.entries(self.expected)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights alone: the same in every layout and format."""
        tensors = self.translation.tensors
        return digest({key: tensors[key] for key in self.expected if key in tensors})

    @cached_property
    def dtypes(self) -> dict[str, int]:
        """The number of the model's tensors by the type that they are stored in; indices and counters aside."""
        tensors = self.translation.tensors
        stored = [tensors[key].dtype for key in self.expected if key in tensors and not key.endswith((INDEX, BATCHES))]
        return {_name(dtype): number for dtype, number in Counter(stored).most_common()}

    @property
    def unplaced(self) -> tuple[str, ...]:
        """The file's names of tensors that have no place in the model."""
        return tuple(entry.key for entry in self.entries if entry.status == "unexpected")

    @property
    def cautions(self) -> tuple[str, ...]:
        """Notes for a user on the file, before its weights are used."""
        count = len(self.unplaced)
        if not count:
            return ()
        are = "tensor has" if count == 1 else "tensors have"
        return (printable(f"{self.path}: {count:,} {are} no place in the model; the first is {self.unplaced[0]}"),)

    def strays_of_encoder(self) -> list[str]:
        """The file's names of tensors that are the encoder's, and that its schedule has no place for."""
        translation = self.translation
        ours = [key for key in translation.shapes if key.startswith("encoder.") and key not in self.expected]
        return [*map(translation.spelt, ours), *translation.keys.strays_of_encoder()]

    def inspect(self) -> Inspection:
        """The account of the file, for a reader."""
        stored, backbone = self.translation.stored, self.inferred.backbone
        told: dict[str, Any] = {key: value for key, value in stored.metadata.items() if key not in NOT_TOLD}
        told |= json.loads(stored.metadata.get(METADATA, "{}"))
        return Inspection(
            file=str(self.path),
            format=stored.format,
            layout=self.translation.keys.layout.name,
            entry=stored.entry or self.translation.keys.prefix.rstrip("."),
            left_behind=stored.left_behind,
            backbone=None if isinstance(backbone, NoBackbone) else backbone,
            channels=backbone.channels,
            head=self.inferred.head,
            schedule=self.inferred.schedule,
            schedule_from=self.schedule_from,
            dtypes=self.dtypes,
            parameters=self.parameters,
            metadata=told,
            digest=self.digest,
            entries=self.entries,
        )

    def require_complete(self, *, any_depth: bool = False) -> None:
        """Make sure that nothing is missing, and that the encoder is what the file's tensors make.

        A token layer under another name would else be read as no layer, and the model as another one.

        Args:
            any_depth: take no token layers for true where nobody says that there should be none.

        Raises:
            BenchError: the first tensor that is missing, or of the encoder and without a place, and their number; or no
                token layers, where nobody says that there should be none.
        """
        schedule = self.inferred.schedule.compact
        if strays := self.strays_of_encoder():
            raise BenchError(
                f"{self.path}: {strays[0]} has no place in schedule {schedule}{_and_more(strays)}",
                "another encoder, or layers under another name; if it is nothing of the model's, leave it out of the "
                "file: 'models inspect' lists what is unexpected",
            )
        missing = [entry.key for entry in self.entries if entry.status == "missing"]
        if missing:
            raise BenchError(
                f"{self.path}: {missing[0]} is missing{_and_more(missing)}",
                "the file is incomplete, or not of a model that we know; 'models inspect' lists them",
            )
        if not self.inferred.schedule.layers and self.schedule_from == "shapes" and not any_depth:
            layer = self.translation.spelt(FIRST_LAYER)
            raise BenchError(
                f"{self.path}: no token layers in it: {layer} is missing",
                f"if the model was trained without any, say so: --schedule {schedule}",
            )


def _and_more(names: Sequence[str]) -> str:
    return f", and {len(names) - 1:,} more" if len(names) > 1 else ""


def translate(stored: Stored) -> Translation:
    """Bring a file's tensors under our keys. Tensors that need no joining are views of the file's.

    Raises:
        BenchError: a layout that we do not know, or parts that cannot be joined.
    """
    try:
        keys = map_keys(list(stored.tensors))
    except BenchError as error:
        entries = [*filter(None, [stored.entry]), *stored.left_behind]
        told = f" (entries: {', '.join(entries)[:500]})" if entries else ""
        raise BenchError(error.message + told, error.hint).within(str(stored.path)) from None
    tensors = {}
    for ours, sources in keys.sources.items():
        tensor = _join(stored, sources) if len(sources) > 1 else stored.tensors[sources[0]]
        tensors[ours] = tensor.flatten() if ours.endswith(INDEX) and tensor.ndim == 2 else tensor
    return Translation(stored, keys, turned(tensors) if keys.layout.turned else tensors)


def _join(stored: Stored, keys: tuple[str, ...]) -> Tensor:
    """Query, key and value as one: rows above one another."""
    tensors = [stored.tensors[key] for key in keys]
    for key, tensor in zip(keys, tensors, strict=True):
        if tensor.ndim == 0 or tensor.shape != tensors[0].shape or tensor.dtype != tensors[0].dtype:
            raise BenchError(
                f"{stored.path}: {key}: {_name(tensor.dtype)} {list(tensor.shape)} does not go with "
                f"{keys[0]}: {_name(tensors[0].dtype)} {list(tensors[0].shape)}"
            )
    return torch.cat(tensors)


def _entry(status: Status, key: str, model_key: str | None, tensor: Tensor, how: str = "") -> Entry:
    return Entry(status, key, model_key, tuple(tensor.shape), _name(tensor.dtype), how)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names; Swin's indices, which all files share
    and some leave out, are no part of it."""
    hashed = hashlib.sha256()
    for key in sorted(key for key in tensors if not key.endswith(INDEX)):
        tensor = tensors[key].detach().cpu().contiguous()
        hashed.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hashed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()
