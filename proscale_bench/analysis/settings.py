"""A run's records in the order and groups that a reader wants, and what they say. Pure functions of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from proscale_bench.errors import BenchError
from proscale_bench.results.model_key import model_of
from proscale_bench.results.profile import NO_SAMPLING, Execution
from proscale_bench.results.record import Cost, EvaluationProtocol, Record, Reference, protocol_of
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.units import GIGA, show_mac

SETS = ("coco-first100", "coco-val")
HEADLINE_SCHEDULE = "3,3,3"  # the released models'
WITH_CONV = "3,3,3+conv"
WITHOUT_GATE = "3,3,3+trc:none"
Item = TypeVar("Item")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Setting:
    """The conditions that numbers must share before they stand in one table."""

    size: str
    output: str
    images: int
    rules: str
    convention: str
    execution: Execution | None = None  # of what was run
    dataset: str | None = None  # the digest of what it was evaluated on
    evaluation: EvaluationProtocol | None = None  # how it was evaluated

    @property
    def is_timed(self) -> bool:
        """The records are of latencies on a device."""
        return self.execution is not None and self.dataset is None

    @property
    def where(self) -> str:
        resized = self.evaluation is not None and self.evaluation.resize != "none"
        resize = f", resize {self.evaluation.resize.partition(',')[0]}" if resized and self.evaluation else ""
        return f"{self.size}{resize}{f' (masks at {self.output})' if self.output else ''}"

    @property
    def how(self) -> str:
        """The counting in words, for an axis or a caption."""
        return f"{show_mac(self.convention)}, rules {self.rules}, {self.where}"

    @property
    def ran(self) -> str:
        """The size and execution of a measurement in words, for an axis or a caption."""
        return f"{self.where}, {self.execution.words}" if self.execution else self.where


def setting_of(record: Record) -> Setting:
    given = record.input
    return Setting(
        given.size,
        _other_output(record),
        given.images,
        record.rules,
        record.convention,
        record.execution,
        given.dataset,
        protocol_of(record),
    )


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Items with the same key together, in the order in which the keys first appear."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records in the order of tables: by setting, backbone and schedule; the COCO sets first."""
    return sorted(records, key=_order)


def by_setting(records: Iterable[Record]) -> dict[Setting, list[Record]]:
    """Records that may be compared, each group in order.

    Models that this tool did not build, which know neither its cores of sampling nor its optimizations, stand with
    those that were timed otherwise alike.
    """
    groups = grouped(in_order(records), setting_of)
    for setting in list(groups):
        if setting.is_timed and setting.execution and setting.execution.sampling == NO_SAMPLING:
            hosts = (one for one in groups if one != setting and one.is_timed and _unprepared(one) == setting)
            if host := next(hosts, None):
                groups[host] += groups.pop(setting)
    return groups


def _unprepared(setting: Setting) -> Setting:
    """The setting of a model of somebody else's that was timed alike."""
    assert setting.execution is not None
    execution = setting.execution.model_copy(update={"sampling": NO_SAMPLING, "optimizations": False})
    return replace(setting, execution=execution)


def by_backbone(records: Iterable[Record]) -> dict[str, list[Record]]:
    return grouped(records, lambda record: record.identity.backbone)


def main_setting(records: Iterable[Record]) -> Setting | None:
    """The setting that a figure shows, in the order of `by_setting` but what was counted alone first: the first that
    has a cost."""
    groups = by_setting(records)
    costed = [setting for setting, group in groups.items() if any(record.cost for record in group)]
    return min(costed, key=lambda setting: setting.execution is not None, default=None)


def profiled(records: Iterable[Record]) -> dict[Setting, list[Record]]:
    """Records of what was timed on a device, those that failed too, by setting."""
    return {setting: group for setting, group in by_setting(records).items() if setting.is_timed}


def find(records: Iterable[Record], backbone: str, schedule: str) -> Record | None:
    """The record of a configuration that has a cost, or None; of several models, of the one that differs the least
    from what the backbone's name stands for."""
    wanted = (backbone, schedule)
    costed = (record for record in records if record.cost)
    found = (record for record in costed if (record.identity.backbone, record.identity.schedule) == wanted)
    return min(found, key=model_order, default=None)


@dataclass(frozen=True)
class ChoiceSaving:
    """The GFLOPs that one design choice takes off the encoder, and its share of the whole saving in percent."""

    backbone: str
    without: Cost
    with_it: Cost

    @property
    def gflops(self) -> float:
        return self.without.gflops["encoder"] - self.with_it.gflops["encoder"]

    @property
    def of_the_saving_pct(self) -> float | None:
        """Its share of all that the schedule saves against the baseline, in percent."""
        cost = self.with_it
        saved = cost.baseline.gflops["encoder"] - cost.gflops["encoder"] if cost.baseline else 0.0
        return 100 * self.gflops / saved if saved else None


def ablation(records: Sequence[Record], without: str, with_it: str = HEADLINE_SCHEDULE) -> list[ChoiceSaving]:
    """The saving of going from one schedule to another, in every model that was counted with both."""
    savings = []
    for model, group in grouped(records, lambda record: model_of(record).architecture).items():
        old, new = find(group, model.backbone, without), find(group, model.backbone, with_it)
        if old and new and old.cost and new.cost:
            savings.append(ChoiceSaving(model.backbone, old.cost, new.cost))
    return savings


@dataclass(frozen=True)
class Agreement:
    """A record beside what the official code was found to cost; integer FLOPs of one image."""

    record: Record
    reference: Reference

    def flops(self, part: str) -> tuple[int, int]:
        """(official, ours)"""
        ours = self.record.cost.gflops.get(part, 0.0) if self.record.cost else 0.0
        official: float = getattr(self.reference.gflops, part)
        return round(official * GIGA), round(ours * GIGA)


def against_official(records: Iterable[Record]) -> list[Agreement]:
    """Every record that the official method counted too, under the same rules and convention."""
    return [
        Agreement(record, reference)
        for record in records
        for reference in record.references
        if record.cost
        and reference.kind == "official_code"
        and (reference.rules, reference.convention) == (record.rules, record.convention)
    ]


def _other_output(record: Record) -> str:
    """The size of the masks, where it is not the input's."""
    given = record.input
    if (given.output_height_px, given.output_width_px) == (given.height_px, given.width_px):
        return ""
    return f"{given.output_height_px}x{given.output_width_px}"


_FAMILIES = ("mask2former", "proscale")  # what others are compared with comes first


def model_order(record: Record) -> tuple[object, ...]:
    """By backbone and schedule; the catalogue's order: baseline, few layers to many, ablations, then other encoders."""
    backbones = tuple(BACKBONES)
    identity = record.identity
    return (
        backbones.index(identity.backbone) if identity.backbone in backbones else len(backbones),
        identity.backbone,
        _FAMILIES.index(identity.encoder) if identity.encoder in _FAMILIES else len(_FAMILIES),
        identity.encoder or "",
        "+" in identity.schedule,
        len(record.cost.layers) if record.cost else _layers_of(identity.schedule),
        identity.schedule,
        len(identity.dimensions or ()),  # the named model first
        str(model_of(record)),
    )


def _layers_of(schedule: str) -> int:
    """The number of token layers that a spelling asks for; 0 where it is no schedule's."""
    try:
        return len(parse_encoder(schedule).layers)
    except BenchError:
        return 0


def _order(record: Record) -> tuple[object, ...]:
    """By setting, backbone and schedule."""
    size = record.input.size
    return (
        SETS.index(size) if size in SETS else len(SETS),
        record.input.padded_height_px or 0,
        size,
        _other_output(record),
        record.rules,
        record.convention,
        tuple(record.execution.model_dump().values()) if record.execution else (),  # what was not run comes first
        protocol.model_dump_json() if (protocol := protocol_of(record)) else "",
        model_order(record),
        record.accuracy.source if record.accuracy else "",
        record.digest,
    )
