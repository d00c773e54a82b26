"""A file's tensors under our keys, and an account of every one of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.formats import Stored
from proscale_bench.models.checkpoints.layouts import KeyLayout, map_keys
from proscale_bench.results.inspection import STATUSES, Entry, Status

INDEX = "relative_position_index"  # Swin's: official files have it square, torchvision flat, Hugging Face not at all


@dataclass(frozen=True)
class Translation:
    """A file's tensors, sorted by what we make of them.

    Args:
        stored: the file.
        layout: layout of its keys.
        prefix: prefix that a wrapper has put before them.
        tensors: under our keys, of their own types.
        sources: the file's keys of each of them: one, or three that were joined.
        unused, unexpected: under the file's keys, without the prefix.
    """

    stored: Stored
    layout: KeyLayout
    prefix: str
    tensors: dict[str, Tensor]
    sources: dict[str, tuple[str, ...]]
    unused: dict[str, Tensor]
    unexpected: dict[str, Tensor]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}

    def spelt(self, key: str) -> str:
        """The file's name, had or to have, of a tensor of ours."""
        if key in self.sources:
            return self.sources[key][0]
        return self.prefix + next(iter(self.layout.to_theirs(key)), key)

    def entries(self, expected: dict[str, Tensor]) -> tuple[Entry, ...]:
        """The account of every tensor of the file, and of every one that the model expects."""
        found = []
        order: dict[str | None, int] = {key: index for index, key in enumerate(expected)}
        for key, sources in self.sources.items():
            for part, source in enumerate(sources):
                tensor = self.stored.tensors[source]
                status: Status = "unexpected" if key not in expected else "matched" if source == key else "converted"
                how = [f"part {part + 1} of {len(sources)}"] if len(sources) > 1 else []
                if key in expected and tensor.dtype != expected[key].dtype:
                    how.append(f"{_name(tensor.dtype)} to {_name(expected[key].dtype)}")
                if key.endswith(INDEX) and tensor.ndim == 2:
                    how.append("flattened")
                found.append(_entry(status, source, key if key in expected else None, tensor, ", ".join(how)))
        found += [_entry("unused", key, None, tensor) for key, tensor in self.unused.items()]
        found += [_entry("unexpected", key, None, tensor) for key, tensor in self.unexpected.items()]
        for key in expected.keys() - self.tensors.keys():
            found.append(_entry("derived" if key.endswith(INDEX) else "missing", self.spelt(key), key, expected[key]))
        return tuple(sorted(found, key=lambda entry: (STATUSES.index(entry.status), order.get(entry.model_key, -1))))


def translate(stored: Stored) -> Translation:
    """Bring a file's tensors under our keys. Tensors that need no joining are views of the file's.

    Raises:
        BenchError: a layout that we do not know, or parts that cannot be joined.
    """
    try:
        keys = map_keys(list(stored.tensors))
    except BenchError as error:
        raise BenchError(f"{stored.path}: {error.message}", error.hint) from None
    tensors = {}
    for ours, sources in keys.sources.items():
        tensor = _join(stored, sources) if len(sources) > 1 else stored.tensors[sources[0]]
        tensors[ours] = tensor.flatten() if ours.endswith(INDEX) and tensor.ndim == 2 else tensor
    unused, unexpected = ({key: stored.tensors[key] for key in some} for some in (keys.unused, keys.unexpected))
    return Translation(stored, keys.layout, keys.prefix, tensors, keys.sources, unused, unexpected)


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
