"""Which records a measurement found, so that it is never repeated: `RUN/finished/SLOT.json`.

What a measurement found is first kept here as a whole, then written as records, then struck out here: killed at any
moment, a sitting of several records is there or it is not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file, write_atomic
from proscale_bench.results.record import Record
from proscale_bench.results.store import DIGEST_NAME, record_path, write_record
from proscale_bench.sweep.tasks import Measurement

FOLDER = "finished"
MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Entry:
    """What was found in a slot.

    Args:
        key: of the measurement.
        digests: of its records.
        pending: the records, where they are not all written yet.
        replaced: digests of older records that they take the place of.
    """

    key: str
    digests: tuple[str, ...]
    pending: tuple[Record, ...] = ()
    replaced: tuple[str, ...] = ()


def read_entries(run: Path) -> dict[str, Entry]:
    """All that can be read, by slot. What cannot is measured again."""
    entries = {}
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            entries[path.stem] = _entry(json.loads(read_regular_file(path, MAX_BYTES)))
        except (BenchError, ValueError, LookupError, TypeError, RecursionError):
            continue
    return entries


def keep(run: Path, measurement: Measurement, records: Sequence[Record], replaced: Iterable[str] = ()) -> None:
    """Keep what a measurement found, instead of what it found before.

    Raises:
        BenchError: the run cannot be written.
    """
    digests = tuple(record.digest for record in records)
    old = tuple(digest for digest in replaced if digest not in digests)
    entry = Entry(measurement.key, digests, tuple(records), old)
    _write(run, measurement.slot, entry)
    _write_out(run, measurement.slot, entry)
    _clear(measurement.scratch)


def settle(run: Path) -> None:
    """Write the records of measurements that were killed before they had written all.

    Raises:
        BenchError: the run cannot be written.
    """
    for path in (run / FOLDER).glob(".*.json.*"):  # of writes that were killed
        path.unlink(missing_ok=True)
    for slot, entry in read_entries(run).items():
        if entry.pending:
            _write_out(run, slot, entry)


def forget_all(run: Path, measurements: Iterable[Measurement]) -> None:
    """Nothing was measured here, or begun."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    for measurement in measurements:
        _clear(measurement.scratch)


def _clear(scratch: Path | None) -> None:
    """Remove the folder, and the one that it lies in where that is empty."""
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
        if scratch.parent.is_dir() and not any(scratch.parent.iterdir()):
            scratch.parent.rmdir()


def _write_out(run: Path, slot: str, entry: Entry) -> None:
    for record in entry.pending:
        write_record(run, record)
    for digest in entry.replaced:
        record_path(run, digest).unlink(missing_ok=True)
    _write(run, slot, Entry(entry.key, entry.digests))


def _write(run: Path, slot: str, entry: Entry) -> None:
    document = {
        "key": entry.key,
        "records": entry.digests,
        "pending": [record.model_dump(mode="json") for record in entry.pending],
        "replaced": entry.replaced,
    }
    write_atomic(run / FOLDER / f"{slot}.json", json.dumps(document) + "\n")


def _entry(document: dict[str, Any]) -> Entry:
    pending = tuple(Record.model_validate_json(json.dumps(one)) for one in document["pending"])
    digests, replaced = (tuple(document[name]) for name in ("records", "replaced"))
    if not all(DIGEST_NAME.fullmatch(digest) for digest in (*digests, *replaced)):
        raise ValueError("not digests")
    return Entry(str(document["key"]), digests, pending, replaced)
