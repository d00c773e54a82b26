"""The contents of a checkpoint file: the facts, and an account of every tensor."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from proscale_bench.specs.backbones import BACKBONES, ResNet, Swin
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import EncoderSpec

Status = Literal["missing", "unexpected", "unused", "derived", "converted", "matched"]
STATUSES: tuple[Status, ...] = ("missing", "unexpected", "unused", "derived", "converted", "matched")
PARTS = ("backbone", "encoder", "decoder", "other")


@dataclass(frozen=True)
class Entry:
    """The fate of one tensor.

    Args:
        status: `matched` under its own name; `converted`: renamed, joined or reshaped; `derived`: the file lacks it
            and it follows from the dimensions; `unused`: of training alone; `unexpected`: no place in the model;
            `missing` from the file.
        key: in the file; for missing and derived ones, what the file would call it.
        model_key: ours; None where there is none.
        shape, dtype: in the file; of a missing one, as expected.
        how: more on the conversion.
    """

    status: Status
    key: str
    model_key: str | None
    shape: tuple[int, ...]
    dtype: str
    how: str = ""

    @property
    def part(self) -> str:
        """One of `PARTS`."""
        part = (self.model_key or "").partition(".")[0]
        return part if part in PARTS else "other"


@dataclass(frozen=True)
class Inspection:
    """A checkpoint, described.

    Args:
        file, format, layout: the path, what wrote it, whose names it uses.
        entry, left_behind: where in the file the weights lay, and what lay beside them.
        backbone: its dimensions; None for a head alone.
        channels: of the features res2 to res5 that the head takes.
        head, schedule: what follows the backbone.
        schedule_from: `given`, the file's `metadata`, or its `shapes`.
        dtypes: how many tensors of the model are stored as what.
        parameters: how many the model learns.
        metadata: what the file says of itself.
        digest: SHA-256 of the weights, the same in every layout and format.
        entries: the account.
    """

    file: str
    format: str
    layout: str
    entry: str
    left_behind: tuple[str, ...]
    backbone: ResNet | Swin | None
    channels: tuple[int, int, int, int]
    head: Head
    schedule: EncoderSpec
    schedule_from: str
    dtypes: dict[str, int]
    parameters: int
    metadata: dict[str, Any]
    digest: str
    entries: tuple[Entry, ...]

    @property
    def backbone_name(self) -> str | None:
        """Our name of a backbone of these dimensions; None where we have none."""
        return next((name for name, known in BACKBONES.items() if known == self.backbone), None)

    def count(self, part: str | None = None) -> Counter[str]:
        """The number of tensors by status, in all or in one part."""
        return Counter(entry.status for entry in self.entries if part in (None, entry.part))

    def row(self) -> dict[str, Any]:
        """The JSON of `models inspect`."""
        kind = {ResNet: "resnet", Swin: "swin", type(None): "none"}[type(self.backbone)]
        return {
            **{name: getattr(self, name) for name in ("file", "format", "layout", "entry")},
            "left_behind": list(self.left_behind),
            "backbone": self.backbone_name,
            "backbone_dimensions": {"kind": kind, "channels": self.channels}
            | (vars(self.backbone) if self.backbone else {}),
            "schedule": self.schedule.compact,
            "schedule_from": self.schedule_from,
            "width": self.head.width,
            "queries": self.head.queries,
            "classes": self.head.num_classes,
            "head_dimensions": vars(self.head),
            **{name: getattr(self, name) for name in ("dtypes", "parameters", "metadata", "digest")},
            "account": {status: self.count()[status] for status in STATUSES},
            "tensors": [vars(entry) for entry in self.entries],
        }


@dataclass(frozen=True)
class WarmStart:
    """The fate of the new model's tensors, under our keys.

    Args:
        taken: as the baseline has them.
        sliced: the rows of the levels that a layer sees.
        left: as initialised, each with the reason.
        layers: for each new token layer the baseline's that it started from.
        reordered: the rows of the classes, in the order of the new model's.
        by_place: the rows of the classes, taken by their place, since the baseline does not name its classes.
    """

    taken: tuple[str, ...]
    sliced: tuple[str, ...]
    left: dict[str, str]
    layers: tuple[int, ...]
    reordered: tuple[str, ...] = ()
    by_place: tuple[str, ...] = ()
