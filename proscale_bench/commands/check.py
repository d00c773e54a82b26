"""`proscale-bench check`: are the limits of a budget file kept?"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.options import MaybePaths, flag
from proscale_bench.errors import BenchError, ExitCode

if TYPE_CHECKING:
    from proscale_bench.analysis.budgets import Checker, Finding
    from proscale_bench.analysis.explain import Explanation
    from proscale_bench.config.budget import LimitedWeights
    from proscale_bench.results.collect import SourcedRecord

DEFAULT_RECORDS = Path("reports")
Explanations = dict[int, "Explanation"]  # by the finding's index


class Format(str, Enum):
    text = "text"
    json = "json"
    github = "github"
    junit = "junit"
    sarif = "sarif"


def check(
    budgets: Path = typer.Argument(Path("budgets.yaml"), metavar="FILE", help="File of limits on metrics."),
    records: MaybePaths = flag(
        "--records RUN", "Run that latencies and accuracies come from. Repeat for several. [default: all in reports]"
    ),
    form: Format = flag(
        "--format NAME", "Format of the report: text, json, github, junit or sarif.", default=Format.text
    ),
    update: bool = flag("--update", "Write what was found into the file, then check."),
    explain: bool = flag("--explain", "Say what changed since an exceeded limit was last kept."),
    fail_unstable: bool = flag("--fail-unstable", "Exit with 3 if a limit stands on a latency that cannot be trusted."),
) -> None:
    """Hold costs, latencies and accuracies to a budget; exit 1 where a limit is not kept.

    Example: proscale-bench check budgets.yaml --records reports/cpu
    """
    from proscale_bench.analysis.budgets import Checker
    from proscale_bench.config.budget import read_budgets

    gc.freeze()  # what is imported stays: looking through it again and again would take a tenth of the time
    paths = records or ([DEFAULT_RECORDS] if DEFAULT_RECORDS.is_dir() else [])
    checker = Checker(lambda: read_run(*paths), read_run)
    limits = read_budgets(budgets, read_weights)
    findings = checker.check(limits)
    if update and updated(budgets, findings):
        limits = read_budgets(budgets, read_weights)
        findings = checker.check(limits)
    publish(form.value, findings, len(limits) - len(findings), explanations(checker, findings) if explain else {})
    problem = unstable(findings) if fail_unstable else None
    if any(finding.failed for finding in findings):
        raise typer.Exit(ExitCode.EXCEEDED)
    if problem:
        raise problem


def read_weights(path: Path) -> LimitedWeights:
    """The model of weights that a budget names; their header tells it, where they are of a kind that has one."""
    from proscale_bench.bench.specs import read_spec
    from proscale_bench.config.budget import LimitedWeights
    from proscale_bench.config.weights import read_header

    spec = read_spec(path)
    try:
        header = read_header(path)
    except BenchError:  # of another tool: the records of its weights are known by the name of the file
        return LimitedWeights(path, spec)
    return LimitedWeights(path, spec, header.digest, header.data)


def read_run(*paths: Path) -> Sequence[SourcedRecord]:
    """All records of runs; files that are none are named on stderr."""
    from proscale_bench.commands.exporting import warn_of_gaps
    from proscale_bench.results.collect import collect

    sourced, problems = collect(paths)
    warn_of_gaps(problems, (one.record for one in sourced))
    return sourced


def updated(path: Path, findings: Sequence[Finding]) -> bool:
    """Write what was found over the absolute limits of a file; whether anything changed.

    Raises:
        BenchError: the file would not be one of budgets any more; it is left as it was.
    """
    from proscale_bench.config.budget import BudgetFile
    from proscale_bench.config.budget_update import rewrite
    from proscale_bench.config.yaml_file import parse_yaml, read_text
    from proscale_bench.files import write_atomic
    from proscale_bench.render.console import note

    found = {one.limit.key: one.found for one in findings if one.found is not None and one.limit.against is None}
    text, done = rewrite(read_text(path), found)
    try:
        parse_yaml(text, str(path), BudgetFile)
    except BenchError as error:
        raise BenchError(f"what was found cannot be written: {error.message}", "the file is as it was") from error
    for one in done:
        note(f"{path}:{one.line}: {one.key[-2]}: {one.key[-1]}: {one.old} is now {one.new}")
    if done:
        mark = "\ufeff" if path.read_bytes().startswith(b"\xef\xbb\xbf") else ""
        write_atomic(path, mark + text)
    return bool(done)


def explanations(checker: Checker, findings: Sequence[Finding]) -> Explanations:
    """Explain what changed since each exceeded limit was last kept."""
    from proscale_bench.analysis.explain import explain

    return {
        index: explain(finding, checker.history)
        for index, finding in enumerate(findings)
        if finding.status == "exceeded"
    }


def unstable(findings: Sequence[Finding]) -> BenchError | None:
    """Warn of every limit that stands on times that cannot be trusted; the error that they are to a gate."""
    from proscale_bench.render.check import where
    from proscale_bench.render.console import warn
    from proscale_bench.units import printable

    shaky = [finding for finding in findings if finding.unstable]
    for finding in shaky:
        limit = finding.limit
        records = ", ".join(dict.fromkeys(one.source for one in finding.unstable))
        for caution in finding.cautions:
            what = f"{limit.at}: {limit.metric} of {where(finding)} in {records} is unstable ({caution.kind})"
            warn(printable(f"{what}: {caution.message}"), printable(caution.advice))
    if not shaky:
        return None
    kinds = sorted({caution.kind for finding in shaky for caution in finding.cautions})
    of = f"{len(shaky)} of {len(findings)} limits stand" if len(shaky) > 1 else f"1 of {len(findings)} limits stands"
    hint = "; ".join(dict.fromkeys(caution.advice for finding in shaky for caution in finding.cautions))
    return BenchError(f"{of} on latencies that cannot be trusted: {', '.join(kinds)}", hint, ExitCode.UNTRUSTED)


def publish(form: str, findings: Sequence[Finding], off: int, explained: Explanations) -> None:
    """Write the report: machines' formats to stdout alone."""
    from proscale_bench.render import check as render

    if form == "text":
        _print_text(findings, off, explained)
    elif form == "json":
        from proscale_bench.results.export import envelope, to_json

        rows = [render.row(one) for one in findings]
        for index, explanation in explained.items():
            rows[index]["explanation"] = render.explanation_row(explanation)
        sys.stdout.write(to_json(envelope(rows)))
    else:
        from proscale_bench.render.check_formats import github, junit, sarif

        write = {"github": github, "junit": junit, "sarif": sarif}[form]
        sys.stdout.write(write(findings, explained))
        if form == "github" and (path := os.environ.get("GITHUB_STEP_SUMMARY")):  # the page of the job
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"### Budgets\n\n{render.summary(findings, off)}\n\n{render.markdown(findings)}\n")


def _print_text(findings: Sequence[Finding], off: int, explained: Explanations) -> None:
    from proscale_bench.render import check as render

    shown = ["\n".join(render.lines(findings))]
    for index, finding in enumerate(findings):
        if finding.failed or finding.warned:
            shown.append("\n".join(render.details(finding, explained.get(index))))
    text = "\n\n".join([*shown, render.summary(findings, off)])
    if not sys.stdout.isatty():
        sys.stdout.write(text + "\n")
        return
    from rich.text import Text

    from proscale_bench.render.console import stdout_console

    styled = Text(text)
    for pattern, style in render.STYLES.items():
        styled.highlight_regex(pattern, style)
    stdout_console().print(styled, soft_wrap=True)
