"""A checkpoint that was read: its tensors under our keys, the model they are of, and the account of both."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.formats import Stored
from proscale_bench.models.checkpoints.infer import Inferred, NoBackbone
from proscale_bench.models.checkpoints.layouts import KeyMap, map_keys
from proscale_bench.results.inspection import STATUSES, Entry, Inspection, Status

INDEX = "relative_position_index"  # Swin's: official files have it square, torchvision flat, Hugging Face not at all
NOT_TOLD = (METADATA, "config", "format")  # ours in one piece; Hugging Face's configuration; torch's mark
SCHEDULED = ("encoder.recalibration.", "encoder.layers.", "encoder.pixel_embedding.")  # what a schedule decides


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
        """The number of the model's tensors by the type that they are stored in; indices aside."""
        tensors = self.translation.tensors
        stored = [tensors[key].dtype for key in self.expected if key in tensors and not key.endswith(INDEX)]
        return {_name(dtype): number for dtype, number in Counter(stored).most_common()}

    def stray_of_schedule(self) -> str | None:
        """A tensor where the schedule decides which there are, and that has no place in it; else None."""
        shapes = self.translation.shapes
        return next((key for key in shapes if key not in self.expected and key.startswith(SCHEDULED)), None)

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

    def require_complete(self) -> None:
        """Make sure that nothing is missing.

        Raises:
            BenchError: the first missing tensor and their number.
        """
        missing = [entry for entry in self.entries if entry.status == "missing"]
        if missing:
            others = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise BenchError(
                f"{self.path}: {missing[0].key} is missing{others}",
                "the file is incomplete, or not of a model that we know; 'models inspect' lists them",
            )


def translate(stored: Stored) -> Translation:
    """Bring a file's tensors under our keys. Tensors that need no joining are views of the file's.

    Raises:
        BenchError: a layout that we do not know, or parts that cannot be joined.
    """
    try:
        keys = map_keys(list(stored.tensors))
    except BenchError as error:
        raise error.within(str(stored.path)) from None
    tensors = {}
    for ours, sources in keys.sources.items():
        tensor = _join(stored, sources) if len(sources) > 1 else stored.tensors[sources[0]]
        tensors[ours] = tensor.flatten() if ours.endswith(INDEX) and tensor.ndim == 2 else tensor
    return Translation(stored, keys, tensors)


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
