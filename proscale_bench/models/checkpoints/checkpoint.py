"""A checkpoint that was read: its tensors, the model they are of, and the account of both."""

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
from proscale_bench.models.checkpoints.infer import Inferred, NoBackbone
from proscale_bench.models.checkpoints.translate import INDEX, Translation
from proscale_bench.results.inspection import Entry, Inspection

NOT_TOLD = (METADATA, "config", "format")  # ours in one piece; Hugging Face's configuration; torch's mark
SCHEDULED = ("encoder.recalibration.", "encoder.layers.", "encoder.pixel_embedding.")  # what a schedule decides


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
        return {str(dtype).removeprefix("torch."): number for dtype, number in Counter(stored).most_common()}

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
            layout=self.translation.layout.name,
            entry=stored.entry or self.translation.prefix.rstrip("."),
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


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names; Swin's indices, which all files share
    and some leave out, are no part of it."""
    hashed = hashlib.sha256()
    for key in sorted(key for key in tensors if not key.endswith(INDEX)):
        tensor = tensors[key].detach().cpu().contiguous()
        hashed.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hashed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()
