"""Runs what a sweep's folder does not hold yet: resumable, one writer at a time, one failure never stops the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proscale_bench.cost.count import FlopCount, count_flops
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.files import locked
from proscale_bench.results.export import environment, now
from proscale_bench.results.published import published_result, references
from proscale_bench.results.record import Cost, Failure, Origin, Record
from proscale_bench.results.store import remove_leftovers, remove_records, scan, write_record
from proscale_bench.sweep.plan import Configuration
from proscale_bench.version import __version__

Counter = Callable[[Configuration], Cost]


@dataclass(frozen=True)
class Progress:
    """Told once a configuration, in order."""

    configuration: Configuration
    outcome: Literal["kept", "counted", "failed"]
    done: int
    total: int


@dataclass(frozen=True)
class Outcome:
    """The sweep's records in the order of its plan, the files that could not be read, the records not written."""

    records: tuple[Record, ...]
    problems: tuple[BenchError, ...]
    lost: tuple[BenchError, ...] = ()

    @property
    def failed(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.error)


def run_sweep(
    configurations: Sequence[Configuration],
    run: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    start_over: bool = False,
    count: Counter | None = None,
) -> Outcome:
    """Count every configuration that `run` has no valid record of. A failure is kept as a record and tried again.

    Args:
        configurations: from `plan`.
        run: the folder; made where it is missing.
        on_progress: called after each configuration.
        start_over: remove the records that are there first.
        count: what makes a cost of a configuration; the closed form where None.

    Raises:
        BenchError: another sweep is running in the folder, it holds records of another sweep, or it cannot be written.
    """
    with locked(run):
        if start_over:
            remove_records(run)
        remove_leftovers(run)
        found, problems = scan(run)
        known = {record.digest: record for record in found}
        if strangers := known.keys() - {configuration.digest for configuration in configurations}:
            raise BenchError(
                f"{run} holds {len(strangers)} of {len(known)} records of another sweep",
                "choose another folder with --out, or start over with --no-resume --force",
            )
        records: list[Record] = []
        lost: list[BenchError] = []
        for done, configuration in enumerate(configurations, start=1):
            record = known.get(configuration.digest)
            outcome: Literal["kept", "counted", "failed"] = "kept"
            if record is None or record.cost is None:
                record = measure(configuration, count or closed_form_cost)
                try:
                    write_record(run, record)
                except BenchError as error:  # the others go on, and this one is tried again next time
                    lost.append(error)
                outcome = "failed" if record.error else "counted"
            records.append(record)
            if on_progress:
                on_progress(Progress(configuration, outcome, done, len(configurations)))
        return Outcome(tuple(records), tuple(problems), tuple(lost))


def measure(configuration: Configuration, count: Counter) -> Record:
    """The record of one configuration: its cost, or why it has none, and what others know of it."""
    cost, failure = None, None
    try:
        cost = count(configuration)
    except BenchError as error:
        failure = Failure(message=error.message, hint=error.hint, exit_code=int(error.exit_code))
    except Exception as error:  # the others go on; the sweep's exit code says that something failed
        message = f"{type(error).__name__}: {error}"
        hint = "this is a fault of the tool: please report it"
        failure = Failure(message=message, hint=hint, exit_code=ExitCode.UNTRUSTED.value)
    identity, given = configuration.identity, configuration.input
    published = published_result(identity.backbone, identity.schedule)
    return Record(
        identity=identity,
        input=given,
        convention=configuration.convention,
        rules=configuration.rules,
        cost=cost,
        accuracy=published.accuracy() if published else None,
        references=references(identity.backbone, identity.schedule, given),
        error=failure,
        provenance=Origin(tool_version=__version__, created=now()),
        environment=environment(),
    )


def closed_form_cost(configuration: Configuration) -> Cost:
    """Counted on paper, without torch."""
    size = configuration.size
    sides = (size.height_px, size.width_px) if size.height_px and size.width_px else size.name
    count = count_flops(
        configuration.schedule,
        configuration.backbone,
        sides,
        rules=configuration.rules,
        convention=configuration.convention,
    )
    return cost_of(count)


def cost_of(count: FlopCount) -> Cost:
    """A count as a record keeps it."""
    row = count.row()
    return Cost.model_validate_json(json.dumps({key: row[key] for key in Cost.model_fields}))
