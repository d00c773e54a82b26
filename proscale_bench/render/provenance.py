"""The meaning and the origin of a run's numbers, in plain sentences and commands. Pure functions of records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from proscale_bench.analysis.settings import HEADLINE_SCHEDULE, by_backbone, by_setting, find
from proscale_bench.cost.rules import NEVER_COUNTED, RULES
from proscale_bench.render.profile import commands as profile_commands
from proscale_bench.render.style import backbone_name
from proscale_bench.results.record import Record
from proscale_bench.units import show_reduction


def headlines(records: Sequence[Record]) -> list[str]:
    """The savings of the paper's schedule (encoder, whole and token layers, never one alone), the largest first."""
    found = [find(records, backbone, HEADLINE_SCHEDULE) for backbone in by_backbone(records)]
    best = sorted((record for record in found if record and record.cost), key=_encoder_saving, reverse=True)
    return [sentence for record in best if (sentence := _headline(record))]


def _headline(record: Record) -> str | None:
    if record.cost is None:
        return None
    saved = record.cost.reduction_pct
    encoder, total, layers = map(show_reduction, (saved["encoder"], saved["total"], saved["encoder_token_layers"]))
    return (
        f"{record.identity.schedule} on {backbone_name(record.identity.backbone)}: "
        f"encoder {encoder}, total {total}, token layers {layers} at {record.input.size}."
    ).replace(" -", " −")


def _encoder_saving(record: Record) -> float:
    return (record.cost.reduction_pct["encoder"] if record.cost else None) or 0.0


def counting(records: Sequence[Record]) -> list[str]:
    """Sentences about what is counted and what is not."""
    lines = []
    for name in dict.fromkeys(record.rules for record in records):
        known = RULES.get(name)
        costs = [record.cost for record in records if record.rules == name and record.cost]
        left_out = sorted({op for cost in costs for op in cost.uncounted_ops})
        products = f" Products left out: {', '.join(left_out)}." if left_out else ""
        lines.append(f"Rules {name}{f': {known.description}' if known else ''}.{products}")
    return [
        *lines,
        f"Never counted: {', '.join(NEVER_COUNTED)}.",
        "The encoder is the whole pixel decoder: projection, re-calibration, token layers and pixel embedding. The "
        "total is backbone, encoder, FPN upsampling and transformer decoder; post-processing stands apart.",
        "Percentages are against the baseline, Mask2Former's own encoder, on the same backbone and size.",
    ]


def origin(records: Sequence[Record]) -> list[str]:
    """Lines about the records: their number, the tool's version, dates and machines."""
    times = sorted(record.provenance.created for record in records)
    versions = sorted({record.provenance.tool_version for record in records})
    engines = sorted({record.cost.engine for record in records if record.cost})
    machines = sorted({", ".join(f"{k} {v}" for k, v in record.environment.items()) for record in records})
    return [
        f"{len(records)} records, proscale-bench {', '.join(versions)}, engine {', '.join(engines) or '–'}",
        f"written {times[0]}{f' to {times[-1]}' if times[0] != times[-1] else ''} (UTC)",
        *machines,
    ]


def commands(records: Sequence[Record]) -> list[str]:
    """A `flops` or `profile` command for every table."""
    found = []
    official = [record for record in records if record.identity.classes is None]  # whose classes `flops` counts
    for setting, group in by_setting(official).items():
        for backbone, rows in by_backbone(group).items() if not setting.execution else ():
            words = ["proscale-bench", "flops", "--backbone", backbone, "--size", setting.size]
            words += ["--output-size", setting.output] if setting.output else []
            words += ["--rules", setting.rules, "--convention", setting.convention]
            words += [word for record in rows for word in ("--schedule", record.identity.schedule)]
            found.append(shlex.join(words))
    return found + profile_commands(official)
