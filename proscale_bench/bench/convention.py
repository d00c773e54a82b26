"""Counts of two conventions: a record's model is counted anew, since norms and sampling do not double with products."""

from __future__ import annotations

from math import isclose

from proscale_bench.bench.count import cost_of
from proscale_bench.bench.specs import ModelChoice
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import COCO_SIZES, InputSize, parse_size
from proscale_bench.cost.rules import Convention, get_rules
from proscale_bench.errors import BenchError
from proscale_bench.results.record import Input, Record

KNOWN_DIMENSIONS = {"queries", "width"}


def in_convention(record: Record, to: Convention) -> Record:
    """A record with its counts in a convention, exactly.

    Raises:
        BenchError: this tool does not build its model, or counts it otherwise than the record does.
    """
    if record.cost is None or record.convention == to:
        return record
    identity = record.identity
    name = f"{identity.label} on {identity.backbone} at {record.input.size}"
    hint = f"count it again: flops --convention {to}, or a sweep with 'convention: {to}'"
    dimensions = identity.dimensions or {}
    if identity.model != "Mask2Former" or not KNOWN_DIMENSIONS.issuperset(dimensions):
        raise BenchError(f"{name}: a {identity.model} whose counts cannot be converted from its record", hint)
    try:
        own = {name: int(value) for name, value in dimensions.items() if isinstance(value, int)}
        (spec,) = ModelChoice(
            schedules=(identity.schedule,),
            backbone=identity.backbone,
            classes=identity.classes,
            queries=own.get("queries"),
            width=own.get("width"),
        ).specs()
        size = _size_of(record.input)
        rules = get_rules(record.rules)
    except BenchError as error:
        raise error.within(f"{name}: its counts cannot be converted", hint) from error
    before = cost_of(count_model(spec, size, rules, record.convention))
    if not all(isclose(before.gflops.get(part, 0.0), found) for part, found in record.cost.gflops.items()):
        raise BenchError(f"{name}: its record was counted otherwise than this version counts", hint)
    return record.model_copy(update={"cost": cost_of(count_model(spec, size, rules, to)), "convention": to})


def _size_of(given: Input) -> InputSize:
    if given.size in COCO_SIZES:
        return parse_size(given.size)
    output = None if given.output_height_px is None else f"{given.output_height_px}x{given.output_width_px}"
    return parse_size(given.size, output)
