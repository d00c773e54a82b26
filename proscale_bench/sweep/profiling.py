"""Profiles schedules against the baseline, in turns, into a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.files import locked
from proscale_bench.results.record import Record
from proscale_bench.results.store import remove_leftovers, write_record
from proscale_bench.sweep.profile_record import Request, records

if TYPE_CHECKING:
    from proscale_bench.measure.profile import Progress, Session, Settings
    from proscale_bench.results.profile import Ceilings


def profile(request: Request, settings: Settings, run: Path, progress: Progress) -> Iterator[Record]:
    """Profile into a run's folder. A batch size's records are written as soon as it is measured, and then given.

    Args:
        request: what.
        settings: how.
        run: the folder; a record of the same configuration and execution is replaced by the new one.
        progress: told what is being done.

    Raises:
        BenchError: the folder is in use or cannot be written; the models do not fit into memory.
    """
    from proscale_bench.measure.profile import Session

    with locked(run, "profile"):
        remove_leftovers(run)
        progress("building the models", None)
        with Session(settings, request.in_turns, request.backbone, request.classes) as session:
            ceilings = _ceilings(session, request, progress)
            for batch_size in request.batch_sizes:

                def show(what: str, share: float | None, batch_size: int = batch_size) -> None:
                    progress(f"batch {batch_size}: {what}", share)

                found = session.measure(batch_size, request.sides, request.output_sides, show)
                for record in records(request, found, session.environment, ceilings):
                    write_record(run, record)
                    yield record


def _ceilings(session: Session, request: Request, progress: Progress) -> Ceilings | None:
    """Those that were measured before, or that are measured now."""
    from proscale_bench.measure.ceilings import cached_ceilings, keep_ceilings, measure_ceilings

    execution = session.execution(request.batch_sizes[0])
    if not request.ceilings:
        return cached_ceilings(execution)
    found = measure_ceilings(execution, session.device, lambda what: progress(f"ceilings: {what}", None))
    keep_ceilings(execution, found)
    return found
