"""The meaning and the origin of a run's numbers, in plain sentences and commands. Pure functions of records."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict

from proscale_bench.analysis.labels import row_names
from proscale_bench.analysis.settings import HEADLINE_SCHEDULE, by_backbone, by_setting, find
from proscale_bench.config.choices import EMBEDDED, OFFICIAL_THRESHOLDS
from proscale_bench.cost.rules import NEVER_COUNTED, RULES
from proscale_bench.render.notes import notes_on_records
from proscale_bench.render.parts import ENCODER, depth, merged, short_title
from proscale_bench.render.style import backbone_name
from proscale_bench.results.profile import Execution
from proscale_bench.results.record import Cost, EvaluationProtocol, Identity, PartRow, Record, usual_tree
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import TOTAL, WHOLE
from proscale_bench.units import show_reduction

MOST_VALUES = 4  # of an entry of the environment
THRESHOLDS = ("score", "overlap", "mask")  # that have a flag
DIMENSION_FLAGS = {"classes": "--classes", "queries": "--queries", "width": "--width"}


def headlines(records: Sequence[Record]) -> list[str]:
    """The savings of the paper's schedule (encoder, whole and token layers, never one alone), the largest first."""
    names = row_names(records)
    found = [find(records, backbone, HEADLINE_SCHEDULE) for backbone in by_backbone(records)]
    costed = [(record, record.cost) for record in found if record and record.cost]
    costed.sort(key=lambda pair: pair[1].reduction_pct.get(ENCODER) or 0.0, reverse=True)
    return [_headline(record, cost, names[record.digest]) for record, cost in costed]


def _headline(record: Record, cost: Cost, name: str) -> str:
    tree = merged([cost.tree])
    quoted = [part for part in tree.values() if part.quoted and part.name != WHOLE]
    quoted.sort(key=lambda part: depth(part.name, tree))
    saved = [(short_title(part), cost.reduction_pct.get(part.name)) for part in quoted]
    words = ", ".join(f"{title} {show_reduction(pct)}" for title, pct in saved if pct is not None)
    where = f"{name} on {backbone_name(record.identity.backbone)}"
    return f"{where}: {words} at {record.input.size}.".replace(" -", " −")


def counting(records: Sequence[Record]) -> list[str]:
    """Sentences about what is counted and what is not."""
    lines = []
    for name in dict.fromkeys(record.rules for record in records):
        known = RULES.get(name)
        costs = [record.cost for record in records if record.rules == name and record.cost]
        left_out = sorted({op for cost in costs for op in cost.uncounted_ops if "." not in op})  # else of a trace
        products = f" Products left out: {', '.join(left_out)}." if left_out else ""
        lines.append(f"Rules {name}{f': {known.description}' if known else ''}.{products}")
    notes = [f"{note}." for note in notes_on_records(records)]
    if all(record.identity.model == CUSTOM for record in records):
        return [*lines, "Parts are the named children of each model; each was run once to be counted.", *notes]
    ours = [record.cost.tree for record in records if record.cost and record.identity.model != CUSTOM]
    tree = merged(ours) or merged([usual_tree()])
    families = list(dict.fromkeys(record.identity.model for record in records if record.identity.model != CUSTOM))
    masks = Identity.model_fields["model"].default in families
    encoder = f"{'the whole pixel decoder: ' if masks else ''}{_contents(ENCODER, tree)}"
    apart = "; post-processing stands apart" if masks else ""
    return [
        *lines,
        f"Never counted: {', '.join(NEVER_COUNTED)}.",
        f"The encoder is {encoder}. The total is {_contents(TOTAL, tree)}{apart}.",
        f"Percentages are against the baseline, {' or '.join(families)}'s own encoder, on the same backbone and size.",
        *notes,
    ]


def _contents(name: str, tree: dict[str, PartRow]) -> str:
    """The parts of a part in words: `projection, token layers and pixel embedding`."""
    *titles, last = [short_title(part) for part in tree.values() if part.of == name]
    return f"{', '.join(titles)} and {last}" if titles else last


def origin(records: Sequence[Record]) -> list[str]:
    """Lines about the records: their number, the tool's version, dates and machines."""
    times = sorted(record.provenance.created for record in records)
    versions = sorted({record.provenance.tool_version for record in records})
    engines = sorted({record.cost.engine for record in records if record.cost})
    return [
        f"{len(records)} records, proscale-bench {', '.join(versions)}, engine {', '.join(engines) or '–'}",
        f"written {times[0]}{f' to {times[-1]}' if times[0] != times[-1] else ''} (UTC)",
        *environments(records),
    ]


def environments(records: Sequence[Record]) -> list[str]:
    """The environments of the records: once all that never differs, then each entry that does, with its values."""
    found = [record.environment for record in records]
    keys = list(dict.fromkeys(key for one in found for key in one))
    values = {key: list(dict.fromkeys(one[key] for one in found if key in one)) for key in keys}
    shared = [key for key in keys if len(values[key]) == 1]
    lines = [", ".join(f"{key} {values[key][0]}" for key in shared)] if shared else []
    return lines + [_differing(key, values[key]) for key in keys if key not in shared]


def _differing(key: str, values: Sequence[str]) -> str:
    """One entry of the environments that is not the same in all: `load: 0.10 to 0.35`, `torch: 2.8.0; 2.9.1`."""
    try:
        numbers = sorted(values, key=float)
    except ValueError:
        shown = sorted(values)
        more = f"; {len(shown) - MOST_VALUES} more" if len(shown) > MOST_VALUES else ""
        return f"{key}: {'; '.join(shown[:MOST_VALUES])}{more}"
    return f"{key}: {numbers[0]} to {numbers[-1]}"


def commands(records: Sequence[Record]) -> list[str]:
    """The commands that find the same again: a `flops`, `profile` or `eval` for every table, and a remark on what no
    flags can name."""
    counted, timed, evaluated, remarks = [], [], [], list[str]()
    for setting, group in by_setting(records).items():
        if setting.evaluation is not None:
            evaluated += _evaluations(setting.evaluation, group)
        models: dict[tuple[str, ...], list[Record]] = {}
        for record in group:
            if setting.is_timed or not setting.execution:
                models.setdefault(_model_flags(record.identity), []).append(record)
        if models.pop((), None):
            unnamed = f"# at {setting.where} models of dimensions that no flags name: give their files with --weights"
            remarks.append(unnamed)
        for model, rows in models.items():
            words = [*model, "--size", setting.size, *(["--output-size", setting.output] if setting.output else [])]
            schedules = [word for record in rows for word in ("--schedule", record.identity.schedule)]
            if setting.execution:
                sessions = max([len(record.profile.rounds) for record in rows if record.profile], default=1)
                in_sessions = ["--sessions", str(sessions)] if sessions > 1 else []
                timed.append(["profile", *words, *schedules, *_execution_flags(setting.execution), *in_sessions])
            else:
                rules = ["--rules", setting.rules, "--convention", setting.convention]
                counted.append(["flops", *words, *rules, *schedules])
    return [*(shlex.join(["proscale-bench", *words]) for words in (*counted, *timed, *evaluated)), *remarks]


def _evaluations(protocol: EvaluationProtocol, records: Sequence[Record]) -> list[list[str]]:
    """An `eval` for each way in which models were run: of all files together, of random weights one by one."""
    files: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        accuracy, how = record.accuracy, record.evaluated
        if accuracy is None or how is None:
            continue
        flags = [] if protocol.dataset == EMBEDDED else ["--coco", how.data_folder or "DIR"]
        flags += ["--split", protocol.split] if protocol.dataset != EMBEDDED and protocol.split else []
        flags += ["--tasks", ",".join(protocol.tasks), "--resize", protocol.resize]
        flags += ["--limit", str(protocol.limit)] if protocol.limit else []
        flags += _threshold_flags(protocol)
        flags += ["--bootstrap", str(how.resamples), "--seed", str(how.seed)]
        flags += ["--reference"] if how.engine == "pycocotools" else []
        flags += _execution_flags(record.execution) if record.execution else []
        random = re.fullmatch(r"random weights, seed (\d+)", accuracy.source)
        model = [] if random is None else ["--random-weights", random[1], "--schedule", record.identity.schedule]
        model += [] if random is None else ["--backbone", record.identity.backbone]
        files.setdefault((*model, *flags), []).extend([] if random else ["--weights", accuracy.source])
    return [["eval", *names, *flags] for flags, names in files.items()]


def _threshold_flags(protocol: EvaluationProtocol) -> list[str]:
    """The thresholds that are not the papers'."""
    usual = asdict(OFFICIAL_THRESHOLDS)
    others = {name: value for name, value in (protocol.thresholds or {}).items() if value != usual.get(name)}
    return [word for name in THRESHOLDS if name in others for word in (f"--{name}-threshold", f"{others[name]:g}")]


def _model_flags(identity: Identity) -> tuple[str, ...]:
    """The flags that name a model but for its schedule; none where its dimensions have no flags."""
    known = {"classes": identity.classes, **(identity.dimensions or {})}
    dimensions = {name: value for name, value in known.items() if value is not None}
    if identity.model != Identity.model_fields["model"].default or not dimensions.keys() <= DIMENSION_FLAGS.keys():
        return ()
    words = [word for name, value in dimensions.items() for word in (DIMENSION_FLAGS[name], str(value))]
    return ("--backbone", identity.backbone, *words)


def _execution_flags(execution: Execution) -> list[str]:
    flags = ["--batch-size", str(execution.batch_size)]
    if execution.inference_engine:
        return [
            *flags,
            "--engine",
            execution.engine,
            "--sampling",
            execution.sampling,
            "--threads",
            str(execution.threads),
        ]
    flags += ["--device", execution.device, "--dtype", execution.dtype]
    flags += ["--compile"] if "compiled" in execution.mode else []
    flags += ["--cuda-graphs"] if "cuda_graphs" in execution.mode else []
    flags += ["--sampling", execution.sampling, *([] if execution.optimizations else ["--no-optimizations"])]
    return [*flags, "--threads", str(execution.threads)]
