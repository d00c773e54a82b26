"""Runs what a sweep's folder does not hold yet: resumable, one writer at a time, one failure never stops the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proscale_bench.bench.count import Configuration, CostFunction, closed_form_cost, measure
from proscale_bench.errors import BenchError
from proscale_bench.files import locked
from proscale_bench.results.record import Record
from proscale_bench.results.store import remove_leftovers, remove_records, scan, write_record
from proscale_bench.sweeps import journal
from proscale_bench.sweeps.tasks import Executor, Measurement, StepName
from proscale_bench.version import __version__

Outcome = Literal["kept", "found", "failed"]


@dataclass(frozen=True)
class SweepProgress:
    """The end of one configuration or measurement, as `on_progress` is given it."""

    step: StepName
    what: str
    outcome: Outcome
    done: int  # of this step
    total: int


OnProgress = Callable[[SweepProgress], None]


@dataclass(frozen=True)
class SweepOutcome:
    """Everything that a sweep found.

    Args:
        records: in the order of its plan.
        problems: files that could not be read as records.
        lost: why records could not be written.
        superseded: where the records lie now that the sweep no longer asks for.
    """

    records: tuple[Record, ...]
    problems: tuple[BenchError, ...]
    lost: tuple[BenchError, ...] = ()
    superseded: tuple[Path, ...] = ()

    @property
    def failed(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.error)


def run_sweep(
    configurations: Sequence[Configuration],
    run: Path,
    measurements: Sequence[Measurement] = (),
    executor: Executor | None = None,
    *,
    on_progress: OnProgress = lambda progress: None,
    on_counted: Callable[[Sequence[Record]], None] = lambda records: None,
    start_over: bool = False,
    name: str | None = None,
    count: CostFunction | None = None,
) -> SweepOutcome:
    """Count and measure all that `run` has no valid record of. A failure is kept as a record and tried again.

    Args:
        configurations: to count, from `plan`; they come first, since they take no time.
        run: the folder; made where it is missing.
        measurements: from `plan`, in the order in which they are begun.
        executor: where they run; needed where there are any.
        on_progress: called after each.
        on_counted: given what was counted, where something is to be measured after it.
        start_over: remove the records that are there first.
        name: the sweep's. Where the run is of a sweep of this name, or shares a record with this one, records that
            this one does not ask for are moved to `RUN/superseded/`.
        count: what makes a cost of a configuration; the closed form where None.

    Raises:
        BenchError: another sweep is running in the folder, it holds nothing but records of another, or it cannot be
            written.
    """
    with locked(run):
        if start_over:
            remove_records(run)
            journal.forget(run, measurements)
        remove_leftovers(run)
        journal.recover(run)
        found, problems = scan(run)
        sweep = _Sweep(run, {record.digest: record for record in found}, journal.read_finished(run), on_progress)
        superseded = sweep.set_aside(configurations, measurements, name)
        if name is not None:
            journal.write_name(run, name)
        counted = sweep.count(configurations, count or closed_form_cost)
        if counted and measurements:
            on_counted(counted)
        measured = sweep.measure(measurements, executor)
        records = {record.digest: record for record in (*counted, *measured)}  # two files may hold the same weights
        return SweepOutcome(tuple(records.values()), tuple(problems), tuple(sweep.lost), superseded)


class _Sweep:
    """One run of a sweep in its folder.

    Args:
        known: the records that are there, by digest.
        finished: what measurements found, by group.
    """

    def __init__(
        self, run: Path, known: dict[str, Record], finished: dict[str, journal.Finished], on_progress: OnProgress
    ) -> None:
        self.run, self.known, self.finished, self.on_progress = run, known, finished, on_progress
        self.lost: list[BenchError] = []

    def set_aside(
        self, configurations: Sequence[Configuration], measurements: Sequence[Measurement], name: str | None
    ) -> tuple[Path, ...]:
        """Records that are not asked for any more are never mixed with ours; the paths that they have now.

        Raises:
            BenchError: nothing says that they are of an earlier form of this sweep, or they cannot be moved.
        """
        ours = {configuration.digest for configuration in configurations}
        for measurement in measurements:
            if finished := self.finished.get(measurement.group):
                ours.update(finished.records)
        strangers = self.known.keys() - ours
        shares_none = bool(strangers) and len(strangers) == len(self.known)
        if shares_none and (name is None or name != journal.read_name(self.run)):
            hint = "choose another folder with --out, or start over with --no-resume --force"
            raise BenchError(f"{self.run} holds {len(strangers)} of {len(self.known)} records of another sweep", hint)
        return journal.supersede(self.run, strangers)

    def count(self, configurations: Sequence[Configuration], count: CostFunction) -> list[Record]:
        """Count all, in order. Another version may count otherwise, so what it wrote is counted anew."""
        records = []
        for done, configuration in enumerate(configurations, start=1):
            record = self.known.get(configuration.digest)
            outcome: Outcome = "kept"
            if record is None or record.cost is None or record.provenance.tool_version != __version__:
                record = measure(configuration, count)
                with self._going_on():
                    write_record(self.run, record)
                outcome = "failed" if record.error else "found"
            records.append(record)
            self.on_progress(SweepProgress("count", str(configuration), outcome, done, len(configurations)))
        return records

    def measure(self, measurements: Sequence[Measurement], executor: Executor | None) -> list[Record]:
        """Take what is finished already, then measure the rest, and return all records in the order of the plan."""
        found: dict[str, Sequence[Record]] = {}
        totals = Counter(measurement.step for measurement in measurements)
        done = Counter[StepName]()

        def show(measurement: Measurement, outcome: Outcome) -> None:
            step = measurement.step
            done[step] += 1
            self.on_progress(SweepProgress(step, str(measurement), outcome, done[step], totals[step]))

        missing = {}
        for measurement in measurements:
            if kept := self._kept(measurement):
                found[measurement.key] = kept
                show(measurement, "kept")
            else:
                missing[measurement.key] = measurement
        if missing:
            if executor is None:
                raise ValueError("measurements need an executor")
            with closing(executor.run(list(missing.values()))) as ends:  # type: ignore[type-var]
                for end in ends:
                    measurement = missing[end.task.key]  # type: ignore[attr-defined]
                    if end.failure is not None:
                        records = measurement.failed(end.failure)
                    else:
                        records = [Record.model_validate_json(json.dumps(record)) for record in end.records or ()]
                    with self._going_on():
                        old = self.finished.get(measurement.group)
                        journal.keep(self.run, measurement, records, old.records if old else ())
                    found[measurement.key] = records
                    show(measurement, "failed" if all(record.error for record in records) else "found")
        return [record for measurement in measurements for record in found.get(measurement.key, ())]

    def _kept(self, measurement: Measurement) -> Sequence[Record] | None:
        """The records of an earlier run, where all of them are there and at least one is no failure."""
        finished = self.finished.get(measurement.group)
        if finished is None or finished.key != measurement.key:
            return None
        records = [self.known[digest] for digest in finished.records if digest in self.known]
        whole = len(records) == len(finished.records)
        return records if whole and any(record.error is None for record in records) else None

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Note a record that cannot be written, which is tried again next time, and go on with the others."""
        try:
            yield
        except BenchError as error:
            self.lost.append(error)
