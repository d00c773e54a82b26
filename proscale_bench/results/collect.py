"""Records from wherever they lie: a run, a folder of runs, or a file that `--export-json` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file
from proscale_bench.results.model_key import classes_of
from proscale_bench.results.profile import Execution, Profile
from proscale_bench.results.record import Cost, Record, protocol_of
from proscale_bench.results.section import first_problem
from proscale_bench.results.store import has_records, load

MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class SourcedRecord:
    """A record and the run or file that it comes from."""

    record: Record
    source: str


def collect(paths: Iterable[Path]) -> tuple[list[SourcedRecord], list[BenchError]]:
    """Read all records, and a problem for every file that was left aside.

    Raises:
        BenchError: a path holds no record.
    """
    sourced: list[SourcedRecord] = []
    problems: list[BenchError] = []
    for path in paths:
        if path.is_file():
            sourced += [SourcedRecord(record, str(path)) for record in read_export(path)]
            continue
        for run in _runs(path):
            records, found = load(run)
            sourced += [SourcedRecord(record, str(run)) for record in records]
            problems += found
    return sourced, problems


def newest(sourced: Iterable[SourcedRecord]) -> list[SourcedRecord]:
    """The newest record of each configuration, in the order of digests, whatever the order of rows."""
    by_age = sorted(sourced, key=lambda one: (one.record.digest, one.record.provenance.created, one.source))
    return list({one.record.digest: one for one in by_age}.values())


def incomplete(records: Iterable[Record]) -> str | None:
    """A sentence on evaluations by older versions that lack what decides an accuracy; None where all is said."""
    old = [(record, how) for record in records if record.evaluation is None and (how := protocol_of(record))]
    if not old:
        return None
    missing = list(dict.fromkeys(name for _, how in old for name in how.missing))
    missing += ["classes"] if any(classes_of(record) is None for record, _ in old) else []
    unsaid = ", ".join(missing)
    if len(old) == 1:
        return f"1 evaluation by an older version does not say {unsaid}; it is joined with none that does"
    return f"{len(old)} evaluations by an older version do not say {unsaid}; they are joined with none that does"


def read_export(path: Path) -> list[Record]:
    """Read the records behind an `--export-json` of `flops`, `profile`, `eval` or `sweep`.

    Rows of files that somebody predicted, whose model is unknown, are left out.

    Raises:
        BenchError: no such document, or nothing in it that can be compared.
    """
    hint = "give a RUN folder, or what --export-json of flops, profile, eval or sweep wrote"
    try:
        document = json.loads(read_regular_file(path, MAX_BYTES))
        rows = [row for row in document["results"] if row["schedule"] is not None]
        records = [_record(document, row) for row in rows]
    except ValidationError as error:
        raise BenchError(f"{path}: not an exported result: {first_problem(error)}", hint) from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BenchError(f"{path}: not an exported result: {type(error).__name__}", hint) from error
    if not records:
        raise BenchError(f"{path}: no result of a known model", hint)
    return records


def _record(document: dict[str, Any], row: dict[str, Any]) -> Record:
    """A row of the contract as the record that it was, as far as the row says."""
    ran = row.get("device") is not None
    failure = {"message": row.get("error"), "hint": row.get("hint"), "exit_code": row.get("exit_code", 1)}
    optional = {key: row[key] for key in ("model", "classes", "dimensions", "class_order") if row.get(key) is not None}
    fields = {
        "identity": {
            **{key: row[key] for key in ("backbone", "schedule", "encoder")},
            "label": row.get("label", row["schedule"]),
            "weights": row.get("weights_digest"),
            **optional,
        },
        **{key: row[key] for key in ("input", "convention", "rules")},
        "execution": _part(Execution, row) if ran else None,
        "evaluation": row.get("evaluation"),
        "cost": _part(Cost, row) if row.get("gflops") else None,
        "profile": _part(Profile, row) if ran and row.get("samples_ms") else None,
        "accuracy": row.get("accuracy"),
        "references": row.get("references", []),
        "error": failure if row.get("error") else None,
        "provenance": row.get("provenance") or {key: document[key] for key in ("tool_version", "created")},
        "environment": row.get("environment") or document["environment"],
    }
    return Record.model_validate_json(json.dumps(fields))


def _part(section: type[Cost | Execution | Profile], row: dict[str, Any]) -> dict[str, Any]:
    keys = (field.serialization_alias or name for name, field in section.model_fields.items())
    return {key: row[key] for key in keys if key in row}


def _runs(path: Path) -> list[Path]:
    """The run itself, or the runs directly in a folder."""
    if has_records(path) or not path.is_dir():
        return [path]
    return sorted(run for run in path.iterdir() if run.is_dir() and has_records(run)) or [path]
