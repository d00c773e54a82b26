"""`proscale-bench check`: are the limits of a budget file kept?"""

from __future__ import annotations

import gc
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer


class Format(str, Enum):
    text = "text"
    json = "json"
    github = "github"
    junit = "junit"
    sarif = "sarif"


def check(
    budgets: Annotated[Path, typer.Argument(metavar="FILE", help="Limits on metrics.")] = Path("budgets.yaml"),
    records: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Option(
            "--records",
            metavar="RUN",
            help="A run that latencies and accuracies come from; repeat for several. \\[default: all in reports]",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", metavar="NAME", help="Of the report: text, json, github, junit or sarif.")
    ] = Format.text,
    update: Annotated[bool, typer.Option("--update", help="Write what was found into the file first.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say what changed since a limit was last kept.")] = False,
    fail_unstable: Annotated[
        bool, typer.Option("--fail-unstable", help="Exit with 3 if a limit stands on a latency that cannot be trusted.")
    ] = False,
) -> None:
    """Hold costs, latencies and accuracies to a budget; exit 1 where a limit is not kept.

    Example: proscale-bench check budgets.yaml --records reports/cpu
    """
    from proscale_bench.analysis.budgets import Checker
    from proscale_bench.commands.checking import explanations, publish, read_run, reader_of, unstable, updated
    from proscale_bench.config.budget import read_budgets
    from proscale_bench.errors import ExitCode

    gc.freeze()  # what is imported stays: looking through it again and again would take a tenth of the time
    checker = Checker(reader_of(records), read_run)
    limits = read_budgets(budgets)
    findings = checker.check(limits)
    if update and updated(budgets, findings):
        limits = read_budgets(budgets)
        findings = checker.check(limits)
    publish(form.value, findings, len(limits) - len(findings), explanations(checker, findings) if explain else {})
    problem = unstable(findings) if fail_unstable else None
    if any(finding.failed for finding in findings):
        raise typer.Exit(ExitCode.EXCEEDED)
    if problem:
        raise problem
