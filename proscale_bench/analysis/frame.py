"""A run as a table of flat rows, one a configuration: of `report.csv`, of Parquet files, and of pandas.

A row is what the tables show side by side: a model's cost and latency in a view, and one of its accuracies. Units are
in the names, and the ends of 95 % intervals follow as `_low` and `_high`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.analysis.evaluations import Evaluation
from proscale_bench.analysis.labels import merged
from proscale_bench.analysis.views import ModelRow, views
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import ACCURACIES, EXTRAS
from proscale_bench.results.collect import collect, incomplete
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.model_key import classes_of
from proscale_bench.results.profile import Execution, Profile, Timing
from proscale_bench.results.record import EvaluationProtocol, Input, Record, protocol_of
from proscale_bench.results.section import Interval

if TYPE_CHECKING:
    import pandas as pd

LAYER = "encoder_token_layer_"  # one layer of one schedule has no like in another
NAMES = {"encoder_token_layers": "token_layers"}  # of a part, as metrics have it
PROTOCOL = ("split", "limit", "resize")
TIMED = tuple(name for name, metric in METRICS.items() if metric.section == "profile" and name != "latency_median_ms")


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Every configuration of a run, all with the same columns; None where nothing is known.

    A model with several accuracies has a row for each, one without any has one.
    """
    found = [
        dict(_row(row, label, evaluation))
        for view in views(records)
        for row in view.rows
        for label, evaluation in zip(row.labels or (row.label,), row.evaluations or (None,), strict=True)
    ]
    columns = merged(found)
    return [{name: row.get(name) for name in columns} for row in found]


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """The same as a DataFrame; numbers that are not known are NaN."""
    import pandas as pd

    table: pd.DataFrame = pd.DataFrame(rows(records))
    for name in table.columns:
        known = [value for value in table[name] if value is not None]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
            table[name] = pd.to_numeric(table[name])
    return table


def read_run(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A run, a folder of runs or an exported file as a DataFrame, and what to beware of.

    Raises:
        BenchError: no record in it.
    """
    sourced, problems = collect([path])
    records = [one.record for one in sourced]
    said = incomplete(records)
    return frame(records), [*(f"{problem.message}; left out" for problem in problems), *([said] if said else [])]


def parquet(records: Sequence[Record]) -> bytes:
    """The same as a Parquet file.

    Raises:
        BenchError: pyarrow is not installed.
    """
    require_parquet()
    document: bytes | None = frame(records).to_parquet(None, engine="pyarrow", index=False)
    assert document is not None
    return document


def require_parquet() -> None:
    """Refuse before anything is rendered.

    Raises:
        BenchError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        hint = "pip install 'proscale-bench[parquet]'"
        raise BenchError("a Parquet file needs pyarrow, which is not installed", hint)


def _row(row: ModelRow, label: str, evaluation: Evaluation | None) -> Iterator[tuple[str, Any]]:
    record = row.with_accuracy(evaluation)
    identity, given = record.identity, record.input
    yield "label", label
    yield "model", identity.model
    yield from ((name, getattr(identity, name)) for name in ("backbone", "schedule", "encoder"))
    yield "classes", classes_of(record)
    for name, value in (identity.dimensions or {}).items():
        yield name, "-".join(map(str, value)) if isinstance(value, tuple) else value
    yield from ((name, getattr(given, name)) for name in Input.model_fields if name != "dataset")
    yield from (("convention", record.convention), ("rules", record.rules))
    yield from _cost(record)
    yield from _profile(record)
    yield from _accuracy(evaluation)
    yield "error", record.error.message if record.error else None
    yield "tool_version", record.provenance.tool_version
    yield "created", record.provenance.created


def _cost(record: Record) -> Iterator[tuple[str, Any]]:
    cost = record.cost
    found = ((name, metric.read(record)) for name, metric in METRICS.items() if metric.section == "cost")
    yield from ((name, value) for name, value in found if value is not None or name != "activation_mib")  # of few
    if cost is None:
        return
    yield "engine", cost.engine
    if cost.exits:  # no image costs what follows: it is the mean over these
        yield "gflops_expected_over", " + ".join(f"{one.share:.6g} {one.schedule}" for one in cost.exits if one.share)
    for part, amount in cost.gflops.items():
        yield f"{NAMES.get(part, part)}_gflops", amount
    for part, amount in cost.params_m.items():
        if part != "total":
            yield f"{part}_params_m", amount
    for part, saved in cost.reduction_pct.items():
        yield f"{NAMES.get(part, part)}_reduction_pct", saved
    for operator, amount in cost.uncounted_ops.items():
        yield f"uncounted_{operator}_gmacs", amount


def _profile(record: Record) -> Iterator[tuple[str, Any]]:
    how, profile = record.execution, record.profile
    yield from ((name, getattr(how, name, None)) for name in Execution.model_fields)
    yield from _timing("latency_median_ms", profile)
    for name in ("latency_p90_ms", "latency_p95_ms", "latency_p99_ms", "launch_share_pct"):
        yield name, getattr(profile, name, None)
    for name in TIMED:
        yield name, METRICS[name].read(record)
    yield "rounds", len(profile.samples_ms) if profile else None
    yield "sessions", len(profile.rounds) if profile else None
    if profile is not None:
        yield from _savings("", profile)
        for stage, found in profile.stages.items():
            if not stage.startswith(LAYER):
                yield from _timing(f"{stage}_latency_median_ms", found)
    yield "session", profile.session if profile else None


def _timing(name: str, timing: Timing | None) -> Iterator[tuple[str, Any]]:
    yield name, timing.latency_median_ms if timing else None
    yield from _ends(name, timing.latency_interval_ms if timing else None)


def _savings(prefix: str, profile: Profile) -> Iterator[tuple[str, Any]]:
    counted, realised = profile.counted_saving_pct, profile.realised_saving_pct
    yield f"{prefix}counted_saving_pct", counted.counted if counted else None
    yield f"{prefix}executed_saving_pct", counted.executed if counted else None
    yield f"{prefix}realised_saving_pct", realised.value if realised else None
    yield from _ends(f"{prefix}realised_saving_pct", realised.interval if realised else None)
    yield f"{prefix}realised_saving_significant", realised.significant if realised else None
    yield f"{prefix}realised_saving_verdict", realised.verdict if realised else None


def _accuracy(evaluation: Evaluation | None) -> Iterator[tuple[str, Any]]:
    accuracy = evaluation.accuracy if evaluation else None
    how = accuracy.evaluated if accuracy else None
    first = evaluation.records[0] if evaluation and evaluation.key else None
    protocol: EvaluationProtocol | None = protocol_of(first) if first else None
    ran = first.execution if first else None
    for name in (*ACCURACIES, *EXTRAS):
        yield name, getattr(accuracy, name, None)
        yield from _ends(name, how.intervals.get(name) if how else None)
    yield "dataset", evaluation.data if evaluation else None
    yield from ((name, getattr(protocol, name, None)) for name in PROTOCOL)
    yield "evaluated_images", protocol.images if protocol else None
    yield "tasks", "+".join(protocol.tasks) if protocol else None
    for name, value in ((protocol.thresholds if protocol else None) or {}).items():
        yield f"{name}_threshold", value
    yield from (
        (f"evaluated_{name}", getattr(ran, name, None)) for name in ("device", "dtype", "batch_size", "sampling")
    )
    yield "provenance", accuracy.provenance if accuracy else None
    yield "source", accuracy.source if accuracy else None
    records = evaluation.records if evaluation and first else ()
    yield "trainings", len(records) or None
    yield "weights_digest", "+".join(filter(None, (one.identity.weights for one in records))) or None


def _ends(name: str, interval: Interval | None) -> Iterator[tuple[str, Any]]:
    low, high = interval or (None, None)
    yield f"{name}_low", low
    yield f"{name}_high", high
