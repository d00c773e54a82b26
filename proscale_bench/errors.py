"""The one error a user can cause, and the exit codes of the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeVar, get_args

from proscale_bench.units import printable

Value = TypeVar("Value")


class ExitCode(IntEnum):
    """The exit codes of the process (see CLI.md)."""

    OK = 0
    EXCEEDED = 1  # a budget is exceeded or a regression found
    USAGE = 2  # bad usage, file or input
    UNTRUSTED = 3  # the measurement cannot be trusted
    INTERRUPTED = 130  # Ctrl-C


class BenchError(Exception):
    """Something a user can put right.

    Raised where it is understood and caught once, in `cli.py`.

    Names in it are shown escaped, so that none can begin a line of its own or drive a terminal.

    Args:
        message: fault, place (`file:line:column` for files) and value; several faults are a list, a line each.
        hint: the next step to take.
        exit_code: exit code of the process.
    """

    def __init__(
        self, message: str | Sequence[str], hint: str | None = None, exit_code: ExitCode = ExitCode.USAGE
    ) -> None:
        self.lines = tuple(map(printable, [message] if isinstance(message, str) else message))
        super().__init__(self.message)
        self.hint = hint and printable(hint)
        self.exit_code = exit_code

    @property
    def message(self) -> str:
        """All lines."""
        return "\n".join(self.lines)

    def within(self, place: str, hint: str | None = None) -> BenchError:
        """The same error of something that is named at a place: `budgets.yaml:4:5: mine.yaml:2:1: unknown key`."""
        first, *others = self.lines
        return BenchError([f"{place}: {first}", *others], hint or self.hint, self.exit_code)

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


def of_import(error: ImportError) -> BenchError:
    """The error of a package that is not installed, or not whole: a check needs few of those that the tool names."""
    name = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError):
        return BenchError(f"{name or 'a package'} cannot be imported: {error}", "install it again")
    missing = [one for one in _required() if not _is_installed(re.split(r"[^\w.-]", one)[0])]
    words = " ".join(f'"{one}"' for one in missing or [name])
    return BenchError(f"{name} is not installed, and this needs it", f"python -m pip install {words}")


def _required() -> list[str]:
    """The requirements of the tool, without those of its extras; none where it runs without being installed."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return [one for one in requires("proscale-bench") or [] if "extra ==" not in one]
    except PackageNotFoundError:
        return []


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def look_up(table: Mapping[str, Value], name: str, what: str) -> Value:
    """The entry of a name.

    Raises:
        BenchError: unknown, with the nearest known name, or all of them, as the hint.
    """
    try:
        return table[name]
    except KeyError:
        hint = did_you_mean(name, tuple(table), f"known: {', '.join(table)}")
        raise BenchError(f"unknown {what} '{name}'", hint) from None


def one_of(kind: Any, word: str, what: str) -> Any:
    """The word, where it is one of a `Literal`'s.

    Raises:
        BenchError: it is none, as of `look_up`.
    """
    return look_up({name: name for name in get_args(kind)}, word, what)


def did_you_mean(word: str, known: list[str] | tuple[str, ...], otherwise: str | None = None) -> str | None:
    """The hint for a word that is not among the known ones: the nearest of them, else `otherwise`."""
    from difflib import get_close_matches

    spelt = {one.lower(): one for one in known}
    near = get_close_matches(word.lower(), spelt, n=1, cutoff=0.6)
    return f"did you mean '{spelt[near[0]]}'?" if near else otherwise
