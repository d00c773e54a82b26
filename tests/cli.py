"""Run the command line in process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import typer.testing
from typer.testing import CliRunner

from proscale_bench.cli import app

# Typer's runner makes the app's commands anew for every call, which takes longer than most of them.
typer.testing._get_command = cache(typer.testing._get_command)

COMMANDS = [
    *("flops", "profile", "eval", "check", "compare", "train", "zoo", "sweep", "report", "models list", "models show"),
    *(f"models {verb}" for verb in ("inspect", "convert", "warm-start")),
    *(f"data {verb}" for verb in ("check", "make-shapes")),
    *(f"schedules {verb}" for verb in ("list", "show", "validate")),
]


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Result:
    """What `proscale-bench ARGUMENTS` prints and returns. A traceback is an error of the test."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return Result(result.exit_code, result.stdout, result.stderr)
