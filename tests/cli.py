"""Run the command line in process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer.testing
from typer.main import get_command
from typer.testing import CliRunner

from proscale_bench.cli import app


def walk(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group by name, the root first, which is ''."""
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{name} {word}".strip())


# Typer's runner makes the app's commands anew for every call, which takes longer than most of them.
typer.testing._get_command = cache(typer.testing._get_command)

EVERY = dict(walk(get_command(app)))
GROUPS = [name for name, command in EVERY.items() if hasattr(command, "commands")]
COMMANDS = [name for name in EVERY if name not in GROUPS]


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Result:
    """Run `proscale-bench ARGUMENTS` and return what it prints. A traceback is an error of the test."""
    result = CliRunner().invoke(app, list(arguments), prog_name="proscale-bench", catch_exceptions=False)
    return Result(result.exit_code, result.stdout, result.stderr)
