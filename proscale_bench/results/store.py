"""The records of a run: a folder with one file a record, `RUN/records/DIGEST.json`.

Files are written atomically and named by what identifies the record, so a killed sweep loses nothing and a resumed one
repeats nothing. A file that cannot be read as a record is named and left aside; it never hides the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file, write_atomic
from proscale_bench.results.record import Record
from proscale_bench.results.section import first_problem

FOLDER = "records"
MAX_BYTES = 8 << 20
DIGEST_NAME = re.compile(r"[0-9a-f]{64}")


def record_path(run: Path, digest: str) -> Path:
    return run / FOLDER / f"{digest}.json"


def write_record(run: Path, record: Record) -> Path:
    """Put a record in its place, atomically, over an older one of the same digest.

    Raises:
        BenchError: the run cannot be written.
    """
    path = record_path(run, record.digest)
    write_atomic(path, record.to_json())
    return path


def read_record(path: Path) -> Record:
    """The record in a file.

    Raises:
        BenchError: unreadable, truncated, of another format, or not named by its digest.
    """
    try:
        record = Record.model_validate_json(read_regular_file(path, MAX_BYTES))
    except ValidationError as error:
        raise BenchError(f"{path}: not a record: {first_problem(error)}") from error
    if path.stem != record.digest:
        raise BenchError(f"{path}: its name is not its digest ({record.digest[:12]}…)")
    return record


def scan(run: Path) -> tuple[list[Record], list[BenchError]]:
    """The readable records of a folder, by digest, and a problem for every other file. Nothing there is no error.

    Raises:
        BenchError: `records` is there and cannot be listed.
    """
    records, problems = [], []
    for path in _files(run):
        try:
            records.append(read_record(path))
        except BenchError as problem:
            problems.append(problem)
    return records, problems


def load(run: Path) -> tuple[list[Record], list[BenchError]]:
    """The records of a run, by digest, and the problems met: one for every file that was left aside.

    Raises:
        BenchError: no such folder, or no record in it.
    """
    hint = "a RUN is a folder with records/*.json, as 'proscale-bench sweep --out RUN' writes it"
    if not run.is_dir():
        raise BenchError(f"{run}: {'not a folder' if run.exists() else 'no such folder'}", hint)
    records, problems = scan(run)
    if not records:
        what = f"{run}: no records{' that can be read' if problems else ''}"
        raise BenchError([what, *(problem.message for problem in problems[:10])], hint)
    return records, problems


def has_records(run: Path) -> bool:
    """True where a run was begun in this folder."""
    return bool(_files(run))


def remove_records(run: Path) -> None:
    """Empty the store. Files that are not named as records are somebody else's and stay."""
    _unlink(path for path in _files(run) if DIGEST_NAME.fullmatch(path.stem))


def remove_leftovers(run: Path) -> None:
    """Remove files of writes that were killed before they were moved into place."""
    folder = run / FOLDER
    _unlink(sorted(folder.glob(".*.json.*")) if folder.is_dir() else [])


def _files(run: Path) -> list[Path]:
    folder = run / FOLDER
    try:
        if not folder.exists():
            return []
        return sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    except OSError as error:
        raise BenchError(f"cannot read {folder}: {error.strerror or error}", "check the path") from error


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BenchError(f"cannot remove {path}: {error.strerror or error}", "check its permissions") from error
