"""`proscale-bench sweep`: many configurations, counted and measured, resumable, then their report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import ExportOptions, MaybeInt, MaybePath, MaybeStr, flag, takes
from proscale_bench.errors import BenchError, ExitCode

if TYPE_CHECKING:
    from proscale_bench.bench.count import Configuration
    from proscale_bench.results.record import Record
    from proscale_bench.sweeps.local import OnNews
    from proscale_bench.sweeps.runner import SweepOutcome, SweepProgress
    from proscale_bench.sweeps.tasks import Executor, Measurement, SweepTask

WHERE = "Where it runs"
TITLES = {"count": "on paper", "profile": "latency", "evaluate": "accuracy"}


class SweepOptions(ExportOptions):
    """The flags of `sweep`."""

    spec: str = typer.Argument(
        "zoo", metavar="SPEC", autocompletion=completion.sweeps, help="Sweep: a YAML file, or zoo or paper, which ship."
    )
    out: MaybePath = flag("--out DIR", "Folder of the run. [default: reports/NAME]")
    resume: bool = flag("--resume/--no-resume", "Continue an interrupted sweep, or start over.", default=True)
    processes: MaybeInt = flag(
        "--processes N", "Number of evaluations that run at once. [default: one per core]", WHERE, min=1
    )
    ray: MaybeStr = flag("--ray ADDRESS", "Address of a Ray cluster: local, auto, HOST:PORT or ray://HOST.", WHERE)

    def executor(self, on_news: OnNews) -> Executor:
        """This machine's processes, or a Ray cluster.

        Raises:
            BenchError: Ray is not installed, or this is no address of one.
        """
        from proscale_bench.sweeps.local import LocalExecutor

        if self.ray is None:
            return LocalExecutor(self.processes, on_news)
        from proscale_bench.sweeps.ray.executor import RayExecutor

        return RayExecutor(self.ray)


@takes(SweepOptions)
def sweep(options: SweepOptions) -> None:
    """Count, profile and evaluate many configurations, and report on them. Run it again to go on where it stopped.

    Without SPEC: the models that ship, on the embedded data.

    Example: proscale-bench sweep paper --out reports/paper
    """
    from proscale_bench.analysis.frame import rows
    from proscale_bench.commands.report import refuse_reports, reproduce, show_costs, show_run, write_report
    from proscale_bench.config.choices import find_shipped
    from proscale_bench.render.console import warn
    from proscale_bench.render.markdown import report as markdown
    from proscale_bench.results.store import has_records
    from proscale_bench.sweeps.plan import measurements, plan, read_sweep
    from proscale_bench.sweeps.runner import run_sweep

    exports = options.exports()
    read = read_sweep(find_shipped("sweeps", options.spec))
    run = options.out or Path("reports") / read.name
    configurations = plan(read) if read.counts else []
    measured = measurements(read, run)
    if read.left_out:
        names = ", ".join(one.path.name for one in read.left_out)
        warn(f"not evaluated, since the sweep does not name their schedule or backbone: {names}")
    if has_records(run):
        if not options.resume and not options.force:
            raise BenchError(f"{run} holds a run already", "go on with --resume, or remove its records with --force")
    else:
        refuse_reports(run, options.force)

    display = SweepDisplay(configurations, measured)

    def show_counted(records: Sequence[Record]) -> None:
        with display.bars.paused():
            show_costs(records, exports.console)

    with display.bars:
        executor = options.executor(display.news) if measured else None
        try:
            outcome = run_sweep(
                configurations,
                run,
                measured,
                executor,
                name=read.name,
                start_over=options.force and not options.resume,
                on_progress=display.show,
                on_counted=show_counted,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what is done is kept in {run}; run the same command to go on") from None
    if outcome.superseded:
        count, where = len(outcome.superseded), outcome.superseded[0].parent
        warn(f"{count} records that the sweep no longer asks for were moved to {where}")
    for problem in outcome.problems:
        warn(f"{problem.message}; not used")
    path = write_report(outcome.records, run)
    show_run(outcome.records, path, exports.console)
    exports.write(
        [record.row() for record in outcome.records],
        lambda: markdown(outcome.records, reproduce(outcome.records)),
        lambda: rows(outcome.records),
    )
    check(outcome)


def check(outcome: SweepOutcome) -> None:
    """Fail, after all is shown and kept, where that is due.

    Raises:
        BenchError: records could not be kept, or configurations failed.
    """
    if outcome.lost:
        hint = "make room for them, and run the sweep again"
        raise BenchError(f"{len(outcome.lost)} records could not be kept, the first: {outcome.lost[0].message}", hint)
    errors = [record.error for record in outcome.failed if record.error]
    if errors:
        message = f"{len(errors)} of {len(outcome.records)} configurations failed, the first: {errors[0].message}"
        hint = "the report names them all; run the sweep again to try them again"
        raise BenchError(message.split("\n"), hint, ExitCode(max(error.exit_code for error in errors)))


class SweepDisplay:
    """Shows a bar for each step: how much of it is done, the time that is left, and what runs.

    It is drawn when there is news, not by a clock: what is drawn takes time from what is measured.
    """

    def __init__(self, configurations: Sequence[Configuration], measurements: Sequence[Measurement]) -> None:
        from proscale_bench.commands.progress import Bars

        self.bars = Bars(by_clock=False, titled=True)
        steps = [*["count"] * len(configurations), *(measurement.step for measurement in measurements)]
        self._totals = {step: steps.count(step) for step in dict.fromkeys(steps)}
        self._of = {step: self.bars.add("", total, title=TITLES[step]) for step, total in self._totals.items()}
        self._shares: dict[str, dict[str, float]] = {step: {} for step in self._of}
        self._done = dict.fromkeys(self._of, 0)
        self._kept = dict.fromkeys(self._of, 0)
        self._lock = Lock()  # news comes from threads

    def show(self, progress: SweepProgress) -> None:
        """Show that something ended."""
        from proscale_bench.render.console import detail

        with self._lock:
            self._shares[progress.step].pop(progress.what, None)
            self._done[progress.step] = progress.done
            if progress.outcome == "kept":
                self._kept[progress.step] += 1
            said = f"{progress.what}: {progress.outcome}" if progress.outcome != "kept" else None
            self._draw(progress.step, "" if progress.done == progress.total else progress.what, said)
        detail(f"{progress.what}: {progress.outcome}")

    def news(self, task: SweepTask, what: str, share: float | None) -> None:
        """Show what a running task does; from any thread."""
        step = task.step  # type: ignore[attr-defined]
        with self._lock:
            self._shares[step][str(task)] = share or self._shares[step].get(str(task), 0.0)
            self._draw(step, f"{task}: {what}", f"{task}: {what}")

    def _draw(self, step: str, what: str, said: str | None) -> None:
        """Draw a step's bar; in a log say what is new, after what is there of an earlier run. A count takes no time."""
        bar, done, total = self._of[step], self._done[step], self._totals[step]
        if step == "count" or said is None:
            line = None
        else:
            if kept := self._kept.pop(step, 0):
                bar.say(f"{TITLES[step]}: {kept} of {total} are done: going on")
            line = lambda: f"{TITLES[step]}: {done} of {total} done, {said}"  # noqa: E731
        bar.show(what, done, begun=sum(self._shares[step].values()), line=line)
