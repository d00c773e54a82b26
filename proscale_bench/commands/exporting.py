"""The output of commands: tables and sentences, and the documents that `--export-json` and its like write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.errors import BenchError
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.bench.evaluate import EvaluationOutcome
    from proscale_bench.render.table import Table
    from proscale_bench.results.record import Record

STDOUT = Path("-")


@dataclass(frozen=True)
class Exports:
    """The documents that a command was asked for. Checked before anything is measured.

    Raises:
        BenchError: a file is there already and `force` is off, or two documents want stdout.
    """

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        from proscale_bench.files import refuse_overwrite

        paths = [path for path in (self.json, self.csv, self.markdown) if path is not None]
        if Path() in paths:
            raise BenchError("an export has no path", "give the path of a file, or - for stdout")
        if len({path if path == STDOUT else Path(os.path.realpath(path)) for path in paths}) < len(paths):
            raise BenchError("two exports go to the same place", "give each document a path of its own")
        for path in paths:
            if path != STDOUT:
                refuse_overwrite(path, self.force)

    @property
    def console(self) -> Console:
        """The stream that tables go to: stdout, or stderr where a document has stdout to itself."""
        from proscale_bench.render.console import stderr_console, stdout_console

        return stderr_console() if STDOUT in (self.json, self.csv, self.markdown) else stdout_console()

    def write(
        self,
        rows: Sequence[dict[str, Any]],
        markdown: Callable[[], str],
        flat_rows: Callable[[], Sequence[dict[str, Any]]] | None = None,
    ) -> None:
        """Write what was asked for: the rows in the JSON envelope, as CSV, and rendered as Markdown.

        Args:
            flat_rows: the rows of the CSV, where they are others.
        """
        from proscale_bench.render.console import warn
        from proscale_bench.results.export import count_not_finite, envelope, to_csv, to_json

        if self.json is not None:
            if lost := count_not_finite(rows):
                warn(f"{lost} numbers are not finite: null in {self.json}")
            _write(self.json, to_json(envelope(rows)), self.force)
        if self.csv is not None:
            _write(self.csv, to_csv(flat_rows() if flat_rows else rows), self.force)
        if self.markdown is not None:
            _write(self.markdown, markdown(), self.force)


def print_tables(console: Console, tables: Iterable[Table], *, break_labels: bool = False, **drawn: Any) -> None:
    """Print tables, each fitted and above an empty line; `drawn` are arguments of `rich_table`.

    Args:
        break_labels: break names of schedules over two rows where the table is too wide for the terminal otherwise.
    """
    from proscale_bench.render.console import UNWRAPPED
    from proscale_bench.render.table import rich_table

    for table in (one.fitted(console.width) for one in tables):
        whole = rich_table(table, **drawn)
        unbounded = console.options.update(width=UNWRAPPED)  # a measure is never wider than what it is given
        too_wide = break_labels and console.measure(whole, options=unbounded).maximum > console.width
        console.print(rich_table(table, break_labels=True, **drawn) if too_wide else whole)
        console.print()


def print_lines(console: Console, lines: Iterable[str], style: str = "dim", soft_wrap: bool | None = None) -> None:
    """Print sentences, each in one line and as it is: nothing in it is markup, or drives the terminal."""
    from rich.text import Text

    for line in lines:
        console.print(Text(printable(line), style=style), soft_wrap=soft_wrap)


def warn_of_gaps(problems: Iterable[BenchError], records: Iterable[Record]) -> None:
    """Warn of files that were left aside, and of evaluations that lack what decides an accuracy."""
    from proscale_bench.render.console import warn
    from proscale_bench.results.collect import incomplete

    for problem in problems:
        warn(f"{problem.message}; left out")
    if said := incomplete(records):
        warn(said)


def _write(path: Path, text: str, force: bool) -> None:
    from proscale_bench.files import write_atomic

    if path == STDOUT:
        sys.stdout.write(text)
    else:
        write_atomic(path, text, overwrite=force)


def draw_and_say(outcome: EvaluationOutcome, folder: Path, number: int) -> None:
    """Draw the worst images and say where they are."""
    from proscale_bench.bench.visuals import draw_worst
    from proscale_bench.render.console import note

    paths = draw_worst(outcome, folder, number)
    note(f"pictures: {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}" if paths else "no pictures")
