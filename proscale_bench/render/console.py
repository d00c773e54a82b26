"""The two consoles: reports go to stdout; progress, warnings and hints to stderr.

Where a stream is not a terminal it gets no colour and no wrapping.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from proscale_bench.units import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.errors import BenchError

UNWRAPPED = 10_000  # columns: as wide as any table
NARROWEST = 76  # the terminal breaks a line itself rather than we cut a number short


@dataclass
class Settings:
    """The global flags that decide what is shown; set once, by `cli.py`."""

    no_color: bool = False
    quiet: bool = False
    verbose: bool = False


settings = Settings()


def stdout_console() -> Console:
    """The console for reports."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """The console for progress, warnings and hints."""
    return _console(sys.stderr)


def is_coloured() -> bool:
    """False where neither a colour nor bold is wanted, wherever a stream leads."""
    return not (settings.no_color or os.environ.get("NO_COLOR"))


def shows_progress() -> bool:
    """True where a progress bar would be seen and is wanted."""
    return sys.stderr.isatty() and not settings.quiet


def warn(message: str | Sequence[str], hint: str | None = None) -> None:
    """A warning, or a list of its lines, on stderr; nothing with `--quiet`."""
    if not settings.quiet:
        _say("warning", "yellow", [message] if isinstance(message, str) else message, hint)


def note(message: str) -> None:
    """A remark on stderr; nothing with `--quiet`."""
    if not settings.quiet:
        stderr_console().print(printable(message), style="dim", markup=False)


def detail(message: str) -> None:
    """A line about the work in progress, on stderr; only with `--verbose`."""
    if settings.verbose:
        stderr_console().print(printable_lines(message), style="dim", markup=False)


def show_error(error: BenchError) -> None:
    """An error on stderr: what was wrong, and what to do next. `--verbose` adds the traceback."""
    if settings.verbose:
        import traceback

        detail("".join(traceback.format_exception(error)).rstrip())
    _say("error", "red", error.lines, error.hint)


def _say(kind: str, color: str, lines: Iterable[str], hint: str | None) -> None:
    from rich.text import Text

    console = stderr_console()
    console.print(Text.assemble((f"{kind}: ", f"bold {color}"), "\n".join(map(printable, lines))))
    if hint:
        console.print(Text.assemble(("hint: ", "bold cyan"), printable(hint)))


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    class PatientConsole(Console):
        def on_broken_pipe(self) -> None:
            """End quietly: in `... | head -1`, the reader has read enough."""
            with contextlib.suppress(SystemExit):
                super().on_broken_pipe()
            raise SystemExit(0)

    console = PatientConsole(
        file=stream,
        width=None if stream.isatty() else UNWRAPPED,
        color_system="auto" if is_coloured() else None,  # nor bold, nor dim
        highlight=False,
        emoji=False,
    )
    console.width = max(console.width, NARROWEST)
    return console
