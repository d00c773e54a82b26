"""The one error a user can cause, and the exit codes of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, TypeVar, get_args

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

    Args:
        message: fault, place (`file:line:column` for files) and value.
        hint: the next step to take.
        exit_code: exit code of the process.
    """

    def __init__(self, message: str, hint: str | None = None, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


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

    near = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else otherwise
