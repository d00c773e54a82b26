"""The records that belong to a sweep, and those that a measurement found, so that it is never repeated.

What a measurement found is first kept in `RUN/finished/GROUP.json` as a whole, then written as records, then struck out
there: killed at any moment, a session of several records is there or it is not. Records that the sweep no longer asks
for are moved to `RUN/superseded/`. `RUN/.sweep` holds the sweep's name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file, write_atomic
from proscale_bench.results.record import Record
from proscale_bench.results.store import record_path, write_record
from proscale_bench.sweeps.tasks import Measurement

FOLDER, SUPERSEDED, NAME = "finished", "superseded", ".sweep"
MAX_BYTES, MAX_NAME_BYTES = 256 << 20, 1 << 10
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Finished(BaseModel):
    """The records that a measurement of a group found, as its file in `RUN/finished/` has them.

    Args:
        key: the measurement's key.
        records: the digests of its records.
        pending: the records, where they are not all written yet.
        replaced: digests of older records that they take the place of.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    records: tuple[Digest, ...]
    pending: tuple[Record, ...] = ()
    replaced: tuple[Digest, ...] = ()


def read_finished(run: Path) -> dict[str, Finished]:
    """Read what is finished, by group. A file that cannot be read is left out, and so measured again."""
    finished = {}
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            finished[path.stem] = Finished.model_validate_json(read_regular_file(path, MAX_BYTES))
        except (BenchError, ValueError):
            continue
    return finished


def keep(run: Path, measurement: Measurement, records: Sequence[Record], replaced: Iterable[str] = ()) -> None:
    """Keep the records of a measurement, in place of those of its group before.

    Raises:
        BenchError: the run cannot be written.
    """
    digests = tuple(record.digest for record in records)
    old = tuple(digest for digest in replaced if digest not in digests)
    finished = Finished(key=measurement.key, records=digests, pending=tuple(records), replaced=old)
    _write(run, measurement.group, finished)
    _write_out(run, measurement.group, finished)
    _clear(measurement.scratch)


def recover(run: Path) -> None:
    """Write the records of measurements that were killed before they had written all.

    Raises:
        BenchError: the run cannot be written.
    """
    for path in (run / FOLDER).glob(".*.json.*"):  # of writes that were killed
        path.unlink(missing_ok=True)
    for group, finished in read_finished(run).items():
        if finished.pending:
            _write_out(run, group, finished)


def read_name(run: Path) -> str | None:
    """The name of the sweep whose run this is; None where it is not known."""
    try:
        return read_regular_file(run / NAME, MAX_NAME_BYTES).decode().strip() or None
    except (BenchError, UnicodeDecodeError):
        return None


def write_name(run: Path, name: str) -> None:
    """Keep the name of the sweep whose run this is.

    Raises:
        BenchError: the run cannot be written.
    """
    if read_name(run) != name:
        write_atomic(run / NAME, name + "\n")


def supersede(run: Path, digests: Iterable[str]) -> tuple[Path, ...]:
    """Move records to `RUN/superseded/`, which nothing reads; the paths that they have there.

    Raises:
        BenchError: the run cannot be written.
    """
    paths = []
    for digest in sorted(digests):
        old = record_path(run, digest)
        paths.append(run / SUPERSEDED / old.name)
        try:
            paths[-1].parent.mkdir(exist_ok=True)
            old.replace(paths[-1])
        except OSError as error:
            raise BenchError(f"cannot move {old}: {error.strerror or error}", "check its permissions") from error
    return tuple(paths)


def forget(run: Path, measurements: Iterable[Measurement]) -> None:
    """Remove every trace of measurements, finished or begun."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    for measurement in measurements:
        _clear(measurement.scratch)


def _clear(scratch: Path | None) -> None:
    """Remove the folder, and the one that it lies in where that is empty."""
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
        if scratch.parent.is_dir() and not any(scratch.parent.iterdir()):
            scratch.parent.rmdir()


def _write_out(run: Path, group: str, finished: Finished) -> None:
    for record in finished.pending:
        write_record(run, record)
    for digest in finished.replaced:
        record_path(run, digest).unlink(missing_ok=True)
    _write(run, group, Finished(key=finished.key, records=finished.records))


def _write(run: Path, group: str, finished: Finished) -> None:
    write_atomic(run / FOLDER / f"{group}.json", finished.model_dump_json() + "\n")
